//! Calls to etcd that outlast its restarts: tried again, at its next member, until a deadline.
//!
//! So a call may be made twice although it worked the first time. Whoever calls makes that harmless.

use super::EtcdSettings;
use super::wire::kv_client::KvClient;
use super::wire::{KeyValue, RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use crate::store::{MOST_CHANGE_BYTES, MOST_KEY_BYTES};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Response, Status};

/// Keys of one answer.
const PAGE: usize = 64;

/// No answer is larger: each of its values was once part of a change.
const MOST_ANSWER_BYTES: usize = PAGE * (MOST_CHANGE_BYTES + MOST_KEY_BYTES + 1024);

/// The shortest and the longest time that an attempt is given; else a quarter of all the time there is, so
/// that a member that hangs leaves some for the others.
const ATTEMPT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// The pause after a first attempt that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How often a connection is tried while nothing is said on it, and how long it may stay silent then.
const PING: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub(super) struct Client(Arc<Members>);

#[derive(Debug)]
struct Members {
    names: String,
    channels: Vec<Channel>,
    /// The one that answered last.
    current: AtomicUsize,
    deadline: Duration,
}

impl Client {
    pub fn new(settings: &EtcdSettings) -> Result<Self> {
        let tls =
            settings.tls.as_ref().map(|files| files.read().map(|tls| tls.client())).transpose()?;
        let channel = |endpoint: &String| channel(endpoint, tls.as_ref());
        let channels = settings.endpoints.iter().map(channel).collect::<Result<Vec<_>>>()?;
        if channels.is_empty() {
            return Err(setting("no endpoint is given: it takes one URL or more".to_owned()));
        }
        Ok(Self(Arc::new(Members {
            names: settings.endpoints.join(","),
            channels,
            current: AtomicUsize::new(0),
            deadline: settings.deadline,
        })))
    }

    /// An error of this store.
    pub fn error(&self, problem: String) -> Error {
        Error::Store { store: self.name(), problem }
    }

    /// As errors call it.
    pub fn name(&self) -> String {
        self.0.names.clone()
    }

    /// To the member that answered last.
    pub fn channel(&self) -> Channel {
        self.0.channels[self.0.current.load(Ordering::Relaxed)].clone()
    }

    /// Goes on to the next member.
    fn turn(&self, from: usize) {
        let next = (from + 1) % self.0.channels.len();
        // Others may have found it dead, too: one step is enough.
        let _ = self.0.current.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Attempts a call until it is answered or the store's deadline has passed.
    pub async fn call<T, F>(&self, what: &str, attempt: impl Fn(Channel) -> F) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_within(self.0.deadline, what, attempt).await
    }

    /// As [`Client::call`], with another deadline.
    pub async fn call_within<T, F>(
        &self,
        patience: Duration,
        what: &str,
        attempt: impl Fn(Channel) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + patience;
        let longest = (patience / 4).clamp(ATTEMPT.0, ATTEMPT.1).min(patience);
        let mut pause = PAUSES.0;
        loop {
            let member = self.0.current.load(Ordering::Relaxed);
            let answer = timeout(longest, attempt(self.0.channels[member].clone())).await;
            let problem = match answer {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if is_final(&status) => {
                    return Err(self.error(format!(
                        "{what}: {}{}",
                        status.message(),
                        advice(&status)
                    )));
                }
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => format!("no answer within {longest:?}"),
            };
            self.turn(member);
            if Instant::now() + pause >= deadline {
                let problem =
                    format!("{what}: not done within {patience:?}, is etcd up? {problem}");
                return Err(self.error(problem));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The first of a range's keys, as many as an answer may hold.
    pub async fn range_once(&self, what: &str, request: &RangeRequest) -> Result<RangeResponse> {
        self.call(what, |channel| {
            let request = request.clone();
            async move { kv(channel).range(request).await }
        })
        .await
    }

    /// At most `limit` keys from `key` to before `range_end`, all as of one revision.
    pub async fn range(
        &self,
        what: &str,
        key: Vec<u8>,
        range_end: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<KeyValue>> {
        let mut found: Vec<KeyValue> = Vec::new();
        let mut request = RangeRequest { key, range_end, ..RangeRequest::default() };
        while found.len() < limit {
            request.limit = PAGE.min(limit - found.len()) as i64;
            let answer = self.range_once(what, &request).await?;
            if request.revision == 0 {
                request.revision = answer.header.unwrap_or_default().revision;
            }
            found.extend(answer.kvs);
            let Some(last) = found.last().filter(|_| answer.more) else { break };
            request.key = [last.key.as_slice(), &[0]].concat();
        }
        Ok(found)
    }

    pub async fn transact(&self, what: &str, request: &TxnRequest) -> Result<TxnResponse> {
        self.call(what, |channel| {
            let request = request.clone();
            async move { kv(channel).txn(request).await }
        })
        .await
    }
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MOST_ANSWER_BYTES)
}

/// Whether another attempt would be answered the same.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::ResourceExhausted
    )
}

fn advice(status: &Status) -> &'static str {
    match status.code() {
        Code::ResourceExhausted => " (compact and defragment etcd, or raise its quota)",
        Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => {
            " (if etcd has users, give a client certificate; passwords are not supported)"
        }
        _ => "",
    }
}

fn channel(endpoint: &str, tls: Option<&ClientTlsConfig>) -> Result<Channel> {
    let wrong = |problem: String| setting(format!("{endpoint:?} {problem}"));
    let is_encrypted = endpoint.starts_with("https://");
    if !is_encrypted && !endpoint.starts_with("http://") {
        return Err(wrong("is no URL that starts with http:// or https://".to_owned()));
    }
    let built = Endpoint::from_shared(endpoint.to_owned());
    let mut built = built
        .map_err(|error| wrong(format!("is no URL: {error}")))?
        .connect_timeout(ATTEMPT.1)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true);
    if is_encrypted {
        let Some(tls) = tls else {
            return Err(wrong(
                "needs the certificate of the authority that signed etcd's".to_owned(),
            ));
        };
        built = built.tls_config(tls.clone()).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(built.connect_lazy())
}

fn setting(problem: String) -> Error {
    Error::Setting { setting: "etcd".to_owned(), problem }
}
