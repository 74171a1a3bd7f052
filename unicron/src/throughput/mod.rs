//! How many FLOP/s a task achieves on so many workers: `T(t, x)` of the paper (section 5).
//!
//! The paper takes T from runs or from a parallelism planner and prints no formula. Here it is
//! either measured, or modelled for Megatron-style training: of all shapes (tensor x pipeline x
//! data parallel) on at most x GPUs that fit in memory, the fastest. In reading order:
//!
//! - `shape`: a shape, and what the software that runs it can do
//! - `workload`: a model on a cluster; what a shape on it needs and takes
//! - `memory`: bytes of the fullest GPU (Korthikanti et al. 2022)
//! - `time`: seconds of an iteration: computation, bubble, communication
//! - `search`: the fastest shape for every number of workers
//! - `constants`, [`calibration`]: what the model can't derive, fitted on published runs
//!
//! T counts the model's FLOPs only, so recomputed activations lower it. More workers never lower
//! it: those that no shape can use stay idle.
//!
//! **What no published row tests**, and where measured points should replace the model: fewer than
//! 32 GPUs (but for one 22B model on 8), sequences beyond 8,192 tokens, GPUs other than A100 and
//! H100, networks slower than 200 Gb/s for each GPU (the paper's A800 have half of that), replicas
//! whose micro-batches differ in number, sequences that differ in length, mixtures of experts,
//! context parallelism, 8-bit floating point.

pub mod calibration;
mod constants;
mod memory;
mod search;
mod shape;
mod time;
mod workload;

pub use constants::Constants;
pub use shape::{Recompute, Shape, Software};
pub use workload::Workload;

use crate::cluster::Hardware;
use crate::cluster::check_figure;
use crate::model::LanguageModel;
use crate::{Error, Result};

/// T of one task: a step function of its workers, 0 below the first step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Throughput {
    steps: Vec<Step>,
}

/// From so many workers on, so many FLOP/s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The fewest workers (GPUs) that achieve this.
    pub workers: usize,
    /// What they achieve together, in the model's FLOP/s.
    pub flops: f64,
    /// How they are arranged; `None` where the step was measured.
    pub shape: Option<Shape>,
}

impl Throughput {
    /// The model's T, up to so many workers; no steps if the model fits on no shape of them.
    #[must_use]
    pub fn megatron(
        model: &LanguageModel,
        hardware: &Hardware,
        gpus_per_node: usize,
        max_workers: usize,
        constants: &Constants,
    ) -> Self {
        let workload =
            Workload { model, hardware, gpus_per_node, constants, software: Software::CURRENT };
        Self { steps: search::fastest_shapes(&workload, max_workers) }
    }

    /// T from measured points (workers, FLOP/s). A point that is no faster than one with fewer
    /// workers makes no step: the surplus would idle.
    ///
    /// # Errors
    /// If there is no point, workers are 0 or don't ascend, or FLOP/s aren't a number above 0.
    pub fn measured(points: &[(usize, f64)]) -> Result<Self> {
        if points.is_empty() {
            return Err(bad_throughput("there are no points; give at least one, [workers, flops]"));
        }
        let mut steps: Vec<Step> = Vec::with_capacity(points.len());
        let mut previous = 0;
        for &(workers, flops) in points {
            check_point(previous, workers, flops)?;
            previous = workers;
            if steps.last().is_none_or(|step| step.flops < flops) {
                steps.push(Step { workers, flops, shape: None });
            }
        }
        Ok(Self { steps })
    }

    /// Of steps that ascend in workers and in FLOP/s.
    #[cfg(test)]
    pub(crate) fn of_steps(steps: Vec<Step>) -> Self {
        assert!(steps.is_sorted_by(|a, b| a.workers < b.workers && a.flops < b.flops));
        Self { steps }
    }

    /// The steps, strictly ascending in workers and in FLOP/s.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// FLOP/s that so many workers achieve.
    #[must_use]
    pub fn at(&self, workers: usize) -> f64 {
        self.step_at(workers).map_or(0.0, |step| step.flops)
    }

    /// The step that so many workers are on, if they can run the task at all. It uses `workers` of
    /// the step; the others idle.
    #[must_use]
    pub fn step_at(&self, workers: usize) -> Option<&Step> {
        let above = self.steps.partition_point(|step| step.workers <= workers);
        self.steps[..above].last()
    }

    /// The fewest workers that run the task at all.
    #[must_use]
    pub fn smallest(&self) -> Option<usize> {
        self.steps.first().map(|step| step.workers)
    }
}

/// Checks a measured point that follows one of so many workers.
pub(crate) fn check_point(previous_workers: usize, workers: usize, flops: f64) -> Result<()> {
    if workers <= previous_workers {
        return Err(bad_throughput(format!(
            "{workers} workers after {previous_workers}; points start above 0 and ascend"
        )));
    }
    check_figure(flops)
        .map_err(|problem| bad_throughput(format!("FLOP/s with {workers} workers: {problem}")))
}

fn bad_throughput(problem: impl Into<String>) -> Error {
    Error::Setting { setting: "throughput".into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;

    #[test]
    fn measured_points_are_a_step_function() {
        let points = [(8, 1e15), (16, 1.9e15), (24, 1.8e15), (32, 3.5e15)];
        let throughput = Throughput::measured(&points).unwrap();
        assert_eq!(throughput.steps().len(), 3, "24 workers are no faster than 16");
        let at = [0, 7, 8, 15, 24, 31, 32, 1000].map(|workers| throughput.at(workers));
        assert_eq!(at, [0.0, 0.0, 1e15, 1e15, 1.9e15, 1.9e15, 3.5e15, 3.5e15]);
        assert_eq!(throughput.smallest(), Some(8));
        assert_eq!(throughput.step_at(24).unwrap().workers, 16);
        assert!(throughput.step_at(7).is_none());
    }

    #[test]
    fn the_papers_models_on_the_papers_cluster() {
        let cluster = Cluster::paper();
        // Fewest GPUs, FLOP/s of the whole cluster as a share of its peak in percent.
        let expected = [
            ("gpt3-1.3b", 1, 49),
            ("gpt3-7b", 2, 56),
            ("gpt3-13b", 4, 59),
            ("gpt3-70b", 16, 54),
            ("gpt3-175b", 48, 56),
        ];
        for (name, smallest, percent) in expected {
            let model = LanguageModel::preset(name).unwrap();
            let constants = Constants::default();
            let throughput = Throughput::megatron(&model, cluster.hardware(), 8, 128, &constants);
            let peak = 128.0 * cluster.hardware().peak_flops;
            let share = (100.0 * throughput.at(128) / peak).round();
            assert_eq!(
                (throughput.smallest(), share),
                (Some(smallest), f64::from(percent)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_shared_optimizer_lets_7b_train_on_one_node_without_model_parallelism() {
        // 6.7e9 parameters: 40 GB of weights and gradients, 80 GB of optimizer state.
        let model = LanguageModel::preset("gpt3-7b").unwrap();
        let cluster = Cluster::paper();
        let constants = Constants::default();
        let throughput = Throughput::megatron(&model, cluster.hardware(), 8, 8, &constants);
        let shape = throughput.step_at(8).unwrap().shape.unwrap();
        assert_eq!((shape.tensor, shape.pipeline, shape.data), (1, 1, 8));
        let workload = Workload {
            model: &model,
            hardware: cluster.hardware(),
            gpus_per_node: 8,
            constants: &constants,
            software: Software::CURRENT,
        };
        assert!(workload.fits(&shape));
        assert!(!workload.fits(&Shape { sharded_optimizer: false, ..shape }));
    }

    #[test]
    fn bad_points_are_answered() {
        let error = |points: &[(usize, f64)]| Throughput::measured(points).unwrap_err().to_string();
        assert!(error(&[]).contains("no points"));
        assert!(error(&[(0, 1.0)]).contains("0 workers after 0"));
        assert!(error(&[(8, 1.0), (8, 2.0)]).contains("8 workers after 8"));
        assert!(error(&[(8, f64::INFINITY)]).contains("FLOP/s with 8 workers: inf is not"));
        assert!(error(&[(8, 0.0)]).contains("not a number above 0"));
    }
}
