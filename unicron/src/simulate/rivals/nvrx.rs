//! NVIDIA's Resiliency Extension: restarts in place. The in-process wrapper restarts the training function
//! in processes that live; the in-job launcher restarts processes on nodes that they have.
//!
//! Its rank policies can drop whole nodes and keep a world that is divisible, so it is elastic by equal
//! replicas where the job's shape allows it: Megatron-LM asserts that the batch comes out even.

use super::Options;
use super::checkpoints::Checkpoints;
use super::costs::{copy_s, is_replaced, load_s, nodes, other_draw, restart_s, state_bytes};
use super::replicas::even_flops;
use crate::simulate::rival::{Assumption, Blow, Disruption, Job, Rival, Symptom};

/// The in-process wrapper's heartbeat (field notes 1.1).
const EXIT_S: f64 = 1.0;
/// Its heartbeat's time-out.
const NODE_S: f64 = 30.0;
/// Its soft time-out; the hard one comes at 90 s.
const HANG_S: f64 = 60.0;
/// From the soft to the hard time-out.
const HANG_MORE_S: f64 = 30.0;

/// Abort, health check and barrier: 10 to 60 s (field notes 1.5, a proposal).
const IN_PROCESS_S: f64 = 10.0;
/// From the quickest to the slowest.
const IN_PROCESS_MORE_S: f64 = 50.0;

/// The launcher waits for workers to stop, then up to 50 s for their GPUs' memory (field notes 3.1).
const STOP_S: f64 = 15.0;
/// The most that memory takes.
const RECLAIM_S: f64 = 50.0;

const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        what: "throughput",
        value: "T of all workers; with fewer, as many replicas as have equal shares of the batch; less the checkpoints' stalls",
        source: "rank policies (field notes 3.1); Megatron-LM's assertion (field notes 6.3)",
    },
    Assumption {
        what: "a process ends; a node is gone",
        value: "1 s; 30 s",
        source: "in-process heartbeat and its time-out (field notes 3.1)",
    },
    Assumption {
        what: "a hang",
        value: "60 to 90 s",
        source: "in-process soft and hard time-outs (field notes 3.1)",
    },
    Assumption {
        what: "restart in process",
        value: "10 to 60 s",
        source: "field notes 1.5, a proposal: no figure is published",
    },
    Assumption {
        what: "restart in job: the node of rank 0, or another number of replicas",
        value: "15 s to stop, up to 50 s for memory, then set-up and loading as Megatron-LM",
        source: "defaults of ft_launcher (field notes 3.1)",
    },
    Assumption {
        what: "lost in process",
        value: "what was trained since the last local checkpoint, which a peer has too",
        source: "field notes 1.5; stall and interval as Megatron-LM's",
    },
    Assumption {
        what: "lost with another number of replicas",
        value: "what was trained since the last checkpoint in the store",
        source: "local checkpoints fit one shape; ours",
    },
];

/// Restarts in place.
#[derive(Debug, Clone, Copy)]
pub struct Nvrx {
    options: Options,
}

impl Nvrx {
    /// With these choices.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    fn detection_s(&self, blow: &Blow) -> f64 {
        match blow.symptom {
            Symptom::Exit => EXIT_S,
            Symptom::NodeGone => NODE_S,
            Symptom::Hang => self.options.hang_s.unwrap_or(HANG_S + HANG_MORE_S * other_draw(blow)),
        }
    }

    fn in_process_s(blow: &Blow) -> f64 {
        IN_PROCESS_S + IN_PROCESS_MORE_S * other_draw(blow)
    }

    fn in_job_s(job: &Job, reclaim: f64) -> f64 {
        STOP_S + RECLAIM_S * reclaim + restart_s(job)
    }

    fn lost_s(&self, job: &Job, blow: &Blow) -> f64 {
        Checkpoints::local(job, &self.options).lost_s(blow.trained_s)
    }
}

impl Rival for Nvrx {
    fn name(&self) -> &'static str {
        "nvrx"
    }

    fn assumptions(&self) -> &'static [Assumption] {
        ASSUMPTIONS
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        even_flops(job, healthy) * Checkpoints::local(job, &self.options).share()
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        let detection_s = self.detection_s(blow);
        if !is_replaced(job, blow) {
            let runs = self.flops(job, blow.healthy) > 0.0;
            let stopped_s = if runs { Self::in_job_s(job, other_draw(blow)) } else { 0.0 };
            let lost_s = Checkpoints::asynchronous(job, &self.options).lost_s(blow.trained_s);
            return Disruption { detection_s, stopped_s, lost_s };
        }
        let is_of_rank_0 = blow.draw * nodes(job) < 1.0;
        let stopped_s = if is_of_rank_0 {
            Self::in_job_s(job, other_draw(blow))
        } else {
            // The spare copies the local checkpoint of the lost node from its peer.
            let workers = job.workers.max(1) as f64;
            let part = state_bytes(job).map(|bytes| copy_s(job, bytes / workers));
            Self::in_process_s(blow) + part.unwrap_or_else(|| load_s(job))
        };
        Disruption { detection_s, stopped_s, lost_s: self.lost_s(job, blow) }
    }

    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption {
        Disruption {
            detection_s: self.detection_s(blow),
            stopped_s: Self::in_process_s(blow),
            lost_s: self.lost_s(job, blow),
        }
    }

    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption {
        let flops = self.flops(job, healthy);
        let before = self.flops(job, healthy.saturating_sub(job.gpus_per_node));
        // A restart for a node that makes no further replica isn't asked for.
        if flops == 0.0 || (was_running && flops <= before) {
            return Disruption::default();
        }
        let stopped_s = if was_running { Self::in_job_s(job, 1.0) } else { restart_s(job) };
        Disruption { stopped_s, ..Disruption::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blow, job, job_in_shape};
    use super::*;

    #[test]
    fn a_process_is_back_in_a_minute() {
        let (job, nvrx) = (job("gpt3-7b"), Nvrx::new(Options::default()));
        for draw in 0..50 {
            let draw = f64::from(draw) / 50.0;
            let exit = nvrx.process_failed(&job, &Blow { draw, ..blow(Symptom::Exit, 128) });
            assert_eq!(exit.detection_s, 1.0);
            assert!((10.0..60.0).contains(&exit.stopped_s), "{exit:?}");
            let hang = nvrx.process_failed(&job, &Blow { draw, ..blow(Symptom::Hang, 128) });
            assert!((60.0..90.0).contains(&hang.detection_s), "{hang:?}");
        }
    }

    #[test]
    fn the_node_of_rank_0_is_fatal_to_processes() {
        let (job, nvrx) = (job("gpt3-7b"), Nvrx::new(Options::default()));
        let lost = |draw| nvrx.node_lost(&job, &Blow { draw, ..blow(Symptom::NodeGone, 128) });
        // One node of 16; set-up 222 s and 37 s to load.
        let of_rank_0 = lost(1.0 / 16.0 - 1e-9).stopped_s;
        assert!((15.0 + 259.0..15.0 + 50.0 + 260.0).contains(&of_rank_0), "{of_rank_0}");
        let of_another = lost(1.0 / 16.0 + 1e-9).stopped_s;
        assert!((10.0..61.0).contains(&of_another), "{of_another}");
    }

    #[test]
    fn with_a_node_less_it_keeps_equal_replicas() {
        // 16 replicas of one node each, 512 sequences: 15 don't come out even, 8 do.
        let (job, nvrx) = (job_in_shape(2, 4, 16, 1), Nvrx::new(Options::default()));
        assert_eq!(nvrx.flops(&job, 120), nvrx.flops(&job, 64));
        // The repaired 10th node makes no further replica; the 16th does.
        assert_eq!(nvrx.node_joined(&job, 80, true), Disruption::default());
        assert!(nvrx.node_joined(&job, 128, true).stopped_s > 15.0 + 50.0 + 222.0);
    }
}
