//! What happens to which tasks on which cluster: the same for every policy.

use crate::cluster::Cluster;
use crate::detect::Severity;
use crate::plan::Task;
use crate::trace::{Event, Failure, Trace};
use crate::{Error, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A task of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedTask {
    /// What is planned for. What it has at present doesn't matter: every policy starts anew.
    pub task: Task,
    /// FLOPs after which it is done; `None` if it never is.
    pub work_flops: Option<f64>,
}

/// What happens to a cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happening<'a> {
    /// Something fails on a node that is there.
    Failure {
        /// What.
        failure: &'a Failure,
        /// A number from 0 to 1 for whatever varies with the failure, the same for all policies.
        draw: f64,
    },
    /// A node is repaired.
    NodeBack {
        /// When, in seconds.
        at_s: f64,
        /// Which node.
        node: usize,
    },
}

impl Happening<'_> {
    /// When, in seconds.
    #[must_use]
    pub fn at_s(&self) -> f64 {
        match self {
            Self::Failure { failure, .. } => failure.at_s,
            Self::NodeBack { at_s, .. } => *at_s,
        }
    }
}

/// A cluster, its tasks, and everything that happens to them.
#[derive(Debug, Clone)]
pub struct Scenario<'a> {
    cluster: &'a Cluster,
    tasks: &'a [SimulatedTask],
    duration_s: f64,
    happenings: Vec<Happening<'a>>,
    has_series: bool,
}

/// Failures that were felt, by what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Failures {
    /// Of nodes.
    pub sev1: usize,
    /// Of processes and of links: a restart or a reattempt cures them.
    pub other: usize,
}

impl<'a> Scenario<'a> {
    /// The failures of a trace on a cluster. The seed decides what else varies: each failure of the
    /// trace has its number of the seed's sequence, whatever policies do.
    ///
    /// # Errors
    /// If the trace isn't of this cluster, or there are no tasks.
    pub fn new(
        cluster: &'a Cluster,
        tasks: &'a [SimulatedTask],
        trace: &'a Trace,
        seed: u64,
    ) -> Result<Self> {
        let extent = trace.extent();
        let of_trace = (extent.nodes, extent.gpus_per_node);
        let of_cluster = (cluster.nodes(), cluster.gpus_per_node());
        if of_trace != of_cluster {
            let problem = format!(
                "{} nodes of {} GPUs, but the trace {} is of {} nodes of {}; give both the same",
                of_cluster.0,
                of_cluster.1,
                trace.name(),
                of_trace.0,
                of_trace.1
            );
            return Err(Error::Setting { setting: "cluster".into(), problem });
        }
        if tasks.is_empty() {
            let problem = "there are none, so nothing can be computed; give at least one".into();
            return Err(Error::Setting { setting: "tasks".into(), problem });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut happenings = Vec::new();
        for event in trace.events() {
            match event {
                Event::Failure { failure, is_felt } => {
                    let draw = rng.random::<f64>();
                    happenings.extend(is_felt.then_some(Happening::Failure { failure, draw }));
                }
                Event::NodeBack { at_s, node } => {
                    happenings.push(Happening::NodeBack { at_s, node });
                }
            }
        }
        let duration_s = extent.duration_s;
        Ok(Self { cluster, tasks, duration_s, happenings, has_series: false })
    }

    /// With a record of how WAF goes.
    #[must_use]
    pub fn with_series(self) -> Self {
        Self { has_series: true, ..self }
    }

    /// The same cluster, tasks and time, and nothing happens.
    #[must_use]
    pub fn without_failures(&self) -> Self {
        Self { happenings: Vec::new(), has_series: false, ..*self }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// Its tasks.
    #[must_use]
    pub fn tasks(&self) -> &'a [SimulatedTask] {
        self.tasks
    }

    /// How long it lasts, in seconds.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.duration_s
    }

    /// What happens, in order of time.
    #[must_use]
    pub fn happenings(&self) -> &[Happening<'a>] {
        &self.happenings
    }

    /// Whether WAF is recorded over time.
    #[must_use]
    pub fn has_series(&self) -> bool {
        self.has_series
    }

    /// How many failures of which kind there are.
    #[must_use]
    pub fn failures(&self) -> Failures {
        let mut count = Failures::default();
        for happening in &self.happenings {
            match happening {
                Happening::Failure { failure, .. } if failure.severity == Severity::Sev1 => {
                    count.sev1 += 1;
                }
                Happening::Failure { .. } => count.other += 1,
                Happening::NodeBack { .. } => {}
            }
        }
        count
    }

    /// The part of all nodes' time in which they are away, 0 to 1.
    #[must_use]
    pub fn node_time_lost(&self) -> f64 {
        let mut since_s = vec![None; self.cluster.nodes()];
        let mut away_s = 0.0;
        for happening in &self.happenings {
            match *happening {
                Happening::Failure { failure, .. } if failure.repair_s.is_some() => {
                    since_s[failure.node] = Some(failure.at_s);
                }
                Happening::Failure { .. } => {}
                Happening::NodeBack { at_s, node } => {
                    away_s += since_s[node].take().map_or(0.0, |since_s| at_s - since_s);
                }
            }
        }
        away_s +=
            since_s.into_iter().flatten().map(|since_s| self.duration_s - since_s).sum::<f64>();
        away_s / (self.cluster.nodes() as f64 * self.duration_s)
    }

    pub(super) fn ledger(&self) -> super::ledger::Ledger {
        let tasks = self.tasks.iter().map(|task| (task.task.weight, task.work_flops));
        let ledger = super::ledger::Ledger::new(self.cluster.gpus(), tasks);
        if self.has_series { ledger.with_series() } else { ledger }
    }
}
