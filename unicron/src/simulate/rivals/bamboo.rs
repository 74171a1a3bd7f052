//! Bamboo (NSDI'23): each node of a pipeline also holds the layers of its successor and computes them
//! redundantly, so that it can stand in at once. Two neighbours lost are too many.
//!
//! The rules are those of Oobleck's artifact: a loss repeats the iteration, and the node that stands in
//! takes half as long again; as soon as a further loss would be fatal with more than 5 %, the job is
//! rebalanced.

use super::Options;
use super::Steady;
use super::artifact::{NODE_CREATION_S, bytes_beyond, seconds};
use super::checkpoints::Checkpoints;
use super::costs::{connection_s, is_replaced, iteration_s, nodes, workers_before};
use super::steady::Range;
use crate::simulate::rival::{Assumption, Blow, Disruption, Job, Rival};

/// Share of the time that redundant work takes where the whole is Megatron-LM's pace: the smaller of the
/// artifact's two figures. What is published as samples/s contains it.
const REDUNDANT_SHARE: f64 = 0.1971;

/// An iteration with a node that stands in for its neighbour takes so much longer.
const FALLBACK_SLOWDOWN: f64 = 1.5;

/// The chance of a fatal loss from which on the job is rebalanced.
const RISK: f64 = 0.05;

/// Global rendezvous after a fatal loss.
const RENDEZVOUS_S: f64 = 30.0;

/// A node holds its own layers and its successor's: a model needs twice the memory.
const COPIES: usize = 2;

const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        what: "throughput as published",
        value: "Oobleck's factor times 0.18 to 0.32",
        source: "Oobleck's artifact, BERT-large and GPT-2; larger models had no memory there",
    },
    Assumption {
        what: "throughput at Megatron-LM's pace",
        value: "less 19.7 % for redundant work",
        source: "Oobleck's artifact, the smaller of 19.7 % and 27.9 %",
    },
    Assumption {
        what: "memory",
        value: "twice the fewest workers of T",
        source: "a node holds its successor's layers too; ours",
    },
    Assumption {
        what: "a process ends, a node is gone",
        value: "1 s",
        source: "etcd and TCP, seconds (field notes 1.1)",
    },
    Assumption {
        what: "a hang",
        value: "as PyTorch",
        source: "no detector of its own is published",
    },
    Assumption {
        what: "a covered loss",
        value: "the iteration again, then one that takes 1.5 times as long",
        source: "Oobleck's artifact",
    },
    Assumption {
        what: "a loss beside a node that stands in",
        value: "fatal, with the chance 2 k / n: 30 s of rendezvous, rebalancing, back to a checkpoint",
        source: "Oobleck's artifact; the checkpoint (asynchronous, as Megatron-LM's) is ours",
    },
    Assumption {
        what: "rebalancing, from a risk of 5 % on and when nodes come",
        value: "100 s at 350M, 230 s at 2.7B, 450 s at 6.7B parameters; above, state from the job's store",
        source: "Oobleck's artifact",
    },
];

/// Stands in with redundant layers.
#[derive(Debug, Clone, Copy)]
pub struct Bamboo {
    options: Options,
    factor: f64,
}

impl Bamboo {
    /// With these choices.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let factor = match options.steady {
            Steady::Megatron => 1.0 - REDUNDANT_SHARE,
            published => Range::bamboo().of(published),
        };
        Self { options, factor }
    }

    fn rebalance_s(job: &Job) -> f64 {
        seconds(job, |row| row.bamboo_s) + bytes_beyond(job) / job.hardware.storage_bandwidth
    }

    /// What a loss does, by the nodes that stand in for others already.
    fn loss(job: &Job, blow: &Blow) -> Loss {
        let missing = job.workers.saturating_sub(blow.healthy);
        // A spare came too late to spare the fallback, but it is there for the rebalancing.
        let lost = (missing / job.gpus_per_node.max(1)).max(1);
        let tolerated = (RISK * nodes(job) / 2.0).floor() as usize;
        let standing_in = (lost - 1) % (tolerated + 1);
        let fatal_risk = 2.0 * standing_in as f64 / (nodes(job) - standing_in as f64).max(1.0);
        if blow.draw < fatal_risk {
            Loss::Fatal
        } else if standing_in >= tolerated || is_replaced(job, blow) {
            Loss::Rebalanced
        } else {
            Loss::Covered
        }
    }
}

/// What a lost node does to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Its neighbour stands in.
    Covered,
    /// Its neighbour stands in until the job is rebalanced at once.
    Rebalanced,
    /// Its neighbour stood in for another.
    Fatal,
}

impl Rival for Bamboo {
    fn name(&self) -> &'static str {
        "bamboo"
    }

    fn assumptions(&self) -> &'static [Assumption] {
        ASSUMPTIONS
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        match job.throughput.smallest() {
            Some(smallest) if healthy >= COPIES * smallest => {
                self.factor * job.throughput.at(healthy)
            }
            _ => 0.0,
        }
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        let detection_s = connection_s(&self.options, blow);
        let restorable_s = Checkpoints::asynchronous(job, &self.options).lost_s(blow.trained_s);
        if self.flops(job, blow.healthy) == 0.0 {
            return Disruption { detection_s, stopped_s: 0.0, lost_s: restorable_s };
        }
        let iteration_s = iteration_s(job, self.flops(job, workers_before(job, blow)));
        let again_s = iteration_s.min(blow.trained_s);
        let fallback_s = (FALLBACK_SLOWDOWN - 1.0) * iteration_s;
        let (stopped_s, lost_s) = match Self::loss(job, blow) {
            Loss::Covered => (fallback_s, again_s),
            Loss::Rebalanced => (fallback_s + Self::rebalance_s(job), again_s),
            Loss::Fatal => (RENDEZVOUS_S + Self::rebalance_s(job), restorable_s),
        };
        Disruption { detection_s, stopped_s, lost_s }
    }

    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption {
        // Its node is stood in for and joins again.
        self.node_lost(job, &Blow { healthy: blow.healthy.max(job.workers), ..*blow })
    }

    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption {
        let flops = self.flops(job, healthy);
        let before = self.flops(job, healthy.saturating_sub(job.gpus_per_node));
        if flops == 0.0 || (was_running && flops <= before) {
            return Disruption::default();
        }
        let waiting_s = if was_running { 0.0 } else { NODE_CREATION_S + RENDEZVOUS_S };
        Disruption { stopped_s: waiting_s + Self::rebalance_s(job), ..Disruption::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blow, job, job_of};
    use super::*;
    use crate::simulate::rival::Symptom;

    #[test]
    fn on_sixteen_nodes_every_loss_is_rebalanced() {
        // 2 / 15 is above 5 %: 450 s for 6.7B, and half an iteration.
        let (job, bamboo) = (job("gpt3-7b"), Bamboo::new(Options::default()));
        let iteration_s = job.iteration_s(128).unwrap() / (1.0 - REDUNDANT_SHARE);
        for healthy in [128, 120, 112, 64] {
            let lost = bamboo.node_lost(&job, &blow(Symptom::NodeGone, healthy));
            assert!((447.0..452.0 + iteration_s).contains(&lost.stopped_s), "{lost:?}");
        }
        let lost = bamboo.node_lost(&job, &blow(Symptom::NodeGone, 120));
        assert!((lost.lost_s - iteration_s).abs() < 1e-9, "{lost:?}");
    }

    #[test]
    fn on_many_nodes_a_loss_is_covered_and_a_neighbours_is_fatal() {
        // 64 nodes tolerate one that stands in: 2 / 63 is below 5 %.
        let (job, bamboo) = (job_of("gpt3-7b", 512), Bamboo::new(Options::default()));
        let lost = |healthy, draw| {
            let blow = Blow { draw, ..blow(Symptom::NodeGone, healthy) };
            (Bamboo::loss(&job, &blow), bamboo.node_lost(&job, &blow))
        };
        let (first, cost) = lost(504, 0.0);
        assert_eq!(first, Loss::Covered);
        assert!(cost.stopped_s < 10.0, "{cost:?}");
        assert_eq!(lost(496, 0.5).0, Loss::Rebalanced);
        let (second, cost) = lost(496, 2.0 / 63.0 - 1e-9);
        assert_eq!(second, Loss::Fatal);
        assert!((477.0..481.0).contains(&cost.stopped_s), "{cost:?}");
    }

    #[test]
    fn it_needs_twice_the_memory() {
        let (job, bamboo) = (job("gpt3-175b"), Bamboo::new(Options::default()));
        assert_eq!(job.throughput.smallest(), Some(48));
        assert_eq!(bamboo.flops(&job, 95), 0.0);
        assert!(bamboo.flops(&job, 96) > 0.0);
    }
}
