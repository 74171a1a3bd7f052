//! Training that isn't committed yet.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Training, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Work {
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds of all workers.
    pub worker_s: f64,
    /// FLOPs by the plan's throughput.
    pub flops: f64,
    /// Iterations of it that are committed, though it isn't known yet what they are worth.
    pub iterations: u64,
    /// Of these, those that were committed once before.
    pub repeated: u64,
    /// What was computed again, in iterations.
    pub redone: f64,
}

impl Work {
    /// Takes this part away: at most all that there is.
    pub fn take(&mut self, worker_s: f64) -> Self {
        if self.worker_s <= 0.0 {
            return Self::default();
        }
        let part = (worker_s / self.worker_s).min(1.0);
        let taken = Self {
            seconds: self.seconds * part,
            worker_s: self.worker_s * part,
            flops: self.flops * part,
            ..Self::default()
        };
        self.seconds -= taken.seconds;
        self.worker_s -= taken.worker_s;
        self.flops -= taken.flops;
        taken
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.worker_s += other.worker_s;
        self.flops += other.flops;
        self.iterations += other.iterations;
        self.repeated += other.repeated;
        self.redone += other.redone;
    }
}
