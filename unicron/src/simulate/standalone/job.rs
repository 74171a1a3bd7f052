//! A job under a rival's policy: it trains, waits, restarts, and does again what it lost.

use crate::simulate::ledger::Occupancy;
use crate::simulate::rival::{Disruption, Job};

/// Less than this much training is lost by rounding alone.
const NOTHING_S: f64 = 1e-6;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    /// It trains, first what it lost.
    Training,
    /// A failure isn't noticed yet; what follows stops it for so long.
    Detecting { until_s: f64, stopped_s: f64 },
    /// It restarts, or whatever its policy does.
    Stopped { until_s: f64 },
    /// It has too few workers to run.
    Waiting,
    /// Its work is done.
    Ended,
}

/// A job and its nodes.
#[derive(Debug, Clone)]
pub(super) struct JobState {
    /// As its rival sees it.
    pub job: Job,
    /// Nodes that it was given at the start.
    pub wanted: usize,
    /// Nodes that it has and that are there.
    pub nodes: Vec<usize>,
    /// What it does.
    pub phase: Phase,
    /// FLOP/s while it trains.
    pub flops: f64,
    /// Since when it lacks a node.
    pub lacks_since_s: f64,
    /// Timers of an older generation mean nothing any more.
    pub generation: u64,
    /// FLOPs that were lost and aren't done again yet.
    debt_flops: f64,
    /// What it has trained since it last started.
    trained_s: f64,
    trained_flops: f64,
    since_s: f64,
}

impl JobState {
    pub(super) fn new(job: Job, nodes: Vec<usize>) -> Self {
        Self {
            job,
            wanted: nodes.len(),
            nodes,
            phase: Phase::Waiting,
            flops: 0.0,
            lacks_since_s: 0.0,
            generation: 0,
            debt_flops: 0.0,
            trained_s: 0.0,
            trained_flops: 0.0,
            since_s: 0.0,
        }
    }

    /// Workers that are there.
    pub(super) fn healthy(&self) -> usize {
        self.nodes.len() * self.job.gpus_per_node
    }

    pub(super) fn lacks_nodes(&self) -> bool {
        self.nodes.len() < self.wanted && self.phase != Phase::Ended
    }

    pub(super) fn trained_s(&self) -> f64 {
        self.trained_s
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, now_s: f64) {
        if self.phase == Phase::Training {
            let seconds = now_s - self.since_s;
            let flops = self.flops * seconds;
            self.trained_s += seconds;
            self.trained_flops += flops;
            self.debt_flops = (self.debt_flops - flops).max(0.0);
            if self.debt_flops < NOTHING_S * self.flops {
                self.debt_flops = 0.0;
            }
        }
        self.since_s = now_s;
        self.generation += 1;
    }

    /// Something stops it, after time has passed. What hits a job that doesn't train starts its recovery
    /// again: no later noticed, and no sooner over.
    pub(super) fn disrupt(&mut self, now_s: f64, disruption: Disruption) {
        let Disruption { detection_s, mut stopped_s, lost_s } = disruption;
        let mut until_s = now_s + detection_s;
        match self.phase {
            Phase::Waiting | Phase::Ended => return,
            Phase::Training => {
                self.debt_flops += (lost_s * self.flops).clamp(0.0, self.trained_flops);
            }
            Phase::Detecting { until_s: before_s, stopped_s: rest_s } => {
                until_s = until_s.min(before_s);
                stopped_s = stopped_s.max(rest_s);
            }
            Phase::Stopped { until_s: before_s } => stopped_s = stopped_s.max(before_s - now_s),
        }
        (self.trained_s, self.trained_flops) = (0.0, 0.0);
        self.phase = Phase::Detecting { until_s, stopped_s };
    }

    /// It trains at so many FLOP/s from now on; at none it waits.
    pub(super) fn train(&mut self, flops: f64) {
        if self.phase != Phase::Training {
            (self.trained_s, self.trained_flops) = (0.0, 0.0);
        }
        self.flops = flops;
        self.phase = if flops > 0.0 { Phase::Training } else { Phase::Waiting };
    }

    /// When its phase is over, if it ends by itself.
    pub(super) fn phase_ends_s(&self, now_s: f64) -> Option<f64> {
        match self.phase {
            Phase::Detecting { until_s, .. } | Phase::Stopped { until_s } => Some(until_s),
            Phase::Training if self.debt_flops > 0.0 => Some(now_s + self.debt_flops / self.flops),
            Phase::Training | Phase::Waiting | Phase::Ended => None,
        }
    }

    /// What its GPUs do. Those that Megatron-LM's fastest shape has no use for are idle.
    pub(super) fn occupancy(&self) -> Occupancy {
        let there = self.healthy();
        let step = self.job.throughput.step_at(there);
        let active = step.map_or(there, |step| step.workers.min(there));
        let rest = Occupancy { idle: there - active, ..Occupancy::default() };
        match self.phase {
            Phase::Training if self.debt_flops > 0.0 => Occupancy { redone: active, ..rest },
            Phase::Training => Occupancy { useful: active, flops: self.flops, ..rest },
            Phase::Detecting { .. } => Occupancy { detecting: active, ..rest },
            Phase::Stopped { .. } => Occupancy { in_transition: active, ..rest },
            Phase::Waiting => Occupancy { idle: there, is_starved: true, ..Occupancy::default() },
            Phase::Ended => Occupancy::default(),
        }
    }
}
