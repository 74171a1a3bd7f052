//! What a run ends with: its results, and the filter that it learned.

use crate::autodiff::filter::restore;
use crate::basis::Matrix;
use crate::filter::{FilterNorm, Response};
use crate::model::Network;
use serde::{Deserialize, Serialize};

/// The result of one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The graph's metric on the validation nodes at the best epoch, 0 to 1.
    pub validation: f64,
    /// The metric on the test nodes at that epoch.
    pub test: f64,
    /// The best epoch by validation.
    pub best_epoch: usize,
    /// Epochs trained.
    pub epochs: usize,
    /// Whether the loss stopped being a number; the best epoch is from before.
    pub diverged: bool,
    /// Median wall time of an epoch (a training step and one evaluation), in milliseconds, divided
    /// by the number of seeds that had it side by side.
    pub epoch_ms_median: f64,
    /// The filter at the best epoch; `None` for models without one over the classes.
    pub filter: Option<LearnedFilter>,
}

/// A learned filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedFilter {
    /// The Chebyshev coefficients of each class's filter.
    pub chebyshev: Vec<Vec<f64>>,
    /// Exponents `(a, b)` of a Jacobi basis, one pair or one a class; empty for other bases.
    pub exponents: Vec<(f64, f64)>,
    /// The squared norm of each class's filter by its coefficients, `Σ_k θ_k²`.
    pub squared_coefficients: Vec<f64>,
    /// The over-passing index of each class's filter.
    pub over_passing: Vec<f64>,
}

impl LearnedFilter {
    /// The filter of a network, from what it learned of it ([`Polynomial::filter_values`]), if it is a
    /// number everywhere.
    ///
    /// [`Polynomial::filter_values`]: crate::model::polynomial::Polynomial::filter_values
    #[must_use]
    pub fn of(network: &Network, values: &[f32]) -> Option<Self> {
        let parametrization = network.polynomial()?.parametrization()?;
        let parameters = restore(parametrization, values);
        let exponents = if parametrization.basis().has_exponents() {
            let exponents = parametrization.exponents(&parameters).ok()?;
            exponents.iter().map(|pair| (pair.a(), pair.b())).collect()
        } else {
            Vec::new()
        };
        let weights = parametrization.weights(parameters).ok()?;
        let norm = FilterNorm::orthonormal(parametrization.degree());
        let response = Response::new(weights.matrix().clone());
        let channels = 0..response.n_channels();
        Some(Self {
            chebyshev: columns(weights.matrix()),
            exponents,
            squared_coefficients: norm.squared(&weights),
            over_passing: channels.map(|channel| response.over_passing_index(channel)).collect(),
        })
    }
}

fn columns(matrix: &Matrix) -> Vec<Vec<f64>> {
    (0..matrix.n_columns()).map(|column| matrix.column(column)).collect()
}
