//! Features as compressed rows: of a bag of words, one value in a hundred is not zero.

use super::DenseFeatures;
use super::dense::not_finite;
use crate::{Error, Result};

/// More features than any vocabulary has; each costs a row of weights, whether a node has it or not.
const MAX_FEATURES: usize = 1 << 24;

/// A sparse `N x F` matrix, one row a node. Columns ascend within a row.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseFeatures {
    n_features: usize,
    offsets: Vec<u32>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl SparseFeatures {
    /// From compressed rows: row `i` has the columns and values from `offsets[i]` to
    /// `offsets[i + 1]`, and its columns ascend.
    ///
    /// # Errors
    /// If there are absurdly many features, the offsets don't divide the values into rows, a column doesn't exist or isn't above its
    /// predecessor, or a value isn't finite.
    pub fn new(
        n_features: usize,
        offsets: Vec<u32>,
        columns: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self> {
        if n_features > MAX_FEATURES {
            let problem = format!("{n_features} columns; at most {MAX_FEATURES} are taken");
            return Err(Error::Graph { part: "features".into(), problem });
        }
        check_offsets(&offsets, columns.len(), values.len())?;
        for (node, bounds) in offsets.windows(2).enumerate() {
            let range = bounds[0] as usize..bounds[1] as usize;
            let mut least = 0;
            for (&column, &value) in columns[range.clone()].iter().zip(&values[range]) {
                check_column(node, column, least, n_features)?;
                if !value.is_finite() {
                    return Err(not_finite(node, column as usize, value));
                }
                least = u64::from(column) + 1;
            }
        }
        Ok(Self { n_features, offsets, columns, values })
    }

    /// A feature of its own for every node, for graphs that have none.
    ///
    /// # Errors
    /// If there are absurdly many nodes.
    pub fn identity(n_nodes: usize) -> Result<Self> {
        let n = n_nodes.min(MAX_FEATURES + 1) as u32;
        Self::new(n_nodes, (0..=n).collect(), (0..n).collect(), vec![1.0; n as usize])
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of features `F` of a node.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Where each row starts in [`Self::columns`] and [`Self::values`]: `N + 1` offsets.
    #[must_use]
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The columns of the stored values, row after row, each row ascending.
    #[must_use]
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// The stored values, row after row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The columns and values of one node.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn row(&self, node: usize) -> impl Iterator<Item = (u32, f32)> {
        let range = self.offsets[node] as usize..self.offsets[node + 1] as usize;
        self.columns[range.clone()].iter().copied().zip(self.values[range].iter().copied())
    }

    pub(super) fn to_dense(&self) -> DenseFeatures {
        let mut values = vec![0.0; self.n_nodes() * self.n_features];
        for node in 0..self.n_nodes() {
            for (column, value) in self.row(node) {
                values[node * self.n_features + column as usize] = value;
            }
        }
        DenseFeatures::new(self.n_features, values).expect("whole rows of finite values")
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let mut rest = self.values.as_mut_slice();
        self.offsets.windows(2).map(move |bounds| {
            let length = (bounds[1] - bounds[0]) as usize;
            let (row, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            row
        })
    }
}

fn check_offsets(offsets: &[u32], n_columns: usize, n_values: usize) -> Result<()> {
    let problem = if n_columns != n_values {
        format!("{n_columns} columns for {n_values} values")
    } else if offsets.first() != Some(&0) {
        "the first row doesn't start at 0".to_owned()
    } else if let Some(node) = offsets.windows(2).position(|bounds| bounds[0] > bounds[1]) {
        format!("the row of node {node} ends before it starts")
    } else if offsets.last().is_some_and(|&end| end as usize != n_values) {
        format!("the rows end at {:?}, the values at {n_values}", offsets.last())
    } else {
        return Ok(());
    };
    Err(Error::Graph { part: "features".into(), problem })
}

fn check_column(node: usize, column: u32, least: u64, n_features: usize) -> Result<()> {
    let problem = if column as usize >= n_features {
        format!("there is no column {column}; there are {n_features}")
    } else if u64::from(column) < least {
        format!("column {column} comes after column {}", least - 1)
    } else {
        return Ok(());
    };
    Err(Error::Graph { part: format!("features of node {node}"), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(offsets: &[u32], columns: &[u32], values: &[f32], expected: &str) {
        let made = SparseFeatures::new(3, offsets.to_vec(), columns.to_vec(), values.to_vec());
        let error = made.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn rows_are_checked() {
        let error = SparseFeatures::identity(1 << 40).unwrap_err().to_string();
        assert!(error.contains("1099511627776 columns"), "{error}");
        refused(&[], &[], &[], "the first row doesn't start at 0");
        refused(&[1, 1], &[0], &[1.0], "the first row doesn't start at 0");
        refused(&[0, 1], &[0], &[], "1 columns for 0 values");
        refused(&[0, 2, 1, 2], &[0, 1], &[1.0; 2], "row of node 1 ends before it starts");
        refused(&[0, 1], &[0, 1], &[1.0; 2], "the values at 2");
        refused(&[0, 1], &[3], &[1.0], "features of node 0: there is no column 3");
        refused(&[0, 2], &[1, 1], &[1.0; 2], "column 1 comes after column 1");
        refused(&[0, 0, 1], &[2], &[f32::NAN], "features of node 1, column 2: NaN");
    }

    #[test]
    fn identity_tells_nodes_apart() {
        let features = SparseFeatures::identity(3).unwrap();
        assert_eq!(features.row(1).collect::<Vec<_>>(), [(1, 1.0)]);
        assert_eq!(features.to_dense().values(), [1., 0., 0., 0., 1., 0., 0., 0., 1.]);
    }
}
