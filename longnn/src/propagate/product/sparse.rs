//! Sparse features times weights: a gathered sum in both directions.
//!
//! `X W` adds up rows of the weights, `Xᵀ G` rows of the gradient. For the second the matrix is kept
//! by columns as well, so that each row of the result belongs to one task.

use super::Dropout;
use crate::Result;
use crate::graph::SparseFeatures;
use crate::propagate::kernel::Kernel;
use crate::propagate::kernel::gather::{Gather, ProductRows};
use crate::propagate::parallel::{Bounds, for_each_task, in_pool, split_by_cost, split_evenly};
use crate::propagate::signals::stride_of;
use crate::propagate::{Pool, Pooled, Signals};
use std::sync::Arc;

/// Values that a task has at least; each is a row of 64 weights, as a rule.
const MIN_TASK_COST: u64 = 2048;
/// Values of a task that only copies them.
const VALUES_PER_TASK: usize = 1 << 15;

/// A sparse matrix by rows and by columns.
#[derive(Debug)]
pub(super) struct SparseProduct {
    by_rows: Compressed,
    by_columns: Compressed,
    /// The values by rows.
    values: Vec<f32>,
    /// Where each value by columns is by rows.
    places: Vec<u32>,
    copies: Bounds,
    pool: Arc<Pool>,
}

/// The pattern of a sparse matrix, and its rows shared out to tasks.
#[derive(Debug)]
struct Compressed {
    offsets: Vec<u32>,
    indices: Vec<u32>,
    tasks: Bounds,
}

impl SparseProduct {
    pub(super) fn new(features: SparseFeatures) -> Self {
        let (by_columns, places) = by_columns(&features);
        let values = features.values().to_vec();
        Self {
            by_rows: Compressed::new(features.offsets().to_vec(), features.columns().to_vec()),
            by_columns,
            copies: split_evenly(values.len(), VALUES_PER_TASK),
            values,
            places,
            pool: Pool::new(),
        }
    }

    /// `out = dropout(X) W`; the shapes have been checked.
    pub(super) fn multiply(
        &self,
        weights: &[f32],
        n_outputs: usize,
        dropout: Option<Dropout>,
        out: &mut [f32],
    ) -> Result<()> {
        self.by_rows.in_pool(|| {
            let masked = dropout.map(|dropout| self.masked(dropout));
            let values = masked.as_ref().map_or(&self.values[..], |masked| masked.row(0));
            let n_features = self.by_columns.n_rows();
            self.by_rows.multiply(values, weights, n_features, n_outputs, out)
        })
    }

    /// `out = dropout(X)ᵀ G`; the shapes have been checked.
    pub(super) fn weight_gradient(
        &self,
        gradient: &[f32],
        n_outputs: usize,
        dropout: Option<Dropout>,
        out: &mut [f32],
    ) -> Result<()> {
        self.by_columns.in_pool(|| {
            let masked = dropout.map(|dropout| self.masked(dropout));
            let by_rows = masked.as_ref().map_or(&self.values[..], |masked| masked.row(0));
            let mut values = self.pool.take(1, by_rows.len());
            for_each_task(
                true,
                &self.copies,
                1,
                values.row_mut(0),
                &|range, values: &mut [f32]| {
                    for (value, &place) in values.iter_mut().zip(&self.places[range]) {
                        *value = by_rows[place as usize];
                    }
                },
            );
            let n_nodes = self.by_rows.n_rows();
            self.by_columns.multiply(values.row(0), gradient, n_nodes, n_outputs, out)
        })
    }

    /// The values by rows, some of them dropped, the others scaled.
    fn masked(&self, dropout: Dropout) -> Pooled {
        let mut masked = self.pool.take(1, self.values.len());
        for_each_task(true, &self.copies, 1, masked.row_mut(0), &|range, masked: &mut [f32]| {
            // There are fewer values than 32-bit offsets can count.
            dropout.apply(0, range.start as u32, &self.values[range], masked);
        });
        masked
    }
}

impl Compressed {
    fn new(offsets: Vec<u32>, indices: Vec<u32>) -> Self {
        let cost_before = |row_idx: usize| u64::from(offsets[row_idx]) + row_idx as u64;
        let tasks = split_by_cost(offsets.len() - 1, MIN_TASK_COST, cost_before);
        Self { offsets, indices, tasks }
    }

    fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The matrix times `operand`, `n_operand_rows` rows of `n_columns`.
    fn multiply(
        &self,
        values: &[f32],
        operand: &[f32],
        n_operand_rows: usize,
        n_columns: usize,
        out: &mut [f32],
    ) -> Result<()> {
        let stride = stride_of(n_columns);
        let padded;
        let operand = if stride == n_columns {
            operand
        } else {
            padded = Signals::from_rows(n_operand_rows, n_columns, operand)?;
            padded.padded()
        };
        // SAFETY: `SparseFeatures` has checked offsets and columns, and `by_columns` makes both from
        // them; the operand has a row for every index, and every index a value.
        let gather = unsafe { Gather::new(&self.offsets, &self.indices, values, operand, stride) };
        let kernel = Kernel::best();
        for_each_task(true, &self.tasks, n_columns, out, &|rows, out: &mut [f32]| {
            kernel.run(stride, &mut ProductRows { gather, rows, out, n_columns });
        });
        Ok(())
    }

    fn in_pool<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        in_pool(self.tasks.len() > 2, work)
    }
}

/// The pattern by columns, each with its rows ascending, and where its values are by rows.
fn by_columns(features: &SparseFeatures) -> (Compressed, Vec<u32>) {
    let mut offsets = vec![0_u32; features.n_features() + 1];
    for &column in features.columns() {
        offsets[column as usize + 1] += 1;
    }
    for column in 0..features.n_features() {
        offsets[column + 1] += offsets[column];
    }
    let mut next = offsets.clone();
    let mut rows = vec![0; features.columns().len()];
    let mut places = rows.clone();
    for (row, range) in features.offsets().windows(2).enumerate() {
        for place in range[0]..range[1] {
            let next = &mut next[features.columns()[place as usize] as usize];
            rows[*next as usize] = row as u32;
            places[*next as usize] = place;
            *next += 1;
        }
    }
    (Compressed::new(offsets, rows), places)
}
