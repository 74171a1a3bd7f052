//! The log as `unicron events --json` prints it.

use crate::bins::Bins;
use crate::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A log, and what it says of nodes and tasks.
#[derive(Debug)]
pub(super) struct Log {
    pub events: Vec<Event>,
    /// By name.
    pub nodes: BTreeMap<String, Node>,
    /// Those that have trained, by name: of several of one name the last.
    pub tasks: BTreeMap<String, Task>,
}

#[derive(Debug, Deserialize)]
struct Printed {
    events: Vec<Event>,
}

/// Something that has happened.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub at_ms: i64,
    pub kind: String,
    #[serde(default)]
    pub task: String,
    #[serde(default)]
    pub node: String,
    #[serde(default)]
    pub worker: u64,
    #[serde(default)]
    details: Value,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// In the order in which they came.
    pub number: usize,
    pub slots: usize,
}

/// A task.
#[derive(Debug)]
pub(super) struct Task {
    /// In the order in which they were submitted.
    pub number: usize,
    pub wanted: Wanted,
    /// What it had got, by the time in milliseconds.
    pub accounts: Vec<(i64, Account)>,
}

/// What its owner wants.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Wanted {
    pub weight: f64,
    pub workers: usize,
    pub min_workers: usize,
    pub guaranteed_workers: Option<usize>,
    pub stages: usize,
    pub flops_per_worker: f64,
}

/// What a task had got.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Account {
    /// Weighted FLOPs.
    pub waf: f64,
    /// Seconds of its workers.
    pub worker_s: Bins,
    /// Seconds of an iteration as it is, if one was undisturbed.
    pub iteration_s: Option<f64>,
}

/// A part of a log's time, in milliseconds of the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub from_ms: i64,
    pub to_ms: i64,
}

impl Window {
    pub fn seconds(self) -> f64 {
        (self.to_ms - self.from_ms) as f64 / 1e3
    }

    /// Seconds from its start; `None` outside it.
    pub fn at_s(self, at_ms: f64) -> Option<f64> {
        let at_s = (at_ms - self.from_ms as f64) / 1e3;
        (0.0..=self.seconds()).contains(&at_s).then_some(at_s)
    }
}

impl Event {
    /// A part of its details.
    pub fn detail<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        T::deserialize(self.details.get(key)?).ok()
    }
}

impl Log {
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let printed: Printed = serde_json::from_str(text).map_err(|error| {
            let problem = format!("is no log as `unicron events --json` prints it: {error}");
            Error::line(path, error.line().max(1), problem)
        })?;
        let mut log =
            Self { events: printed.events, nodes: BTreeMap::new(), tasks: BTreeMap::new() };
        let mut submitted = 0;
        for event in &log.events {
            if event.kind == "node-joined" {
                let (number, slots) = (log.nodes.len(), event.detail("slots").unwrap_or(1));
                let node = Node { number, slots };
                log.nodes.entry(event.node.clone()).or_insert(node).slots = slots;
            }
            if let Some(wanted) = event.detail("task") {
                let task = Task { number: submitted, wanted, accounts: Vec::new() };
                log.tasks.insert(event.task.clone(), task);
                submitted += 1;
            }
            if let Some(account) = event.detail("account")
                && let Some(task) = log.tasks.get_mut(&event.task)
            {
                task.accounts.push((event.at_ms, account));
            }
        }
        log.tasks.retain(|_, task| !task.accounts.is_empty());
        Ok(log)
    }

    /// The time in which all tasks train.
    pub fn window(&self) -> Result<Window, String> {
        let times = |task: &Task| Some((task.accounts.first()?.0, task.accounts.last()?.0));
        let times: Vec<(i64, i64)> = self.tasks.values().filter_map(times).collect();
        let from_ms = times.iter().map(|(first, _)| *first).max();
        let to_ms = times.iter().map(|(_, last)| *last).min();
        let (Some(from_ms), Some(to_ms)) = (from_ms, to_ms) else {
            return Err("no task of this log has committed an iteration".to_owned());
        };
        // Times of a hostile log may be anything.
        match to_ms.checked_sub(from_ms) {
            Some(1..) => Ok(Window { from_ms, to_ms }),
            _ => Err("there is no time in which all tasks of this log train, from the first \
                      iteration of the last to the end of the first: tell of one in which they do"
                .to_owned()),
        }
    }
}

impl Task {
    /// What it had got at a time: between two accounts in proportion.
    pub fn account_at(&self, at_ms: i64) -> Option<Account> {
        let next = self.accounts.partition_point(|(time_ms, _)| *time_ms < at_ms);
        let after = self.accounts.get(next).or(self.accounts.last())?;
        let before = self.accounts[..next].last().unwrap_or(after);
        // Times of a hostile log may be anything.
        let since_ms = |time_ms: i64| time_ms as f64 - before.0 as f64;
        let gap_ms = since_ms(after.0);
        let part = if gap_ms > 0.0 { since_ms(at_ms) / gap_ms } else { 1.0 };
        let between = |from: f64, to: f64| from + part.clamp(0.0, 1.0) * (to - from);
        let (from, to) = (before.1.worker_s, after.1.worker_s);
        Some(Account {
            waf: between(before.1.waf, after.1.waf),
            worker_s: Bins {
                useful: between(from.useful, to.useful),
                detecting: between(from.detecting, to.detecting),
                in_transition: between(from.in_transition, to.in_transition),
                redone: between(from.redone, to.redone),
                idle: between(from.idle, to.idle),
            },
            iteration_s: after.1.iteration_s,
        })
    }
}
