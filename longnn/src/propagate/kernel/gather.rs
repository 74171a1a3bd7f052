//! Sums over the neighbours of a row, the one thing that all sparse products do.
//!
//! Four neighbours are added up as a small tree before they meet the accumulator: one dependent
//! addition in four, at no more additions and two registers. Each channel's order depends on the
//! row alone, so a column has the same bits whatever stands beside it.
//!
//! Measured against the alternatives (5 to 76 neighbours a row, 8 to 64 channels): eight neighbours to
//! a tree, a constant stride and prefetching 8 or 16 neighbours ahead gain nothing where the signals
//! fit the second or third cache, as all nine graphs' do, so none of them is here.

use super::{PANEL, RowLoop, Vector};
use std::ops::Range;

/// An index of a row: 16 bits where they suffice, because the indices are all that a product over an
/// unweighted graph streams (section 6.1 of the notes).
pub(crate) trait RowIndex: Copy + Send + Sync {
    /// As an index.
    fn get(self) -> usize;
}

impl RowIndex for u16 {
    #[inline(always)]
    fn get(self) -> usize {
        usize::from(self)
    }
}

impl RowIndex for u32 {
    #[inline(always)]
    fn get(self) -> usize {
        self as usize
    }
}

/// What a gathered row counts: one (the graph) or a value of its own (features).
pub(crate) trait Weights: Copy {
    /// The row at `from` times the weight of the entry at `position`.
    ///
    /// # Safety
    /// As [`Vector::load`]; `position` is that of an entry.
    unsafe fn weigh<V: Vector>(self, position: usize, from: *const f32) -> V;
}

/// All entries are one: there is no array of values.
#[derive(Clone, Copy)]
pub(crate) struct Ones;

impl Weights for Ones {
    #[inline(always)]
    unsafe fn weigh<V: Vector>(self, _: usize, from: *const f32) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }
}

impl Weights for &[f32] {
    #[inline(always)]
    unsafe fn weigh<V: Vector>(self, position: usize, from: *const f32) -> V {
        // SAFETY: the caller's promise; there is a value for every entry.
        unsafe { V::splat(*self.get_unchecked(position)).mul(V::load(from)) }
    }
}

/// Compressed rows over a dense matrix: which rows of `operand` each output row adds up.
#[derive(Clone, Copy)]
pub(crate) struct Gather<'a, I, W> {
    /// Where each row's entries start.
    offsets: &'a [u32],
    indices: &'a [I],
    weights: W,
    /// The dense matrix, `stride` values a row.
    operand: &'a [f32],
    stride: usize,
}

impl<'a, I: RowIndex, W: Weights> Gather<'a, I, W> {
    /// # Safety
    /// `offsets` ascend within `indices`, every index is that of a row of `operand`, and `weights`
    /// has a value for every index.
    pub(crate) unsafe fn new(
        offsets: &'a [u32],
        indices: &'a [I],
        weights: W,
        operand: &'a [f32],
        stride: usize,
    ) -> Self {
        Self { offsets, indices, weights, operand, stride }
    }

    /// The weighted sum of a row's entries, from channel `first` on.
    ///
    /// # Safety
    /// The processor has `V`; `first + N * WIDTH` is within the stride, and `row_idx` is a row.
    #[inline(always)]
    unsafe fn sum<V: Vector, const N: usize>(&self, row_idx: usize, first: usize) -> [V; N] {
        // SAFETY: the rows, indices and values exist by the promise of `new`; the channels by that
        // of the caller.
        unsafe {
            let start = *self.offsets.get_unchecked(row_idx) as usize;
            let end = *self.offsets.get_unchecked(row_idx + 1) as usize;
            let row = |position: usize| {
                let index = self.indices.get_unchecked(position).get();
                self.operand.as_ptr().add(index * self.stride + first)
            };
            let mut sum = [V::splat(0.0); N];
            let tail = end - (end - start) % 4;
            for at in (start..tail).step_by(4) {
                let rows = [row(at), row(at + 1), row(at + 2), row(at + 3)];
                for (block, sum) in sum.iter_mut().enumerate() {
                    let term = |i: usize| -> V {
                        self.weights.weigh(at + i, rows[i].add(block * V::WIDTH))
                    };
                    *sum = sum.add(term(0).add(term(1)).add(term(2).add(term(3))));
                }
            }
            for at in tail..end {
                let row = row(at);
                for (block, sum) in sum.iter_mut().enumerate() {
                    *sum = sum.add(self.weights.weigh(at, row.add(block * V::WIDTH)));
                }
            }
            sum
        }
    }
}

/// `w ⊙ y` added to a step: the term's signals, and a coefficient for each channel.
#[derive(Clone, Copy)]
pub(crate) struct Addend<'a> {
    pub(crate) coefficients: &'a [f32],
    pub(crate) signals: &'a [f32],
}

/// `out_i = α ⊙ s_i Σ_j x_j + Σ w ⊙ y_i`: a recurrence's step in one pass (section 6.1 of the notes).
pub(crate) struct StepRows<'a, I> {
    pub(crate) gather: Gather<'a, I, Ones>,
    /// The row that each of the gather's rows is: a permutation within `rows`.
    pub(crate) order: &'a [u32],
    /// `s`, for all rows.
    pub(crate) row_scale: &'a [f32],
    /// `α`, for all channels.
    pub(crate) product: &'a [f32],
    pub(crate) addends: &'a [Addend<'a>],
    pub(crate) rows: Range<usize>,
    /// The part of the output that holds `rows`.
    pub(crate) out: &'a mut [f32],
}

impl<I: RowIndex> RowLoop for StepRows<'_, I> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(&mut self, first: usize) {
        let stride = self.gather.stride;
        let start = self.rows.start;
        for position in self.rows.clone() {
            // SAFETY: the operator orders all of its rows, those of a task among themselves, and has
            // checked that all signals have its rows and one stride, and that coefficients have a
            // stride's values; the channels are the caller's promise.
            unsafe {
                let mut value = self.gather.sum::<V, N>(position, first);
                let row_idx = *self.order.get_unchecked(position) as usize;
                let scale = V::splat(*self.row_scale.get_unchecked(row_idx));
                for (block, value) in value.iter_mut().enumerate() {
                    let channel = first + block * V::WIDTH;
                    *value = V::load(self.product.as_ptr().add(channel)).mul(scale.mul(*value));
                }
                for addend in self.addends {
                    let row = addend.signals.as_ptr().add(row_idx * stride);
                    for (block, value) in value.iter_mut().enumerate() {
                        let channel = first + block * V::WIDTH;
                        let coefficients = V::load(addend.coefficients.as_ptr().add(channel));
                        *value = value.add(coefficients.mul(V::load(row.add(channel))));
                    }
                }
                let out = self.out.as_mut_ptr().add((row_idx - start) * stride + first);
                for (block, value) in value.into_iter().enumerate() {
                    value.store(out.add(block * V::WIDTH));
                }
            }
        }
    }
}

/// `out_i = Σ_j x_ij W_j`: rows of a sparse matrix times a dense one.
pub(crate) struct ProductRows<'a, I> {
    pub(crate) gather: Gather<'a, I, &'a [f32]>,
    pub(crate) rows: Range<usize>,
    /// The part of the output that holds `rows`, `n_columns` values each.
    pub(crate) out: &'a mut [f32],
    pub(crate) n_columns: usize,
}

impl<I: RowIndex> RowLoop for ProductRows<'_, I> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(&mut self, first: usize) {
        let width = (N * V::WIDTH).min(self.n_columns.saturating_sub(first));
        if width == 0 {
            return;
        }
        let outputs = self.out.chunks_exact_mut(self.n_columns);
        for (row_idx, out) in self.rows.clone().zip(outputs) {
            let mut padded = [0.0; PANEL];
            // SAFETY: the rows are the gather's, a panel has room for the registers, and the
            // channels are the caller's promise.
            unsafe {
                let sum = self.gather.sum::<V, N>(row_idx, first);
                for (block, sum) in sum.into_iter().enumerate() {
                    sum.store(padded.as_mut_ptr().add(block * V::WIDTH));
                }
            }
            out[first..first + width].copy_from_slice(&padded[..width]);
        }
    }
}
