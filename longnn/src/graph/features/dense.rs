//! Features with every value stored, row after row.

use super::SparseFeatures;
use crate::{Error, Result};

/// A dense `N x F` matrix, one row a node.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseFeatures {
    n_nodes: usize,
    n_features: usize,
    values: Vec<f32>,
}

impl DenseFeatures {
    /// From rows of `n_features` values, one after the other.
    ///
    /// # Errors
    /// If the values aren't whole rows, or one isn't finite.
    pub fn new(n_features: usize, values: Vec<f32>) -> Result<Self> {
        // Zero divides only an empty matrix.
        if !values.len().is_multiple_of(n_features) {
            return Err(Error::Graph {
                part: "features".into(),
                problem: format!("{} values aren't rows of {n_features}", values.len()),
            });
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            let (node, column) = (place / n_features, place % n_features);
            return Err(not_finite(node, column, values[place]));
        }
        let n_nodes = values.len().checked_div(n_features).unwrap_or(0);
        Ok(Self { n_nodes, n_features, values })
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.n_nodes
    }

    /// Number of features `F` of a node.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// All values, row after row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The features of one node.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn row(&self, node: usize) -> &[f32] {
        &self.values[node * self.n_features..(node + 1) * self.n_features]
    }

    /// The same matrix without its zeros.
    #[must_use]
    pub fn to_sparse(&self) -> SparseFeatures {
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for node in 0..self.n_nodes {
            for (column, &value) in self.row(node).iter().enumerate() {
                if value != 0.0 {
                    columns.push(column as u32);
                    values.push(value);
                }
            }
            offsets.push(columns.len() as u32);
        }
        SparseFeatures::new(self.n_features, offsets, columns, values)
            .expect("a matrix in memory has fewer values than 32-bit offsets can count")
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.n_features.max(1))
    }
}

/// The error for a value that is infinite or no number.
pub(super) fn not_finite(node: usize, column: usize, value: f32) -> Error {
    Error::Graph {
        part: format!("features of node {node}, column {column}"),
        problem: format!("{value} is not a finite number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let error = DenseFeatures::new(2, vec![0.0, 1.0, 2.0, f32::NAN]).unwrap_err().to_string();
        assert_eq!(error, "features of node 1, column 1: NaN is not a finite number");
        assert!(DenseFeatures::new(2, vec![f32::INFINITY, 0.0]).is_err());
    }

    #[test]
    fn half_a_row_is_refused() {
        let error = DenseFeatures::new(2, vec![0.0; 3]).unwrap_err().to_string();
        assert_eq!(error, "features: 3 values aren't rows of 2");
        assert!(DenseFeatures::new(0, vec![0.0]).is_err());
    }
}
