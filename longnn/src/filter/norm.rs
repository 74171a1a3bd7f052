//! The true size of a filter, and the regulariser on it.
//!
//! Weight decay on coefficients is not decay of the filter: with an un-normalised basis small
//! coefficients can make a filter that amplifies some frequencies without bound ("over-passing").
//! The paper's theorem is Parseval's: in a basis orthonormal with respect to `w`,
//! `‖g‖²_w = ∫ g² w = Σ_k θ_k²`; un-normalised, it is `Σ_k h_k θ_k²`. The published code decays `η`
//! and `m` separately instead, which is neither.

use super::Weights;
use crate::basis::Matrix;
use crate::{Error, Result};

/// A squared norm of filters, a quadratic form.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterNorm {
    /// `Σ_k q_k θ_k²` of the coefficients in the filter's basis; `q` has a factor an order.
    Coefficients(Vec<f64>),
    /// `Wᵀ M W` of the Chebyshev coefficients; `M` is `(K+1) × (K+1)` and symmetric.
    Weights(Matrix),
}

/// A norm times a strength, summed over channels, as a part of the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterPenalty {
    /// The factor of the norm.
    pub strength: f64,
    /// The norm.
    pub norm: FilterNorm,
}

/// The gradient of a penalty, `(K+1) × C`.
#[derive(Debug, Clone, PartialEq)]
pub enum PenaltyGradient {
    /// By the coefficients `θ`.
    Coefficients(Matrix),
    /// By the Chebyshev coefficients `W`.
    Weights(Matrix),
}

impl FilterNorm {
    /// `‖g‖²_w` in an orthonormal basis: the theorem's `Σ θ²`.
    #[must_use]
    pub fn orthonormal(degree: usize) -> Self {
        Self::Coefficients(vec![1.0; degree + 1])
    }

    /// `‖g‖²_w` in an un-normalised basis with squared norms `h`.
    #[must_use]
    pub fn unnormalized(squared_norms: Vec<f64>) -> Self {
        Self::Coefficients(squared_norms)
    }

    /// `Σ_k k^{2s} θ_k²`, which lets a filter be large but not rough. The constant goes free.
    #[must_use]
    pub fn sobolev(degree: usize, s: f64) -> Self {
        Self::Coefficients((0..=degree).map(|k| (k as f64).powf(2.0 * s)).collect())
    }

    /// `∫ g² dμ` for a graph's own spectral measure, `‖g(Â)‖²_F / N`, from its Chebyshev moments
    /// `μ_j = tr T_j(Â) / N`: `M_ij = (μ_{i+j} + μ_{|i−j|}) / 2`.
    ///
    /// # Errors
    /// If there are fewer than `2K + 1` moments.
    pub fn of_moments(degree: usize, moments: &[f64]) -> Result<Self> {
        if moments.len() <= 2 * degree {
            return Err(Error::Shape {
                operation: "spectral norm",
                problem: format!(
                    "{} moments; a filter of degree {degree} needs {}",
                    moments.len(),
                    2 * degree + 1
                ),
            });
        }
        Ok(Self::Weights(Matrix::from_fn(degree + 1, degree + 1, |i, j| {
            0.5 * (moments[i + j] + moments[i.abs_diff(j)])
        })))
    }

    /// The squared norm of each channel's filter.
    #[must_use]
    pub fn squared(&self, weights: &Weights<'_>) -> Vec<f64> {
        let vectors = self.vectors(weights);
        let product = |channel: usize| {
            let vector = vectors.column(channel);
            self.times(&vector).iter().zip(&vector).map(|(a, b)| a * b).sum()
        };
        (0..vectors.n_columns()).map(product).collect()
    }

    /// What the form is of.
    fn vectors<'a>(&self, weights: &'a Weights<'_>) -> &'a Matrix {
        match self {
            Self::Coefficients(_) => weights.coefficients(),
            Self::Weights(_) => weights.matrix(),
        }
    }

    fn times(&self, vector: &[f64]) -> Vec<f64> {
        match self {
            Self::Coefficients(factors) => factors.iter().zip(vector).map(|(q, t)| q * t).collect(),
            Self::Weights(form) => form.times(vector),
        }
    }
}

impl FilterPenalty {
    /// The penalty and its gradient. An un-normalised basis' norms are taken as constants: the
    /// gradient by its exponents goes through the filter only.
    #[must_use]
    pub fn of(&self, weights: &Weights<'_>) -> (f64, PenaltyGradient) {
        let value = self.strength * self.norm.squared(weights).iter().sum::<f64>();
        let vectors = self.norm.vectors(weights);
        let mut gradient = Matrix::zeros(vectors.n_rows(), vectors.n_columns());
        for channel in 0..vectors.n_columns() {
            let column = self.norm.times(&vectors.column(channel)).into_iter();
            let column: Vec<f64> = column.map(|value| 2.0 * self.strength * value).collect();
            gradient.set_column(channel, &column);
        }
        let gradient = match self.norm {
            FilterNorm::Coefficients(_) => PenaltyGradient::Coefficients(gradient),
            FilterNorm::Weights(_) => PenaltyGradient::Weights(gradient),
        };
        (value, gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basis::{Basis, Exponents, Measure, Sign, golden, squared_norms};
    use crate::filter::{Coefficients, ExponentSource, Parametrization, Response};

    const DEGREE: usize = 10;

    /// The paper's theorem, by Gauss-Jacobi quadrature with 50-digit nodes.
    #[test]
    fn parseval() {
        for case in &golden::jacobi().cases {
            let exponents = Exponents::new(case.a, case.b).unwrap();
            let norms = squared_norms(DEGREE, exponents, Measure::Jacobi);
            for (basis, norm) in [
                (Basis::OrthonormalJacobi(Measure::Jacobi), FilterNorm::orthonormal(DEGREE)),
                (Basis::Jacobi(Sign::Corrected), FilterNorm::unnormalized(norms)),
            ] {
                let source = ExponentSource::Fixed(exponents);
                let filter =
                    Parametrization::new(DEGREE, 1, basis, Coefficients::PerChannel, source);
                let filter = filter.unwrap();
                let mut parameters = filter.initial();
                for (k, value) in parameters.per_channel.as_mut_slice().iter_mut().enumerate() {
                    *value = (1.0 + k as f64).sin() / (1.0 + k as f64);
                }
                let weights = filter.weights(parameters).unwrap();
                let response = Response::new(weights.matrix().clone());
                let terms = case.nodes.iter().zip(&case.weights);
                let integral: f64 =
                    terms.map(|(x, w)| w * response.value(0, 1.0 - x).powi(2)).sum();
                let error = (norm.squared(&weights)[0] / integral - 1.0).abs();
                assert!(error < 1e-9, "({}, {}): {error:e}", case.a, case.b);
            }
        }
    }

    #[test]
    fn the_norm_of_a_measure_at_one_point() {
        // All eigenvalues at x = 0.5: moments T_j(0.5), norm g(0.5)².
        let moments: Vec<f64> = (0..=4).map(|j| (f64::from(j) * 0.5_f64.acos()).cos()).collect();
        let norm = FilterNorm::of_moments(2, &moments).unwrap();
        let source = ExponentSource::Fixed(Exponents::default());
        let filter =
            Parametrization::new(2, 1, Basis::Monomial, Coefficients::Shared, source).unwrap();
        let mut parameters = filter.initial();
        parameters.shared = vec![1.0, -3.0, 2.0];
        let weights = filter.weights(parameters).unwrap();
        let value: f64 = 1.0 - 3.0 * 0.5 + 2.0 * 0.25;
        assert!((norm.squared(&weights)[0] - value * value).abs() < 1e-14);
        let error = FilterNorm::of_moments(3, &moments).unwrap_err().to_string();
        assert!(error.contains("5 moments") && error.contains("needs 7"), "{error}");
    }
}
