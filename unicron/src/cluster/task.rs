//! What is asked for a task, before anything is planned.

use super::Cluster;
use crate::Result;
use crate::model::LanguageModel;
use crate::throughput::{Constants, Throughput};

/// A task as its owner describes it. Workers are GPUs.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// The name, unique among tasks: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it trains; `None` only where its throughput was measured.
    pub model: Option<LanguageModel>,
    /// Its priority `w(t)`: what a FLOP/s of it is worth beside others'. Above 0.
    pub weight: f64,
    /// With fewer workers it counts as not running: the paper's `T_necessary(t)`.
    pub min_workers: usize,
    /// What it keeps however low its worth; 0 if it may be stopped for others, `None` for the fewest that
    /// it can run on.
    pub guaranteed_workers: Option<usize>,
    /// The workers that it has now, `x`; 0 before it runs.
    pub current: usize,
    /// Its throughput by workers, where it was measured; modelled otherwise.
    pub throughput: Option<Throughput>,
    /// Whether it takes whole nodes only.
    pub whole_nodes: bool,
    /// FLOPs after which it is done, above 0; `None` if it never is.
    pub work_flops: Option<f64>,
}

impl TaskSpec {
    /// The so-many-th task, on a preset model, with nothing else asked for it.
    ///
    /// # Errors
    /// If there is no preset of this name.
    pub fn preset(number: usize, model: &str, weight: f64) -> Result<Self> {
        Ok(Self {
            name: format!("{number}-{model}"),
            model: Some(LanguageModel::preset(model)?),
            weight,
            min_workers: 0,
            guaranteed_workers: None,
            current: 0,
            throughput: None,
            whole_nodes: false,
            work_flops: None,
        })
    }

    /// Its throughput on a cluster: as measured, or modelled up to all GPUs there are.
    #[must_use]
    pub fn throughput_on(&self, cluster: &Cluster, constants: &Constants) -> Throughput {
        match (&self.throughput, &self.model) {
            (Some(measured), _) => measured.clone(),
            (None, Some(model)) => Throughput::megatron(
                model,
                cluster.hardware(),
                cluster.gpus_per_node(),
                cluster.gpus(),
                constants,
            ),
            (None, None) => Throughput::default(),
        }
    }
}
