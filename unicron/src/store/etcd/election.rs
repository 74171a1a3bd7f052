//! Who leads: the candidate whose key was created first, as in etcd's own `concurrency` package. Each waits
//! for the one before it only, so that an end of leadership wakes one candidate and not all.

use super::lease::{Lease, revoke_left};
use super::reign::{Position, Reign};
use super::wire::compare::{CompareResult, CompareTarget, TargetUnion};
use super::wire::range_request::{SortOrder, SortTarget};
use super::wire::request_op::Request;
use super::wire::response_op::Response;
use super::wire::watch_client::WatchClient;
use super::wire::watch_create_request::FilterType;
use super::wire::watch_request::RequestUnion;
use super::wire::{
    Compare, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchRequest,
};
use super::{Etcd, after_prefix};
use crate::Result;
use crate::store::head::Head;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// The pause before a watch that broke is made again.
const PAUSE: Duration = Duration::from_millis(100);

/// A candidate, as etcd knows it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub key: String,
    /// Of the key: a key that was deleted and made again has another.
    pub created: i64,
}

/// Enters, waits for its turn and begins a term.
pub(super) async fn campaign(etcd: &Etcd, identity: &str, ttl: Duration) -> Result<Reign> {
    loop {
        revoke_left(etcd).await?;
        let lease = Lease::grant(etcd, ttl).await?;
        let candidate = enter(etcd, &lease, identity).await?;
        let turn = tokio::select! {
            turn = wait_for_turn(etcd, &lease, &candidate) => Some(turn?),
            _ = lease.over.wait() => None,
        };
        if turn.is_some()
            && let Some(position) = begin(etcd, &candidate).await?
        {
            return Ok(Reign::new(etcd, lease, candidate, position));
        }
        // The lease ran out before its turn came: at the end of the queue again.
    }
}

/// Puts the candidate's key, with the identity in it.
async fn enter(etcd: &Etcd, lease: &Lease, identity: &str) -> Result<Candidate> {
    let key = etcd.keys.candidate(lease.id);
    let put = PutRequest {
        key: key.clone().into_bytes(),
        value: identity.as_bytes().to_owned(),
        lease: lease.id,
    };
    let request = TxnRequest {
        compare: vec![is_created(&key, 0)],
        success: vec![operation(Request::RequestPut(put))],
        failure: vec![read(&key)],
    };
    let answer = etcd.client.transact("enter the election", &request).await?;
    // Where it fails an attempt before has put the key.
    let created = if answer.succeeded {
        answer.header.unwrap_or_default().revision
    } else {
        answered(answer).first().cloned().flatten().map_or(0, |own| own.create_revision)
    };
    Ok(Candidate { key, created })
}

/// Waits until no candidate is left that entered before.
async fn wait_for_turn(etcd: &Etcd, lease: &Lease, candidate: &Candidate) -> Result<()> {
    let candidates = etcd.keys.election();
    let before = RangeRequest {
        range_end: after_prefix(&candidates),
        key: candidates.into_bytes(),
        limit: 1,
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Create.into(),
        max_create_revision: candidate.created - 1,
        ..RangeRequest::default()
    };
    loop {
        let answer = etcd.client.range_once("wait for the leader", &before).await?;
        let Some(other) = answer.kvs.into_iter().next() else { return Ok(()) };
        let seen = answer.header.unwrap_or_default().revision;
        // A member that others have left behind says nothing: so it is asked again after a while.
        let _ = timeout(lease.ttl, wait_for_deletion(etcd, other.key, seen + 1)).await;
    }
}

/// Waits until the key is deleted at `revision` or later, or nobody can tell.
async fn wait_for_deletion(etcd: &Etcd, key: Vec<u8>, revision: i64) {
    let create = WatchCreateRequest {
        key,
        start_revision: revision,
        filters: vec![FilterType::Noput.into()],
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The stream of requests stays open as long as the watch.
    let (requests, stream) = mpsc::channel(1);
    if requests.send(request).await.is_err() {
        return;
    }
    let watch = WatchClient::new(etcd.client.channel()).watch(ReceiverStream::new(stream)).await;
    let Ok(answers) = watch else { return sleep(PAUSE).await };
    let mut answers = answers.into_inner();
    loop {
        match answers.message().await {
            Ok(Some(answer)) if !answer.events.is_empty() => return,
            Ok(Some(answer)) if !answer.canceled => {}
            _ => return sleep(PAUSE).await,
        }
    }
}

/// Begins the next term; `None` if the candidate's key is gone.
async fn begin(etcd: &Etcd, candidate: &Candidate) -> Result<Option<Position>> {
    let key = etcd.keys.head();
    let read_head = RangeRequest { key: key.clone().into_bytes(), ..RangeRequest::default() };
    loop {
        let stored =
            etcd.client.range_once("read the head", &read_head).await?.kvs.into_iter().next();
        let value = stored.as_ref().map(|stored| stored.value.as_slice());
        let head = Head::read(value, &etcd.client.name())?.led();
        let request = TxnRequest {
            compare: vec![
                is_created(&candidate.key, candidate.created),
                is_modified(&key, stored.map_or(0, |stored| stored.mod_revision)),
            ],
            success: vec![put(&key, head.write())],
            failure: vec![read(&candidate.key)],
        };
        let answer = etcd.client.transact("begin a term", &request).await?;
        if answer.succeeded {
            let revision = answer.header.unwrap_or_default().revision;
            return Ok(Some(Position { head, revision, issued: 0 }));
        }
        let own = answered(answer).first().cloned().flatten();
        if own.is_none_or(|own| own.create_revision != candidate.created) {
            return Ok(None);
        }
        // An attempt before has begun a term, unseen: it stays unused.
    }
}

/// That `key` was created at this revision; at 0, that there is none.
pub(super) fn is_created(key: &str, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.as_bytes().to_owned(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

/// That `key` was last put at this revision; at 0, that there is none.
pub(super) fn is_modified(key: &str, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.as_bytes().to_owned(),
        target_union: Some(TargetUnion::ModRevision(revision)),
    }
}

pub(super) fn operation(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub(super) fn put(key: &str, value: Vec<u8>) -> RequestOp {
    operation(Request::RequestPut(PutRequest { key: key.as_bytes().to_owned(), value, lease: 0 }))
}

pub(super) fn read(key: &str) -> RequestOp {
    let key = key.as_bytes().to_owned();
    operation(Request::RequestRange(RangeRequest { key, ..RangeRequest::default() }))
}

/// What the reads of a transaction found, one by one.
pub(super) fn answered(answer: TxnResponse) -> Vec<Option<KeyValue>> {
    let found = |Response::ResponseRange(range)| range.kvs.into_iter().next();
    answer.responses.into_iter().map(|answer| answer.response.and_then(found)).collect()
}
