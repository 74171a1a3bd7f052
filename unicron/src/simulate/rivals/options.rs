//! What the rivals have in common and a user may choose: how fast they are while nothing fails, how
//! failures are noticed, how often there is a checkpoint.

use crate::{Error, Result};

/// How fast a rival trains while nothing fails.
///
/// The two kinds answer different questions (field notes 1.9). As published: what does somebody get who
/// runs that software? At Megatron-LM's pace: what is its way of recovering worth?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Steady {
    /// The low end of what its published throughput can mean.
    PublishedLow,
    /// Its published throughput beside our model of Megatron-LM on the same GPUs.
    Published,
    /// The high end: beside Megatron-LM in the arithmetic that it was measured in.
    PublishedHigh,
    /// As fast as Megatron-LM, so that only recovery differs.
    #[default]
    Megatron,
}

/// How failures are noticed where a rival leaves that to PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Detection {
    /// The defaults of torchrun and NCCL's watchdog.
    #[default]
    Torchrun,
    /// The column "without" of the Unicron paper: 30 minutes for everything but a lost node.
    Paper,
}

/// Choices that hold for all rivals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Throughput while nothing fails.
    pub steady: Steady,
    /// How failures are noticed.
    pub detection: Detection,
    /// Seconds until a hang is noticed, instead of what each rival has by default: a comparison without
    /// this at 60 s and at 600 s says little (field notes 1.9).
    pub hang_s: Option<f64>,
    /// Whether torchrun's rendezvous notices a lost node by its missed keep-alives; if not, survivors
    /// wait for their collective's time-out.
    pub keep_alive: bool,
    /// Seconds of training between two checkpoints; by default the optimum of Young and Daly for the
    /// checkpoint's cost and the job's failures.
    pub checkpoint_interval_s: Option<f64>,
    /// Failures of a node in a day, processes' included: what an operator who tunes the interval knows
    /// of the cluster. A trace's own rate belongs here.
    pub failures_per_node_day: f64,
    /// Seconds from detection until Megatron-LM trains again, instead of its stages.
    pub restart_s: Option<f64>,
}

/// Lost nodes: 6.50 in 1000 node-days of Meta's RSC-1 (field notes 5.1); three times as many failures
/// that a restart cures (75 % at Ant, notes 5.5).
const FAILURES_PER_NODE_DAY: f64 = 4.0 * 6.5e-3;

impl Default for Options {
    fn default() -> Self {
        Self {
            steady: Steady::default(),
            detection: Detection::default(),
            hang_s: None,
            keep_alive: true,
            checkpoint_interval_s: None,
            failures_per_node_day: FAILURES_PER_NODE_DAY,
            restart_s: None,
        }
    }
}

impl Options {
    /// Megatron-LM as the Unicron paper tells of it (its notes, 5): 30 minutes to notice, 9 to be
    /// submitted again and 14 to set up. Its 15 minutes of work done again are half of an interval.
    #[must_use]
    pub fn paper() -> Self {
        Self {
            detection: Detection::Paper,
            checkpoint_interval_s: Some(30.0 * 60.0),
            restart_s: Some((9.0 + 14.0) * 60.0),
            ..Self::default()
        }
    }

    /// Checks that every number can be what it means.
    ///
    /// # Errors
    /// Names the first that can't.
    pub fn check(&self) -> Result<()> {
        let bad = |setting: &str, value: f64, range: &str| Error::Setting {
            setting: setting.into(),
            problem: format!("{value} is not {range}"),
        };
        for (setting, seconds) in [("hang_s", self.hang_s), ("restart_s", self.restart_s)] {
            if let Some(s) = seconds.filter(|s| !(s.is_finite() && *s >= 0.0)) {
                return Err(bad(setting, s, "a number of seconds, 0 or more"));
            }
        }
        if let Some(s) = self.checkpoint_interval_s.filter(|s| !(s.is_finite() && *s >= 1.0)) {
            return Err(bad("checkpoint_interval_s", s, "a number of seconds, 1 or more"));
        }
        let rate = self.failures_per_node_day;
        if !(rate.is_finite() && rate >= 0.0) {
            return Err(bad("failures_per_node_day", rate, "a rate of 0 or more"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_failure_costs_68_minutes() {
        let paper = Options::paper();
        let redone = paper.checkpoint_interval_s.unwrap() / 2.0;
        assert_eq!(30.0 * 60.0 + paper.restart_s.unwrap() + redone, 68.0 * 60.0);
        paper.check().unwrap();
        Options::default().check().unwrap();
    }

    #[test]
    fn bad_numbers_are_named() {
        let error = |options: Options| options.check().unwrap_err().to_string();
        let default = Options::default();
        let hang = error(Options { hang_s: Some(-1.0), ..default });
        assert_eq!(hang, "hang_s: -1 is not a number of seconds, 0 or more");
        let interval = error(Options { checkpoint_interval_s: Some(0.0), ..default });
        assert!(interval.starts_with("checkpoint_interval_s: 0 is not"), "{interval}");
        let rate = error(Options { failures_per_node_day: f64::NAN, ..default });
        assert!(rate.starts_with("failures_per_node_day: NaN"), "{rate}");
    }
}
