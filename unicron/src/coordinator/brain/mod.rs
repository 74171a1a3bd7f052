//! What the coordinator thinks: what agents and people say goes in, what is stored, recorded and sent
//! comes out. The decisions are [`crate::core`]'s; here they become workers and groups.
//!
//! | what | file |
//! |---|---|
//! | a node: its agent, its lease | [`node`] |
//! | a task: its workers, how far it is | [`task`] |
//! | which workers a task has on which nodes | `roster` |
//! | who works together | `group` |
//! | tasks that start again as a whole | `whole` |
//! | what fails, and whose it is | `failure` |
//! | what gets done | `progress` |
//! | the core's commands, carried out | `decide` |
//! | what is said where it may not act | [`advice`] |
//! | what time is spent on | [`accounts`] |
//! | what people ask | `request` |
//! | who waits, and who would give way | [`mod@line`] |
//! | what nodes are told to have | `push` |
//! | what is stored, and taking over | [`record`] |
//!
//! **Invariant:** no IO, no clock, no random number: the same calls at the same times have the same
//! results.
//!
//! **Invariant:** what is pushed was stored before: a coordinator that takes over knows every group that
//! any worker may be in.

pub mod accounts;
pub mod advice;
mod decide;
mod failure;
mod group;
pub mod line;
pub mod node;
mod progress;
mod push;
pub mod record;
mod request;
mod roster;
pub mod task;
#[cfg(test)]
mod tests;
mod whole;

pub use push::Told;

use crate::cluster::{Cluster, Hardware};
use crate::core::{Authority, Config, Core, PlanSource};
use crate::plan::Rule;
use crate::plan::table::Table;
use crate::proto::v1;
use node::Node;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use task::Task;

/// The time, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// Seconds of a clock that never goes back; all durations are counted by it.
    pub s: f64,
    /// Milliseconds of the Unix epoch, for people.
    pub wall_ms: i64,
}

impl Now {
    /// The Unix epoch's seconds when `s` was 0.
    fn zero_s(self) -> f64 {
        self.wall_ms as f64 / 1e3 - self.s
    }

    /// Seconds since a time that another machine has told: its clock may be ahead, and by how much it is
    /// behind nobody knows.
    fn since_ms(self, wall_ms: i64) -> f64 {
        match wall_ms {
            0 => 0.0,
            wall_ms => (self.wall_ms.saturating_sub(wall_ms) as f64 / 1e3).max(0.0),
        }
    }
}

/// What an operator may set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Seconds that a node's lease lasts.
    pub lease_s: f64,
    /// Seconds after which a lost connection between two workers that both live is the network's.
    pub connection_grace_s: f64,
    /// Budgets of the core.
    pub core: Config,
    /// How plans are valued.
    pub rule: Rule,
    /// A folder that all nodes see, for checkpoints of tasks that name none.
    pub checkpoints: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // The paper notices a lost node after 5.6 s; this leaves time to plan and to push.
            lease_s: 4.0,
            connection_grace_s: 1.0,
            core: Config::default(),
            rule: Rule::ours(),
            checkpoints: String::new(),
        }
    }
}

/// A cluster, its tasks, and what is to be done about them.
#[derive(Debug, Clone)]
pub struct Brain {
    settings: Settings,
    core: Core,
    /// Of this leadership; the upper half of every number that it gives.
    term: u64,
    next_number: u64,
    /// By the core's index.
    nodes: Vec<Node>,
    /// By the core's index.
    tasks: Vec<Task>,
    outbox: Outbox,
    /// When progress was last stored, in seconds.
    stored_s: f64,
    /// The Unix epoch's seconds when those of [`Now`] were 0: accounts outlive a leadership.
    zero_s: f64,
    /// Plans by where they came from.
    plans: BTreeMap<PlanSource, u64>,
    /// Workers that are to end at once.
    endings: Vec<whole::Ending>,
    /// What would be done. Of this leadership: who takes over finds out anew.
    advice: advice::Book,
}

/// What is to be done, in this order: store, record, send.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    /// Nodes to be stored.
    pub nodes: BTreeSet<usize>,
    /// Tasks to be stored.
    pub tasks: BTreeSet<usize>,
    /// What has happened.
    pub events: Vec<Happened>,
    /// Nodes whose agents are to hear their newest state.
    pub pushes: BTreeSet<usize>,
    /// Messages to nodes' agents.
    pub sends: Vec<(usize, v1::to_agent::Message)>,
    /// A table of plans is wanted for this epoch of the core.
    pub table: Option<u64>,
}

/// Something that has happened, before it has its number in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// Milliseconds of the Unix epoch.
    pub at_ms: i64,
    /// What sort of thing.
    pub kind: String,
    /// The task's name, if it is about one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// The node's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// The worker.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub worker: u64,
    /// For people.
    pub text: String,
    /// For programs.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How often the progress of tasks is stored. What is lost of it, workers tell again.
const STORE_PROGRESS_S: f64 = 2.0;

/// Leaderships differ in the upper half of numbers; a leadership gives fewer than these.
const NUMBERS_OF_A_TERM: u64 = 1 << 32;

impl Brain {
    /// Of a cluster that nobody has joined.
    #[must_use]
    pub fn new(settings: Settings, term: u64, now: Now) -> Self {
        let core =
            with_table(Core::new(no_nodes(), settings.rule, settings.core, now.s), &settings);
        let next_number = term * NUMBERS_OF_A_TERM;
        let (nodes, tasks, outbox) = (Vec::new(), Vec::new(), Outbox::default());
        Self {
            settings,
            core,
            term,
            next_number,
            nodes,
            tasks,
            outbox,
            stored_s: now.s,
            zero_s: now.zero_s(),
            plans: BTreeMap::new(),
            endings: Vec::new(),
            advice: BTreeMap::new(),
        }
    }

    /// What is to be done since this was last asked.
    pub fn take(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    /// Time has passed: leases end, groups that waited are formed, connections are judged.
    pub fn tick(&mut self, now: Now) {
        self.end_leases(now);
        if now.s >= self.stored_s + STORE_PROGRESS_S {
            self.stored_s = now.s;
            let runs = |task: &Task| task.end.is_none() && task.group.is_some();
            let tasks = self.tasks.iter().enumerate().filter(|(_, task)| runs(task));
            self.outbox.tasks.extend(tasks.map(|(index, _)| index));
        }
        for task in 0..self.tasks.len() {
            if self.tasks[task].form_at_s.is_some_and(|at_s| at_s <= now.s) {
                self.form_late(now, task);
            }
            self.judge_connections(now, task);
            self.judge_hang(now, task);
            self.attend_to_whole(now, task);
        }
        self.forget_endings(now);
        let commands = self.core.step(now.s, crate::core::Event::Ticked);
        self.carry_out(now, commands);
        self.review_advice(now);
        self.keep_accounts(now);
    }

    /// A table of plans has been built.
    pub fn table_built(&mut self, now: Now, epoch: u64, table: Table) {
        let commands = self.core.step(now.s, crate::core::Event::TableBuilt { epoch, table });
        self.carry_out(now, commands);
        self.keep_accounts(now);
    }

    /// The core as it is, to build a table from on another thread.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// What an operator has set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The tasks, in the order in which they were submitted.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The nodes, in the order in which they came.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of this leadership.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// How many plans of this leadership came from where.
    #[must_use]
    pub fn plans(&self) -> &BTreeMap<PlanSource, u64> {
        &self.plans
    }

    fn record(
        &mut self,
        now: Now,
        kind: &str,
        task: Option<usize>,
        node: Option<usize>,
        worker: u64,
        text: impl Into<String>,
    ) {
        self.record_with(now, kind, task, node, worker, text, Value::Null);
    }

    #[allow(clippy::too_many_arguments, reason = "an event has these parts")]
    fn record_with(
        &mut self,
        now: Now,
        kind: &str,
        task: Option<usize>,
        node: Option<usize>,
        worker: u64,
        text: impl Into<String>,
        details: Value,
    ) {
        self.outbox.events.push(Happened {
            at_ms: now.wall_ms,
            kind: kind.to_owned(),
            task: task.map_or(String::new(), |task| self.tasks[task].file.name.clone()),
            node: node.map_or(String::new(), |node| self.nodes[node].name.clone()),
            worker,
            text: text.into(),
            details,
        });
    }

    /// The task and the stage's node of a worker that still counts.
    fn find(&self, worker: u64) -> Option<(usize, &task::Worker)> {
        self.tasks
            .iter()
            .enumerate()
            .find_map(|(index, task)| task.workers.get(&worker).map(|worker| (index, worker)))
    }
}

/// With plans for what may happen next; who may not act has no use for them.
fn with_table(core: Core, settings: &Settings) -> Core {
    match settings.core.authority {
        Authority::Act => core.with_table(),
        Authority::Advise => core,
    }
}

/// A cluster has a node at least; nobody has joined as this one yet.
fn no_nodes() -> Cluster {
    let hardware = Hardware::kind(Hardware::DEFAULT_KIND).expect("the default is a known kind");
    Cluster::new(1, 1, hardware).expect("one node of one worker is a cluster")
}
