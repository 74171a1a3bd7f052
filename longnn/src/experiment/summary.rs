//! Mean, spread and confidence over seeds, in percent.
//!
//! The field's tables mix two meanings of ±: LON-GNN's is the standard deviation over seeds, the
//! others' a 95 % interval of the mean (section 1.7 of the notes). Both are given, by name.

use crate::train::Outcome;
use common::statistics::{Estimate, median};
use serde::{Deserialize, Serialize};

/// The metric on the test nodes over seeds, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Standard deviation over seeds, with `n - 1`; `None` of a single seed.
    pub std: Option<f64>,
    /// Half the width of the 95 % interval of the mean, by Student's t.
    pub ci95: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
    /// Median over seeds of the median time of an epoch, in milliseconds a seed.
    pub epoch_ms_median: f64,
    /// Seeds whose loss stopped being a number.
    pub diverged: usize,
}

impl Summary {
    /// Of outcomes, at least one.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let tests: Vec<f64> = outcomes.iter().map(|outcome| 100.0 * outcome.test).collect();
        let estimate = Estimate::of(&tests);
        let several = outcomes.len() > 1;
        let times: Vec<f64> = outcomes.iter().map(|outcome| outcome.epoch_ms_median).collect();
        Self {
            mean: estimate.mean,
            std: several.then_some(estimate.standard_deviation),
            ci95: several.then(|| estimate.half_width_95()),
            seeds: outcomes.len(),
            epoch_ms_median: median(&times).unwrap_or(0.0),
            diverged: outcomes.iter().filter(|outcome| outcome.diverged).count(),
        }
    }
}
