//! A task while it runs: its workers, their group, how far it is.

use crate::coordinator::TaskFile;
use crate::coordinator::account::Account;
use crate::detect::{Exit, Observation};
use crate::worker::protocol::{Checkpoint, Group, Redone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A task that was submitted.
#[derive(Debug, Clone)]
pub struct Task {
    /// What its owner wants.
    pub file: TaskFile,
    /// The file's text, as it is stored.
    pub toml: String,
    /// Whether and how it has ended.
    pub end: Option<End>,
    /// For people: why it waits or has ended.
    pub reason: String,
    /// What the plan gives it: workers by node.
    pub granted: BTreeMap<usize, usize>,
    /// Its workers by number.
    pub workers: BTreeMap<u64, Worker>,
    /// Who works together now.
    pub group: Option<Group>,
    /// Whether the group has committed an iteration.
    pub has_committed: bool,
    /// The newest checkpoint on disk that counts.
    pub checkpoint: Option<Checkpoint>,
    /// How far it is, and what that took.
    pub progress: Progress,
    /// What it has got for its workers' time.
    pub account: Account,
    /// Signs of trouble since it last made progress.
    pub observations: Vec<Observation>,
    /// Workers that are gone since then, and how they ended.
    pub departed: BTreeMap<u64, Departed>,
    /// Processes that have just failed, of a task that starts again as a whole.
    pub exits: Vec<Exited>,
    /// When it is judged which of them is to blame, in seconds.
    pub judge_at_s: Option<f64>,
    /// Connections that are said to be lost.
    pub lost_connections: Vec<LostConnection>,
    /// When the first worker was said to hang, in seconds.
    pub hung_since_s: Option<f64>,
    /// Since when it stands still, in seconds: since its step should have been over.
    pub still_since_s: Option<f64>,
    /// When a first group is formed of whoever is ready, in seconds.
    pub form_at_s: Option<f64>,
    /// When the present group was formed, in seconds.
    pub formed_s: f64,
    /// An incident that is tried to be cured by a new group of the same workers.
    pub reattempt: Option<u64>,
    /// Until then workers that end aren't started again, in seconds.
    pub paused_until_s: Option<f64>,
}

/// How a task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It has done its work.
    Done,
    /// Somebody has stopped it.
    Stopped,
    /// It can't recover.
    Failed,
}

/// How far a task is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Iterations that are committed.
    pub iteration: u64,
    /// The mean loss of the last that said so.
    pub loss: Option<f64>,
    /// What was computed a second time.
    pub redone: Redone,
    /// Failures of its workers.
    pub failures: u64,
    /// The exit code of the worker that was last to blame, as a shell reports it.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Workers of its last group.
    #[serde(default)]
    pub world: usize,
    /// Groups that it had.
    #[serde(default)]
    pub groups: u64,
    /// Iterations that one worker has committed twice: there must be none.
    pub committed_twice: u64,
    /// The result.
    pub weights_file: String,
    /// Of that file.
    pub weights_sha256: String,
}

/// A process of a task.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its node.
    pub node: usize,
    /// Its pipeline stage.
    pub stage: u32,
    /// Its process, once it is started.
    pub pid: u32,
    /// Where others reach it, once it is ready.
    pub address: Option<String>,
    /// Of its arithmetic.
    pub fingerprint: String,
    /// Whether it goes as soon as the others can do without it.
    pub is_leaving: bool,
    /// The incident that it was started to cure.
    pub incident: Option<u64>,
    /// The last iteration that it has committed.
    pub committed: u64,
    /// For whom it waits, and in which epoch it said so.
    pub waiting: Option<(u64, Vec<u64>)>,
    /// It is said to hang; with the state of its process.
    pub hung: Option<char>,
    /// It is at fault, and is ended when its place is taken.
    pub is_doomed: bool,
    /// It has done its part of the whole task.
    pub is_done: bool,
}

/// A worker that is gone.
#[derive(Debug, Clone, Copy)]
pub struct Departed {
    /// Its node.
    pub node: usize,
    /// How it ended, where anybody knows.
    pub exit: Option<Exit>,
}

/// A process that has failed.
#[derive(Debug, Clone)]
pub struct Exited {
    /// The worker.
    pub worker: u64,
    /// Its node.
    pub node: usize,
    /// The incident that it was started to cure.
    pub incident: Option<u64>,
    /// How it ended, where anybody knows.
    pub exit: Option<Exit>,
    /// For people.
    pub text: String,
    /// The last that it said.
    pub last_lines: Vec<String>,
    /// When, in seconds, as far as anybody knows.
    pub at_s: f64,
}

/// A worker says that its connection to another is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LostConnection {
    /// In which group.
    pub epoch: u64,
    /// Who says so.
    pub worker: u64,
    /// The other end.
    pub peer: u64,
    /// When, in seconds.
    pub at_s: f64,
}

impl Worker {
    /// A worker that is to be started.
    #[must_use]
    pub fn new(node: usize, stage: u32) -> Self {
        Self {
            node,
            stage,
            pid: 0,
            address: None,
            fingerprint: String::new(),
            is_leaving: false,
            incident: None,
            committed: 0,
            waiting: None,
            hung: None,
            is_doomed: false,
            is_done: false,
        }
    }
}

impl Task {
    /// A task without workers.
    #[must_use]
    pub fn new(file: TaskFile, toml: String) -> Self {
        Self {
            file,
            toml,
            end: None,
            reason: String::new(),
            granted: BTreeMap::new(),
            workers: BTreeMap::new(),
            group: None,
            has_committed: false,
            checkpoint: None,
            progress: Progress::default(),
            account: Account::default(),
            observations: Vec::new(),
            departed: BTreeMap::new(),
            exits: Vec::new(),
            judge_at_s: None,
            lost_connections: Vec::new(),
            hung_since_s: None,
            still_since_s: None,
            form_at_s: None,
            formed_s: 0.0,
            reattempt: None,
            paused_until_s: None,
        }
    }

    /// For people and scripts.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.end {
            Some(End::Done) => "done",
            Some(End::Stopped) => "stopped",
            Some(End::Failed) => "failed",
            None if self.workers.is_empty() => "waiting",
            None if self.group.is_none() && self.progress.failures > 0 => "recovering",
            None if self.group.is_none() => "starting",
            None => "running",
        }
    }

    /// Workers that stay, of one stage or of all.
    pub fn staying(&self, stage: Option<u32>) -> impl Iterator<Item = (&u64, &Worker)> {
        let is_meant = move |worker: &Worker| {
            !worker.is_leaving && stage.is_none_or(|stage| worker.stage == stage)
        };
        self.workers.iter().filter(move |(_, worker)| is_meant(worker))
    }

    /// Whether its work counts once it is committed: that of a program that never commits anything counts
    /// at once.
    #[must_use]
    pub fn commits(&self) -> bool {
        !self.file.starts_with_group() || self.progress.iteration > 0
    }

    /// The epoch of its group; 0 without one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.group.as_ref().map_or(0, |group| group.epoch)
    }

    /// Whether a worker is in the group.
    #[must_use]
    pub fn is_member(&self, worker: u64) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| group.members.iter().any(|member| member.worker == worker))
    }
}
