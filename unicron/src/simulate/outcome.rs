//! What a policy makes of a scenario.

use super::ledger::Closed;
use super::scenario::{Failures, Scenario};
use crate::bins::Bins;

/// What a policy has achieved.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Weighted FLOPs of all tasks: the integral of WAF over time.
    pub accumulated_waf: f64,
    /// GPU-seconds of the cluster, by what they were spent on.
    pub bins: Bins,
    /// By task.
    pub tasks: Vec<TaskOutcome>,
    /// Failures that were felt.
    pub failures: Failures,
    /// Tasks without workers, or with too few to run: on average over time.
    pub starved_mean: f64,
    /// And at most at the same time.
    pub starved_most: usize,
    /// Events that were handled: of the trace, and of the policy's own.
    pub events: u64,
    /// (Seconds, WAF from then on), if it was recorded.
    pub series: Vec<(f64, f64)>,
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOutcome {
    /// Its name.
    pub name: String,
    /// Its GPU-seconds, by what they were spent on.
    pub bins: Bins,
    /// Its weighted FLOPs.
    pub waf: f64,
    /// Seconds in which it had no workers, or too few to run.
    pub waited_s: f64,
    /// When it had done its work, in seconds; `None` if it hasn't, or is endless.
    pub finished_at_s: Option<f64>,
}

impl Outcome {
    pub(super) fn new(scenario: &Scenario<'_>, closed: Closed, events: u64) -> Self {
        let tasks: Vec<TaskOutcome> = scenario
            .tasks()
            .iter()
            .zip(&closed.accounts)
            .map(|(task, account)| TaskOutcome {
                name: task.task.name.clone(),
                bins: account.bins,
                waf: account.waf(),
                waited_s: account.starved_s,
                finished_at_s: account.finished_at_s,
            })
            .collect();
        let starved_s: f64 = tasks.iter().map(|task| task.waited_s).sum();
        Self {
            accumulated_waf: tasks.iter().map(|task| task.waf).sum(),
            bins: closed.bins,
            tasks,
            failures: scenario.failures(),
            starved_mean: starved_s / scenario.duration_s(),
            starved_most: closed.most_starved,
            events,
            series: closed.series,
        }
    }

    /// When the last task had done its work, in seconds; `None` if one hasn't, or is endless.
    #[must_use]
    pub fn makespan_s(&self) -> Option<f64> {
        let ends: Option<Vec<f64>> = self.tasks.iter().map(|task| task.finished_at_s).collect();
        Some(ends?.into_iter().fold(0.0, f64::max))
    }
}
