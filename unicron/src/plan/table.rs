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
use super::placement::Placement;
use super::rule::{Horizon, Rule};
use super::solve::{Assignment, Plan, Situation};
use super::task::Task;
use crate::cluster::Hardware;
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
#[derive(Debug, Clone)]
pub struct State<'a> {
    /// The tasks, none of which has lost anything.
    pub tasks: &'a [Task],
    /// Who is where.
    pub placement: &'a Placement,
    /// Healthy workers by node; 0 of a node that is away.
    pub healthy: &'a [usize],
    /// Failures a second by node.
    pub hazards: &'a [f64],
    /// The GPUs and their links.
    pub hardware: &'a Hardware,
    /// GPUs of a node.
    pub gpus_per_node: usize,
}

impl State<'_> {
    /// Workers that there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.healthy.iter().sum()
    }

    /// Of all nodes that are there.
    fn hazard(&self) -> f64 {
        let there = self.healthy.iter().zip(self.hazards).filter(|(healthy, _)| **healthy > 0);
        there.map(|(_, hazard)| hazard).sum()
    }

    /// The class of nothing happening.
    #[must_use]
    pub fn present(&self) -> Class {
        self.class(self.workers(), self.hazard())
    }

    fn class(&self, workers: usize, hazard: f64) -> Class {
        let hazard_bucket = hazard::bucket(hazard);
        Class { losses: Vec::new(), finished: None, workers, hazard_bucket }
    }

    /// The class of losing nodes, or of draining them.
    #[must_use]
    pub fn without(&self, nodes: &BTreeSet<usize>) -> Class {
        let lost: usize = nodes.iter().map(|&node| self.healthy[node]).sum();
        let mut losses = BTreeMap::new();
        for &node in nodes {
            for &(task, workers) in &self.placement.nodes[node] {
                *losses.entry(task).or_insert(0) += workers;
            }
        }
        let hazard: f64 = nodes
            .iter()
            .filter(|&&node| self.healthy[node] > 0)
            .map(|&node| self.hazards[node])
            .sum();
        let rest = (self.hazard() - hazard).max(0.0);
        Class { losses: losses.into_iter().collect(), ..self.class(self.workers() - lost, rest) }
    }

    /// The class of a node that joins.
    #[must_use]
    pub fn with_node(&self, node: usize) -> Class {
        let more = self.gpus_per_node - self.healthy[node];
        self.class(self.workers() + more, self.hazard() + self.hazards[node])
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
            hardware: self.hardware,
            gpus_per_node: self.gpus_per_node,
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
        let there = |&node: &usize| state.healthy[node] > 0;
        let nodes = 0..state.healthy.len();
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
