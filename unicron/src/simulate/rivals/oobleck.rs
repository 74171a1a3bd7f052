//! Oobleck (SOSP'23): pipeline templates for every number of nodes, so that a lost node is answered by
//! pipelines of other lengths and copies of the missing layers from the other replicas. No restart, no
//! checkpoint; the current iteration is lost.

use super::Options;
use super::artifact::{NODE_CREATION_S, bytes_beyond, seconds};
use super::checkpoints::Checkpoints;
use super::costs::{connection_s, copy_s, iteration_s, workers_before};
use super::steady::Range;
use crate::simulate::rival::{Assumption, Blow, Disruption, Job, Rival};

/// `f`: so many losses at once leave a copy of each layer. The artifact's tests use 1; its program's
/// default of 3 needs twice as many nodes.
const FAULT_THRESHOLD: usize = 1;

const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        what: "throughput",
        value: "Megatron-LM's T of the healthy workers times a factor",
        source: "the artifact's samples/s beside our model of A40; its heterogeneous pipelines idle less than T's even ones, by what T loses between two steps",
    },
    Assumption {
        what: "a process ends, a node is gone",
        value: "1 s",
        source: "the agent's TCP channel drops (field notes 1.1)",
    },
    Assumption {
        what: "a hang",
        value: "as PyTorch",
        source: "no detector of its own is published",
    },
    Assumption {
        what: "reconfiguration",
        value: "3 s at 350M, 6 s at 2.7B, 10 s at 6.7B parameters; above, copies of layers over the job's links",
        source: "SOSP'23 artifact",
    },
    Assumption { what: "lost", value: "the current iteration", source: "field notes 1.1" },
    Assumption {
        what: "a process that is restarted",
        value: "two reconfigurations: its node leaves and comes back",
        source: "ours; the 45 s in between are left out in its favour",
    },
    Assumption {
        what: "limit",
        value: "(f + 1) n0 nodes, f = 1, n0 the fewest nodes that hold the model",
        source: "Oobleck, section 4; f of the artifact's tests",
    },
    Assumption {
        what: "all copies lost",
        value: "back to a checkpoint that cost nothing to take",
        source: "ours; the prototype has none",
    },
];

/// Reconfigures pipelines.
#[derive(Debug, Clone, Copy)]
pub struct Oobleck {
    options: Options,
    factor: f64,
}

impl Oobleck {
    /// With these choices.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, factor: Range::oobleck().of(options.steady) }
    }

    fn reconfigure_s(job: &Job) -> f64 {
        let bytes_of_each = bytes_beyond(job) / job.workers.max(1) as f64;
        seconds(job, |row| row.oobleck_s) + copy_s(job, bytes_of_each)
    }

    /// The fewest nodes that hold the model, `n0`.
    fn fewest_nodes(job: &Job) -> Option<usize> {
        Some(job.throughput.smallest()?.div_ceil(job.gpus_per_node.max(1)))
    }

    /// Workers of the nodes that so many copies take.
    fn workers_of(job: &Job, copies: usize) -> usize {
        let nodes = Self::fewest_nodes(job).unwrap_or(usize::MAX);
        nodes.saturating_mul(copies).saturating_mul(job.gpus_per_node)
    }

    /// The fewest workers on which it runs. A job that was given less than `f + 1` copies take tolerates
    /// no loss, and runs on all that it was given.
    fn fewest_workers(job: &Job) -> usize {
        Self::workers_of(job, FAULT_THRESHOLD + 1).min(job.workers)
    }

    /// After a failure that so many workers have survived with their state.
    fn failed(&self, job: &Job, blow: &Blow, before: usize, survivors: usize) -> Disruption {
        let lost_s = if survivors < Self::workers_of(job, 1) {
            Checkpoints::asynchronous(job, &self.options).lost_s(blow.trained_s)
        } else {
            let iteration_s = iteration_s(job, self.flops(job, before));
            (blow.draw * iteration_s).min(blow.trained_s)
        };
        let runs = self.flops(job, blow.healthy) > 0.0;
        Disruption {
            detection_s: connection_s(&self.options, blow),
            stopped_s: if runs { Self::reconfigure_s(job) } else { 0.0 },
            lost_s,
        }
    }
}

impl Rival for Oobleck {
    fn name(&self) -> &'static str {
        "oobleck"
    }

    fn assumptions(&self) -> &'static [Assumption] {
        ASSUMPTIONS
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        if healthy < Self::fewest_workers(job) {
            return 0.0;
        }
        self.factor * job.throughput.at(healthy)
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        let before = workers_before(job, blow);
        self.failed(job, blow, before, before.saturating_sub(job.gpus_per_node))
    }

    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption {
        let survivors = blow.healthy.saturating_sub(job.gpus_per_node);
        let once = self.failed(job, blow, blow.healthy, survivors);
        Disruption { stopped_s: 2.0 * once.stopped_s, ..once }
    }

    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption {
        if self.flops(job, healthy) == 0.0 {
            return Disruption::default();
        }
        let waiting_s = if was_running { 0.0 } else { NODE_CREATION_S };
        Disruption { stopped_s: waiting_s + Self::reconfigure_s(job), ..Disruption::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Steady;
    use super::super::testing::{blow, job};
    use super::*;
    use crate::simulate::rival::Symptom;

    #[test]
    fn a_lost_node_costs_ten_seconds_and_part_of_an_iteration() {
        let (job, oobleck) = (job("gpt3-7b"), Oobleck::new(Options::default()));
        let lost = oobleck.node_lost(&job, &blow(Symptom::NodeGone, 120));
        assert_eq!(lost.detection_s, 1.0);
        assert!((lost.stopped_s - 10.0).abs() < 0.1, "{lost:?}");
        let half = job.iteration_s(128).unwrap() / 2.0;
        assert!((lost.lost_s - half).abs() < 1e-9, "{lost:?}");
    }

    #[test]
    fn an_iteration_at_its_own_pace_takes_longer() {
        let job = job("gpt3-7b");
        let published = Oobleck::new(Options { steady: Steady::Published, ..Options::default() });
        let lost = published.node_lost(&job, &blow(Symptom::NodeGone, 120)).lost_s;
        let expected = job.iteration_s(128).unwrap() / 2.0 / Range::oobleck().central;
        assert!((lost - expected).abs() < 1e-9, "{lost}");
    }

    #[test]
    fn below_two_copies_it_stops() {
        let (job, oobleck) = (job("gpt3-175b"), Oobleck::new(Options::default()));
        // 48 GPUs hold the model (`throughput`): 6 nodes.
        assert_eq!(Oobleck::fewest_nodes(&job), Some(6));
        assert!(oobleck.flops(&job, 96) > 0.0);
        assert_eq!(oobleck.flops(&job, 88), 0.0);
        assert_eq!(oobleck.node_lost(&job, &blow(Symptom::NodeGone, 88)).stopped_s, 0.0);
        assert_eq!(oobleck.node_joined(&job, 88, false), Disruption::default());
        assert!(oobleck.node_joined(&job, 96, false).stopped_s > 45.0);
    }

    #[test]
    fn it_goes_back_to_a_checkpoint_only_if_no_copy_is_left() {
        let (job, oobleck) = (job("gpt3-175b"), Oobleck::new(Options::default()));
        let lost = |healthy| oobleck.node_lost(&job, &blow(Symptom::NodeGone, healthy)).lost_s;
        assert!(lost(48) <= job.iteration_s(128).unwrap());
        assert!(lost(40) > 10.0 * job.iteration_s(128).unwrap());
    }
}
