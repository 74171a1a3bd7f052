//! Dense features times weights: matrix products of fixed blocks.
//!
//! Each block is one call of `gemm` on one thread, and blocks are shared out over threads: the order
//! of its sums then depends on the shapes alone. Dropout is made in a block's scratch copy.

use super::Dropout;
use crate::graph::DenseFeatures;
use crate::propagate::parallel::{for_each_task, split_evenly};
use crate::propagate::{Pool, Pooled};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a block: with 767 features its copy stays in the second cache.
const BLOCK_ROWS: usize = 256;
/// Rows of the gradient that a task owns.
const BLOCK_FEATURES: usize = 128;

/// A dense matrix.
#[derive(Debug)]
pub(super) struct DenseProduct {
    features: DenseFeatures,
    pool: Arc<Pool>,
}

/// A block of the features as `gemm` reads it: in place, or a copy with values dropped.
enum Block<'a> {
    InPlace(&'a [f32], usize),
    Copy(Pooled),
}

impl DenseProduct {
    pub(super) fn new(features: DenseFeatures) -> Self {
        Self { features, pool: Pool::new() }
    }

    /// `out = dropout(X) W`; the shapes have been checked.
    pub(super) fn multiply(
        &self,
        weights: &[f32],
        n_outputs: usize,
        dropout: Option<Dropout>,
        out: &mut [f32],
    ) {
        let n_features = self.features.n_features();
        let tasks = split_evenly(self.features.n_nodes(), BLOCK_ROWS);
        for_each_task(true, &tasks, n_outputs, out, &|rows, out: &mut [f32]| {
            let block = self.block(rows.clone(), 0..n_features, dropout);
            let (values, stride) = block.view();
            let left = Factor { values, row_stride: stride, column_stride: 1 };
            let right = Factor { values: weights, row_stride: n_outputs, column_stride: 1 };
            gemm([rows.len(), n_outputs, n_features], left, right, false, out);
        });
    }

    /// `out = dropout(X)ᵀ G`; the shapes have been checked.
    pub(super) fn weight_gradient(
        &self,
        gradient: &[f32],
        n_outputs: usize,
        dropout: Option<Dropout>,
        out: &mut [f32],
    ) {
        out.fill(0.0);
        let tasks = split_evenly(self.features.n_features(), BLOCK_FEATURES);
        let blocks = split_evenly(self.features.n_nodes(), BLOCK_ROWS);
        for_each_task(true, &tasks, n_outputs, out, &|columns, out: &mut [f32]| {
            for rows in blocks.windows(2).map(|block| block[0]..block[1]) {
                let block = self.block(rows.clone(), columns.clone(), dropout);
                let (values, stride) = block.view();
                let left = Factor { values, row_stride: 1, column_stride: stride };
                let gradient = &gradient[rows.start * n_outputs..rows.end * n_outputs];
                let right = Factor { values: gradient, row_stride: n_outputs, column_stride: 1 };
                gemm([columns.len(), n_outputs, rows.len()], left, right, true, out);
            }
        });
    }

    fn block(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        dropout: Option<Dropout>,
    ) -> Block<'_> {
        let n_features = self.features.n_features();
        let Some(dropout) = dropout else {
            let first = rows.start * n_features + columns.start;
            return Block::InPlace(self.features.values().get(first..).unwrap_or(&[]), n_features);
        };
        let mut copy = self.pool.take(rows.len(), columns.len());
        for (row_idx, row) in rows.enumerate() {
            let values = &self.features.row(row)[columns.clone()];
            // Masks repeat after 2^32 rows or features, which no graph in memory has.
            dropout.apply(row as u32, columns.start as u32, values, copy.row_mut(row_idx));
        }
        Block::Copy(copy)
    }
}

impl Block<'_> {
    /// The values, and how many there are from row to row.
    fn view(&self) -> (&[f32], usize) {
        match self {
            Self::InPlace(values, stride) => (values, *stride),
            Self::Copy(copy) => (copy.padded(), copy.stride()),
        }
    }
}

/// A factor of a matrix product, by its strides.
#[derive(Clone, Copy)]
struct Factor<'a> {
    values: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl Factor<'_> {
    /// That the values have `n_rows x n_columns` elements at these strides.
    fn check(&self, n_rows: usize, n_columns: usize) {
        let last = (n_rows - 1) * self.row_stride + (n_columns - 1) * self.column_stride;
        assert!(last < self.values.len(), "a factor's block lies within its values");
    }
}

/// `out = left · right`, or `out += left · right`, for `m x k` times `k x n`, on this thread.
fn gemm(
    [m, n, k]: [usize; 3],
    left: Factor<'_>,
    right: Factor<'_>,
    accumulate: bool,
    out: &mut [f32],
) {
    assert_eq!(out.len(), m * n, "the output is m x n");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            out.fill(0.0);
        }
        return;
    }
    left.check(m, k);
    right.check(k, n);
    // SAFETY: the checks above hold every element of both factors and of the output inside its slice,
    // and `out` is borrowed uniquely.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
