//! The way to one agent. The newest state replaces one that wasn't sent yet, and the next is sent when the
//! agent has taken in the last, so an agent that reads slowly skips what is old and ends in the right state,
//! and needs no memory here, nor in the network's buffers, however long it sleeps.

use super::brain::Told;
use crate::proto::v1::{ToAgent, to_agent};
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
    state: watch::Sender<Option<Told>>,
    /// The version of the last state that was forwarded.
    forwarded: Arc<AtomicU64>,
}

/// What is to be forwarded to the connection.
#[derive(Debug)]
pub struct Outgoing {
    messages: mpsc::Receiver<to_agent::Message>,
    state: watch::Receiver<Option<Told>>,
    forwarded: Arc<AtomicU64>,
    /// The version of the last state that the agent has taken in.
    seen: watch::Receiver<u64>,
}

/// Says which state the agent has taken in.
#[derive(Debug)]
pub struct Seen(watch::Sender<u64>);

impl Seen {
    /// The state of this version.
    pub fn note(&self, version: u64) {
        self.0.send_replace(version);
    }
}

impl Session {
    /// Both ends of one, and what has to hear which states the agent has taken in.
    #[must_use]
    pub fn new(id: u64) -> (Self, Outgoing, Seen) {
        let (messages, received) = mpsc::channel(MOST_WAITING);
        let (state, watched) = watch::channel(None);
        let (seen, noted) = watch::channel(0);
        let forwarded = Arc::new(AtomicU64::new(0));
        let outgoing = Outgoing {
            messages: received,
            state: watched,
            forwarded: Arc::clone(&forwarded),
            seen: noted,
        };
        (Self { id, messages, state, forwarded }, outgoing, Seen(seen))
    }

    /// A message, unless too many wait.
    pub fn send(&self, message: to_agent::Message) {
        // What is dropped is asked for again; whoever has gone needs nothing.
        let _ = self.messages.try_send(message);
    }

    /// The newest state; whether it replaced one that wasn't sent.
    pub fn push(&self, state: Told) -> bool {
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
        // The state that is under way.
        let mut unseen = None;
        loop {
            let message = tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Some(message) => message,
                    None => return,
                },
                changed = self.seen.changed(), if unseen.is_some() => {
                    if changed.is_err() {
                        return;
                    }
                    let seen = *self.seen.borrow_and_update();
                    unseen = unseen.filter(|version| *version > seen);
                    continue;
                }
                changed = self.state.changed(), if unseen.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                    let newest = self.state.borrow_and_update();
                    let Some(state) = &*newest else { continue };
                    self.forwarded.store(state.version, Ordering::Relaxed);
                    unseen = Some(state.version);
                    to_agent::Message::State(state.to_wire())
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

    async fn state(received: &mut mpsc::Receiver<Result<ToAgent, Status>>) -> u64 {
        match received.recv().await {
            Some(Ok(ToAgent { message: Some(to_agent::Message::State(state)) })) => state.version,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_state_only() {
        let (session, outgoing, seen) = Session::new(1);
        let push = |version| session.push(Told::nothing(version));
        assert_eq!((1..=10).filter(|&version| push(version)).count(), 9);
        // However much room there is on the way.
        let (connection, mut received) = mpsc::channel(1000);
        let forwarding = tokio::spawn(outgoing.forward(connection));
        assert_eq!(state(&mut received).await, 10);
        for version in 11..=1000 {
            push(version);
            tokio::task::yield_now().await;
        }
        assert!(received.try_recv().is_err());
        seen.note(10);
        assert_eq!(state(&mut received).await, 1000);
        drop(session);
        assert!(received.recv().await.is_none());
        forwarding.await.unwrap();
    }
}
