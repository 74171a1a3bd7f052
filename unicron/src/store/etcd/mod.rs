//! The store of several coordinators: etcd, of which a majority survives. Of the coordinators one leads; when
//! its lease runs out the next in line does.
//!
//! Under the prefix lie:
//!
//! ```text
//! head                   the record that every commit moves on
//! state/KEY              what is stored under KEY
//! events/NUMBER          the log, numbers with twenty digits so that keys sort as numbers do
//! election/LEASE         a candidate; the one that was created first leads
//! ```
//!
//! etcd keeps old revisions until it is told to compact them, for all of its users at once; so that is left
//! to its operator (`--auto-compaction-retention`). Users with passwords are not supported, client
//! certificates are.

mod client;
mod election;
mod lease;
mod reign;

/// etcd's messages, as far as they are used; generated from `unicron/proto/etcd`.
#[allow(dead_code, missing_docs, clippy::all, clippy::pedantic)]
mod wire {
    tonic::include_proto!("etcdserverpb");
}

use super::{Event, KEPT_EVENTS, Leadership, MOST_EVENTS_READ, Store};
use crate::Result;
use crate::rpc::TlsFiles;
use client::Client;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::range_request::{SortOrder, SortTarget};
use wire::{KeyValue, RangeRequest};

/// Where etcd is, and how it is used.
#[derive(Debug, Clone)]
pub struct EtcdSettings {
    /// URLs of its members, `http://` or `https://`. One is used; others where it fails.
    pub endpoints: Vec<String>,
    /// What all keys start with; coordinators of one cluster have the same.
    pub prefix: String,
    /// For `https://`.
    pub tls: Option<TlsFiles>,
    /// How long an operation is tried again before it fails.
    pub deadline: Duration,
    /// At least so many of the newest events are kept.
    pub kept_events: u64,
}

impl EtcdSettings {
    /// The usual for these endpoints, separated by commas.
    #[must_use]
    pub fn new(endpoints: &str) -> Self {
        Self {
            endpoints: endpoints.split(',').map(|endpoint| endpoint.trim().to_owned()).collect(),
            prefix: "/unicron".to_owned(),
            tls: None,
            deadline: Duration::from_secs(10),
            kept_events: KEPT_EVENTS,
        }
    }
}

/// A store in etcd.
#[derive(Debug)]
pub struct Etcd {
    client: Client,
    keys: Keys,
    kept_events: u64,
    /// Leases of leaderships that this store has lost or left without revoking them. They must not make
    /// its next campaign wait.
    left_leases: Arc<Mutex<Vec<i64>>>,
}

impl Etcd {
    /// A store by these settings. Nothing is connected yet: etcd may come up later.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for an endpoint that is none, or one that lacks TLS; [`crate::Error::Io`] for a file
    /// that can't be read.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(settings: &EtcdSettings) -> Result<Self> {
        Ok(Self {
            client: Client::new(settings)?,
            keys: Keys { prefix: settings.prefix.trim_end_matches('/').to_owned() },
            kept_events: settings.kept_events,
            left_leases: Arc::default(),
        })
    }
}

#[tonic::async_trait]
impl Store for Etcd {
    async fn load(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let start = self.keys.state(prefix);
        let end = after_prefix(&start);
        let found = self.client.range("load", start.into_bytes(), end, usize::MAX).await?;
        let own = self.keys.state("").len();
        let entry = |KeyValue { key, value, .. }| match String::from_utf8(key) {
            Ok(key) => Ok((key[own..].to_owned(), value)),
            Err(error) => {
                let key = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Err(self.client.error(format!("the key {key:?} is not ours: delete it")))
            }
        };
        found.into_iter().map(entry).collect()
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>> {
        let start = self.keys.event(after.saturating_add(1)).into_bytes();
        let end = after_prefix(&self.keys.events());
        let limit = limit.min(MOST_EVENTS_READ);
        let found = self.client.range("events", start, end, limit).await?;
        let event = |KeyValue { key, value, .. }| {
            let number = std::str::from_utf8(&key).ok();
            let number = number.and_then(|key| key.strip_prefix(&self.keys.events()));
            match number.and_then(|number| number.parse().ok()) {
                Some(sequence) => Ok(Event { sequence, body: value }),
                None => {
                    let key = String::from_utf8_lossy(&key);
                    Err(self.client.error(format!("the key {key:?} is not ours: delete it")))
                }
            }
        };
        found.into_iter().map(event).collect()
    }

    async fn leader(&self) -> Result<Option<String>> {
        let candidates = self.keys.election();
        let request = RangeRequest {
            range_end: after_prefix(&candidates),
            key: candidates.into_bytes(),
            limit: 1,
            sort_order: SortOrder::Ascend.into(),
            sort_target: SortTarget::Create.into(),
            ..RangeRequest::default()
        };
        let answer = self.client.range_once("leader", &request).await?;
        let identity = |first: KeyValue| String::from_utf8_lossy(&first.value).into_owned();
        Ok(answer.kvs.into_iter().next().map(identity))
    }

    async fn campaign(&self, identity: &str, ttl: Duration) -> Result<Box<dyn Leadership>> {
        Ok(Box::new(election::campaign(self, identity, ttl).await?))
    }
}

/// Names of keys.
#[derive(Debug, Clone)]
struct Keys {
    prefix: String,
}

impl Keys {
    fn head(&self) -> String {
        format!("{}/head", self.prefix)
    }

    fn state(&self, key: &str) -> String {
        format!("{}/state/{key}", self.prefix)
    }

    fn events(&self) -> String {
        format!("{}/events/", self.prefix)
    }

    fn event(&self, sequence: u64) -> String {
        format!("{}/events/{sequence:020}", self.prefix)
    }

    fn election(&self) -> String {
        format!("{}/election/", self.prefix)
    }

    fn candidate(&self, lease: i64) -> String {
        format!("{}/election/{lease:016x}", self.prefix)
    }
}

/// The end of the range of all keys that start with `prefix`.
fn after_prefix(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_owned();
    // No byte of UTF-8 is 255, and prefixes end with a name of ours at least.
    *end.last_mut().expect("a prefix has a name in it") += 1;
    end
}
