//! Given functions of frequency as Chebyshev series.

use std::f64::consts::PI;

use super::response::clenshaw;

/// A function `h(λ)` on `[0, 2]` as `Σ_j c_j T_j(1 − λ)`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChebyshevSeries {
    coefficients: Vec<f64>,
}

impl ChebyshevSeries {
    /// What is left out of a series, relative to its largest coefficient: rounding.
    const TOLERANCE: f64 = 1e-16;
    /// Nodes for each term. Coefficients of a kink decay by the square, so the first that is
    /// folded onto the last is at most a ninth of it.
    const NODES_PER_TERM: usize = 2;

    /// The first `n_terms` coefficients of `function`, by the discrete cosine transform at several
    /// times as many nodes. Trailing terms that only hold rounding errors are left out.
    #[must_use]
    pub fn of(function: impl Fn(f64) -> f64, n_terms: usize) -> Self {
        let n_nodes = Self::NODES_PER_TERM * n_terms.max(1);
        let values: Vec<f64> = (0..n_nodes)
            .map(|i| function(1.0 - ((i as f64 + 0.5) * PI / n_nodes as f64).cos()))
            .collect();
        // Every angle j (i + 1/2) π/n is a multiple of π/2n: one table has all cosines.
        let table: Vec<f64> =
            (0..4 * n_nodes).map(|i| (i as f64 * PI / (2 * n_nodes) as f64).cos()).collect();
        let coefficient = |j: usize| {
            let cosines = (0..n_nodes).map(|i| table[j * (2 * i + 1) % table.len()]);
            let sum: f64 = values.iter().zip(cosines).map(|(value, cosine)| value * cosine).sum();
            sum * if j == 0 { 1.0 } else { 2.0 } / n_nodes as f64
        };
        let mut coefficients: Vec<f64> = (0..n_terms).map(coefficient).collect();
        let largest = coefficients.iter().fold(0.0_f64, |largest, c| largest.max(c.abs()));
        for coefficient in &mut coefficients {
            if coefficient.abs() <= Self::TOLERANCE * largest {
                *coefficient = 0.0;
            }
        }
        let last = coefficients.iter().rposition(|&coefficient| coefficient != 0.0);
        coefficients.truncate(last.map_or(0, |last| last + 1));
        Self { coefficients }
    }

    /// The coefficients `c_0 …`.
    #[must_use]
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The value at a frequency `λ`.
    #[must_use]
    pub fn value(&self, frequency: f64) -> f64 {
        clenshaw(&self.coefficients, 1.0 - frequency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smooth_function_is_exact_in_few_terms() {
        let function = |frequency: f64| (-10.0 * frequency * frequency).exp();
        let series = ChebyshevSeries::of(function, 200);
        for i in 0..=100 {
            let frequency = f64::from(i) / 50.0;
            let error = (series.value(frequency) - function(frequency)).abs();
            assert!(error < 1e-14, "{frequency}: {error:e}");
        }
    }

    #[test]
    fn a_polynomial_has_its_own_coefficients() {
        let series = ChebyshevSeries::of(|frequency| (1.0 - frequency).powi(2), 20);
        for (j, coefficient) in series.coefficients().iter().enumerate() {
            let exact = if j == 0 || j == 2 { 0.5 } else { 0.0 };
            assert!((coefficient - exact).abs() < 1e-15, "{j}: {coefficient:e}");
        }
        assert!(ChebyshevSeries::of(|_| 0.0, 10).coefficients().is_empty());
    }
}
