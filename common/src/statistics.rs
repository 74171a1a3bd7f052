//! Means of repeated measurements and how far they can be trusted.

use serde::Serialize;

/// Mean and spread of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Number of measurements.
    pub n: usize,
    /// Their mean; NaN for none.
    pub mean: f64,
    /// Their standard deviation (divisor n - 1); 0 for fewer than two.
    pub standard_deviation: f64,
}

impl Estimate {
    /// The estimate that `sample` gives.
    pub fn of(sample: &[f64]) -> Estimate {
        let n = sample.len();
        let mean = sample.iter().sum::<f64>() / n as f64;
        let squares: f64 = sample.iter().map(|x| (x - mean) * (x - mean)).sum();
        let standard_deviation = if n < 2 { 0.0 } else { (squares / (n - 1) as f64).sqrt() };
        Estimate { n, mean, standard_deviation }
    }

    /// Half the width of the 95 % confidence interval of the mean (Student's t); infinite for fewer
    /// than two measurements.
    pub fn half_width_95(self) -> f64 {
        if self.n < 2 {
            return f64::INFINITY;
        }
        t_quantile_975(self.n - 1) * self.standard_deviation / (self.n as f64).sqrt()
    }

    /// The 95 % confidence interval of the mean.
    pub fn interval_95(self) -> (f64, f64) {
        (self.mean - self.half_width_95(), self.mean + self.half_width_95())
    }
}

/// The value in the middle of a sample, the greater of the two in the middle of an even number; `None`
/// of no values.
pub fn median(sample: &[f64]) -> Option<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The least value of a sample that so large a part of it, 0 to 1, doesn't exceed; `None` of no values.
pub fn quantile(sample: &[f64], part: f64) -> Option<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (part.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The two-sided p of Student's t test that the mean of paired differences is zero; `None` for fewer
/// than two. Differences that are all the same have p 0, or 1 where they are zero.
pub fn paired_t_test(differences: &[f64]) -> Option<f64> {
    let Estimate { n, mean, standard_deviation } = Estimate::of(differences);
    if n < 2 {
        return None;
    }
    if standard_deviation == 0.0 {
        return Some(if mean == 0.0 { 1.0 } else { 0.0 });
    }
    Some(t_two_sided(mean / (standard_deviation / (n as f64).sqrt()), n - 1))
}

/// The exact two-sided p of Wilcoxon's signed rank test of paired differences: zeros are left out and
/// ties share their mean rank. `None` where nothing is left, or more than a thousand are.
pub fn wilcoxon_signed_rank(differences: &[f64]) -> Option<f64> {
    let mut kept: Vec<f64> = differences.iter().copied().filter(|x| *x != 0.0).collect();
    if kept.is_empty() || kept.len() > 1000 || kept.iter().any(|x| x.is_nan()) {
        return None;
    }
    kept.sort_by(|x, y| x.abs().total_cmp(&y.abs()));
    // Twice the mean rank of a run of ties is a whole number.
    let mut ranks = Vec::with_capacity(kept.len());
    for tied in kept.chunk_by(|x, y| x.abs() == y.abs()) {
        let first = ranks.len() + 1;
        ranks.extend(std::iter::repeat_n(2 * first + tied.len() - 1, tied.len()));
    }
    let positive = ranks.iter().zip(&kept).filter(|(_, x)| **x > 0.0).map(|(rank, _)| rank);
    let (positive, total): (usize, usize) = (positive.sum(), ranks.iter().sum());
    // The probability of each sum of ranks where every sign is a fair coin.
    let mut probabilities = vec![0.0; total + 1];
    probabilities[0] = 1.0;
    for rank in ranks {
        for sum in (0..=total).rev() {
            let without = if sum >= rank { probabilities[sum - rank] } else { 0.0 };
            probabilities[sum] = 0.5 * (probabilities[sum] + without);
        }
    }
    let tail: f64 = probabilities[..=positive.min(total - positive)].iter().sum();
    Some((2.0 * tail).min(1.0))
}

/// The probability that Student's t exceeds `|t|` on either side: the finite series for whole degrees
/// of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn t_two_sided(t: f64, degrees_of_freedom: usize) -> f64 {
    let angle = (t.abs() / (degrees_of_freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = degrees_of_freedom % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = if degrees_of_freedom == 1 { 0.0 } else { term };
    let mut k = if is_odd { 3 } else { 2 };
    while k < degrees_of_freedom {
        term *= cosine * cosine * (k - 1) as f64 / k as f64;
        sum += term;
        k += 2;
    }
    let within = match is_odd {
        true => (angle + sine * sum) * std::f64::consts::FRAC_2_PI,
        false => sine * sum,
    };
    (1.0 - within).clamp(0.0, 1.0)
}

/// The 97.5 % quantile of Student's t distribution.
fn t_quantile_975(degrees_of_freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010,
        2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739,
        2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
    ];
    const NORMAL: f64 = 1.959_964;
    match TABLE.get(degrees_of_freedom.wrapping_sub(1)) {
        Some(&quantile) => quantile,
        // First term of the Cornish-Fisher expansion: exact to four digits here.
        None => NORMAL + (NORMAL.powi(3) + NORMAL) / (4.0 * degrees_of_freedom as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn textbook_sample() {
        let estimate = Estimate::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((estimate.n, estimate.mean), (8, 5.0));
        assert!((estimate.standard_deviation - 2.138_09).abs() < 1e-5);
        assert!((estimate.half_width_95() - 2.3646 * 2.138_09 / 8f64.sqrt()).abs() < 1e-4);
    }

    #[test]
    fn quantiles_meet_where_the_table_ends() {
        // Published values for 31, 60 and 120 degrees of freedom.
        for (degrees, published) in [(31, 2.0395), (60, 2.0003), (120, 1.9799)] {
            assert!((t_quantile_975(degrees) - published).abs() < 5e-3, "{degrees}");
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(3.0));
    }

    #[test]
    fn t_test_of_tabulated_quantiles() {
        // The interval's own quantiles leave 5 % outside; 99.5 % quantiles of printed tables 1 %.
        for degrees in 1..=30 {
            let p = t_two_sided(t_quantile_975(degrees), degrees);
            assert!((p - 0.05).abs() < 2e-5, "{degrees}: {p}");
        }
        for (degrees, quantile) in [(1, 63.6567), (2, 9.9248), (9, 3.2498), (30, 2.7500)] {
            assert!((t_two_sided(-quantile, degrees) - 0.01).abs() < 2e-5, "{degrees}");
        }
        assert_eq!(t_two_sided(0.0, 9), 1.0);
    }

    #[test]
    fn paired_differences() {
        assert_eq!(paired_t_test(&[1.0]), None);
        assert_eq!(paired_t_test(&[0.0, 0.0]), Some(1.0));
        assert_eq!(paired_t_test(&[2.0, 2.0]), Some(0.0));
        // Mean 2, deviation 1, n 3: t is 2 √3, and with two degrees p is 1 - t / √(t² + 2).
        let t = 2.0 * 3f64.sqrt();
        let p = 1.0 - t / (t * t + 2.0).sqrt();
        assert!((paired_t_test(&[1.0, 2.0, 3.0]).unwrap() - p).abs() < 1e-12);
    }

    #[test]
    fn signed_ranks_of_small_samples() {
        // All of one sign: 2 of the 2^n outcomes are as extreme.
        assert_eq!(wilcoxon_signed_rank(&[1.0, 2.0, 3.0, 4.0, 5.0]), Some(0.0625));
        assert_eq!(wilcoxon_signed_rank(&[-3.0, -1.0, 0.0, -2.0]), Some(0.25));
        // Ranks 1 to 4, the first negative: the sums 0 and 1 are 2 of 16 outcomes on one side.
        assert_eq!(wilcoxon_signed_rank(&[-1.0, 2.0, 3.0, 4.0]), Some(0.25));
        // Two tied, one of each sign: nothing is more balanced.
        assert_eq!(wilcoxon_signed_rank(&[1.0, -1.0]), Some(1.0));
        assert_eq!(wilcoxon_signed_rank(&[0.0]), None);
    }

    #[test]
    fn one_measurement_has_no_interval() {
        assert_eq!(Estimate::of(&[3.0]).interval_95(), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
