//! Plans for what may happen next, made before it does: a failure finds its plan in a table (section 5 of
//! the paper).
//!
//! A plan depends on an event by little: which tasks lose how many workers, how many workers are left, how
//! likely the rest is to fail. Nodes with the same answers are one class with one entry. So a table covers
//! the loss of every node, of every declared failure domain, every planned drain, a node that joins, and
//! every task that finishes, with far fewer plans than there are nodes. Anything else, such as two nodes of
//! different racks within one rebuild, isn't in it; then a full solve is made, and said.
//!
//! A task that arrives changes all sizes at once and is always solved for; that takes as long as one entry.

use super::hazard;
use super::placed::Nodes;
use super::rule::{Horizon, Rule};
use super::solve::{Assignment, Plan, Situation};
use super::task::Task;
use crate::cluster::Cluster;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a plan depends on of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// (Task, workers that it loses), tasks ascending.
    pub losses: Vec<(usize, usize)>,
    /// The task that is gone.
    pub finished: Option<usize>,
    /// Workers left, or then there.
    pub workers: usize,
    /// The hazard of what is left.
    pub hazard_bucket: i32,
}

/// Nodes, tasks and where they are: what events happen to.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    tasks: &'a [Task],
    nodes: Nodes<'a>,
    cluster: &'a Cluster,
    /// Workers that there are.
    workers: usize,
    /// Of all nodes that are there together.
    hazard: f64,
}

impl<'a> State<'a> {
    /// Of tasks none of which has lost anything.
    #[must_use]
    pub fn new(tasks: &'a [Task], nodes: Nodes<'a>, cluster: &'a Cluster) -> Self {
        let there = nodes.healthy.iter().zip(nodes.hazards).filter(|(healthy, _)| **healthy > 0);
        let hazard = there.map(|(_, hazard)| hazard).sum();
        Self { tasks, nodes, cluster, workers: nodes.healthy.iter().sum(), hazard }
    }

    /// The class of nothing happening.
    #[must_use]
    pub fn present(&self) -> Class {
        self.class(self.workers, self.hazard)
    }

    fn class(&self, workers: usize, hazard: f64) -> Class {
        let hazard_bucket = hazard::bucket(hazard);
        Class { losses: Vec::new(), finished: None, workers, hazard_bucket }
    }

    /// The class of losing nodes, or of draining them. Takes time by those nodes alone.
    #[must_use]
    pub fn without(&self, nodes: &BTreeSet<usize>) -> Class {
        let (mut workers, mut hazard) = (self.workers, self.hazard);
        let mut losses = BTreeMap::new();
        for &node in nodes.iter().filter(|&&node| self.nodes.healthy[node] > 0) {
            workers -= self.nodes.healthy[node];
            hazard -= self.nodes.hazards[node];
            for &(task, workers) in &self.nodes.placement.nodes[node] {
                *losses.entry(task).or_insert(0) += workers;
            }
        }
        Class { losses: losses.into_iter().collect(), ..self.class(workers, hazard.max(0.0)) }
    }

    /// The class of a node that joins.
    #[must_use]
    pub fn with_node(&self, node: usize) -> Class {
        let more = self.cluster.gpus_per_node() - self.nodes.healthy[node];
        self.class(self.workers + more, self.hazard + self.nodes.hazards[node])
    }

    /// The class of a task that finishes.
    #[must_use]
    pub fn with_finished(&self, task: usize) -> Class {
        Class { finished: Some(task), ..self.present() }
    }

    /// The plan for a class, made now.
    #[must_use]
    pub fn solve(&self, class: &Class, rule: &Rule) -> Plan {
        let mut tasks = self.tasks.to_vec();
        for &(task, lost) in &class.losses {
            tasks[task].present.lost = lost;
        }
        if let Some(finished) = class.finished {
            // Nothing that it could get is worth anything; its place in the list stays.
            tasks[finished].throughput = Default::default();
            tasks[finished].present = Default::default();
        }
        let situation = Situation {
            tasks: &tasks,
            workers: class.workers,
            hazard: hazard::of_bucket(class.hazard_bucket),
            hardware: self.cluster.hardware(),
            gpus_per_node: self.cluster.gpus_per_node(),
        };
        situation.plan(rule)
    }
}

/// What may happen that a table is asked to be ready for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Declared failure domains.
    pub domains: Vec<BTreeSet<usize>>,
    /// Planned drains.
    pub drains: Vec<BTreeSet<usize>>,
}

/// A plan of the table: who gets something else than now.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// (Task, what it gets).
    pub changes: Vec<(usize, Assignment)>,
    /// As in [`Plan`].
    pub objective: f64,
    /// As in [`Plan`].
    pub total_waf: f64,
}

/// Plans by class, valid until tasks, nodes or places change.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: HashMap<Class, Entry>,
}

impl Table {
    /// Makes the plans of everything that is expected of a state, on all threads.
    #[must_use]
    pub fn build(state: &State<'_>, expected: &Expected, rule: &Rule) -> Self {
        let there = |&node: &usize| state.nodes.healthy[node] > 0;
        let nodes = 0..state.nodes.healthy.len();
        let mut classes: BTreeSet<Class> = nodes
            .clone()
            .filter(there)
            .map(|node| state.without(&BTreeSet::from([node])))
            .collect();
        classes.extend(nodes.filter(|node| !there(node)).map(|node| state.with_node(node)));
        let together = expected.domains.iter().chain(&expected.drains);
        classes.extend(together.map(|nodes| state.without(nodes)));
        classes.extend((0..state.tasks.len()).map(|task| state.with_finished(task)));
        let classes: Vec<Class> = classes.into_iter().collect();
        let entry = |class: Class| {
            let plan = state.solve(&class, rule);
            let hit = |task| class.losses.iter().any(|(hit, _)| *hit == task);
            let changes = plan.tasks.into_iter().enumerate().filter(|(task, assignment)| {
                hit(*task) || assignment.size.workers != state.tasks[*task].present.workers
            });
            let changes = changes.collect();
            (class, Entry { changes, objective: plan.objective, total_waf: plan.total_waf })
        };
        Self { entries: classes.into_par_iter().map(entry).collect() }
    }

    /// The plan of a class, if it was expected.
    #[must_use]
    pub fn find(&self, class: &Class) -> Option<&Entry> {
        self.entries.get(class)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the entries take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |(class, entry): (&Class, &Entry)| {
            size_of_val(class)
                + size_of_val(entry)
                + size_of_val(class.losses.as_slice())
                + size_of_val(entry.changes.as_slice())
        };
        self.entries.iter().map(of).sum()
    }
}

impl Rule {
    /// Whether plans depend on the nodes' hazards at all.
    #[must_use]
    pub fn sees_hazards(&self) -> bool {
        matches!(self.horizon, Horizon::ByNodes)
    }
}
