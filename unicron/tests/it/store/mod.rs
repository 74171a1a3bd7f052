//! The coordinator's stores: one list of cases that both kinds pass, then what is each one's own.

mod cluster;
mod embedded;
mod etcd;
mod proxy;

pub use cluster::Server;
use cluster::{Cluster, KEPT_EVENTS};
use std::sync::Arc;
use std::time::{Duration, Instant};
use unicron::Error;
use unicron::store::{Change, Leadership, MOST_CHANGE_BYTES, MOST_CHANGE_PARTS, Store};

/// Of a leader. Short, but longer than a busy machine keeps a process from running.
const TTL: Duration = Duration::from_secs(2);

/// No leadership changes hands later than this after its ttl, on a busy machine.
const SLACK: Duration = Duration::from_secs(20);

/// Each case once for each kind of store.
macro_rules! conformance {
    ($($case:ident)*) => {
        mod both {
            mod embedded {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::super::$case(super::super::Cluster::embedded()).await;
                })*
            }
            mod etcd {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(cluster) = super::super::Cluster::etcd() {
                        super::super::$case(cluster).await;
                    }
                })*
            }
        }
    };
}

conformance! {
    what_is_committed_is_loaded
    a_commit_is_whole_or_not_at_all
    a_large_commit_is_one_commit
    events_are_read_in_parts_and_bounded
    a_crash_loses_nothing_and_terms_go_on
    a_leader_that_resigned_is_refused_and_the_next_one_leads
    the_next_one_leads_after_a_silent_death
    a_commit_that_was_given_up_does_no_harm
}

async fn lead(store: &Arc<dyn Store>, identity: &str) -> Box<dyn Leadership> {
    store.campaign(identity, TTL).await.unwrap()
}

/// A change with one write and one event, which belong together.
fn step(number: u64) -> Change {
    let mut change = Change::new();
    change.put("step", number.to_string()).append(number.to_string());
    change
}

fn entries(expected: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_owned());
    expected.iter().map(entry).collect()
}

/// The events from `after` on are the steps `from..=to`, without a gap, and the state is the last one's.
async fn assert_steps(store: &Arc<dyn Store>, after: u64, from: u64, to: u64) {
    let events = store.events(after, usize::MAX).await.unwrap();
    let found: Vec<(u64, String)> = events
        .into_iter()
        .map(|event| (event.sequence, String::from_utf8(event.body).unwrap()))
        .collect();
    let expected: Vec<_> = (from..=to).map(|number| (number, number.to_string())).collect();
    assert_eq!(found, expected);
    assert_eq!(store.load("step").await.unwrap(), entries(&[("step", &to.to_string())]));
}

#[track_caller]
fn assert_over(refused: Result<u64, Error>, term: u64) {
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::LeadershipOver { term: over, .. } if over == term), "{error}");
}

async fn what_is_committed_is_loaded(mut cluster: Cluster) {
    let store = cluster.candidate().await;
    assert_eq!(store.load("").await.unwrap(), []);
    assert_eq!(store.events(0, 10).await.unwrap(), []);
    assert_eq!(store.leader().await.unwrap(), None);
    let leader = lead(&store, "10.0.0.1:7000").await;
    assert_eq!(store.leader().await.unwrap().as_deref(), Some("10.0.0.1:7000"));
    let mut change = Change::new();
    change.put("task/b", "2").put("task/a", "1").put("node/ä", "3").put("tasks", "4");
    change.append("first").append("second");
    assert_eq!(leader.commit(change).await.unwrap(), 2);
    let tasks = entries(&[("task/a", "1"), ("task/b", "2")]);
    assert_eq!(store.load("task/").await.unwrap(), tasks);
    let mut change = Change::new();
    change.put("task/a", "").delete("task/b").delete("task/c");
    assert_eq!(leader.commit(change).await.unwrap(), 2);
    assert_eq!(leader.commit(Change::new()).await.unwrap(), 2);
    // Whoever doesn't lead sees the same.
    let other = cluster.candidate().await;
    let all = entries(&[("node/ä", "3"), ("task/a", ""), ("tasks", "4")]);
    assert_eq!(other.load("").await.unwrap(), all);
    assert_eq!(other.load("task/a").await.unwrap(), entries(&[("task/a", "")]));
    assert_eq!(other.load("task/b").await.unwrap(), []);
    let events = other.events(0, 10).await.unwrap();
    let bodies: Vec<_> = events.iter().map(|event| (event.sequence, &*event.body)).collect();
    assert_eq!(bodies, [(1, b"first".as_slice()), (2, b"second".as_slice())]);
    assert_eq!(other.events(1, 10).await.unwrap(), events[1..]);
    assert_eq!(other.events(0, 1).await.unwrap(), events[..1]);
    assert_eq!(other.events(2, 10).await.unwrap(), []);
    assert_eq!(other.events(u64::MAX, 10).await.unwrap(), []);
}

async fn a_commit_is_whole_or_not_at_all(mut cluster: Cluster) {
    let store = cluster.candidate().await;
    let leader = lead(&store, "a").await;
    leader.commit(step(1)).await.unwrap();
    let mut refused = step(2);
    refused.put("", "a key must have a name");
    let mut large = step(2);
    large.put("large", vec![0; MOST_CHANGE_BYTES]);
    let mut many = step(2);
    for part in 0..MOST_CHANGE_PARTS {
        many.put(part.to_string(), "");
    }
    for change in [refused, large, many] {
        let error = leader.commit(change).await.unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
        assert_steps(&store, 0, 1, 1).await;
        assert_eq!(store.load("").await.unwrap().len(), 1);
    }
    leader.commit(step(2)).await.unwrap();
    assert_steps(&store, 0, 1, 2).await;
}

async fn a_large_commit_is_one_commit(mut cluster: Cluster) {
    let store = cluster.candidate().await;
    let leader = lead(&store, "a").await;
    let half = MOST_CHANGE_PARTS / 2;
    let size = MOST_CHANGE_BYTES / MOST_CHANGE_PARTS - 20;
    let mut change = Change::new();
    for part in 0..half {
        change.put(format!("{part:06}"), vec![b'v'; size]).append(vec![b'e'; size]);
    }
    assert_eq!(leader.commit(change).await.unwrap(), half as u64);
    let state = store.load("").await.unwrap();
    assert_eq!(state.len(), half);
    assert!(state.iter().enumerate().all(|(part, (key, _))| *key == format!("{part:06}")));
    assert_eq!(store.events(0, usize::MAX).await.unwrap().len(), half);
    let mut change = Change::new();
    for part in 0..half {
        change.delete(format!("{part:06}"));
    }
    leader.commit(change).await.unwrap();
    assert_eq!(store.load("").await.unwrap(), []);
}

async fn events_are_read_in_parts_and_bounded(mut cluster: Cluster) {
    let store = cluster.candidate().await;
    let leader = lead(&store, "a").await;
    for number in 1..=KEPT_EVENTS {
        assert_eq!(leader.commit(step(number)).await.unwrap(), number);
    }
    assert_steps(&store, 0, 1, KEPT_EVENTS).await;
    assert_steps(&store, KEPT_EVENTS - 3, KEPT_EVENTS - 2, KEPT_EVENTS).await;
    let last = KEPT_EVENTS + 3;
    for number in KEPT_EVENTS + 1..=last {
        assert_eq!(leader.commit(step(number)).await.unwrap(), number);
    }
    // The oldest are gone; whoever had read less sees by the numbers what it has missed.
    assert_steps(&store, 0, 4, last).await;
}

async fn a_crash_loses_nothing_and_terms_go_on(mut cluster: Cluster) {
    let mut terms = Vec::new();
    for round in 0..3 {
        let store = cluster.candidate().await;
        let leader = lead(&store, "a").await;
        terms.push(leader.term());
        for number in round * 5 + 1..=round * 5 + 5 {
            assert_eq!(leader.commit(step(number)).await.unwrap(), number);
        }
        cluster.crash().await;
        let store = cluster.candidate().await;
        assert_steps(&store, 0, 1, round * 5 + 5).await;
    }
    assert!(terms.is_sorted_by(|before, after| before < after), "{terms:?}");
}

async fn a_leader_that_resigned_is_refused_and_the_next_one_leads(mut cluster: Cluster) {
    let (first, second) = (cluster.candidate().await, cluster.candidate().await);
    let leader = lead(&first, "first").await;
    leader.commit(step(1)).await.unwrap();
    let waiting = tokio::spawn({
        let second = Arc::clone(&second);
        async move { second.campaign("second", TTL).await.unwrap() }
    });
    // Longer than the ttl: it doesn't lead while the first one lives.
    tokio::time::sleep(TTL * 2).await;
    assert!(!waiting.is_finished());
    assert_eq!(leader.commit(step(2)).await.unwrap(), 2);
    leader.resign().await.unwrap();
    assert_eq!(leader.lost().await, "it was resigned");
    let next = waiting.await.unwrap();
    assert!(next.term() > leader.term());
    assert_eq!(first.leader().await.unwrap().as_deref(), Some("second"));
    assert_eq!(next.commit(step(3)).await.unwrap(), 3);
    assert_over(leader.commit(step(4)).await, leader.term());
    leader.resign().await.unwrap();
    assert_steps(&first, 0, 1, 3).await;
}

async fn the_next_one_leads_after_a_silent_death(mut cluster: Cluster) {
    let (first, second) = (cluster.candidate().await, cluster.candidate().await);
    let leader = lead(&first, "first").await;
    leader.commit(step(1)).await.unwrap();
    let term = leader.term();
    let waiting = tokio::spawn(async move {
        let next = second.campaign("second", TTL).await.unwrap();
        assert_steps(&second, 0, 1, 1).await;
        next
    });
    tokio::time::sleep(TTL / 2).await;
    assert!(!waiting.is_finished());
    let begin = Instant::now();
    drop(leader);
    let next = waiting.await.unwrap();
    assert!(begin.elapsed() < TTL + SLACK, "{:?}", begin.elapsed());
    assert!(next.term() > term);
    assert_eq!(first.leader().await.unwrap().as_deref(), Some("second"));
    // The first one is back at once when its successor goes.
    next.resign().await.unwrap();
    assert!(lead(&first, "first").await.term() > next.term());
}

async fn a_commit_that_was_given_up_does_no_harm(mut cluster: Cluster) {
    let store = cluster.candidate().await;
    let leader = lead(&store, "a").await;
    let mut last = 0;
    for round in 0..20 {
        // It may be made or not, but the next one is made, after it.
        let patience = Duration::from_micros(round * 150);
        let mut given_up = Change::new();
        given_up.append("given up");
        let _ = tokio::time::timeout(patience, leader.commit(given_up)).await;
        let mut seen_through = Change::new();
        seen_through.append("seen through");
        last = leader.commit(seen_through).await.unwrap();
    }
    let events = store.events(0, usize::MAX).await.unwrap();
    assert!(events.iter().map(|event| event.sequence).eq(1..=last));
    assert_eq!(events.iter().filter(|event| event.body == b"seen through").count(), 20);
}
