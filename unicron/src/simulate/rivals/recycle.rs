//! ReCycle (SOSP'24): the micro-batches of a lost worker go to its data-parallel peers, into the bubbles
//! of their pipelines. No spare, no state to copy, no other shape.
//!
//! A backward pass that is split into gradients of inputs and of weights lets about all of the bubble be
//! filled (field notes 1.3). So m micro-batches of a pipeline with bubble β become, with e of d peers gone
//! from a stage, `max(m + β, m d / (d - e))`: nothing is lost as long as the bubble takes the rest. We
//! leave out what filling costs, in its favour.

use super::Options;
use super::checkpoints::Checkpoints;
use super::costs::{
    EXIT_S, KEEP_ALIVE_S, REBUILD_S, connection_s, copy_s, is_replaced, iteration_s, restart_s,
    state_bytes, workers_before,
};
use super::replicas::Replicas;
use crate::simulate::rival::{Assumption, Blow, Disruption, Job, Rival, Symptom};

const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        what: "throughput",
        value: "T of all workers times (m + (p - 1) / v) / max(m + (p - 1) / v, m d / (d - e)), in whole sequences",
        source: "derived from ReCycle's mechanism (field notes 1.3); what decoupling the backward pass costs is left out in its favour",
    },
    Assumption {
        what: "lost workers of a stage, e",
        value: "all lost cells of the grid, dealt evenly over the stages",
        source: "ReCycle's failure normalization, as if it cost nothing",
    },
    Assumption {
        what: "memory for the micro-batches of others",
        value: "there is enough",
        source: "ours, in its favour",
    },
    Assumption {
        what: "a process ends; a node is gone",
        value: "1 s; 15 s",
        source: "a heartbeat without a published figure: torchrun's",
    },
    Assumption {
        what: "a hang",
        value: "as PyTorch",
        source: "no detector of its own is published",
    },
    Assumption {
        what: "recovery",
        value: "10 s for communicators; plans are computed beforehand",
        source: "Lazarus, 5 to 15 s (the paper's notes, 7)",
    },
    Assumption {
        what: "a worker that comes back",
        value: "10 s and a copy of its state from a peer",
        source: "peers hold the same parameters (field notes 1.1)",
    },
    Assumption {
        what: "lost",
        value: "the current iteration; with all peers of a stage, back to a checkpoint that cost nothing to take",
        source: "field notes 1.1; the checkpoint is ours",
    },
];

/// Gives the work to peers.
#[derive(Debug, Clone, Copy)]
pub struct ReCycle {
    options: Options,
}

impl ReCycle {
    /// With these choices.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Seconds until a newcomer is part of the communicators and has its state.
    fn join_s(job: &Job) -> f64 {
        let parts = Replicas::of(job).map_or(job.workers, |replicas| replicas.workers_of_each());
        let part = state_bytes(job).unwrap_or(0.0) / parts.max(1) as f64;
        REBUILD_S + copy_s(job, part)
    }

    /// After a failure of which so many workers know nothing.
    fn failed(&self, job: &Job, blow: &Blow, before: usize, survivors: usize) -> Disruption {
        let detection_s = match blow.symptom {
            Symptom::NodeGone => KEEP_ALIVE_S,
            Symptom::Exit => EXIT_S,
            Symptom::Hang => connection_s(&self.options, blow),
        };
        let has_peers = self.flops(job, survivors) > 0.0;
        let lost_s = if has_peers {
            (blow.draw * iteration_s(job, self.flops(job, before))).min(blow.trained_s)
        } else {
            Checkpoints::asynchronous(job, &self.options).lost_s(blow.trained_s)
        };
        let stopped_s = match (has_peers, self.flops(job, blow.healthy) > 0.0) {
            (true, _) => REBUILD_S,
            (false, true) => restart_s(job),
            (false, false) => 0.0,
        };
        Disruption { detection_s, stopped_s, lost_s }
    }
}

impl Rival for ReCycle {
    fn name(&self) -> &'static str {
        "recycle"
    }

    fn assumptions(&self) -> &'static [Assumption] {
        ASSUMPTIONS
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        let Some(replicas) = Replicas::of(job) else { return job.throughput.at(healthy) };
        let used = replicas.workers_of_each() * replicas.data;
        let cells = used.saturating_sub(healthy).div_ceil(replicas.tensor);
        let lost_peers = cells.div_ceil(replicas.pipeline);
        if lost_peers >= replicas.data {
            return 0.0;
        }
        let full = replicas.slots(replicas.data);
        let rerouted = replicas.work(replicas.data - lost_peers);
        job.throughput.at(job.workers) * full / full.max(rerouted)
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        let before = workers_before(job, blow);
        let failed = self.failed(job, blow, before, before.saturating_sub(job.gpus_per_node));
        // A spare takes over while the others go on, and stops them only to join.
        let is_joined = is_replaced(job, blow) && failed.stopped_s == REBUILD_S;
        let join_s = if is_joined { Self::join_s(job) } else { 0.0 };
        Disruption { stopped_s: failed.stopped_s + join_s, ..failed }
    }

    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption {
        let survivors = blow.healthy.saturating_sub(1);
        let failed = self.failed(job, blow, blow.healthy, survivors);
        let join_s = if failed.stopped_s == REBUILD_S { Self::join_s(job) } else { 0.0 };
        Disruption { stopped_s: failed.stopped_s + join_s, ..failed }
    }

    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption {
        let stopped_s = match (self.flops(job, healthy) > 0.0, was_running) {
            (false, _) => 0.0,
            (true, true) => Self::join_s(job),
            (true, false) => restart_s(job),
        };
        Disruption { stopped_s, ..Disruption::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blow, job, job_in_shape};
    use super::*;

    #[test]
    fn it_is_free_while_the_bubble_takes_the_rest() {
        // Field notes 1.3: m / (d - 1) <= p - 1. Here m = 16 (512 sequences, 8 at a time), d = 4, p = 8:
        // 5.3 <= 7.
        let (job, recycle) = (job_in_shape(1, 8, 4, 8), ReCycle::new(Options::default()));
        for healthy in 24..=32 {
            assert_eq!(recycle.flops(&job, healthy), job.throughput.at(32), "{healthy}");
        }
        // Two peers gone: 32 micro-batches instead of 23 slots.
        let two = recycle.flops(&job, 23) / job.throughput.at(32);
        assert!((two - 23.0 / 32.0).abs() < 1e-12, "{two}");
    }

    #[test]
    fn beyond_the_bubble_it_is_slower() {
        // m = 64, d = 4, p = 2: 21.3 > 1, so 65 slots become 171 / 2.
        let (job, recycle) = (job_in_shape(1, 2, 4, 2), ReCycle::new(Options::default()));
        let ratio = recycle.flops(&job, 7) / job.throughput.at(8);
        assert!((ratio - 65.0 / 85.5).abs() < 1e-12, "{ratio}");
        // The second loss of the same pipeline costs nothing more.
        assert_eq!(recycle.flops(&job, 6), recycle.flops(&job, 7));
    }

    #[test]
    fn each_stage_needs_a_living_peer() {
        let (job, recycle) = (job_in_shape(1, 8, 4, 8), ReCycle::new(Options::default()));
        assert!(recycle.flops(&job, 8) > 0.0);
        assert_eq!(recycle.flops(&job, 7), 0.0);
    }

    #[test]
    fn a_lost_node_costs_seconds() {
        let (job, recycle) = (job("gpt3-7b"), ReCycle::new(Options::default()));
        let lost = recycle.node_lost(&job, &blow(Symptom::NodeGone, 120));
        assert_eq!((lost.detection_s, lost.stopped_s), (15.0, 10.0));
        assert!(lost.lost_s <= job.iteration_s(128).unwrap());
    }
}
