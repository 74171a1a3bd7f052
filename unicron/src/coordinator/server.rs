//! A coordinator as a process: it listens, campaigns, and leads.

use super::brain::Settings;
use super::lead::Lead;
use super::service::Service;
use super::site::Pages;
use crate::http::listener::listen as tell;
use crate::proto::v1::coordinator_server::CoordinatorServer;
use crate::rpc::{AUTHORIZATION, MOST_MESSAGE_BYTES, Tls};
use crate::store::Store;
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Status};

/// What a person may set of a coordinator.
#[derive(Debug)]
pub struct Setup {
    /// Of its decisions.
    pub brain: Settings,
    /// `host:port` at which agents and other coordinators reach it.
    pub identity: String,
    /// How long nobody else leads after it has died without a word.
    pub ttl: Duration,
    /// Certificates.
    pub tls: Option<Tls>,
    /// What a client must know.
    pub token: Option<String>,
    /// Where Prometheus asks for metrics.
    pub metrics: Option<TcpListener>,
    /// Where browsers ask for the dashboard; metrics are there, too.
    pub dashboard: Option<TcpListener>,
}

/// Things that wait for the brain.
const MOST_ASKS: usize = 16_384;

/// A store that fails is tried again after a while.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves until `shutdown` says true. What a person may want to know goes to `notices`.
///
/// # Errors
/// If the certificates don't serve, or what is stored can't be understood.
pub async fn serve(
    mut setup: Setup,
    listener: TcpListener,
    store: Arc<dyn Store>,
    shutdown: watch::Receiver<bool>,
    notices: UnboundedSender<String>,
) -> Result<()> {
    let (asks, mut asked) = mpsc::channel(MOST_ASKS);
    let (leads, is_leading) = watch::channel(false);
    let (events, last_event) = watch::channel(0);
    let events = Arc::new(events);
    let service = Service::new(asks.clone(), is_leading, store.clone(), last_event);
    let mut helpers = JoinSet::new();
    // They end with this function.
    if let Some(listener) = setup.metrics.take() {
        helpers.spawn(tell(listener, Pages::metrics(service.clone())));
    }
    if let Some(listener) = setup.dashboard.take() {
        helpers.spawn(tell(listener, Pages::dashboard(service.clone())));
    }
    let serving = tokio::spawn(listen(&setup, listener, service, shutdown.clone())?);
    let mut stop = shutdown;
    while !*stop.borrow() && !serving.is_finished() {
        let leadership = tokio::select! {
            _ = stop.changed() => break,
            won = store.campaign(&setup.identity, setup.ttl) => match won {
                Ok(leadership) => leadership,
                Err(error) => {
                    // Nobody listens when the coordinator ends.
                    let _ = notices.send(error.to_string());
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let term = leadership.term();
        let brain = setup.brain.clone();
        let lead = Lead::begin(brain, &*store, leadership, asks.clone(), events.clone()).await?;
        let _ = notices.send(format!("leads in term {term}"));
        // What was asked of an earlier leadership is over.
        while asked.try_recv().is_ok() {}
        leads.send_replace(true);
        let ended = lead.run(&mut asked, &mut stop).await;
        leads.send_replace(false);
        if let Err(error) = ended {
            let _ = notices.send(error.to_string());
        }
    }
    serving.await.map_err(|error| Error::Unreachable {
        what: "the coordinator's own server".to_owned(),
        problem: error.to_string(),
    })?
}

fn listen(
    setup: &Setup,
    listener: TcpListener,
    service: Service,
    mut shutdown: watch::Receiver<bool>,
) -> Result<impl Future<Output = Result<()>> + use<>> {
    let service = CoordinatorServer::new(service)
        .max_decoding_message_size(MOST_MESSAGE_BYTES)
        .max_encoding_message_size(MOST_MESSAGE_BYTES);
    let token = setup.token.clone();
    let check = move |request: Request<()>| check_token(token.as_deref(), request);
    let mut server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)));
    if let Some(tls) = &setup.tls {
        server = server.tls_config(tls.server()?).map_err(|error| Error::Setting {
            setting: "--tls-cert, --tls-key, --tls-ca".to_owned(),
            problem: error.to_string(),
        })?;
    }
    let router =
        server.add_service(tonic::service::interceptor::InterceptedService::new(service, check));
    Ok(async move {
        let stopped = async move {
            // An error means that nobody can stop it any more: it stops.
            let _ = shutdown.wait_for(|stop| *stop).await;
            // Streams of agents have no end; requests under way have time to be answered.
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
        tokio::select! {
            served = serving => served.map_err(|error| Error::Unreachable {
                what: "the coordinator's own server".to_owned(),
                problem: error.to_string(),
            }),
            () = stopped => Ok(()),
        }
    })
}

/// Compares in a time that doesn't depend on where the difference is.
fn check_token(token: Option<&str>, request: Request<()>) -> Result<Request<()>, Status> {
    let Some(token) = token else { return Ok(request) };
    let given = request.metadata().get(AUTHORIZATION).map(|value| value.as_bytes());
    let expected = format!("Bearer {token}");
    let is_same = given.is_some_and(|given| {
        given.len() == expected.len()
            && given.iter().zip(expected.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    });
    match is_same {
        true => Ok(request),
        false => Err(Status::unauthenticated("the token is missing or wrong; give --token-file")),
    }
}
