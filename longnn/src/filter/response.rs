//! A filter as a function of frequency, and how far it is from even-handed.

use crate::basis::Matrix;

/// The points at which the over-passing index looks.
const N_SAMPLES: usize = 2001;

/// The filters `g_c(λ)` of all channels, by their Chebyshev coefficients.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    coefficients: Matrix,
}

impl Response {
    /// From the weights `W`, `(K+1) × C`.
    #[must_use]
    pub fn new(coefficients: Matrix) -> Self {
        Self { coefficients }
    }

    /// The number of channels.
    #[must_use]
    pub fn n_channels(&self) -> usize {
        self.coefficients.n_columns()
    }

    /// `g_c(λ)` at a frequency `λ` in `[0, 2]`.
    ///
    /// # Panics
    /// If there is no such channel.
    #[must_use]
    pub fn value(&self, channel: usize, frequency: f64) -> f64 {
        clenshaw(&self.coefficients.column(channel), 1.0 - frequency)
    }

    /// `g_c` at all given frequencies.
    ///
    /// # Panics
    /// If there is no such channel.
    #[must_use]
    pub fn values(&self, channel: usize, frequencies: &[f64]) -> Vec<f64> {
        let coefficients = self.coefficients.column(channel);
        frequencies.iter().map(|frequency| clenshaw(&coefficients, 1.0 - frequency)).collect()
    }

    /// The over-passing index, `max |g_c| / rms g_c` over all frequencies: 1 for a filter that
    /// treats all alike in size, large for one that lets a narrow band through far beyond the rest.
    /// 1 for a filter that is zero.
    ///
    /// # Panics
    /// If there is no such channel.
    #[must_use]
    pub fn over_passing_index(&self, channel: usize) -> f64 {
        let values = self.values(channel, &frequencies(N_SAMPLES));
        let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if largest == 0.0 {
            return 1.0;
        }
        // Scaled by the largest, squares neither over- nor underflow.
        let squares = values.iter().map(|value| (value / largest).powi(2)).sum::<f64>();
        (values.len() as f64 / squares).sqrt()
    }
}

/// `n` frequencies from 0 to 2 at equal distances.
pub(crate) fn frequencies(n: usize) -> Vec<f64> {
    (0..n).map(|i| 2.0 * i as f64 / (n - 1) as f64).collect()
}

/// `Σ_j c_j T_j(x)`.
pub(crate) fn clenshaw(coefficients: &[f64], x: f64) -> f64 {
    let (mut next, mut after) = (0.0, 0.0);
    for &coefficient in coefficients.iter().skip(1).rev() {
        (next, after) = (coefficient + 2.0 * x * next - after, next);
    }
    coefficients.first().copied().unwrap_or(0.0) + x * next - after
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_narrow_band_over_passes() {
        // T_0 passes all alike; T_1² + … peaks at one end.
        let matrix = Matrix::from_fn(31, 3, |j, channel| match channel {
            0 => f64::from(u8::from(j == 0)),
            1 => 1.0,
            _ => 0.0,
        });
        let response = Response::new(matrix);
        assert!((response.over_passing_index(0) - 1.0).abs() < 1e-12);
        assert!(response.over_passing_index(1) > 5.0);
        assert_eq!(response.over_passing_index(2), 1.0);
        assert_eq!(response.n_channels(), 3);
    }

    proptest! {
        #[test]
        fn clenshaw_is_the_sum_of_cosines(
            coefficients in prop::collection::vec(-1.0..1.0, 0..20), x in -1.0..1.0_f64
        ) {
            let terms = coefficients.iter().enumerate();
            let sum: f64 = terms.map(|(j, c)| c * (j as f64 * x.acos()).cos()).sum();
            prop_assert!((clenshaw(&coefficients, x) - sum).abs() < 1e-12);
        }
    }
}
