//! The engine of all polynomial filters: `Y = Σ_k w_k ⊙ T_k(Â) Z`, with learnable weights a column.
//!
//! Every basis is a change of basis away from Chebyshev's (section 6.3 of the notes), so this one
//! recurrence serves them all. A training step takes `2K` products: `K` for the basis, whose dot
//! products with the output's gradient are the weights' gradient, and `K` for the signals' gradient,
//! which is the same filter applied to the output's: `Â` is symmetric.

use super::signals::{check_len, columns_of};
use super::{Operator, Pool, Pooled, Signals, Step};
use crate::Result;
use std::sync::Arc;

/// Chebyshev filters of one graph and order. Calls with the same number of columns reuse their
/// buffers.
#[derive(Debug, Clone)]
pub struct Chebyshev {
    operator: Arc<Operator>,
    order: usize,
    pool: Arc<Pool>,
}

/// `T_0(Â) Z … T_K(Â) Z` in the operator's scaled space; its buffers go back when it is dropped.
#[derive(Debug)]
pub struct Basis {
    orders: Vec<Pooled>,
}

impl Chebyshev {
    /// Filters of order `K` on the operator's graph.
    #[must_use]
    pub fn new(operator: Arc<Operator>, order: usize) -> Self {
        Self { operator, order, pool: Pool::new() }
    }

    /// The operator.
    #[must_use]
    pub fn operator(&self) -> &Arc<Operator> {
        &self.operator
    }

    /// The order `K`, and the number of products of one pass.
    #[must_use]
    pub fn order(&self) -> usize {
        self.order
    }

    /// The basis of `N x C` signals, for [`Self::combine`] and [`Self::gradients`]. `K` products.
    ///
    /// # Errors
    /// If the signals aren't `N` rows.
    pub fn basis(&self, signals: &[f32]) -> Result<Basis> {
        let n_columns = columns_of("basis", signals.len(), self.operator.n_nodes())?;
        self.operator.in_pool(n_columns, || {
            let mut first = self.take(n_columns);
            self.operator.enter(signals, &mut first)?;
            let mut orders = vec![first];
            for order in 1..=self.order {
                let mut next = self.take(n_columns);
                let last = &orders[order - 1];
                let step = match order.checked_sub(2) {
                    None => Step::product(1.0, last),
                    Some(before) => Step::product(2.0, last).plus(-1.0, &orders[before]),
                };
                self.operator.step(&step, &mut next)?;
                orders.push(next);
            }
            Ok(Basis { orders })
        })
    }

    /// `Y = Σ_k w_k ⊙ U_k`, `N x C`, from the basis and `(K+1) x C` weights. No product.
    ///
    /// # Errors
    /// If basis, weights and output differ in shape.
    pub fn combine(&self, basis: &Basis, weights: &[f32], out: &mut [f32]) -> Result<()> {
        let n_columns = self.check_basis(basis)?;
        check_len("combine: weights", weights.len(), self.order + 1, n_columns)?;
        check_len("combine: output", out.len(), self.operator.n_nodes(), n_columns)?;
        let terms: Vec<_> = weights
            .chunks_exact(n_columns.max(1))
            .zip(&basis.orders)
            .map(|(weights, order)| (weights.into(), &**order))
            .collect();
        self.operator.in_pool(n_columns, || self.operator.leave_sum(&terms, out))
    }

    /// The gradients of [`Self::combine`] from that of its output, `N x C`: writes that of the signals,
    /// `N x C`, and returns that of the weights, `(K+1) x C`, added up in double precision. `K`
    /// products.
    ///
    /// # Errors
    /// If basis, weights and gradients differ in shape.
    pub fn gradients(
        &self,
        basis: &Basis,
        weights: &[f32],
        output_gradient: &[f32],
        signal_gradient: &mut [f32],
    ) -> Result<Vec<f64>> {
        let n_columns = self.check_basis(basis)?;
        check_len("gradients: weights", weights.len(), self.order + 1, n_columns)?;
        check_len("gradients", output_gradient.len(), self.operator.n_nodes(), n_columns)?;
        self.operator.in_pool(n_columns, || {
            let mut entered = self.take(n_columns);
            self.operator.enter(output_gradient, &mut entered)?;
            self.clenshaw(&entered, weights, signal_gradient)?;
            let orders: Vec<&Signals> = basis.orders.iter().map(|order| &**order).collect();
            self.operator.dot_products(&orders, &entered)
        })
    }

    /// `Y = Σ_k w_k ⊙ T_k(Â) Z` by Clenshaw's rule, without keeping the basis: `N x C` signals and
    /// output, `(K+1) x C` weights. `K` products.
    ///
    /// # Errors
    /// If signals, weights and output differ in shape.
    pub fn filter(&self, signals: &[f32], weights: &[f32], out: &mut [f32]) -> Result<()> {
        let n_columns = columns_of("filter", signals.len(), self.operator.n_nodes())?;
        check_len("filter: weights", weights.len(), self.order + 1, n_columns)?;
        self.operator.in_pool(n_columns, || {
            let mut entered = self.take(n_columns);
            self.operator.enter(signals, &mut entered)?;
            self.clenshaw(&entered, weights, out)
        })
    }

    /// `b_k = w_k ⊙ z + 2 Â b_{k+1} - b_{k+2}` down to `b_1`, then `w_0 ⊙ z + Â b_1 - b_2`, which
    /// leaves the scaled space.
    ///
    /// The uppermost `b_K = w_K ⊙ z` is never written: where it is multiplied or subtracted, its
    /// weights are folded into the coefficients of `z`.
    fn clenshaw(&self, source: &Signals, weights: &[f32], out: &mut [f32]) -> Result<()> {
        let n_columns = source.n_columns();
        let (mut last, mut before) = (self.take(n_columns), self.take(n_columns));
        let weights: Vec<&[f32]> =
            (0..=self.order).map(|order| &weights[order * n_columns..][..n_columns]).collect();
        if self.order == 0 {
            let step = Step::product(0.0, source).plus(weights[0], source);
            self.operator.step(&step, &mut last)?;
        }
        for order in (0..self.order).rev() {
            let factor = if order == 0 { 1.0 } else { 2.0 };
            let mut next = self.take(n_columns);
            let top = weights[self.order];
            let (product, own): (Vec<f32>, Vec<f32>);
            let step = match self.order - order {
                1 => {
                    product = top.iter().map(|top| factor * top).collect();
                    Step::product(&product[..], source).plus(weights[order], source)
                }
                2 => {
                    own = weights[order].iter().zip(top).map(|(own, top)| own - top).collect();
                    Step::product(factor, &last).plus(&own[..], source)
                }
                _ => Step::product(factor, &last).plus(weights[order], source).plus(-1.0, &before),
            };
            self.operator.step(&step, &mut next)?;
            before = std::mem::replace(&mut last, next);
        }
        self.operator.leave(&last, out)
    }

    /// The basis' columns, if it is one of this graph and order.
    fn check_basis(&self, basis: &Basis) -> Result<usize> {
        let n_columns = basis.orders.first().map_or(0, |order| order.n_columns());
        check_len("basis: orders", basis.orders.len(), self.order + 1, 1)?;
        basis.orders[0].check_shape("basis", self.operator.n_nodes(), n_columns)?;
        Ok(n_columns)
    }

    fn take(&self, n_columns: usize) -> Pooled {
        self.pool.take(self.operator.n_nodes(), n_columns)
    }
}
