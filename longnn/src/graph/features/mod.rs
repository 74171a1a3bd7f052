//! What is known of each node: a matrix of one row a node, sparse or dense.
//!
//! Bags of words are 0.2 to 5 % full and are kept as compressed rows; measurements are full and are
//! kept as they are. A value that isn't finite would spread over the whole graph with the first
//! product, so it is refused here, by node and column.

mod dense;
mod sparse;

pub use dense::DenseFeatures;
pub use sparse::SparseFeatures;

/// The features of all nodes, an `N x F` matrix of finite numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Features {
    /// Compressed rows.
    Sparse(SparseFeatures),
    /// Every value.
    Dense(DenseFeatures),
}

impl Features {
    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        match self {
            Features::Sparse(features) => features.n_nodes(),
            Features::Dense(features) => features.n_nodes(),
        }
    }

    /// Number of features `F` of a node.
    #[must_use]
    pub fn n_features(&self) -> usize {
        match self {
            Features::Sparse(features) => features.n_features(),
            Features::Dense(features) => features.n_features(),
        }
    }

    /// The part of the matrix that isn't zero, from 0 to 1; 0 for an empty matrix.
    #[must_use]
    pub fn density(&self) -> f64 {
        let values = match self {
            Features::Sparse(features) => features.values(),
            Features::Dense(features) => features.values(),
        };
        let n_nonzero = values.iter().filter(|&&value| value != 0.0).count();
        let n_values = self.n_nodes() as f64 * self.n_features() as f64;
        if n_values == 0.0 { 0.0 } else { n_nonzero as f64 / n_values }
    }

    /// Each row divided by the greater of its sum and 1, which is how every paper of this family
    /// prepares every graph (`NormalizeFeatures` of PyTorch Geometric).
    #[must_use]
    pub fn row_normalized(mut self) -> Self {
        match &mut self {
            Features::Sparse(features) => features.rows_mut().for_each(normalize),
            Features::Dense(features) => features.rows_mut().for_each(normalize),
        }
        self
    }

    /// The same matrix with every value stored.
    #[must_use]
    pub fn to_dense(&self) -> DenseFeatures {
        match self {
            Features::Sparse(features) => features.to_dense(),
            Features::Dense(features) => features.clone(),
        }
    }
}

/// The sum is taken in f64: in f32 it would depend on how it is vectorised.
fn normalize(row: &mut [f32]) {
    let sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
    let divisor = sum.max(1.0) as f32;
    row.iter_mut().for_each(|value| *value /= divisor);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(rows: &[[f32; 3]]) -> [Features; 2] {
        let dense = DenseFeatures::new(3, rows.concat()).unwrap();
        [Features::Sparse(dense.to_sparse()), Features::Dense(dense)]
    }

    #[test]
    fn rows_are_divided_by_their_sum_where_it_is_above_one() {
        for features in both(&[[1.0, 0.0, 3.0], [0.25, 0.25, 0.0], [0.0; 3], [2.0, -5.0, 0.0]]) {
            let normalized = features.row_normalized().to_dense();
            assert_eq!(normalized.row(0), [0.25, 0.0, 0.75]);
            assert_eq!(normalized.row(1), [0.25, 0.25, 0.0]);
            assert_eq!(normalized.row(2), [0.0; 3]);
            assert_eq!(normalized.row(3), [2.0, -5.0, 0.0]);
        }
    }

    #[test]
    fn density_counts_what_is_not_zero() {
        for features in both(&[[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]]) {
            assert_eq!((features.n_nodes(), features.n_features()), (2, 3));
            assert_eq!(features.density(), 2.0 / 6.0);
        }
        assert_eq!(Features::Dense(DenseFeatures::new(3, vec![]).unwrap()).density(), 0.0);
    }

    proptest! {
        #[test]
        fn sparse_and_dense_are_the_same_matrix(
            rows in prop::collection::vec(
                prop::array::uniform3(prop_oneof![Just(0.0_f32), -3.0_f32..3.0]), 0..9,
            ),
        ) {
            let [sparse, dense] = both(&rows);
            prop_assert_eq!(sparse.to_dense(), dense.to_dense());
            prop_assert_eq!(sparse.density(), dense.density());
            let (sparse, dense) = (sparse.row_normalized(), dense.row_normalized());
            prop_assert_eq!(sparse.to_dense(), dense.to_dense());
        }
    }
}
