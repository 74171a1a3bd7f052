//! A failure while it is handled: the mildest action first, then the next (section 4.3 of the paper).

use super::config::Config;
use crate::detect::{Severity, Status};

/// A failure of a task on a node that isn't settled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incident {
    /// Its number.
    pub id: u64,
    /// The task.
    pub task: usize,
    /// The node.
    pub node: usize,
    /// What was wrong first.
    pub status: Status,
    /// What is being tried.
    pub level: Severity,
    /// How often that has failed.
    pub failed: usize,
    /// When it counts as failed without an answer, in seconds.
    pub deadline_s: f64,
}

impl Incident {
    /// What to try after the present action has failed: the same again, or the next level.
    #[must_use]
    pub fn after_failure(&self, config: &Config) -> Self {
        let failed = self.failed + 1;
        let budget = match self.level {
            Severity::Sev3 => config.reattempts,
            Severity::Sev2 => config.restarts,
            Severity::Sev1 => usize::MAX,
        };
        match self.level {
            Severity::Sev3 if failed >= budget => {
                Self { level: Severity::Sev2, failed: 0, ..*self }
            }
            Severity::Sev2 if failed >= budget => {
                Self { level: Severity::Sev1, failed: 0, ..*self }
            }
            _ => Self { failed, ..*self },
        }
    }
}

/// What a task has failed of since it last made progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Returns {
    failures: Vec<(Status, usize)>,
}

impl Returns {
    /// Notes a failure; how often it has come back, 0 the first time.
    pub fn note(&mut self, status: Status) -> usize {
        match self.failures.iter_mut().find(|(other, _)| *other == status) {
            Some((_, times)) => {
                *times += 1;
                *times
            }
            None => {
                self.failures.push((status, 0));
                0
            }
        }
    }

    /// The next failure of this kind is one too many of those that a task may have without progress. False
    /// if that was said before: this is that failure.
    pub fn exhaust(&mut self, status: Status, returns: usize) -> bool {
        let last = returns.saturating_sub(1);
        let times = self.note(status);
        if let Some((_, times)) = self.failures.iter_mut().find(|(other, _)| *other == status) {
            *times = (*times).max(last);
        }
        times <= last
    }

    /// The task has made progress.
    pub fn forget(&mut self) {
        self.failures.clear();
    }

    /// For a person.
    #[must_use]
    pub fn evidence(&self) -> String {
        let times = |(status, returns): &(Status, usize)| format!("{status} {} times", returns + 1);
        self.failures.iter().map(times).collect::<Vec<_>>().join(", ")
    }
}
