//! torchft: a replica that has lost something drops out of the quorum, and the others go on with a smaller
//! batch until it comes back and copies a peer's state.
//!
//! Its batch shrinks with its replicas: we count FLOPs, and so tokens, not steps (field notes 1.4). That
//! the loss curve stays intact all the same is its authors' claim. The lighthouse knows of a dead replica
//! in 5 s and doesn't tell; survivors wait for their collective's time-out.

use super::Options;
use super::checkpoints::Checkpoints;
use super::costs::{SET_UP_S, copy_s, iteration_s, restart_s, state_bytes, workers_before};
use crate::simulate::rival::{Assumption, Blow, Disruption, Job, Rival, Symptom};

/// The manager's time-out (field notes 2.3).
const TIMEOUT_S: f64 = 60.0;

/// A process group is aborted and set up again: 1 to 10 s (field notes 1.1), the middle.
const RECONFIGURE_S: f64 = 5.0;

const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        what: "throughput",
        value: "T of all workers times the share of living replicas",
        source: "weak scaling: the batch shrinks (field notes 1.4); the control's cost is left out in its favour",
    },
    Assumption {
        what: "replica",
        value: "of the whole nodes that hold the model, as many as leave the fewest nodes over and at least two replicas; nodes of broken replicas form new ones",
        source: "HSDP; ours, in its favour",
    },
    Assumption {
        what: "any failure",
        value: "60 s",
        source: "survivors' collective time-out, the manager's default (field notes 0, fact 9, and 2.3)",
    },
    Assumption { what: "reconfiguration", value: "5 s", source: "1 to 10 s (field notes 1.1)" },
    Assumption { what: "lost", value: "one step, discarded", source: "field notes 2.4" },
    Assumption {
        what: "the replica is back",
        value: "after 222 s and a live copy over a peer's link, without its share until then",
        source: "set-up as Megatron-LM; field notes 2.4",
    },
    Assumption {
        what: "checkpoints",
        value: "asynchronous, as Megatron-LM's, for when no replica is left",
        source: "ours",
    },
];

/// Goes on with the living replicas.
#[derive(Debug, Clone, Copy)]
pub struct TorchFt {
    options: Options,
}

impl TorchFt {
    /// With these choices.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Workers of a replica: as many whole nodes as hold the model and leave the fewest nodes over, in at
    /// least two replicas; all of a job that is too small for two.
    fn replica_workers(job: &Job) -> Option<usize> {
        let node = job.gpus_per_node.max(1);
        let nodes = job.workers / node;
        let fewest = job.throughput.smallest()?.div_ceil(node);
        let used = |each: &usize| nodes / each * each;
        // Of sizes that use as many nodes, the smallest loses least.
        let each = (fewest..=nodes / 2).rev().max_by_key(used);
        Some(each.map_or(job.workers, |each| each * node).max(1))
    }

    /// Replicas that so many workers make.
    fn replicas(job: &Job, workers: usize) -> usize {
        Self::replica_workers(job).map_or(0, |each| workers.min(job.workers) / each)
    }

    fn checkpoints(&self, job: &Job) -> Checkpoints {
        Checkpoints::asynchronous(job, &self.options)
    }

    /// Seconds until a replica that starts has its state: each of its workers copies from its like.
    fn return_s(job: &Job) -> f64 {
        let workers = Self::replica_workers(job).unwrap_or(1) as f64;
        SET_UP_S + copy_s(job, state_bytes(job).unwrap_or(0.0) / workers)
    }

    /// A failure before and after which, for a while, so many replicas live.
    fn failed(&self, job: &Job, blow: &Blow, before: usize, living: usize) -> Disruption {
        let detection_s = match (blow.symptom, self.options.hang_s) {
            (Symptom::Hang, Some(chosen_s)) => chosen_s,
            _ => TIMEOUT_S,
        };
        let after = Self::replicas(job, blow.healthy);
        if living == 0 {
            let stopped_s = if after > 0 { restart_s(job) } else { 0.0 };
            let lost_s = self.checkpoints(job).lost_s(blow.trained_s);
            return Disruption { detection_s, stopped_s, lost_s };
        }
        let step_s = iteration_s(job, job.throughput.at(job.workers));
        // A share of the job is missing until they are back: as much as if all stood still for less.
        let missing = after.saturating_sub(living) as f64 / after.max(1) as f64;
        let stopped_s = RECONFIGURE_S + missing * Self::return_s(job);
        let lost_s = if before > 0 { step_s.min(blow.trained_s) } else { 0.0 };
        Disruption { detection_s, stopped_s, lost_s }
    }
}

impl Rival for TorchFt {
    fn name(&self) -> &'static str {
        "torchft"
    }

    fn assumptions(&self) -> &'static [Assumption] {
        ASSUMPTIONS
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        let Some(each) = Self::replica_workers(job) else { return 0.0 };
        let living = (Self::replicas(job, healthy) * each) as f64 / job.workers.max(1) as f64;
        job.throughput.at(job.workers) * living * self.checkpoints(job).share()
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        let before = workers_before(job, blow);
        let survivors = Self::replicas(job, before.saturating_sub(job.gpus_per_node));
        self.failed(job, blow, Self::replicas(job, before), survivors)
    }

    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption {
        let before = Self::replicas(job, blow.healthy);
        self.failed(job, blow, before, before.saturating_sub(1))
    }

    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption {
        let after = Self::replicas(job, healthy);
        let before = Self::replicas(job, healthy.saturating_sub(job.gpus_per_node));
        let stopped_s = match was_running {
            _ if after == 0 => 0.0,
            false => restart_s(job),
            true if after == before => 0.0,
            true => {
                let missing = (after - before) as f64 / after as f64;
                RECONFIGURE_S + missing * Self::return_s(job)
            }
        };
        Disruption { stopped_s, ..Disruption::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blow, job};
    use super::*;

    #[test]
    fn a_lost_replica_takes_its_share_of_tokens() {
        // 7B fits on one node: 16 replicas.
        let (job, torchft) = (job("gpt3-7b"), TorchFt::new(Options::default()));
        let share = torchft.flops(&job, 120) / torchft.flops(&job, 128);
        assert!((share - 15.0 / 16.0).abs() < 1e-12, "{share}");
        // A node that isn't whole makes no replica.
        assert_eq!(torchft.flops(&job, 127), torchft.flops(&job, 120));
    }

    #[test]
    fn a_failure_stalls_a_minute_and_discards_a_step() {
        let (job, torchft) = (job("gpt3-7b"), TorchFt::new(Options::default()));
        let lost = torchft.node_lost(&job, &blow(Symptom::NodeGone, 120));
        assert_eq!((lost.detection_s, lost.stopped_s), (60.0, 5.0));
        assert!((lost.lost_s - job.iteration_s(128).unwrap()).abs() < 1e-9, "{lost:?}");
    }

    #[test]
    fn a_restarted_replica_is_missed_for_a_while() {
        let (job, torchft) = (job("gpt3-7b"), TorchFt::new(Options::default()));
        // 222 s and 94 GB over 8 links of 12.5 GB/s, a sixteenth of it.
        let failed = torchft.process_failed(&job, &blow(Symptom::Exit, 128));
        assert!((failed.stopped_s - (5.0 + 223.0 / 16.0)).abs() < 0.1, "{failed:?}");
        let spare = torchft.node_lost(&job, &blow(Symptom::NodeGone, 128));
        assert_eq!(spare.stopped_s, failed.stopped_s);
        let back = torchft.node_joined(&job, 128, true);
        assert_eq!(back.stopped_s, failed.stopped_s);
    }

    #[test]
    fn a_model_of_several_nodes_loses_a_replica_with_one() {
        // 175B takes 6 nodes of 16: two replicas of 8, which leave none over.
        let (job, torchft) = (job("gpt3-175b"), TorchFt::new(Options::default()));
        let shares = [128, 120, 64, 63]
            .map(|healthy| torchft.flops(&job, healthy) / torchft.flops(&job, 128));
        assert_eq!(shares, [1.0, 0.5, 0.5, 0.0]);
        assert!(torchft.node_lost(&job, &blow(Symptom::NodeGone, 40)).lost_s > 60.0);
    }
}
