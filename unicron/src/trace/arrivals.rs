//! When failures arrive.
//!
//! Real faults come in bursts: the gaps between the 584 of the InfiniteHBD trace have a coefficient
//! of variation of 1.76, where independent faults would have 1. A renewal process with
//! hyper-exponential gaps has any coefficient from 1 on: most gaps are short, some are long. Against
//! that trace it is nearer than gamma gaps: the median gap is 5.6 h there, 6.8 h here, and 3.9 h for
//! gamma.
//!
//! The process is the cluster's and not each node's: the coefficient was measured on the cluster, and
//! many bursty nodes together would be nearly as even as independent faults.

use rand::{Rng, RngExt};
use rand_distr::Exp1;

/// Arrivals at a mean rate, with hyper-exponential gaps of balanced means: of the two kinds of gaps,
/// each takes half of the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    /// The probability of a short gap.
    short: f64,
    /// The means of a short and of a long gap, in seconds.
    means_s: [f64; 2],
}

impl Renewal {
    /// Arrivals whose gaps have this mean (infinite for no arrivals) and this coefficient of
    /// variation, at least 1; at 1 the gaps are exponential.
    pub(super) fn new(mean_gap_s: f64, coefficient_of_variation: f64) -> Self {
        let squared = coefficient_of_variation * coefficient_of_variation;
        let short = f64::midpoint(1.0, ((squared - 1.0).max(0.0) / (squared + 1.0)).sqrt());
        let means_s = [short, 1.0 - short].map(|share| 0.5 * mean_gap_s / share);
        Self { short, means_s }
    }

    /// The arrivals of `duration_s`, in order.
    pub(super) fn times(&self, duration_s: f64, rng: &mut impl Rng) -> Vec<f64> {
        let mut times = Vec::new();
        if !self.means_s[0].is_finite() {
            return times;
        }
        // The trace begins at no special moment, most likely in a long gap: with balanced means
        // either kind of gap is as likely, and the rest of an exponential gap is exponential.
        let mut at_s = self.gap(0.5, rng);
        while at_s <= duration_s {
            times.push(at_s);
            at_s += self.gap(self.short, rng);
        }
        times
    }

    fn gap(&self, short: f64, rng: &mut impl Rng) -> f64 {
        let is_long = rng.random::<f64>() >= short;
        rng.sample::<f64, _>(Exp1) * self.means_s[usize::from(is_long)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::statistics::{Estimate, median};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn gaps_have_the_mean_and_the_coefficient_asked_for() {
        for coefficient in [1.0, 1.8, 4.0] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let times = Renewal::new(10.0, coefficient).times(4e6, &mut rng);
            let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let Estimate { mean, standard_deviation, .. } = Estimate::of(&gaps);
            assert!((mean / 10.0 - 1.0).abs() < 0.03, "{coefficient}: {mean}");
            let measured = standard_deviation / mean;
            assert!((measured / coefficient - 1.0).abs() < 0.03, "{coefficient}: {measured}");
        }
    }

    #[test]
    fn the_median_gap_is_near_the_recorded_one() {
        // InfiniteHBD: mean gap 14.2 h, coefficient 1.76, median 5.6 h.
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let times = Renewal::new(14.2, 1.76).times(2e6, &mut rng);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let median = median(&gaps).unwrap();
        assert!((6.5..7.1).contains(&median), "{median}");
    }

    #[test]
    fn the_start_is_like_any_other_time() {
        // A process that began with an arrival would have more than its share in the first gap.
        let renewal = Renewal::new(10.0, 3.0);
        let count = |seed| renewal.times(10.0, &mut ChaCha8Rng::seed_from_u64(seed)).len() as f64;
        let counts: Vec<f64> = (0..20_000).map(count).collect();
        let estimate = Estimate::of(&counts);
        assert!((estimate.mean - 1.0).abs() < 0.06, "{estimate:?}");
    }

    #[test]
    fn nothing_arrives_at_rate_zero() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!(Renewal::new(f64::INFINITY, 1.8).times(1e9, &mut rng).is_empty());
    }
}
