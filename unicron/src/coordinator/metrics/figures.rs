//! The figures of a coordinator that leads, as of one moment.

use crate::bins::Bins;
use crate::coordinator::account::Account;
use crate::coordinator::account::durations::Durations;
use crate::coordinator::brain::{Brain, Now};
use crate::core::PlanSource;
use std::collections::BTreeMap;

/// The figures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// Of the leadership.
    pub term: u64,
    /// Nodes by state.
    pub nodes: BTreeMap<&'static str, u64>,
    /// Slots of all nodes, those that are away included.
    pub slots: u64,
    /// Tasks by state.
    pub task_states: BTreeMap<&'static str, u64>,
    /// Tasks by name: of several of one name the last.
    pub tasks: BTreeMap<String, TaskFigures>,
    /// Seconds of all slots.
    pub bins: Bins,
    /// Seconds of slots in training that isn't committed.
    pub uncommitted_s: f64,
    /// Weighted FLOP/s that workers achieve now.
    pub waf: f64,
    /// The same once the plan's transitions are over.
    pub planned_waf: f64,
    /// Things that would be done, by a coordinator that may not.
    pub advice: usize,
    /// Plans by where they came from.
    pub plans: BTreeMap<PlanSource, u64>,
    /// What the driver counts.
    pub driver: DriverFigures,
}

/// What is counted where time is measured and states are sent. Of this leadership.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DriverFigures {
    /// Seconds of an event that led to a new plan.
    pub replanning: Durations,
    /// States that were pushed to agents.
    pub pushes: u64,
    /// Of these, those that a newer one replaced before they were sent.
    pub coalesced: u64,
}

/// A task's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFigures {
    /// Its priority.
    pub weight: f64,
    /// Iterations that are committed.
    pub iteration: u64,
    /// Of its group; 0 without one.
    pub epoch: u64,
    /// Workers that it has, and that it wants.
    pub workers: [usize; 2],
    /// Weighted FLOP/s that they achieve now.
    pub waf: f64,
    /// From 1: its place among those that wait; 0 if it has workers.
    pub queue_position: u32,
    /// From 1: its place among those that would have to give workers up; 0 without workers.
    pub preemption_position: u32,
    /// What it has got for its workers' time.
    pub account: Account,
    /// The part of the time since its submission in which it trained and that counts.
    pub effective_time_ratio: f64,
}

/// States of nodes and tasks: those that none is in are told, too, so that a graph of them has no gaps.
const NODE_STATES: [&str; 4] = ["ready", "drained", "isolated", "lost"];
const TASK_STATES: [&str; 7] =
    ["waiting", "starting", "running", "recovering", "done", "stopped", "failed"];

impl Figures {
    /// What a brain knows.
    #[must_use]
    pub fn of(brain: &Brain, now: Now, driver: DriverFigures) -> Self {
        let (bins, uncommitted_s) = brain.bins(now);
        let mut nodes = BTreeMap::from(NODE_STATES.map(|state| (state, 0)));
        for node in brain.nodes() {
            *nodes.entry(node.state()).or_default() += 1;
        }
        let mut task_states = BTreeMap::from(TASK_STATES.map(|state| (state, 0)));
        let mut tasks = BTreeMap::new();
        let places = brain.places(now);
        for (index, task) in brain.tasks().iter().enumerate() {
            *task_states.entry(task.state()).or_default() += 1;
            let account = brain.account(now, task);
            let figures = TaskFigures {
                weight: task.file.weight,
                iteration: task.progress.iteration,
                epoch: task.epoch(),
                workers: [task.workers.len(), task.file.workers],
                waf: task.waf(),
                queue_position: places.waiting(index).map_or(0, |(place, _)| place),
                preemption_position: places.giving(index).map_or(0, |(place, _)| place),
                effective_time_ratio: brain.effective_time_ratio(now, &account),
                account,
            };
            tasks.insert(task.file.name.clone(), figures);
        }
        let slots = brain.nodes().iter().map(|node| node.slots as u64).sum();
        let (waf, planned_waf) = brain.waf();
        let (term, plans) = (brain.term(), brain.plans().clone());
        Self {
            term,
            nodes,
            slots,
            task_states,
            tasks,
            bins,
            uncommitted_s,
            waf,
            planned_waf,
            advice: brain.advice_reply().len(),
            plans,
            driver,
        }
    }
}
