//! How long repairs take.

use super::{HOUR_S, MAX_DURATION_S, to_millisecond};
use rand::Rng;
use rand_distr::{Distribution, LogNormal};

/// Median repair time in hours, and sigma of its log-normal distribution: as the InfiniteHBD trace
/// has. The mean is then 134 h, there it is 136 h.
pub(super) const USUAL: (f64, f64) = (22.0, 1.9);

/// Log-normal repair times: most nodes are back in a day, some in months.
#[derive(Debug)]
pub(super) struct Repairs(LogNormal<f64>);

impl Repairs {
    /// Repairs with this median and this sigma, both finite, neither negative.
    pub(super) fn new(median_hours: f64, sigma: f64) -> Self {
        let log_median = (median_hours * HOUR_S).ln();
        Self(LogNormal::new(log_median, sigma).expect("sigma was checked to be finite"))
    }

    /// One repair, in seconds.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> f64 {
        to_millisecond(self.0.sample(rng)).min(MAX_DURATION_S)
    }
}
