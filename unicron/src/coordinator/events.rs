//! The log of events, as it is told.

use super::brain::Happened;
use crate::proto::v1;
use crate::store::{self, Store};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tonic::Status;

/// Sends the events after one of that number, and those to come if asked.
pub(super) async fn send(
    store: Arc<dyn Store>,
    mut last: watch::Receiver<u64>,
    mut after: u64,
    follow: bool,
    sender: mpsc::Sender<Result<v1::Event, Status>>,
) {
    loop {
        last.mark_unchanged();
        let events = match store.events(after, store::MOST_EVENTS_READ).await {
            Ok(events) => events,
            Err(error) => {
                let _ = sender.send(Err(Status::unavailable(error.to_string()))).await;
                return;
            }
        };
        let is_all = events.len() < store::MOST_EVENTS_READ;
        for event in events {
            after = event.sequence;
            if sender.send(Ok(to_wire(&event))).await.is_err() {
                return;
            }
        }
        if !is_all {
            continue;
        }
        if !follow {
            return;
        }
        tokio::select! {
            changed = last.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = sender.closed() => return,
        }
    }
}

fn to_wire(event: &store::Event) -> v1::Event {
    let happened: Happened = serde_json::from_slice(&event.body).unwrap_or_else(|error| Happened {
        at_ms: 0,
        kind: "unreadable".to_owned(),
        task: String::new(),
        node: String::new(),
        worker: 0,
        text: error.to_string(),
        details: serde_json::Value::Null,
    });
    let details = match happened.details {
        serde_json::Value::Null => String::new(),
        details => details.to_string(),
    };
    v1::Event {
        sequence: event.sequence,
        at_ms: happened.at_ms,
        kind: happened.kind,
        task: happened.task,
        node: happened.node,
        worker: happened.worker,
        text: happened.text,
        details,
    }
}
