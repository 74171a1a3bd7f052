//! The way to one agent. The newest state replaces one that wasn't sent yet, so an agent that reads slowly
//! skips what is old and ends in the right state, and needs no memory here however long it sleeps.

use crate::proto::v1::{NodeState, ToAgent, to_agent};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use tonic::Status;

/// Messages other than states that wait for an agent. Beyond, they are dropped: answers to heartbeats and
/// checkpoints, which the agent asks for again.
const MOST_WAITING: usize = 64;

/// The sending end.
#[derive(Debug)]
pub struct Session {
    /// No other session of this coordinator's has it.
    pub id: u64,
    messages: mpsc::Sender<to_agent::Message>,
    state: watch::Sender<Option<NodeState>>,
    /// The version of the last state that was forwarded.
    forwarded: Arc<AtomicU64>,
}

/// What is to be forwarded to the connection.
#[derive(Debug)]
pub struct Outgoing {
    messages: mpsc::Receiver<to_agent::Message>,
    state: watch::Receiver<Option<NodeState>>,
    forwarded: Arc<AtomicU64>,
}

impl Session {
    /// Both ends of one.
    #[must_use]
    pub fn new(id: u64) -> (Self, Outgoing) {
        let (messages, received) = mpsc::channel(MOST_WAITING);
        let (state, watched) = watch::channel(None);
        let forwarded = Arc::new(AtomicU64::new(0));
        let outgoing =
            Outgoing { messages: received, state: watched, forwarded: Arc::clone(&forwarded) };
        (Self { id, messages, state, forwarded }, outgoing)
    }

    /// A message, unless too many wait.
    pub fn send(&self, message: to_agent::Message) {
        // What is dropped is asked for again; whoever has gone needs nothing.
        let _ = self.messages.try_send(message);
    }

    /// The newest state; whether it replaced one that wasn't sent.
    pub fn push(&self, state: NodeState) -> bool {
        let mut has_replaced = false;
        // Nobody forwards a state while this holds it.
        self.state.send_modify(|newest| {
            let forwarded = self.forwarded.load(Ordering::Relaxed);
            has_replaced = newest.as_ref().is_some_and(|state| state.version > forwarded);
            *newest = Some(state);
        });
        has_replaced
    }
}

impl Outgoing {
    /// Forwards until either side has gone. Messages come before states: the welcome is the first.
    pub async fn forward(mut self, connection: mpsc::Sender<Result<ToAgent, Status>>) {
        loop {
            let message = tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let newest = self.state.borrow_and_update();
                    let Some(state) = &*newest else { continue };
                    self.forwarded.store(state.version, Ordering::Relaxed);
                    to_agent::Message::State(state.clone())
                }
            };
            let message = ToAgent { message: Some(message) };
            if connection.send(Ok(message)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_state_only() {
        let (session, outgoing) = Session::new(1);
        let push = |version| session.push(NodeState { version, ..NodeState::default() });
        assert_eq!((1..=1000).filter(|&version| push(version)).count(), 999);
        let (connection, mut received) = mpsc::channel(1);
        let forwarding = tokio::spawn(outgoing.forward(connection));
        let Some(Ok(ToAgent { message: Some(to_agent::Message::State(state)) })) =
            received.recv().await
        else {
            panic!()
        };
        assert_eq!(state.version, 1000);
        drop(session);
        assert!(received.recv().await.is_none());
        forwarding.await.unwrap();
    }
}
