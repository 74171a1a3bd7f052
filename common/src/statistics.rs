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
    fn one_measurement_has_no_interval() {
        assert_eq!(Estimate::of(&[3.0]).interval_95(), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
