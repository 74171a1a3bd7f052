//! A leadership in etcd: a lease, the candidate's key that it holds, and how far the leader has got.
//!
//! A commit is one transaction that etcd makes only if the key is still the leader's and the head still the
//! one that the leader has seen. So a leader that doesn't know of its end can't commit, and an attempt whose
//! answer was lost is recognised by the number that it has left in the head.

use super::client::Client;
use super::election::{Candidate, answered, is_created, is_modified, operation, put, read};
use super::lease::Lease;
use super::wire::request_op::Request;
use super::wire::{DeleteRangeRequest, RequestOp, TxnRequest};
use super::{Etcd, Keys};
use crate::store::head::Head;
use crate::store::{Change, Leadership};
use crate::{Error, Result};
use tokio::sync::Mutex;

/// Operations of one transaction inside another: etcd takes 128 on a path from the outermost to an
/// innermost (`--max-txn-ops`), and a change of `MOST_CHANGE_PARTS` makes 32 of these.
const NESTED: usize = 64;

#[derive(Debug)]
pub(super) struct Reign {
    term: u64,
    candidate: Candidate,
    client: Client,
    keys: Keys,
    kept_events: u64,
    lease: Lease,
    /// Held while a commit is made: they are made one by one.
    position: Mutex<Position>,
}

/// How far a leader has got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The head that it has seen last.
    pub head: Head,
    /// When that was put.
    pub revision: i64,
    /// The number of the last commit that it has tried. One that was given up may yet be made.
    pub issued: u64,
}

impl Reign {
    pub fn new(etcd: &Etcd, lease: Lease, candidate: Candidate, position: Position) -> Self {
        Self {
            term: position.head.term,
            candidate,
            client: etcd.client.clone(),
            keys: etcd.keys.clone(),
            kept_events: etcd.kept_events,
            lease,
            position: Mutex::new(position),
        }
    }

    /// The end of the leadership, as an error.
    fn over(&self, reason: &str) -> Error {
        self.lease.over.end(reason);
        match self.lease.over.check(self.term) {
            Err(error) => error,
            Ok(()) => Error::LeadershipOver { term: self.term, reason: reason.to_owned() },
        }
    }

    /// The transaction that makes `change` and puts `next` in the place of the head.
    fn transaction(&self, change: &Change, position: &Position, next: Head) -> TxnRequest {
        let head = position.head;
        let write = |(key, value): (&String, &Option<Vec<u8>>)| {
            let key = self.keys.state(key);
            match value {
                Some(value) => put(&key, value.clone()),
                None => delete(key.into_bytes(), Vec::new()),
            }
        };
        let event =
            |(sequence, event): (u64, &Vec<u8>)| put(&self.keys.event(sequence), event.clone());
        let mut parts: Vec<RequestOp> = change.writes.iter().map(write).collect();
        parts.extend((head.last + 1..).zip(&change.events).map(event));
        let key = self.keys.head();
        let mut success = vec![put(&key, next.write())];
        if next.first > head.first {
            let bytes = |sequence| self.keys.event(sequence).into_bytes();
            success.push(delete(bytes(head.first), bytes(next.first)));
        }
        success.extend(parts.chunks(NESTED).map(|part| {
            let nested = TxnRequest { success: part.to_vec(), ..TxnRequest::default() };
            operation(Request::RequestTxn(nested))
        }));
        TxnRequest {
            compare: vec![
                is_created(&self.candidate.key, self.candidate.created),
                is_modified(&key, position.revision),
            ],
            success,
            failure: vec![read(&key), read(&self.candidate.key)],
        }
    }

    /// One commit, seen through: gives the log's last event.
    async fn make(&self, change: &Change) -> Result<u64> {
        let mut position = self.position.lock().await;
        position.issued += 1;
        let number = position.issued;
        loop {
            let appended = change.events.len() as u64;
            let next = position.head.committed(number, appended, self.kept_events);
            let request = self.transaction(change, &position, next);
            let answer = self.client.transact("commit", &request).await?;
            if answer.succeeded {
                position.head = next;
                position.revision = answer.header.unwrap_or_default().revision;
                return Ok(next.last);
            }
            let mut found = answered(answer).into_iter();
            let (stored, own) = (found.next().flatten(), found.next().flatten());
            let value = stored.as_ref().map(|stored| stored.value.as_slice());
            let head = Head::read(value, &self.client.name())?;
            if head.term != self.term {
                return Err(self.over(&format!("term {} has begun", head.term)));
            }
            // What was found is this leader's: this commit, made by an attempt before, or one that was
            // given up, upon which this commit is tried again.
            position.head = head;
            position.revision = stored.map_or(0, |stored| stored.mod_revision);
            if head.commit == number {
                return Ok(head.last);
            }
            if own.is_none_or(|own| own.create_revision != self.candidate.created) {
                return Err(self.over("its key in etcd is gone"));
            }
        }
    }
}

#[tonic::async_trait]
impl Leadership for Reign {
    fn term(&self) -> u64 {
        self.term
    }

    async fn lost(&self) -> String {
        self.lease.over.wait().await
    }

    async fn commit(&self, change: Change) -> Result<u64> {
        change.check()?;
        self.lease.over.check(self.term)?;
        tokio::select! {
            made = self.make(&change) => made,
            reason = self.lease.over.wait() => Err(self.over(&reason)),
        }
    }

    async fn resign(&self) -> Result<()> {
        self.lease.revoke("it was resigned").await
    }
}

/// Deletes a key, or a range of keys.
fn delete(key: Vec<u8>, range_end: Vec<u8>) -> RequestOp {
    operation(Request::RequestDeleteRange(DeleteRangeRequest { key, range_end }))
}
