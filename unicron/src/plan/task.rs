//! What a plan knows of a task.

use crate::cluster::{Cluster, TaskSpec};
use crate::model::LanguageModel;
use crate::throughput::{Constants, Shape, Software, Step, Throughput, Workload};
use crate::transition::duration::{Restart, Training};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// A task that wants workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// For people.
    pub name: String,
    /// `T(t, x)`.
    pub throughput: Arc<Throughput>,
    /// `w(t)`, above 0.
    pub weight: f64,
    /// The paper's T_necessary: fewer workers are worth nothing.
    pub min_workers: usize,
    /// A floor that the plan doesn't go below while it can be kept; `None` for the smallest size that the
    /// task can run on.
    pub guaranteed_workers: Option<usize>,
    /// In what its workers come.
    pub unit: Unit,
    /// What it trains; `None` of a task that is known by its measured throughput alone.
    pub model: Option<Arc<LanguageModel>>,
    /// What it has.
    pub present: Present,
    /// What every change of its workers costs, if it starts again as a whole.
    pub restart: Option<Restart>,
}

/// In what a task's workers come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// One by one.
    #[default]
    Worker,
    /// So many at a time, all on one node: torchrun's `--nproc-per-node`.
    OnNode(usize),
    /// Whole nodes.
    Node,
}

/// What a task has before a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Present {
    /// Workers, those that have failed included.
    pub workers: usize,
    /// Of these, how many have failed.
    pub lost: usize,
    /// How they are arranged, where that is known.
    pub shape: Option<Shape>,
    /// FLOP/s in the arrangement of `shape` for other numbers of replicas: what the task can do without
    /// moving its state. Ascending in workers.
    pub replicas: Vec<Step>,
}

impl Present {
    /// Of a task on so many workers, in the fastest arrangement of them.
    #[must_use]
    pub fn of(workers: usize, throughput: &Throughput) -> Self {
        let shape = throughput.step_at(workers).and_then(|step| step.shape);
        Self { workers, shape, ..Self::default() }
    }

    /// With the sizes that the present arrangement has for other numbers of replicas.
    #[must_use]
    pub fn with_replicas(mut self, workload: &Workload<'_>, max_workers: usize) -> Self {
        let Some(shape) = self.shape else { return self };
        let per_replica = shape.tensor * shape.pipeline;
        let batch = workload.model.sizes().batch;
        let most = (max_workers / per_replica).min(batch.div_ceil(shape.micro_batch));
        let mut micro_batches = usize::MAX;
        for data in 1..=most {
            // Between two steps of the micro-batches of a replica, one more replica idles.
            let now = batch.div_ceil(shape.micro_batch).div_ceil(data);
            let shape = Shape { data, ..shape };
            if now < micro_batches && workload.fits(&shape) {
                let flops = workload.flops(&shape);
                self.replicas.push(Step { workers: shape.workers(), flops, shape: Some(shape) });
                micro_batches = now;
            }
        }
        self
    }
}

/// Weights in 2 bytes, and the optimiser's master weights and two moments in 4 bytes each.
const STATE_BYTES_OF_A_PARAMETER: f64 = 14.0;

impl Task {
    /// A task of a cluster file, with the workers that it has now. Its throughput may be known already:
    /// many tasks train the same model.
    #[must_use]
    pub fn of(
        spec: &TaskSpec,
        throughput: Arc<Throughput>,
        cluster: &Cluster,
        constants: &Constants,
    ) -> Self {
        let present = Present::of(spec.current, &throughput);
        let mut task = Self {
            name: spec.name.clone(),
            throughput,
            weight: spec.weight,
            min_workers: spec.min_workers,
            guaranteed_workers: spec.guaranteed_workers,
            unit: if spec.whole_nodes { Unit::Node } else { Unit::Worker },
            model: spec.model.clone().map(Arc::new),
            present: Present::default(),
            restart: None,
        };
        task.give(present, cluster, constants);
        task
    }

    /// Gives it other workers, with the sizes that their arrangement has for other numbers of replicas.
    pub fn give(&mut self, present: Present, cluster: &Cluster, constants: &Constants) {
        self.present = match &self.model {
            Some(model) if present.workers > 0 && present.replicas.is_empty() => {
                let workload = Workload {
                    model,
                    hardware: cluster.hardware(),
                    gpus_per_node: cluster.gpus_per_node(),
                    constants,
                    software: Software::CURRENT,
                };
                present.with_replicas(&workload, cluster.gpus())
            }
            _ => present,
        };
    }

    /// Its workers are a multiple of this.
    #[must_use]
    pub fn unit(&self, cluster: &Cluster) -> usize {
        match self.unit {
            Unit::Worker => 1,
            Unit::OnNode(workers) => workers.max(1),
            Unit::Node => cluster.gpus_per_node(),
        }
    }

    /// So many of its workers have to be on one node, again and again, in an arrangement of `tensor`.
    #[must_use]
    pub fn group(&self, cluster: &Cluster, tensor: usize) -> usize {
        match self.unit {
            Unit::Worker => tensor,
            Unit::OnNode(_) | Unit::Node => self.unit(cluster),
        }
    }

    /// What a change of its workers has to move and to repeat.
    #[must_use]
    pub fn training(&self) -> Option<Training> {
        let model = self.model.as_ref()?;
        Some(Training {
            state_bytes: STATE_BYTES_OF_A_PARAMETER * model.parameters(),
            iteration_flops: model.iteration_flops(),
        })
    }

    /// FLOP/s of now, the failed workers counted as if they worked.
    #[must_use]
    pub fn former_flops(&self) -> f64 {
        let present = self.present.workers;
        let arranged = self.present.shape.and_then(|shape| {
            self.present.replicas.iter().rev().find(|step| {
                step.workers <= present && step.shape.is_some_and(|other| is_alike(&shape, &other))
            })
        });
        arranged.map_or_else(|| self.throughput.at(present), |step| step.flops)
    }

    /// FLOP/s without the failed workers, until something is changed: of the replicas that are whole.
    #[must_use]
    pub fn surviving_flops(&self) -> f64 {
        let Present { workers, lost, shape, .. } = &self.present;
        if *lost == 0 {
            return self.former_flops();
        }
        let replicas = shape.map_or(1, |shape| shape.data);
        let per_replica = (workers / replicas).max(1);
        let whole = replicas - lost.div_ceil(per_replica).min(replicas);
        self.former_flops() * whole as f64 / replicas as f64
    }

    /// Weighted achieved FLOP/s, `F(t, x)`.
    #[must_use]
    pub fn waf(&self, flops: f64) -> f64 {
        self.weight * flops
    }

    /// The fewest workers that are worth anything.
    #[must_use]
    pub fn smallest(&self) -> Option<usize> {
        let step = self.throughput.steps().iter().find(|step| step.workers >= self.min_workers);
        // A step below `min_workers` is reached with workers that idle.
        let idle = self.throughput.step_at(self.min_workers).map(|_| self.min_workers);
        [idle, step.map(|step| step.workers)].into_iter().flatten().min()
    }

    /// The fewest workers on a cluster that are worth anything and no fewer than a floor, in whole units.
    #[must_use]
    pub fn fewest(&self, cluster: &Cluster, floor: usize) -> Option<usize> {
        Some(self.smallest()?.max(floor).next_multiple_of(self.unit(cluster)))
    }
}

/// Whether two shapes differ in replicas alone.
fn is_alike(left: &Shape, right: &Shape) -> bool {
    Shape { data: right.data, ..*left } == *right
}

/// The throughput of every task; that of the same model is worked out once.
pub(crate) fn throughputs(
    tasks: &[TaskSpec],
    cluster: &Cluster,
    constants: &Constants,
) -> Vec<Arc<Throughput>> {
    let mut distinct: Vec<&TaskSpec> = Vec::new();
    let mut by_model = HashMap::new();
    let which: Vec<usize> = tasks
        .iter()
        .map(|spec| {
            let new = distinct.len();
            let index = match (&spec.throughput, &spec.model) {
                (None, Some(model)) => *by_model.entry(model.sizes()).or_insert(new),
                _ => new,
            };
            if index == new {
                distinct.push(spec);
            }
            index
        })
        .collect();
    let tables: Vec<Arc<Throughput>> = distinct
        .into_par_iter()
        .map(|spec| Arc::new(spec.throughput_on(cluster, constants)))
        .collect();
    which.into_iter().map(|index| Arc::clone(&tables[index])).collect()
}
