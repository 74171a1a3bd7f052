//! Where what the dashboard shows comes from.

use crate::coordinator::service::Service;
use crate::proto::v1::coordinator_server::Coordinator;
use crate::proto::v1::{Event, EventsRequest, OverviewReply, OverviewRequest};
use crate::rpc::{Client, Endpoints, client};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Status};

/// A coordinator.
#[derive(Debug, Clone)]
pub enum Source {
    /// The one of this process.
    Here(Service),
    /// Others, of which one leads.
    There(Endpoints),
}

/// Events that are told at once.
const MOST_EVENTS: usize = 200;

/// What happens to every worker that is well: on a large cluster the rest would be lost in it.
const ROUTINE: [&str; 4] = ["worker-started", "worker-ready", "worker-finished", "checkpoint"];

/// Some events of the log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events {
    /// The oldest first.
    pub events: Vec<Event>,
    /// The number of the last that was looked at.
    pub last: u64,
}

/// Bytes of them, about. What is left out is told next time.
const MOST_BYTES: usize = 1024 * 1024;

impl Source {
    /// All but the events.
    ///
    /// # Errors
    /// Why there is none: nobody leads, nothing can be reached, somebody is refused.
    pub async fn overview(&self) -> Result<OverviewReply, String> {
        match self {
            Self::Here(service) => {
                let reply = service.overview(Request::new(OverviewRequest {})).await;
                Ok(reply.map_err(|status| status.message().to_owned())?.into_inner())
            }
            Self::There(endpoints) => {
                let ask = async |mut client: Client| client.overview(OverviewRequest {}).await;
                endpoints.ask(ask).await.map_err(|error| error.to_string())
            }
        }
    }

    /// The first events after the one of that number, with or without what is routine.
    ///
    /// # Errors
    /// The same.
    pub async fn events(&self, after: u64, has_routine: bool) -> Result<Events, String> {
        let request = EventsRequest { after, follow: false };
        match self {
            Self::Here(service) => {
                let stream = service.events(Request::new(request)).await;
                let stream = stream.map_err(|status| status.message().to_owned())?.into_inner();
                first(stream, after, has_routine).await
            }
            Self::There(endpoints) => {
                let ask = async |mut client: Client| client.events(request).await;
                let stream = endpoints.ask(ask).await.map_err(|error| error.to_string())?;
                first(stream, after, has_routine).await
            }
        }
    }
}

async fn first(
    stream: impl Stream<Item = Result<Event, Status>>,
    after: u64,
    has_routine: bool,
) -> Result<Events, String> {
    tokio::pin!(stream);
    let (mut found, mut bytes) = (Events { last: after, ..Events::default() }, 0);
    while let Some(event) = stream.next().await {
        let event = event.map_err(|status| client::refused(&status).to_string())?;
        found.last = event.sequence;
        if !has_routine && ROUTINE.contains(&event.kind.as_str()) {
            continue;
        }
        bytes += event.details.len() + event.text.len();
        found.events.push(event);
        if found.events.len() == MOST_EVENTS || bytes > MOST_BYTES {
            break;
        }
    }
    Ok(found)
}
