//! What decides: events in, commands out. The live coordinator and the simulator drive the same core.
//!
//! | what | file |
//! |---|---|
//! | what may happen, and what is to be done | [`event`] |
//! | budgets and time-outs | [`config`] |
//! | a failure while it is handled: escalation | [`incident`] |
//! | when and how the cluster is planned anew | `replan` |
//! | what a core says that may not act | `advise` |
//! | nodes that nobody knew of; taking over from another core | `membership` |
//! | what people ask of it: the queue, the reasons | `outlook` |
//!
//! **Invariant:** nothing here does IO, reads a clock or draws a random number: the same events at the same
//! times give the same commands.
//!
//! **Invariant:** every change of who is where raises the epoch, and every command that follows carries it.

mod advise;
pub mod config;
pub mod event;
pub mod incident;
mod membership;
mod outlook;
mod replan;
#[cfg(test)]
mod tests;

pub use config::{Authority, Config};
pub use event::{Advice, Attempt, Change, Command, Event, PlanSource, Reconfiguration, Trigger};

pub use membership::Resumed;

use crate::cluster::Cluster;
use crate::detect::{Severity, Status};
use crate::plan::hazard::{Hazards, Prior};
use crate::plan::placement::Placement;
use crate::plan::table::Table;
use crate::plan::{Assignment, Rule, Task};
use crate::throughput::Constants;
use incident::{Incident, Returns};
use std::collections::{BTreeMap, BTreeSet};

/// A cluster and its tasks, as far as decisions depend on them.
#[derive(Debug, Clone)]
pub struct Core {
    config: Config,
    rule: Rule,
    cluster: Cluster,
    constants: Constants,
    /// Healthy workers by node; 0 of a node that is away, isolated or drained.
    healthy: Vec<usize>,
    hazards: Hazards,
    tasks: Vec<Task>,
    /// By task, what the last plan gave it.
    assigned: Vec<Assignment>,
    has_ended: Vec<bool>,
    returns: Vec<Returns>,
    placement: Placement,
    incidents: BTreeMap<u64, Incident>,
    next_incident: u64,
    epoch: u64,
    table: TableState,
}

/// What is known of what may happen next.
#[derive(Debug, Clone, Default)]
enum TableState {
    /// No table is wanted: every plan is solved for.
    #[default]
    Unused,
    /// Being built.
    Building,
    /// Valid.
    Ready(Table),
}

impl Core {
    /// Of a cluster whose nodes are yet to join.
    #[must_use]
    pub fn new(cluster: Cluster, rule: Rule, config: Config, now_s: f64) -> Self {
        let nodes = cluster.nodes();
        Self {
            config,
            rule,
            constants: Constants::default(),
            healthy: vec![0; nodes],
            hazards: Hazards::new(nodes, Prior::default(), now_s),
            tasks: Vec::new(),
            assigned: Vec::new(),
            has_ended: Vec::new(),
            returns: Vec::new(),
            placement: Placement::empty(nodes),
            incidents: BTreeMap::new(),
            next_incident: 0,
            epoch: 0,
            table: TableState::Unused,
            cluster,
        }
    }

    /// With a table of plans for what may happen next; the driver answers [`Command::BuildTable`].
    #[must_use]
    pub fn with_table(self) -> Self {
        Self { table: TableState::Building, ..self }
    }

    /// The tasks with what they have.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Who is where.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Healthy workers by node; 0 of a node that is away, isolated or drained.
    #[must_use]
    pub fn healthy(&self) -> &[usize] {
        &self.healthy
    }

    /// Of every message that may still count.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes an event and says what is to be done. Events about nodes or tasks that don't exist, or that
    /// have ended, are old news and change nothing.
    pub fn step(&mut self, now_s: f64, event: Event) -> Vec<Command> {
        match event {
            Event::NodeJoined { node, workers } => self.node_joined(now_s, node, workers),
            Event::NodeLost { node } => self.isolate(now_s, node, Status::LostConnection),
            Event::DrainAsked { node } => self.drain(now_s, node),
            Event::TaskSubmitted { task } => self.task_submitted(now_s, *task),
            Event::TaskEnded { task } => self.task_ended(now_s, task),
            Event::Failed { task, node, status } => self.failed(now_s, task, node, status),
            Event::Progressed { task } => self.progressed(task),
            Event::Attempted { incident, succeeded } => self.attempted(now_s, incident, succeeded),
            Event::TableBuilt { epoch, table } => self.table_built(epoch, table),
            Event::PlanAsked => self.replan(now_s, Trigger::PlanAsked, &BTreeSet::new()),
            Event::Ticked => self.ticked(now_s),
        }
    }

    fn node_joined(&mut self, now_s: f64, node: usize, workers: usize) -> Vec<Command> {
        let workers = workers.min(self.cluster.gpus_per_node());
        match self.healthy.get_mut(node) {
            Some(healthy) if *healthy != workers => {
                *healthy = workers;
                self.replan(now_s, Trigger::NodeJoined, &BTreeSet::new())
            }
            _ => Vec::new(),
        }
    }

    fn drain(&mut self, now_s: f64, node: usize) -> Vec<Command> {
        if self.healthy.get(node).is_none_or(|&healthy| healthy == 0) {
            return Vec::new();
        }
        self.replan(now_s, Trigger::NodeDrained, &BTreeSet::from([node]))
    }

    /// All nodes are there and these tasks want workers: one plan for all, instead of one for each.
    pub fn start(&mut self, now_s: f64, tasks: Vec<Task>) -> Vec<Command> {
        self.healthy.fill(self.cluster.gpus_per_node());
        tasks.into_iter().for_each(|task| self.admit(task));
        self.replan(now_s, Trigger::TaskSubmitted, &BTreeSet::new())
    }

    fn task_submitted(&mut self, now_s: f64, task: Task) -> Vec<Command> {
        self.admit(task);
        self.replan(now_s, Trigger::TaskSubmitted, &BTreeSet::new())
    }

    fn admit(&mut self, task: Task) {
        self.tasks.push(task);
        self.assigned.push(replan::unassigned());
        self.has_ended.push(false);
        self.returns.push(Returns::default());
    }

    fn task_ended(&mut self, now_s: f64, task: usize) -> Vec<Command> {
        if self.has_ended.get(task).is_none_or(|&has_ended| has_ended) {
            return Vec::new();
        }
        self.has_ended[task] = true;
        if self.tasks[task].present.workers == 0 {
            // It has nothing to give back, and must not be given anything either.
            self.tasks[task].throughput = Default::default();
        }
        self.incidents.retain(|_, incident| incident.task != task);
        self.replan(now_s, Trigger::TaskEnded, &BTreeSet::new())
    }

    fn progressed(&mut self, task: usize) -> Vec<Command> {
        if let Some(returns) = self.returns.get_mut(task) {
            returns.forget();
        }
        Vec::new()
    }

    /// A failure starts at the level of its status, or above the one that didn't help the last time.
    fn failed(&mut self, now_s: f64, task: usize, node: usize, status: Status) -> Vec<Command> {
        let is_placed = task < self.tasks.len()
            && node < self.healthy.len()
            && !self.has_ended[task]
            && self.placement.on(node, task) > 0;
        if !is_placed {
            return Vec::new();
        }
        if status.stops_task() {
            return self.stop(now_s, task, format!("{status} on node {node}"));
        }
        let Some(severity) = status.severity() else { return Vec::new() };
        // One failure is told by many ranks.
        let open =
            self.incidents.values().find(|open| open.task == task && open.node == node).copied();
        if let Some(open) = open {
            if open.level >= severity {
                return Vec::new();
            }
            self.incidents.remove(&open.id);
        }
        // Workers of many nodes may fail together, of one thing; nothing was tried yet that could have
        // helped, so it hasn't come back.
        let is_untried =
            |open: &Incident| open.task == task && open.status == status && open.failed == 0;
        let returns = match self.incidents.values().any(is_untried) {
            true => 0,
            false => self.returns[task].note(status),
        };
        if returns >= self.config.returns {
            let evidence = self.returns[task].evidence();
            return self.stop(now_s, task, format!("no progress between failures: {evidence}"));
        }
        let may_be_the_nodes = !status.is_software() || self.has_place_without(task, node);
        let level = match severity {
            Severity::Sev3 if returns > 0 => Severity::Sev2,
            Severity::Sev2 if returns >= self.config.restarts && may_be_the_nodes => Severity::Sev1,
            severity => severity,
        };
        let id = self.next_incident;
        self.next_incident += 1;
        let incident = Incident { id, task, node, status, level, failed: 0, deadline_s: now_s };
        self.act(now_s, incident)
    }

    fn attempted(&mut self, now_s: f64, incident: u64, succeeded: bool) -> Vec<Command> {
        match self.incidents.remove(&incident) {
            Some(incident) if !succeeded => {
                let next = incident.after_failure(&self.config);
                if next.level == Severity::Sev1 && incident.status.is_software() {
                    // If the same comes on another node, before any progress, it is the task's own; and if
                    // there is none to try, a task that waits for one would wait for ever.
                    let can_move = self.has_place_without(incident.task, incident.node);
                    let returns = &mut self.returns[incident.task];
                    if !returns.exhaust(incident.status, self.config.returns) || !can_move {
                        let evidence = returns.evidence();
                        let evidence = format!("no restart helps on any node: {evidence}");
                        return self.stop(now_s, incident.task, evidence);
                    }
                }
                self.act(now_s, next)
            }
            _ => Vec::new(),
        }
    }

    /// Whether a task could run without a node.
    fn has_place_without(&self, task: usize, node: usize) -> bool {
        let others = self.healthy.iter().enumerate().filter(|(other, _)| *other != node);
        let free: usize = others.map(|(_, healthy)| healthy).sum();
        self.tasks[task].fewest(&self.cluster, 0).is_some_and(|fewest| fewest <= free)
    }

    fn ticked(&mut self, now_s: f64) -> Vec<Command> {
        let overdue: Vec<u64> = self
            .incidents
            .values()
            .filter(|incident| incident.deadline_s <= now_s)
            .map(|incident| incident.id)
            .collect();
        overdue.into_iter().flat_map(|incident| self.attempted(now_s, incident, false)).collect()
    }

    /// Does what an incident's level asks for.
    fn act(&mut self, now_s: f64, incident: Incident) -> Vec<Command> {
        let patience_s = match incident.level {
            Severity::Sev3 => self.config.patience_s,
            Severity::Sev2 => self.config.restart_patience_s(),
            Severity::Sev1 if self.advises() => {
                let Incident { node, task, status, .. } = incident;
                return vec![Command::Advise(Advice::Isolate { node, task, status })];
            }
            Severity::Sev1 => return self.isolate(now_s, incident.node, incident.status),
        };
        let incident = Incident { deadline_s: now_s + patience_s, ..incident };
        self.incidents.insert(incident.id, incident);
        self.epoch += 1;
        let Incident { id, task, node, deadline_s, .. } = incident;
        let attempt = Attempt { incident: id, task, node, epoch: self.epoch };
        let command = match incident.level {
            Severity::Sev3 => Command::Reattempt(attempt),
            _ => Command::Restart(attempt),
        };
        vec![command, Command::WakeAt { at_s: deadline_s }]
    }

    /// Nobody uses the node any more; what it had is lost.
    fn isolate(&mut self, now_s: f64, node: usize, status: Status) -> Vec<Command> {
        if self.healthy.get(node).is_none_or(|&healthy| healthy == 0) {
            return Vec::new();
        }
        self.hazards.record(node, now_s, &self.cluster);
        self.incidents.retain(|_, incident| incident.node != node);
        let mut commands = vec![Command::Isolate { node, status }];
        commands.extend(self.replan(now_s, Trigger::NodeLost, &BTreeSet::from([node])));
        commands
    }

    fn stop(&mut self, now_s: f64, task: usize, evidence: String) -> Vec<Command> {
        if self.advises() {
            return vec![Command::Advise(Advice::Stop { task, evidence })];
        }
        let mut commands = vec![Command::Stop { task, evidence }];
        commands.extend(self.task_ended(now_s, task));
        commands
    }

    fn table_built(&mut self, epoch: u64, table: Table) -> Vec<Command> {
        if epoch == self.epoch && matches!(self.table, TableState::Building) {
            self.table = TableState::Ready(table);
        }
        Vec::new()
    }
}
