//! What a policy for a single job is to the simulator.
//!
//! Unicron plans over all tasks of a cluster; nobody else does. A rival looks after one job on the nodes
//! that the job was given at the start, beside a pool of spare nodes if it keeps one. So a rival is a cost
//! model: what it notices when, what a failure costs, what is left running. The simulator does the rest,
//! the same for all.

use crate::cluster::Hardware;
use crate::detect::{Method, Status};
use crate::model::LanguageModel;
use crate::throughput::Throughput;
use std::sync::Arc;

/// A job as its rival sees it.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it trains, where that is known.
    pub model: Option<Arc<LanguageModel>>,
    /// What tuned Megatron-LM achieves on these GPUs.
    pub throughput: Arc<Throughput>,
    /// Workers that it was given at the start.
    pub workers: usize,
    /// The GPUs and their links.
    pub hardware: Hardware,
    /// GPUs of a node.
    pub gpus_per_node: usize,
}

impl Job {
    /// Seconds of an iteration on so many workers at Megatron-LM's pace; `None` where it can't run or
    /// isn't known by its model.
    #[must_use]
    pub fn iteration_s(&self, workers: usize) -> Option<f64> {
        let flops = self.throughput.at(workers);
        let model = self.model.as_ref()?;
        (flops > 0.0).then(|| model.iteration_flops() / flops)
    }
}

/// How a failure shows to somebody who watches from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Symptom {
    /// A process ends.
    Exit,
    /// Nothing moves any more, until somebody's time-out.
    Hang,
    /// A node is gone with its agent.
    NodeGone,
}

impl Symptom {
    /// Of an error status. What Unicron hears as an exception ends the process for others; what it
    /// notices by statistics is a hang for them.
    #[must_use]
    pub fn of(status: Status) -> Self {
        match status.method() {
            Method::NodeHealth => Self::NodeGone,
            Method::ProcessSupervision | Method::ExceptionPropagation => Self::Exit,
            Method::StatisticalMonitoring => Self::Hang,
        }
    }
}

/// What something costs a job.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Disruption {
    /// Seconds until it is noticed; the job's GPUs wait.
    pub detection_s: f64,
    /// Seconds from then on in which nobody trains.
    pub stopped_s: f64,
    /// Seconds of training before it that have to be done again.
    pub lost_s: f64,
}

/// A failure as a rival meets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blow {
    /// How it shows.
    pub symptom: Symptom,
    /// Healthy workers that the job has afterwards, spares that take over included.
    pub healthy: usize,
    /// Seconds of training since the job last (re)started: no more can be lost.
    pub trained_s: f64,
    /// A number from 0 to 1 for whatever varies; one is drawn for each failure, the same for all policies.
    pub draw: f64,
}

/// A number or a rule that a policy's cost model takes from somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumption {
    /// What is assumed.
    pub what: &'static str,
    /// Its value, with the unit.
    pub value: &'static str,
    /// Who published it, or that it is ours.
    pub source: &'static str,
}

/// A policy for a single job.
pub trait Rival: Sync {
    /// Its name in arguments and tables.
    fn name(&self) -> &'static str;

    /// What its cost model rests on, for the documentation.
    fn assumptions(&self) -> &'static [Assumption] {
        &[]
    }

    /// FLOP/s that the job achieves with so many healthy workers in the steady state, checkpoints' stalls
    /// included; 0 if it can't run on them and waits for a repair.
    fn flops(&self, job: &Job, healthy: usize) -> f64;

    /// Its node is lost, and with it all processes on it.
    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption;

    /// A process fails and can be restarted where it was.
    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption;

    /// A repaired node comes back to a job that lacks one; `healthy` are its workers then. A job that
    /// could not run starts again.
    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption;
}
