//! Plans for what may happen next, made before it does: a failure finds its plan in a table (section 5 of
//! the paper).
//!
//! A plan depends on an event by little: which tasks lose how many workers, how many workers are left, how
//! likely the rest is to fail. Nodes with the same answers are one class with one entry. So a table covers
//! the loss or the drain of every node and of every declared failure domain, a node that joins, and every
//! task that finishes, with far fewer plans than there are nodes. Anything else, such as two nodes of
//! different racks within one rebuild, isn't in it; then a full solve is made, and said.
//!
//! A task that arrives changes all sizes at once and is always solved for; that takes as long as one entry.

use super::hazard;
use super::placed::Nodes;
use super::rule::Rule;
use super::solve::{Assignment, Floors, Plan, Situation};
use super::task::Task;
use super::value::Size;
use crate::cluster::Cluster;
use rayon::prelude::*;
use std::borrow::Cow;
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
        let tasks = self.tasks_after(class);
        self.situation(&tasks, class.workers, class.hazard_bucket).plan(rule)
    }

    fn tasks_after(&self, class: &Class) -> Vec<Task> {
        let mut tasks = self.tasks.to_vec();
        for &(task, lost) in &class.losses {
            tasks[task].present.lost = lost;
        }
        if let Some(finished) = class.finished {
            // Nothing that it could get is worth anything; its place in the list stays.
            tasks[finished].throughput = Default::default();
            tasks[finished].present = Default::default();
        }
        tasks
    }

    fn situation<'b>(&'b self, tasks: &'b [Task], workers: usize, bucket: i32) -> Situation<'b> {
        Situation { tasks, workers, hazard: hazard::of_bucket(bucket), cluster: self.cluster }
    }
}

/// What entries with as many workers and the same hazard have in common: the sizes of tasks to which
/// nothing happens.
struct Common {
    floors: Floors,
    sizes: Vec<Vec<Size>>,
}

impl Common {
    fn of(state: &State<'_>, (workers, bucket): (usize, i32), rule: &Rule) -> Self {
        let situation = state.situation(state.tasks, workers, bucket);
        let floors = situation.floors(rule);
        Self { sizes: situation.sizes(&situation.terms(rule), &floors), floors }
    }

    /// The plan for a class: [`State::solve`], but for the work that is done already.
    fn solve(&self, state: &State<'_>, class: &Class, rule: &Rule) -> Plan {
        let tasks = state.tasks_after(class);
        let situation = state.situation(&tasks, class.workers, class.hazard_bucket);
        let (terms, floors) = (situation.terms(rule), situation.floors(rule));
        let is_hit = |task: usize| {
            class.finished == Some(task) || class.losses.iter().any(|(hit, _)| *hit == task)
        };
        let sizes = |task: usize| match self.floors.kept[task] == floors.kept[task] && !is_hit(task)
        {
            true => Cow::Borrowed(self.sizes[task].as_slice()),
            false => Cow::Owned(terms.sizes(&tasks[task], floors.kept[task], class.workers)),
        };
        let sizes: Vec<Cow<'_, [Size]>> = (0..tasks.len()).map(sizes).collect();
        situation.solve(&terms, &sizes, &floors).unwrap_or_else(|| situation.plan(rule))
    }
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
    pub fn build(state: &State<'_>, rule: &Rule) -> Self {
        let there = |&node: &usize| state.nodes.healthy[node] > 0;
        let nodes = 0..state.nodes.healthy.len();
        let mut classes: BTreeSet<Class> = nodes
            .clone()
            .filter(there)
            .map(|node| state.without(&BTreeSet::from([node])))
            .collect();
        classes.extend(nodes.filter(|node| !there(node)).map(|node| state.with_node(node)));
        let domains = state.cluster.domains().iter();
        classes
            .extend(domains.map(|domain| state.without(&domain.nodes.iter().copied().collect())));
        classes.extend((0..state.tasks.len()).map(|task| state.with_finished(task)));
        let classes: Vec<Class> = classes.into_iter().collect();
        let what_counts = |class: &Class| (class.workers, class.hazard_bucket);
        let groups: BTreeSet<(usize, i32)> = classes.iter().map(what_counts).collect();
        let common: HashMap<(usize, i32), Common> =
            groups.into_par_iter().map(|group| (group, Common::of(state, group, rule))).collect();
        let entry = |class: Class| {
            let plan = common[&what_counts(&class)].solve(state, &class, rule);
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

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Fleet};
    use super::*;
    use crate::cluster::Cluster;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_is_what_solving_finds(fleet in testing::fleets()) {
            let Fleet { tasks, healthy, hazards, placement, .. } = &fleet;
            let tasks: Vec<Task> = tasks
                .iter()
                .map(|task| {
                    let mut task = task.clone();
                    task.present.lost = 0;
                    task
                })
                .collect();
            let cluster = Cluster::new(healthy.len(), 8, *Cluster::paper().hardware()).unwrap();
            let nodes = Nodes { placement, healthy, hazards };
            let state = State::new(&tasks, nodes, &cluster);
            for rule in [Rule::paper(), Rule::ours()] {
                let table = Table::build(&state, &rule);
                for (class, entry) in &table.entries {
                    let plan = state.solve(class, &rule);
                    prop_assert_eq!((plan.objective, plan.total_waf), (entry.objective, entry.total_waf));
                    for (task, assignment) in &entry.changes {
                        prop_assert_eq!(assignment, &plan.tasks[*task]);
                    }
                }
            }
        }
    }
}
