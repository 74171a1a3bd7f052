//! DLRover (Ant): a master restarts or replaces pods, checks nodes before training goes on, and scales in
//! if no node is to be had. Its checkpoints in memory cost a blink, so it takes one every ten steps.
//!
//! The stages are those of its authors' table, the best that is published (field notes 1.6). It was
//! measured at a thousand GPUs and isn't scaled down: most of it doesn't depend on the model.

use super::Options;
use super::checkpoints::Checkpoints;
use super::costs::{
    COLLECTIVE_S, EXIT_S, KEEP_ALIVE_S, LOAD_S, is_replaced, iteration_s, workers_before,
};
use super::replicas::even_flops;
use crate::simulate::rival::{Assumption, Blow, Disruption, Job, Rival, Symptom};

/// No step for so long is a hang (field notes 3.2).
const HANG_S: f64 = 600.0;
/// A pod that replaces another.
const POD_S: f64 = 120.0;
/// Waiting for one that doesn't come, until the job is scaled in.
const SCALE_IN_S: f64 = 180.0;
/// Nodes are verified after a fault of hardware: 2 to 3 min.
const VERIFY_S: f64 = 150.0;
/// Nodes are verified after a fault of software: about 1 min.
const CHECK_S: f64 = 60.0;

/// Steps between two checkpoints in memory (field notes 1.6, GLM-65B).
const STEPS: f64 = 10.0;
/// Seconds for which each stops training (same).
const STALL_S: f64 = 0.2;

const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        what: "throughput",
        value: "T of all workers; with fewer, as many replicas on whole nodes as have equal shares of the batch; less the checkpoints' stalls",
        source: "scale-in by node_unit = 1 (field notes 1.6, 3.2); Megatron-LM's assertion (6.3)",
    },
    Assumption {
        what: "a process ends",
        value: "1 s",
        source: "at once (field notes 1.1); torchrun's agent",
    },
    Assumption {
        what: "a node is gone",
        value: "15 s; 600 s without keep-alive",
        source: "a report is missed; the master's window (field notes 3.2)",
    },
    Assumption {
        what: "a hang",
        value: "600 s, and then it fails over",
        source: "no step for 10 min (field notes 3.2); its default is to notify only",
    },
    Assumption {
        what: "a lost node",
        value: "120 s for a pod or 180 s to scale in, 150 s to verify, 240 s to load",
        source: "DLRover's table (field notes 1.6)",
    },
    Assumption {
        what: "a failed process",
        value: "60 s to verify, 240 s to load",
        source: "DLRover's table (field notes 1.6)",
    },
    Assumption {
        what: "checkpoint in memory",
        value: "every 10 steps, 0.2 s of standstill; a lost node's copy is on another",
        source: "GLM-65B (field notes 1.6); the copy is ours, in its favour",
    },
    Assumption {
        what: "a node that comes back",
        value: "150 s to verify, 240 s to load; its pod starts meanwhile, and nothing is lost",
        source: "DLRover's table; it saves before it stops",
    },
];

/// Restarts or replaces pods.
#[derive(Debug, Clone, Copy)]
pub struct DlRover {
    options: Options,
}

impl DlRover {
    /// With these choices.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    fn detection_s(&self, blow: &Blow) -> f64 {
        match blow.symptom {
            Symptom::Exit => EXIT_S,
            Symptom::NodeGone if self.options.keep_alive => KEEP_ALIVE_S,
            Symptom::NodeGone => COLLECTIVE_S,
            Symptom::Hang => self.options.hang_s.unwrap_or(HANG_S),
        }
    }

    /// FLOP/s without checkpoints: whole nodes only, unless it was given less than one more.
    fn pace(job: &Job, healthy: usize) -> f64 {
        let node = job.gpus_per_node.max(1);
        let usable = if healthy < job.workers { healthy / node * node } else { healthy };
        even_flops(job, usable)
    }

    /// The checkpoints in memory at a pace. A job whose steps are unknown takes them as rarely as others.
    fn checkpoints(&self, job: &Job, pace: f64) -> Checkpoints {
        let local = Checkpoints::local(job, &self.options);
        let steps_s = STEPS * iteration_s(job, pace);
        let is_known = steps_s > 0.0 && self.options.checkpoint_interval_s.is_none();
        let interval_s = if is_known { steps_s } else { local.interval_s };
        Checkpoints { interval_s, stall_s: STALL_S, written_s: 0.0 }
    }

    fn failed(&self, job: &Job, blow: &Blow, before: usize, stopped_s: f64) -> Disruption {
        let runs = self.flops(job, blow.healthy) > 0.0;
        let checkpoints = self.checkpoints(job, Self::pace(job, before));
        Disruption {
            detection_s: self.detection_s(blow),
            stopped_s: if runs { stopped_s } else { 0.0 },
            lost_s: checkpoints.lost_s(blow.trained_s),
        }
    }
}

impl Rival for DlRover {
    fn name(&self) -> &'static str {
        "dlrover"
    }

    fn assumptions(&self) -> &'static [Assumption] {
        ASSUMPTIONS
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        let pace = Self::pace(job, healthy);
        pace * self.checkpoints(job, pace).share()
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        let nodes_s = if is_replaced(job, blow) { POD_S } else { SCALE_IN_S };
        self.failed(job, blow, workers_before(job, blow), nodes_s + VERIFY_S + LOAD_S)
    }

    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption {
        self.failed(job, blow, blow.healthy, CHECK_S + LOAD_S)
    }

    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption {
        let pace = Self::pace(job, healthy);
        let before = Self::pace(job, healthy.saturating_sub(job.gpus_per_node));
        if pace == 0.0 || (was_running && pace <= before) {
            return Disruption::default();
        }
        let pod_s = if was_running { 0.0 } else { POD_S };
        Disruption { stopped_s: pod_s + VERIFY_S + LOAD_S, ..Disruption::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blow, job, job_in_shape};
    use super::*;

    #[test]
    fn the_stages_are_the_tables() {
        let (job, dlrover) = (job_in_shape(2, 4, 16, 1), DlRover::new(Options::default()));
        let node = |healthy| dlrover.node_lost(&job, &blow(Symptom::NodeGone, healthy)).stopped_s;
        // Minutes: 2 or 3, then 2.5 and 4.
        assert_eq!((node(128) / 60.0, node(120) / 60.0), (8.5, 9.5));
        let process = dlrover.process_failed(&job, &blow(Symptom::Exit, 128));
        assert_eq!((process.detection_s, process.stopped_s / 60.0), (1.0, 5.0));
        let hang = dlrover.process_failed(&job, &blow(Symptom::Hang, 128));
        assert_eq!(hang.detection_s, 600.0);
    }

    #[test]
    fn at_most_ten_steps_are_lost() {
        let (job, dlrover) = (job("gpt3-7b"), DlRover::new(Options::default()));
        let ten = 10.0 * job.iteration_s(128).unwrap();
        let lost = |trained_s| {
            dlrover.node_lost(&job, &Blow { trained_s, ..blow(Symptom::NodeGone, 128) }).lost_s
        };
        assert!((lost(0.9 * ten) - 0.9 * ten).abs() < 1e-9);
        assert!((lost(3.4 * ten) - 0.4 * ten).abs() < 1e-6);
        // Ten steps take about 20 s, a checkpoint 0.2 s.
        let share = dlrover.flops(&job, 128) / job.throughput.at(128);
        assert!((share - ten / (ten + 0.2)).abs() < 1e-12, "{share}");
    }

    #[test]
    fn it_scales_in_by_whole_nodes() {
        let (job, dlrover) = (job_in_shape(2, 2, 32, 1), DlRover::new(Options::default()));
        // Two replicas a node: 33 GPUs are 4 nodes, 8 replicas.
        assert_eq!(dlrover.flops(&job, 33), dlrover.flops(&job, 32));
        assert!(dlrover.flops(&job, 64) > dlrover.flops(&job, 63));
    }
}
