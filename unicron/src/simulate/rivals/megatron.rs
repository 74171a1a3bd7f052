//! Megatron-LM under torchrun: no elasticity. Everything restarts from the last checkpoint, on all of its
//! nodes or not at all: a job that lacks one waits for a spare or for the repair.
//!
//! The baseline that everybody runs, so it gets today's tools: asynchronous checkpoints at the interval
//! that suits its failures, and torchrun's own detection. The paper's slower settings are
//! [`Options::paper`].

use super::Options;
use super::checkpoints::Checkpoints;
use super::costs::{PODS_S, is_replaced, restart_s, torchrun_s};
use crate::simulate::rival::{Assumption, Blow, Disruption, Job, Rival};

/// Restart from a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Megatron {
    options: Options,
}

const ASSUMPTIONS: &[Assumption] = &[
    Assumption {
        what: "a process ends",
        value: "1 s",
        source: "torchrun's agent polls (field notes 1.1)",
    },
    Assumption {
        what: "a hang",
        value: "10 to 18 minutes",
        source: "NCCL's time-out of 600 s, then up to one heartbeat of the watchdog, 480 s (PyTorch, field notes 0)",
    },
    Assumption {
        what: "a node is gone",
        value: "15 s; 600 s without keep-alive",
        source: "torchrun's rendezvous; else NCCL's time-out (field notes 1.1)",
    },
    Assumption {
        what: "set-up of all processes",
        value: "222 s",
        source: "OLMo Hybrid, median recovery of 3 min 42 s (field notes 5.4)",
    },
    Assumption {
        what: "loading",
        value: "14 bytes a parameter over the store's bandwidth",
        source: "the job's hardware",
    },
    Assumption {
        what: "containers and images after waiting for a repair",
        value: "300 s; none for a hot spare",
        source: "DLRover's table, 5 min (field notes 1.6)",
    },
    Assumption {
        what: "checkpoint",
        value: "asynchronous, 5 s of standstill, relied on once written",
        source: "ours; field notes 5.5",
    },
    Assumption {
        what: "checkpoint interval",
        value: "sqrt(2 C M) - C with 26 failures in 1000 node-days",
        source: "Daly; Meta's RSC-1, 6.5 lost nodes, and three failures of processes for each (field notes 5)",
    },
];

impl Megatron {
    /// With these choices.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    fn checkpoints(&self, job: &Job) -> Checkpoints {
        Checkpoints::asynchronous(job, &self.options)
    }

    fn restart_s(&self, job: &Job) -> f64 {
        self.options.restart_s.unwrap_or_else(|| restart_s(job))
    }

    /// After a failure; nobody restarts what can't run.
    fn failed(&self, job: &Job, blow: &Blow) -> Disruption {
        Disruption {
            detection_s: torchrun_s(&self.options, blow),
            stopped_s: if is_replaced(job, blow) { self.restart_s(job) } else { 0.0 },
            lost_s: self.checkpoints(job).lost_s(blow.trained_s),
        }
    }
}

impl Rival for Megatron {
    fn name(&self) -> &'static str {
        "megatron"
    }

    fn assumptions(&self) -> &'static [Assumption] {
        ASSUMPTIONS
    }

    fn flops(&self, job: &Job, healthy: usize) -> f64 {
        if healthy < job.workers {
            return 0.0;
        }
        job.throughput.at(job.workers) * self.checkpoints(job).share()
    }

    fn node_lost(&self, job: &Job, blow: &Blow) -> Disruption {
        self.failed(job, blow)
    }

    fn process_failed(&self, job: &Job, blow: &Blow) -> Disruption {
        self.failed(job, blow)
    }

    fn node_joined(&self, job: &Job, healthy: usize, was_running: bool) -> Disruption {
        if was_running || healthy < job.workers {
            return Disruption::default();
        }
        let stopped_s = self.options.restart_s.unwrap_or_else(|| PODS_S + restart_s(job));
        Disruption { stopped_s, ..Disruption::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{blow, job};
    use super::*;
    use crate::simulate::rival::Symptom;

    #[test]
    fn without_a_spare_it_waits_and_then_starts_anew() {
        let (job, megatron) = (job("gpt3-7b"), Megatron::new(Options::default()));
        assert_eq!(megatron.flops(&job, 120), 0.0);
        let lost = megatron.node_lost(&job, &blow(Symptom::NodeGone, 120));
        assert_eq!((lost.detection_s, lost.stopped_s), (15.0, 0.0));
        // 6.7e9 parameters of 14 bytes at 2.5 GB/s: 37 s.
        let back = megatron.node_joined(&job, 128, false);
        assert!((back.stopped_s - (300.0 + 222.0 + 37.3)).abs() < 1.0, "{back:?}");
        assert_eq!(megatron.node_joined(&job, 120, false), Disruption::default());
    }

    #[test]
    fn a_hot_spare_spares_the_containers() {
        let (job, megatron) = (job("gpt3-7b"), Megatron::new(Options::default()));
        let lost = megatron.node_lost(&job, &blow(Symptom::NodeGone, 128));
        assert!((lost.stopped_s - (222.0 + 37.3)).abs() < 1.0, "{lost:?}");
    }

    #[test]
    fn it_loses_up_to_an_interval_and_what_was_trained_at_most() {
        let (job, megatron) = (job("gpt3-7b"), Megatron::new(Options::default()));
        // 16 nodes, 0.026 failures a node-day: M = 57.7 h, C = 5 s, so 1,436 s.
        let interval_s = megatron.checkpoints(&job).interval_s;
        assert!((interval_s - 1436.0).abs() < 1.0, "{interval_s}");
        let at = |trained_s| {
            megatron.process_failed(&job, &Blow { trained_s, ..blow(Symptom::Exit, 128) }).lost_s
        };
        assert_eq!(at(100.0), 100.0);
        assert!((at(1436.0 + 700.0) - 700.0).abs() < 1.0);
        let share = megatron.flops(&job, 128) / job.throughput.at(128);
        assert!((share - 1436.0 / 1441.0).abs() < 1e-5, "{share}");
    }

    #[test]
    fn by_the_papers_settings_a_hang_costs_68_minutes_on_average() {
        let (job, megatron) = (job("gpt3-7b"), Megatron::new(Options::paper()));
        let costs = (0..1800).map(|i| {
            let trained_s = 18_000.5 + f64::from(i);
            let blow = Blow { trained_s, ..blow(Symptom::Hang, 128) };
            let failed = megatron.process_failed(&job, &blow);
            failed.detection_s + failed.stopped_s + failed.lost_s
        });
        let minutes = costs.sum::<f64>() / 1800.0 / 60.0;
        // The save in flight adds 37 s.
        assert!((minutes - 68.6).abs() < 0.1, "{minutes}");
    }
}
