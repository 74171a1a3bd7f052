//! The first layer: features times weights, with dropout on the features.

use super::function::{Function, Matrix, MatrixRef};
use crate::propagate::{Dropout, FeatureProduct};
use std::sync::Arc;

/// `dropout(X) W`: `F x H` weights give `N x H`.
#[derive(Debug)]
pub struct TimesFeatures {
    features: Arc<FeatureProduct>,
    dropout: Option<Dropout>,
}

impl TimesFeatures {
    /// The product with a graph's features, some of them dropped.
    #[must_use]
    pub fn new(features: Arc<FeatureProduct>, dropout: Option<Dropout>) -> Self {
        Self { features, dropout }
    }
}

const SHAPES_FIT: &str = "the network's matrices fit the features";

impl Function<1> for TimesFeatures {
    fn forward(&self, [weights]: [MatrixRef<'_>; 1], _: bool) -> Matrix {
        let mut output = Matrix::zeros(self.features.n_rows(), weights.columns);
        self.features
            .multiply(weights.values, weights.columns, self.dropout, &mut output.values)
            .expect(SHAPES_FIT);
        output
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 1] {
        let mut by_weights = Matrix::zeros(self.features.n_features(), gradient.columns);
        self.features
            .weight_gradient(
                gradient.values,
                gradient.columns,
                self.dropout,
                &mut by_weights.values,
            )
            .expect(SHAPES_FIT);
        [by_weights]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::function::{assert_gradients, test_matrix};
    use crate::graph::{DenseFeatures, Features};

    #[test]
    fn gradients_are_those_of_central_differences() {
        let dense = DenseFeatures::new(7, test_matrix(30, 7, 5).values).unwrap();
        let sparse = Features::Sparse(dense.to_sparse());
        for features in [Features::Dense(dense), sparse] {
            let features = Arc::new(FeatureProduct::new(features));
            for dropout in [None, Dropout::new(0.5, 3, 4).unwrap()] {
                let make = || TimesFeatures::new(Arc::clone(&features), dropout);
                assert_gradients(make, [test_matrix(7, 4, 6)]);
            }
        }
    }
}
