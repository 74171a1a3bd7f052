//! Sums over the orders of a basis: the filter's output, and the dot products of its gradient.

use super::{PANEL, RowLoop, Vector};
use std::ops::Range;

/// Rows whose products are added up in single precision before they join the sum in double: few
/// enough that their rounding stays far below the gradient's, and that they stay in the first cache.
const DOT_ROWS: usize = 64;

/// `y_i = r_i Σ_k w_k ⊙ v_ki`: the weighted sum over the orders, scaled row by row.
pub(crate) struct SumRows<'a> {
    /// `v_k`, each of all rows of `stride` values.
    pub(crate) orders: &'a [&'a [f32]],
    /// `w`, a stride an order.
    pub(crate) weights: &'a [f32],
    pub(crate) stride: usize,
    /// `r`, for all rows; `None` is 1.
    pub(crate) row_scale: Option<&'a [f32]>,
    pub(crate) rows: Range<usize>,
    /// The part of the output that holds `rows`, `n_columns` values each.
    pub(crate) out: &'a mut [f32],
    pub(crate) n_columns: usize,
}

impl RowLoop for SumRows<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(&mut self, first: usize) {
        let width = (N * V::WIDTH).min(self.n_columns.saturating_sub(first));
        if width == 0 {
            return;
        }
        let outputs = self.out.chunks_exact_mut(self.n_columns);
        for (row_idx, out) in self.rows.clone().zip(outputs) {
            let mut padded = [0.0; PANEL];
            // SAFETY: the operator has checked that every order has all rows and this stride, and pads
            // the weights to it; a panel has room for the registers; the channels are the
            // caller's promise.
            unsafe {
                let mut sum = [V::splat(0.0); N];
                for (order_idx, order) in self.orders.iter().enumerate() {
                    let weights = self.weights.as_ptr().add(order_idx * self.stride + first);
                    let row = order.as_ptr().add(row_idx * self.stride + first);
                    for (block, sum) in sum.iter_mut().enumerate() {
                        let at = block * V::WIDTH;
                        *sum = sum.add(V::load(weights.add(at)).mul(V::load(row.add(at))));
                    }
                }
                let scale = self.row_scale.map_or(1.0, |scale| *scale.get_unchecked(row_idx));
                for (block, sum) in sum.into_iter().enumerate() {
                    sum.mul(V::splat(scale)).store(padded.as_mut_ptr().add(block * V::WIDTH));
                }
            }
            out[first..first + width].copy_from_slice(&padded[..width]);
        }
    }
}

/// `g_k += Σ_i r_i y_i ⊙ v_ki` over some rows, in double precision.
pub(crate) struct DotRows<'a> {
    /// `v_k`, each of all rows of `stride` values.
    pub(crate) orders: &'a [&'a [f32]],
    /// `y`, of all rows of `stride` values.
    pub(crate) signals: &'a [f32],
    pub(crate) stride: usize,
    /// `r`, for all rows.
    pub(crate) row_weight: &'a [f32],
    pub(crate) rows: Range<usize>,
    /// `g`, a stride an order.
    pub(crate) sums: &'a mut [f64],
}

impl DotRows<'_> {
    /// `r_i y_i ⊙ v_i` of one row, from channel `first` on.
    ///
    /// # Safety
    /// As [`RowLoop::run`]; `row_idx` is a row of `order`.
    #[inline(always)]
    unsafe fn term<V: Vector>(&self, order: &[f32], row_idx: usize, first: usize) -> V {
        // SAFETY: `Chebyshev::weight_gradient` has checked that the signals have the orders' shape
        // and that there is a weight for every row; the channels are the caller's promise.
        unsafe {
            let at = row_idx * self.stride + first;
            let weight = V::splat(*self.row_weight.get_unchecked(row_idx));
            weight.mul(V::load(self.signals.as_ptr().add(at))).mul(V::load(order.as_ptr().add(at)))
        }
    }
}

impl RowLoop for DotRows<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector, const N: usize>(&mut self, first: usize) {
        for start in self.rows.clone().step_by(DOT_ROWS) {
            let end = (start + DOT_ROWS).min(self.rows.end);
            let tail = end - (end - start) % 4;
            for (order_idx, &order) in self.orders.iter().enumerate() {
                let mut partial = [0.0; PANEL];
                // SAFETY: the rows are the orders'; the channels are the caller's promise.
                unsafe {
                    for block in 0..N {
                        let channel = first + block * V::WIDTH;
                        let term = |row_idx| self.term::<V>(order, row_idx, channel);
                        let mut sum = V::splat(0.0);
                        for row_idx in (start..tail).step_by(4) {
                            let front = term(row_idx).add(term(row_idx + 1));
                            sum = sum.add(front.add(term(row_idx + 2).add(term(row_idx + 3))));
                        }
                        for row_idx in tail..end {
                            sum = sum.add(term(row_idx));
                        }
                        sum.store(partial.as_mut_ptr().add(block * V::WIDTH));
                    }
                }
                let sums = &mut self.sums[order_idx * self.stride + first..][..N * V::WIDTH];
                for (sum, partial) in sums.iter_mut().zip(partial) {
                    *sum += f64::from(partial);
                }
            }
        }
    }
}
