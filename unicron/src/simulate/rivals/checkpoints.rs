//! Checkpoints: how often, what they cost, what a failure takes back.

use super::Options;
use super::costs::{load_s, nodes};
use crate::simulate::rival::Job;

/// Seconds for which training stands still while an asynchronous checkpoint is copied to the host: ours,
/// the smallest cost of the field notes' table (5.5). Megatron-LM and NVRx save asynchronously.
const ASYNCHRONOUS_STALL_S: f64 = 5.0;

/// No operator waits longer, however rare failures are.
const LONGEST_INTERVAL_S: f64 = 86_400.0;

const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// A job's checkpoints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Checkpoints {
    /// Seconds of training between the starts of two.
    pub interval_s: f64,
    /// Seconds for which training stands still for each.
    pub stall_s: f64,
    /// Seconds until one that has started can be relied on.
    pub written_s: f64,
}

impl Checkpoints {
    /// To the shared store while training goes on.
    pub(super) fn asynchronous(job: &Job, options: &Options) -> Self {
        let written_s = load_s(job);
        let stall_s = ASYNCHRONOUS_STALL_S;
        // One is written before the next starts.
        let interval_s = interval_s(job, options, stall_s).max(written_s);
        Self { interval_s, stall_s, written_s }
    }

    /// In the nodes' own memory or disks, with a copy on a peer.
    pub(super) fn local(job: &Job, options: &Options) -> Self {
        let stall_s = ASYNCHRONOUS_STALL_S;
        Self { interval_s: interval_s(job, options, stall_s), stall_s, written_s: 0.0 }
    }

    /// Training waits until each is written.
    pub(super) fn synchronous(job: &Job, options: &Options, stall_s: f64) -> Self {
        Self { interval_s: interval_s(job, options, stall_s), stall_s, written_s: 0.0 }
    }

    /// Share of the time in which training goes on.
    pub(super) fn share(&self) -> f64 {
        self.interval_s / (self.interval_s + self.stall_s)
    }

    /// Seconds of training that are lost after so many since the last restart, which began at a
    /// checkpoint: those since the last that was written.
    pub(super) fn lost_s(&self, trained_s: f64) -> f64 {
        let since = trained_s % self.interval_s;
        let is_in_flight = since < self.written_s && trained_s >= self.interval_s;
        if is_in_flight { since + self.interval_s } else { since }
    }
}

/// What is asked for, or the optimum `sqrt(2 C M) - C` of Young and Daly (field notes 5.5) for a
/// checkpoint's cost C and the mean time M between failures of the job.
fn interval_s(job: &Job, options: &Options, cost_s: f64) -> f64 {
    options.checkpoint_interval_s.unwrap_or_else(|| {
        let between_s = SECONDS_OF_A_DAY / (nodes(job) * options.failures_per_node_day);
        let optimum_s = (2.0 * cost_s * between_s).sqrt() - cost_s;
        optimum_s.clamp(cost_s.max(1.0), LONGEST_INTERVAL_S.max(cost_s))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::job;
    use super::*;

    #[test]
    fn the_interval_is_the_notes() {
        // Field notes 5.5: 16 nodes, 6.5 in 1000 node-days: 48 min at 5 s, 372 min at 300 s, Young.
        let options = Options { failures_per_node_day: 6.5e-3, ..Options::default() };
        for (cost_s, minutes) in [(5.0, 48.0), (60.0, 166.0), (300.0, 372.0)] {
            let daly = interval_s(&job("gpt3-7b"), &options, cost_s);
            let young = (daly + cost_s) / 60.0;
            assert!((young - minutes).abs() < 1.0, "{young}");
        }
    }

    #[test]
    fn a_failure_takes_back_what_is_not_written() {
        let checkpoints = Checkpoints { interval_s: 100.0, stall_s: 5.0, written_s: 30.0 };
        let lost = [0.0, 99.0, 110.0, 130.0, 199.0, 215.0].map(|s| checkpoints.lost_s(s));
        // The save that starts at 100 can be relied on from 130 on.
        assert_eq!(lost, [0.0, 99.0, 110.0, 30.0, 99.0, 115.0]);
    }

    #[test]
    fn the_mean_loss_is_half_an_interval_and_the_save_in_flight() {
        let checkpoints = Checkpoints { interval_s: 100.0, stall_s: 5.0, written_s: 30.0 };
        let mean = (10_000..20_000).map(|i| checkpoints.lost_s(f64::from(i) / 10.0)).sum::<f64>();
        assert!((mean / 10_000.0 - 80.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn nothing_fails_or_everything_does() {
        for rate in [0.0, 1e-12, 1e12] {
            let options = Options { failures_per_node_day: rate, ..Options::default() };
            for checkpoints in [
                Checkpoints::asynchronous(&job("gpt3-175b"), &options),
                Checkpoints::synchronous(&job("gpt3-7b"), &options, 120.0),
            ] {
                assert!(checkpoints.interval_s.is_finite() && checkpoints.interval_s >= 1.0);
                assert!((0.4..=1.0).contains(&checkpoints.share()), "{checkpoints:?}");
            }
        }
    }
}
