//! How long iterations take that nothing disturbs, by the number of workers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Undisturbed iterations by the number of workers that took part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct IterationTimes(BTreeMap<usize, Total>);

/// Iterations and the time that they took together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// Seconds.
    pub seconds: f64,
}

impl IterationTimes {
    /// So many more by so many workers.
    pub fn note(&mut self, workers: usize, seconds: f64, count: u64) {
        let total = self.0.entry(workers).or_default();
        total.count += count;
        total.seconds += seconds.max(0.0);
    }

    /// Seconds of one, on average; `None` if none was undisturbed.
    #[must_use]
    pub fn usual_s(&self, workers: usize) -> Option<f64> {
        let total = self.0.get(&workers).filter(|total| total.count > 0)?;
        Some(total.seconds / total.count as f64)
    }

    /// Seconds of one by however many workers, on average; `None` if none was undisturbed.
    #[must_use]
    pub fn mean_s(&self) -> Option<f64> {
        let count: u64 = self.0.values().map(|total| total.count).sum();
        let seconds: f64 = self.0.values().map(|total| total.seconds).sum();
        (count > 0).then(|| seconds / count as f64)
    }
}
