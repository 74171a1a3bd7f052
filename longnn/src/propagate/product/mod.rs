//! Features times weights, `X W`: the first layer of every model, and half of an epoch on the graphs
//! with full features (section 6.2 of the notes).
//!
//! The gradient of `X` is never formed; that of `W` is owned row by row, each row by one task, so it
//! has the same bits for any number of threads. Dropout on the features is a function of position and
//! epoch, made on the way in both directions.

mod dense;
mod dropout;
mod sparse;
#[cfg(test)]
mod tests;

pub use dropout::Dropout;

use super::signals::check_len;
use crate::Result;
use crate::graph::Features;
use dense::DenseProduct;
use sparse::SparseProduct;

/// An `N x F` feature matrix, ready to be multiplied by weights.
#[derive(Debug)]
pub struct FeatureProduct {
    matrix: Matrix,
    n_rows: usize,
    n_features: usize,
}

#[derive(Debug)]
enum Matrix {
    Sparse(SparseProduct),
    Dense(DenseProduct),
}

impl FeatureProduct {
    /// Of a graph's features, prepared as the model wants them.
    #[must_use]
    pub fn new(features: Features) -> Self {
        let (n_rows, n_features) = (features.n_nodes(), features.n_features());
        let matrix = match features {
            Features::Sparse(features) => Matrix::Sparse(SparseProduct::new(features)),
            Features::Dense(features) => Matrix::Dense(DenseProduct::new(features)),
        };
        Self { matrix, n_rows, n_features }
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of features `F`.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// `out = dropout(X) W`: `F x H` weights, `N x H` output, row after row.
    ///
    /// # Errors
    /// If weights or output have another shape.
    pub fn multiply(
        &self,
        weights: &[f32],
        n_outputs: usize,
        dropout: Option<Dropout>,
        out: &mut [f32],
    ) -> Result<()> {
        check_len("features times weights: weights", weights.len(), self.n_features, n_outputs)?;
        check_len("features times weights: output", out.len(), self.n_rows, n_outputs)?;
        match &self.matrix {
            Matrix::Sparse(matrix) => matrix.multiply(weights, n_outputs, dropout, out),
            Matrix::Dense(matrix) => {
                matrix.multiply(weights, n_outputs, dropout, out);
                Ok(())
            }
        }
    }

    /// `out = dropout(X)ᵀ G`, the gradient of the weights, `F x H`, from that of the output, `N x H`;
    /// with the dropout of the forward pass.
    ///
    /// # Errors
    /// If gradient or output have another shape.
    pub fn weight_gradient(
        &self,
        output_gradient: &[f32],
        n_outputs: usize,
        dropout: Option<Dropout>,
        out: &mut [f32],
    ) -> Result<()> {
        check_len("weight gradient: gradient", output_gradient.len(), self.n_rows, n_outputs)?;
        check_len("weight gradient: output", out.len(), self.n_features, n_outputs)?;
        match &self.matrix {
            Matrix::Sparse(matrix) => {
                matrix.weight_gradient(output_gradient, n_outputs, dropout, out)
            }
            Matrix::Dense(matrix) => {
                matrix.weight_gradient(output_gradient, n_outputs, dropout, out);
                Ok(())
            }
        }
    }
}
