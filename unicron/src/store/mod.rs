//! Where the coordinator keeps what must outlive it: the state of nodes and tasks by key, and the log of
//! events. In reading order:
//!
//! - `change`: what is committed, as a whole or not at all
//! - `head`: the record that every commit moves on: the term, the commit, the log's two ends
//! - `over`: how an end of leadership is told
//! - `embedded`: a file beside the coordinator, for one coordinator
//! - `etcd`: for several coordinators, of which one leads
//!
//! A coordinator campaigns, loads what its predecessor left, and commits while it leads. All others can
//! read, and learn who leads.
//!
//! **Invariant:** what is committed stays, and what one commit holds (state and events) is there together or
//! not at all.
//!
//! **Invariant:** a term has one leader and never comes again; a commit of an older term than the newest is
//! refused by the store itself, whatever clocks say.
//!
//! **Invariant:** events are numbered from 1 without a gap; only the oldest go, when there are too many.

mod change;
mod embedded;
mod etcd;
mod head;
mod over;

pub use change::{Change, MOST_CHANGE_BYTES, MOST_CHANGE_PARTS, MOST_KEY_BYTES};
pub use embedded::{Embedded, FILE_NAME};
pub use etcd::{Etcd, EtcdSettings};

use crate::Result;
use std::fmt;
use std::time::Duration;

/// How many events are kept where nobody says otherwise: some weeks of a large cluster's.
pub const KEPT_EVENTS: u64 = 100_000;

/// The most events that one reading gives.
pub const MOST_EVENTS_READ: usize = 1_000;

/// An event of the log. What is in it is its writer's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// From 1, without gaps.
    pub sequence: u64,
    /// As it was appended.
    pub body: Vec<u8>,
}

/// A store, as every coordinator sees it, whether it leads or not.
///
/// # Errors
/// Operations fail with [`crate::Error::Store`] where the store can't be read or, after retries, does not
/// answer.
#[tonic::async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// What is stored under keys that start with `prefix`, by key, all as of one moment.
    async fn load(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>>;

    /// The events after the one of that number, oldest first: at most `limit`, and at most
    /// [`MOST_EVENTS_READ`]. Where older ones are gone it starts with the oldest that is kept.
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>>;

    /// The identity of the leader; for as long as its lease lasts, of one that has died. `None` if nobody
    /// leads.
    async fn leader(&self) -> Result<Option<String>>;

    /// Waits until this coordinator leads. `identity` is what others learn of it, such as the address to
    /// which they send agents; `ttl` is how long nobody else leads after it has died without a word (etcd
    /// rounds it up to seconds).
    ///
    /// A campaign that fails because the store doesn't answer can be made again.
    async fn campaign(&self, identity: &str, ttl: Duration) -> Result<Box<dyn Leadership>>;
}

/// The right to commit, from a campaign that was won until it is lost or resigned. Dropping it is dying
/// without a word.
#[tonic::async_trait]
pub trait Leadership: fmt::Debug + Send + Sync {
    /// Greater than that of any leadership before, of this and of other coordinators.
    fn term(&self) -> u64;

    /// Waits for the leadership's end and says why. Others may lead from then on, never before.
    async fn lost(&self) -> String;

    /// Makes a change, durable when this returns, and gives the number of the log's last event. An empty
    /// change asks the store whether the leadership lasts.
    ///
    /// # Errors
    /// [`crate::Error::LeadershipOver`] if it has ended; [`crate::Error::Setting`] for a change that is
    /// too large; [`crate::Error::Store`] if the store fails or doesn't answer. A change may have been made
    /// although an error of the store, or the leadership's end, has hidden that: [`Store::load`] tells.
    async fn commit(&self, change: Change) -> Result<u64>;

    /// Ends the leadership, so that another coordinator leads at once. Harmless if it has ended.
    ///
    /// # Errors
    /// [`crate::Error::Store`] if the store doesn't answer: the others wait until the ttl has passed.
    async fn resign(&self) -> Result<()>;
}
