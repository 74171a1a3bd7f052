//! The coordinator's gRPC service: what is said goes to whoever leads; a coordinator that doesn't lead says
//! who does.

use super::lead::Ask;
use super::metrics::Figures;
use super::session::Session;
use crate::proto::v1::coordinator_server::Coordinator;
use crate::proto::v1::{self, FromAgent, ToAgent, from_agent, to_agent};
use crate::rpc::LEADER;
use crate::store::Store;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// The service of one coordinator.
#[derive(Debug, Clone)]
pub struct Service {
    asks: mpsc::Sender<Ask>,
    /// Whether this coordinator leads.
    leads: watch::Receiver<bool>,
    store: Arc<dyn Store>,
    /// The number of the log's last event.
    events: watch::Receiver<u64>,
    next_session: Arc<AtomicU64>,
}

/// An agent that has connected greets at once.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    /// A service that passes on to `asks` while it leads.
    #[must_use]
    pub fn new(
        asks: mpsc::Sender<Ask>,
        leads: watch::Receiver<bool>,
        store: Arc<dyn Store>,
        events: watch::Receiver<u64>,
    ) -> Self {
        Self { asks, leads, store, events, next_session: Arc::default() }
    }

    /// Refuses with the leader's address if another leads, or nobody.
    async fn check_leads(&self) -> Result<(), Status> {
        if *self.leads.borrow() {
            return Ok(());
        }
        let leader = self.store.leader().await.ok().flatten().unwrap_or_default();
        let mut status = Status::unavailable(match leader.is_empty() {
            true => "nobody leads at present".to_owned(),
            false => format!("{leader} leads"),
        });
        if let Ok(leader) = leader.parse() {
            status.metadata_mut().insert(LEADER, leader);
        }
        Err(status)
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Status> {
        self.check_leads().await?;
        let (reply, answer) = oneshot::channel();
        let gone = |()| Status::unavailable("the coordinator ends");
        self.asks.send(ask(reply)).await.map_err(|_| gone(()))?;
        answer.await.map_err(|_| gone(()))
    }

    /// The figures for Prometheus.
    ///
    /// # Errors
    /// If this coordinator doesn't lead.
    pub async fn figures(&self) -> Result<Figures, Status> {
        self.ask(Ask::Figures).await
    }

    async fn ask_for<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Ask,
    ) -> Result<T, Status> {
        self.ask(ask).await?.map_err(Status::failed_precondition)
    }
}

#[tonic::async_trait]
impl Coordinator for Service {
    type AttendStream = ReceiverStream<Result<ToAgent, Status>>;
    type EventsStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

    async fn attend(&self, request: Request<Streaming<FromAgent>>) -> Answer<Self::AttendStream> {
        self.check_leads().await?;
        let mut stream = request.into_inner();
        let id = 1 + self.next_session.fetch_add(1, Ordering::Relaxed);
        let (connection, outgoing) = mpsc::channel(8);
        let service = self.clone();
        tokio::spawn(async move {
            let greeting = tokio::time::timeout(GREETING_PATIENCE, stream.message()).await;
            let Ok(Ok(Some(FromAgent { message: Some(from_agent::Message::Hello(hello)) }))) =
                greeting
            else {
                let problem = Status::invalid_argument("the first message is not a greeting");
                let _ = connection.send(Err(problem)).await;
                return;
            };
            service.converse(id, hello, stream, connection).await;
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitReply> {
        let toml = request.into_inner().toml;
        let task = self.ask_for(|reply| Ask::Submit(toml, reply)).await?;
        Ok(Response::new(v1::SubmitReply { task }))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Answer<v1::StopReply> {
        let task = request.into_inner().task;
        self.ask_for(|reply| Ask::Stop(task, reply)).await?;
        Ok(Response::new(v1::StopReply {}))
    }

    async fn tasks(&self, _: Request<v1::TasksRequest>) -> Answer<v1::TasksReply> {
        Ok(Response::new(self.ask(Ask::Tasks).await?))
    }

    async fn nodes(&self, _: Request<v1::NodesRequest>) -> Answer<v1::NodesReply> {
        Ok(Response::new(self.ask(Ask::Nodes).await?))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainReply> {
        let node = request.into_inner().node;
        self.ask_for(|reply| Ask::Drain(node, reply)).await?;
        Ok(Response::new(v1::DrainReply {}))
    }

    async fn undrain(&self, request: Request<v1::UndrainRequest>) -> Answer<v1::UndrainReply> {
        let node = request.into_inner().node;
        self.ask_for(|reply| Ask::Undrain(node, reply)).await?;
        Ok(Response::new(v1::UndrainReply {}))
    }

    async fn replan(&self, _: Request<v1::ReplanRequest>) -> Answer<v1::ReplanReply> {
        self.ask(Ask::Replan).await?;
        Ok(Response::new(v1::ReplanReply {}))
    }

    async fn events(&self, request: Request<v1::EventsRequest>) -> Answer<Self::EventsStream> {
        self.check_leads().await?;
        let v1::EventsRequest { after, follow } = request.into_inner();
        let (sender, receiver) = mpsc::channel(64);
        let (store, last) = (self.store.clone(), self.events.clone());
        tokio::spawn(super::events::send(store, last, after, follow, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn overview(&self, _: Request<v1::OverviewRequest>) -> Answer<v1::OverviewReply> {
        Ok(Response::new(self.ask(Ask::Overview).await?))
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<v1::LogsReply> {
        let v1::LogsRequest { task, lines } = request.into_inner();
        let logs = self.ask_for(|reply| Ask::Logs(task, lines, reply)).await?;
        Ok(Response::new(logs))
    }
}

impl Service {
    /// Introduces an agent and passes on what it says, until either side ends it.
    async fn converse(
        &self,
        id: u64,
        hello: v1::Hello,
        mut stream: Streaming<FromAgent>,
        connection: mpsc::Sender<Result<ToAgent, Status>>,
    ) {
        let (session, outgoing, seen) = Session::new(id);
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask::Attend { hello, session, reply }).await.is_err() {
            return;
        }
        let node = match answer.await {
            Ok(Ok(node)) => node,
            Ok(Err(reason)) => {
                let refused = to_agent::Message::Refused(v1::Refused { reason });
                let _ = connection.send(Ok(ToAgent { message: Some(refused) })).await;
                return;
            }
            Err(_) => return,
        };
        let forwarding = outgoing.forward(connection);
        tokio::pin!(forwarding);
        loop {
            tokio::select! {
                () = &mut forwarding => break,
                said = stream.next() => {
                    let Some(Ok(said)) = said else { break };
                    let message = match said.message {
                        Some(from_agent::Message::StateSeen(state)) => {
                            seen.note(state.version);
                            continue;
                        }
                        Some(message) => message,
                        None => continue,
                    };
                    let ask = Ask::Said { node, session: id, message };
                    if self.asks.send(ask).await.is_err() {
                        return;
                    }
                }
            }
        }
        // Nobody listens when the coordinator ends.
        let _ = self.asks.send(Ask::Left { node, session: id }).await;
    }
}
