//! Failures by how they were noticed and how severe they were.

use super::durations::Durations;
use crate::detect::{Method, Severity, Status};
use serde::{Deserialize, Serialize};

/// What a task's failures were.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Failures(Vec<Sort>);

/// Failures of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sort {
    /// What noticed them.
    pub method: Method,
    /// Of their status; `None` of what stops a task.
    pub severity: Option<Severity>,
    /// Seconds from the failure to its notice.
    pub detection: Durations,
}

impl Failures {
    /// One more.
    pub fn note(&mut self, status: Status, after_s: f64) {
        let (method, severity) = (status.method(), status.severity());
        let is_same = |sort: &&mut Sort| sort.method == method && sort.severity == severity;
        match self.0.iter_mut().find(is_same) {
            Some(sort) => sort.detection.note(after_s),
            None => {
                let mut detection = Durations::default();
                detection.note(after_s);
                self.0.push(Sort { method, severity, detection });
            }
        }
    }

    /// All sorts that there were.
    #[must_use]
    pub fn sorts(&self) -> &[Sort] {
        &self.0
    }
}
