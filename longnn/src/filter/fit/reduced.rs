//! A least-squares problem brought down to its coefficients.
//!
//! With the columns as `U = Q R`, `‖t − U w‖² = ‖R w − Qᵀt‖² + floor`: eleven coefficients and as many
//! numbers, whatever the number of nodes. So a descent takes steps that cost nothing, and its error
//! keeps its digits next to the floor, which a difference of large sums would lose.

use super::FilterFit;

/// The squared error of one target as a function of the coefficients.
#[derive(Debug, Clone, PartialEq)]
pub struct ReducedProblem {
    /// `R` by columns: `factors[j][i]`, `i ≤ j`; zero on the diagonal for a column that depends on
    /// those before it.
    factors: Vec<Vec<f64>>,
    /// `Qᵀ t`.
    projections: Vec<f64>,
    /// What no coefficients can explain.
    floor: f64,
    /// `Σ (t − mean t)²`.
    variance: f64,
}

impl ReducedProblem {
    pub(super) fn new(
        factors: Vec<Vec<f64>>,
        projections: Vec<f64>,
        floor: f64,
        variance: f64,
    ) -> Self {
        Self { factors, projections, floor, variance }
    }

    /// The number of coefficients, `K + 1`.
    #[must_use]
    pub fn n_coefficients(&self) -> usize {
        self.factors.len()
    }

    /// The best coefficients: zero for a column that depends on those before it.
    #[must_use]
    pub fn solution(&self) -> FilterFit {
        let mut coefficients = self.projections.clone();
        for j in (0..coefficients.len()).rev() {
            let (before, diagonal) = self.factors[j].split_at(j);
            let coefficient = if diagonal[0] == 0.0 { 0.0 } else { coefficients[j] / diagonal[0] };
            for (projection, factor) in coefficients.iter_mut().zip(before) {
                *projection -= factor * coefficient;
            }
            coefficients[j] = coefficient;
        }
        self.fit(coefficients, self.floor)
    }

    /// The squared error of coefficients `w`, and its gradient `2 Rᵀ(R w − Qᵀt)`.
    ///
    /// # Panics
    /// If there are fewer coefficients than columns.
    #[must_use]
    pub fn squared_error(&self, coefficients: &[f64]) -> (f64, Vec<f64>) {
        let mut excess: Vec<f64> = self.projections.iter().map(|projection| -projection).collect();
        for (j, factors) in self.factors.iter().enumerate() {
            for (excess, factor) in excess.iter_mut().zip(factors) {
                *excess += factor * coefficients[j];
            }
        }
        let by_coefficient = |factors: &Vec<f64>| {
            2.0 * factors.iter().zip(&excess).map(|(factor, excess)| factor * excess).sum::<f64>()
        };
        let squared_error = self.floor + excess.iter().map(|excess| excess * excess).sum::<f64>();
        (squared_error, self.factors.iter().map(by_coefficient).collect())
    }

    /// Coefficients with their error as a fit.
    #[must_use]
    pub fn fit(&self, coefficients: Vec<f64>, squared_error: f64) -> FilterFit {
        let explained = if self.variance > 0.0 { 1.0 - squared_error / self.variance } else { 1.0 };
        FilterFit { coefficients, squared_error, r_squared: explained }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LeastSquares;
    use proptest::prelude::*;

    /// Powers of 0 to 1, and a wave that none of their combinations is.
    fn columns_and_target() -> (Vec<Vec<f64>>, Vec<f64>) {
        let at = |i: i32| f64::from(i) / 50.0;
        let columns = (0..5).map(|k| (0..=50).map(|i| at(i).powi(k)).collect()).collect();
        (columns, (0..=50).map(|i| (9.0 * at(i)).sin()).collect())
    }

    proptest! {
        #[test]
        fn the_error_is_that_of_the_whole_residual(
            coefficients in prop::collection::vec(-3.0..3.0_f64, 5)
        ) {
            let (columns, target) = columns_and_target();
            let residual = |i: usize| -> f64 {
                let terms = columns.iter().zip(&coefficients);
                terms.map(|(column, factor)| column[i] * factor).sum::<f64>() - target[i]
            };
            let exact: f64 = (0..=50).map(|i| residual(i).powi(2)).sum();
            let problem = LeastSquares::new(columns.clone()).reduced(&target);
            let (error, gradient) = problem.squared_error(&coefficients);
            prop_assert!((error / exact - 1.0).abs() < 1e-12, "{error} {exact}");
            for (slope, column) in gradient.iter().zip(&columns) {
                let exact: f64 = (0..=50).map(|i| 2.0 * column[i] * residual(i)).sum();
                prop_assert!((slope - exact).abs() < 1e-10 * exact.abs().max(1.0));
            }
        }
    }

    #[test]
    fn nothing_is_below_the_solution() {
        let (columns, target) = columns_and_target();
        let problem = LeastSquares::new(columns).reduced(&target);
        let best = problem.solution();
        let (error, gradient) = problem.squared_error(&best.coefficients);
        assert!((error / best.squared_error - 1.0).abs() < 1e-14);
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-11), "{gradient:?}");
        assert_eq!(problem.n_coefficients(), 5);
    }
}
