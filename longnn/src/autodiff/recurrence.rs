//! Filters in a basis that each channel has to itself, `Y_c = Σ_k α_kc h_k,c` (Guo and Wei 2023; section 2
//! of the notes). By Favard's theorem every three-term recurrence with positive `β` is that of some
//! orthonormal basis:
//!
//! ```text
//! √β_k h_k = Â h_{k-1} − η_{k-1} h_{k-1} − √β_{k-1} h_{k-2}
//! ```
//!
//! [`FavardFilter`] is given `β` and `η`. [`LanczosFilter`] takes those whose basis is orthonormal with
//! respect to the channel's own spectrum, which is Lanczos' algorithm. Both take `K` products forward
//! and `K` backward; every other operation is a sum of signals with a coefficient a channel.

use super::function::{Function, Matrix, MatrixRef, Tape};
use crate::Result;
use crate::propagate::{Coefficients, Operator, Pool, Pooled, Signals, Step, Term};
use std::sync::Arc;

/// `√β` is kept above.
const LEAST_ROOT_BETA: f32 = 1e-2;
/// Added to a squared norm, so that a channel of zeros stays one.
const LEAST_SQUARE: f64 = 1e-12;
/// What `expect` says of the operator's calls: the network gives every matrix its shape.
const SHAPES_FIT: &str = "the network's matrices fit the graph";

/// A graph, and buffers for signals on it.
#[derive(Debug, Clone)]
struct Space {
    operator: Arc<Operator>,
    pool: Arc<Pool>,
}

impl Space {
    fn take(&self, n_columns: usize) -> Pooled {
        self.pool.take(self.operator.n_nodes(), n_columns)
    }

    fn enter(&self, rows: MatrixRef<'_>) -> Result<Pooled> {
        let mut signals = self.take(rows.columns);
        self.operator.enter(rows.values, &mut signals)?;
        Ok(signals)
    }

    fn step(&self, step: &Step<'_>, n_columns: usize) -> Result<Pooled> {
        let mut next = self.take(n_columns);
        self.operator.step(step, &mut next)?;
        Ok(next)
    }

    fn combine(&self, terms: &[Term<'_>]) -> Result<Pooled> {
        let mut sum = self.take(terms[0].1.n_columns());
        self.operator.combine(terms, &mut sum)?;
        Ok(sum)
    }

    /// `⟨u, y⟩` of each channel, for every `u`.
    fn dots<const N: usize>(&self, of: [&Signals; N], with: &Signals) -> Result<[Vec<f64>; N]> {
        let n_columns = with.n_columns();
        let dots = self.operator.dot_products(&of, with)?;
        Ok(std::array::from_fn(|at| dots[at * n_columns..][..n_columns].to_vec()))
    }

    /// The filter's output and the gradient of its weights have the same form for both.
    fn filter(&self, basis: &[Pooled], weights: MatrixRef<'_>) -> Result<Matrix> {
        let mut output = Matrix::zeros(self.operator.n_nodes(), weights.columns);
        let rows = weights.values.chunks_exact(weights.columns);
        let terms: Vec<Term<'_>> =
            rows.zip(basis).map(|(weights, order)| (weights.into(), &**order)).collect();
        self.operator.leave_sum(&terms, &mut output.values)?;
        Ok(output)
    }

    fn weight_gradient(&self, basis: &[Pooled], gradient: &Signals) -> Result<Vec<f32>> {
        let orders: Vec<&Signals> = basis.iter().map(|order| &**order).collect();
        let dots = self.operator.dot_products(&orders, gradient)?;
        Ok(dots.into_iter().map(|dot| dot as f32).collect())
    }
}

/// A row of coefficients from those of other rows, channel by channel.
fn row<const N: usize>(of: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> Vec<f32> {
    (0..of[0].len()).map(|channel| f(of.map(|row| row[channel]))).collect()
}

fn narrow(row: &[f64]) -> Vec<f32> {
    row.iter().map(|&value| value as f32).collect()
}

fn per_column(row: &[f32]) -> Coefficients<'_> {
    row.into()
}

/// FavardGNN's filter: `N x H` signals, and `3 (K+1) x H` parameters, `α`, `√β` and `η` one below the
/// other, give `N x H`.
#[derive(Debug)]
pub struct FavardFilter {
    space: Space,
    tape: Tape<(Vec<Pooled>, FavardParameters)>,
}

/// `α`, `√β` and `η`, each of `K + 1` rows.
#[derive(Debug)]
struct FavardParameters {
    values: Vec<f32>,
    n_orders: usize,
    n_columns: usize,
}

impl FavardParameters {
    fn new(parameters: MatrixRef<'_>) -> Self {
        let (n_orders, n_columns) = (parameters.rows / 3, parameters.columns);
        Self { values: parameters.values.to_vec(), n_orders, n_columns }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.n_columns..][..self.n_columns]
    }

    fn alpha(&self, order: usize) -> &[f32] {
        self.row(order)
    }

    fn root_beta(&self, order: usize) -> Vec<f32> {
        row([self.row(self.n_orders + order)], |[root]| root.max(LEAST_ROOT_BETA))
    }

    fn eta(&self, order: usize) -> &[f32] {
        self.row(2 * self.n_orders + order)
    }

    /// `1/√β_k`, `−η_{k-1}/√β_k` and `−√β_{k-1}/√β_k`: of the product, of `h_{k-1}` and of `h_{k-2}` in `h_k`.
    fn step(&self, order: usize) -> [Vec<f32>; 3] {
        let (root, before) = (self.root_beta(order), self.root_beta(order - 1));
        [
            row([&root], |[root]| root.recip()),
            row([&root, self.eta(order - 1)], |[root, eta]| -eta / root),
            row([&root, &before], |[root, before]| -before / root),
        ]
    }
}

impl FavardFilter {
    /// A filter on the operator's graph; buffers come from the pool.
    #[must_use]
    pub fn new(operator: Arc<Operator>, pool: Arc<Pool>) -> Self {
        Self { space: Space { operator, pool }, tape: Tape::default() }
    }

    fn basis(&self, signals: MatrixRef<'_>, parameters: &FavardParameters) -> Result<Vec<Pooled>> {
        let space = &self.space;
        let entered = space.enter(signals)?;
        let scale = row([&parameters.root_beta(0)], |[root]| root.recip());
        let mut basis = vec![space.combine(&[(per_column(&scale), &entered)])?];
        for order in 1..parameters.n_orders {
            let [product, last, before] = parameters.step(order);
            let mut step = Step::product(per_column(&product), &basis[order - 1])
                .plus(per_column(&last), &basis[order - 1]);
            if order > 1 {
                step = step.plus(per_column(&before), &basis[order - 2]);
            }
            basis.push(space.step(&step, signals.columns)?);
        }
        Ok(basis)
    }

    /// The recurrence backwards: `g_k = α_k ⊙ dY + (Â − η_k) g_{k+1} / √β_{k+1} − √β_{k+1} g_{k+2} / √β_{k+2}`.
    fn gradients(
        &self,
        basis: &[Pooled],
        parameters: &FavardParameters,
        gradient: MatrixRef<'_>,
    ) -> Result<[Matrix; 2]> {
        let (space, n_columns) = (&self.space, gradient.columns);
        let n_orders = parameters.n_orders;
        let output = space.enter(gradient)?;
        let mut by_parameters = Matrix::zeros(3 * n_orders, n_columns);
        let by_alpha = space.weight_gradient(basis, &output)?;
        by_parameters.values[..by_alpha.len()].copy_from_slice(&by_alpha);
        let mut add = |row: usize, channel: usize, value: f64| {
            by_parameters.values[row * n_columns + channel] += value as f32;
        };
        let (mut above, mut top): (Option<Pooled>, Option<Pooled>) = (None, None);
        for order in (0..n_orders).rev() {
            let alpha = per_column(parameters.alpha(order));
            let own = match &above {
                None => space.combine(&[(alpha, &output)])?,
                Some(above) => {
                    let [product, last, _] = parameters.step(order + 1);
                    let mut step = Step::product(per_column(&product), above)
                        .plus(per_column(&last), above)
                        .plus(alpha, &output);
                    let before = top.as_ref().map(|top| (parameters.step(order + 2), top));
                    if let Some(([_, _, before], top)) = &before {
                        step = step.plus(per_column(before), top);
                    }
                    space.step(&step, n_columns)?
                }
            };
            let root = parameters.root_beta(order);
            // Of √β_k, η_{k-1} and √β_{k-1} in the recurrence of h_k.
            let behind = |steps: usize| &*basis[order.saturating_sub(steps)];
            let [of_own, of_last, of_before] =
                space.dots([behind(0), behind(1), behind(2)], &own)?;
            for channel in 0..n_columns {
                let scaled = |dots: &[f64]| -dots[channel] / f64::from(root[channel]);
                add(n_orders + order, channel, scaled(&of_own));
                if order >= 1 {
                    add(2 * n_orders + order - 1, channel, scaled(&of_last));
                }
                if order >= 2 {
                    add(n_orders + order - 1, channel, scaled(&of_before));
                }
            }
            (top, above) = (above, Some(own));
        }
        // A root that is held above the least has no gradient.
        let roots = n_orders * n_columns..2 * n_orders * n_columns;
        let held = by_parameters.values[roots.clone()].iter_mut().zip(&parameters.values[roots]);
        held.filter(|(_, root)| **root < LEAST_ROOT_BETA).for_each(|(gradient, _)| *gradient = 0.0);
        let scale = row([&parameters.root_beta(0)], |[root]| root.recip());
        let mut by_signals = Matrix::zeros(gradient.rows, n_columns);
        if let Some(first) = &above {
            space.operator.leave_sum(&[(per_column(&scale), &**first)], &mut by_signals.values)?;
        }
        Ok([by_signals, by_parameters])
    }
}

impl Function<2> for FavardFilter {
    fn forward(&self, [signals, parameters]: [MatrixRef<'_>; 2], training: bool) -> Matrix {
        let parameters = FavardParameters::new(parameters);
        let run = || {
            let basis = self.basis(signals, &parameters)?;
            let (rows, columns) = (parameters.n_orders, parameters.n_columns);
            let alpha = MatrixRef { rows, columns, values: &parameters.values[..rows * columns] };
            Ok((self.space.filter(&basis, alpha)?, basis))
        };
        let result: Result<_> = self.space.operator.in_pool(signals.columns, run);
        let (output, basis) = result.expect(SHAPES_FIT);
        if training {
            self.tape.keep((basis, parameters));
        }
        output
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 2] {
        let (basis, parameters) = self.tape.take();
        let run = || self.gradients(&basis, &parameters, gradient);
        self.space.operator.in_pool(gradient.columns, run).expect(SHAPES_FIT)
    }
}

/// OptBasisGNN's filter: `N x H` signals and `(K+1) x H` weights `α` give `N x H`.
#[derive(Debug)]
pub struct LanczosFilter {
    space: Space,
    tape: Tape<(LanczosBasis, Vec<f32>)>,
}

/// `h_0 … h_K`, of length one and orthogonal each to the two before it, and how they were found.
#[derive(Debug)]
struct LanczosBasis {
    orders: Vec<Pooled>,
    /// What each was divided by; a row an order.
    lengths: Vec<Vec<f32>>,
    /// The products' parts along the one and along the two before; a row an order from the first on.
    along: Vec<[Vec<f32>; 2]>,
}

impl LanczosFilter {
    /// A filter on the operator's graph; buffers come from the pool.
    #[must_use]
    pub fn new(operator: Arc<Operator>, pool: Arc<Pool>) -> Self {
        Self { space: Space { operator, pool }, tape: Tape::default() }
    }

    fn basis(&self, signals: MatrixRef<'_>, n_orders: usize) -> Result<LanczosBasis> {
        let space = &self.space;
        let entered = space.enter(signals)?;
        let (first, length) = self.normalized(&entered)?;
        let mut basis =
            LanczosBasis { orders: vec![first], lengths: vec![length], along: Vec::new() };
        for order in 1..n_orders {
            let last = &basis.orders[order - 1];
            let product = space.step(&Step::product(1.0, last), signals.columns)?;
            let before = &basis.orders[order.saturating_sub(2)];
            let mut along = space.dots([last, before], &product)?.map(|dots| narrow(&dots));
            if order == 1 {
                along[1].fill(0.0);
            }
            let [of_last, of_before] = [0, 1].map(|at: usize| row([&along[at]], |[dot]| -dot));
            let terms = [
                (Coefficients::Same(1.0), &*product),
                (per_column(&of_last), last),
                (per_column(&of_before), before),
            ];
            let rest = space.combine(&terms)?;
            let (next, length) = self.normalized(&rest)?;
            basis.orders.push(next);
            basis.lengths.push(length);
            basis.along.push(along);
        }
        Ok(basis)
    }

    /// Each channel of length one, and what it was divided by.
    fn normalized(&self, signals: &Signals) -> Result<(Pooled, Vec<f32>)> {
        let [squares] = self.space.dots([signals], signals)?;
        let length: Vec<f32> =
            squares.iter().map(|square| (square + LEAST_SQUARE).sqrt() as f32).collect();
        let scale = row([&length], |[length]| length.recip());
        Ok((self.space.combine(&[(per_column(&scale), signals)])?, length))
    }

    /// The gradient of what was divided by its length, from that of the quotient `h`.
    fn before_division(&self, h: &Signals, length: &[f32], gradient: &Signals) -> Result<Pooled> {
        let [along] = self.space.dots([h], gradient)?;
        let scale = row([length], |[length]| length.recip());
        let back = row([length, &narrow(&along)], |[length, along]| -along / length);
        self.space.combine(&[(per_column(&scale), gradient), (per_column(&back), h)])
    }

    fn gradients(
        &self,
        basis: &LanczosBasis,
        weights: &[f32],
        gradient: MatrixRef<'_>,
    ) -> Result<[Matrix; 2]> {
        let (space, n_columns) = (&self.space, gradient.columns);
        let LanczosBasis { orders, lengths, along } = basis;
        let weight = |order: usize| per_column(&weights[order * n_columns..][..n_columns]);
        let output = space.enter(gradient)?;
        let by_weights = Matrix {
            rows: orders.len(),
            columns: n_columns,
            values: space.weight_gradient(orders, &output)?,
        };
        let mut own = space.combine(&[(weight(orders.len() - 1), &output)])?;
        // What the order above the one at hand has of the one below it.
        let mut pending: Option<Pooled> = None;
        for order in (1..orders.len()).rev() {
            let (h, last) = (&*orders[order], &*orders[order - 1]);
            let before = &*orders[order.saturating_sub(2)];
            let [a, b] = &along[order - 1];
            // h = v / length, v = p − a h_{k-1} − b h_{k-2}, and p = Â h_{k-1} is v + a h_{k-1} + b h_{k-2}.
            let length = &lengths[order];
            let by_v = self.before_division(h, length, &own)?;
            let mut along_v = space.dots([last, before], &by_v)?.map(|dots| narrow(&dots));
            if order == 1 {
                along_v[1].fill(0.0);
            }
            let [by_a, by_b] = [0, 1].map(|at: usize| row([&along_v[at]], |[dot]| -dot));
            let by_product = space.combine(&[
                (1.0.into(), &by_v),
                (per_column(&by_a), last),
                (per_column(&by_b), before),
            ])?;
            // a = ⟨p, h_{k-1}⟩ gives h_{k-1} the part `by_a p`, b likewise h_{k-2}.
            let times_product = |by: &[f32]| {
                [
                    row([by, length], |[by, length]| by * length),
                    row([by, a], |[by, a]| by * a),
                    row([by, b], |[by, b]| by * b),
                ]
            };
            let [minus_a, minus_b] = [a, b].map(|along| row([along], |[along]| -along));
            let [of_h, of_last, of_before] = times_product(&by_a);
            let mut step = Step::product(1.0, &by_product)
                .plus(weight(order - 1), &output)
                .plus(per_column(&minus_a), &by_v)
                .plus(per_column(&of_h), h)
                .plus(per_column(&of_last), last)
                .plus(per_column(&of_before), before);
            if let Some(pending) = &pending {
                step = step.plus(1.0, pending);
            }
            let below = space.step(&step, n_columns)?;
            let [of_h, of_last, of_before] = times_product(&by_b);
            pending = Some(space.combine(&[
                (per_column(&minus_b), &by_v),
                (per_column(&of_h), h),
                (per_column(&of_last), last),
                (per_column(&of_before), before),
            ])?);
            own = below;
        }
        let by_entered = self.before_division(&orders[0], &lengths[0], &own)?;
        let mut by_signals = Matrix::zeros(gradient.rows, n_columns);
        space.operator.leave(&by_entered, &mut by_signals.values)?;
        Ok([by_signals, by_weights])
    }
}

impl Function<2> for LanczosFilter {
    fn forward(&self, [signals, weights]: [MatrixRef<'_>; 2], training: bool) -> Matrix {
        let run = || {
            let basis = self.basis(signals, weights.rows)?;
            Ok((self.space.filter(&basis.orders, weights)?, basis))
        };
        let result: Result<_> = self.space.operator.in_pool(signals.columns, run);
        let (output, basis) = result.expect(SHAPES_FIT);
        if training {
            self.tape.keep((basis, weights.values.to_vec()));
        }
        output
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 2] {
        let (basis, weights) = self.tape.take();
        let run = || self.gradients(&basis, &weights, gradient);
        self.space.operator.in_pool(gradient.columns, run).expect(SHAPES_FIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::function::{assert_gradients, test_matrix};
    use crate::graph::{Adjacency, SelfLoops};

    const NODES: usize = 20;
    const CHANNELS: usize = 3;
    const ORDERS: usize = 5;

    fn graph() -> (Arc<Operator>, Vec<Vec<f64>>) {
        let edges: Vec<(u32, u32)> =
            (0..19).flat_map(|i| [(i, (i + 1) % 19), (i, (7 * i + 3) % 19)]).collect();
        let graph = Adjacency::from_edges(NODES, &edges).unwrap();
        let operator = Operator::new(&graph, SelfLoops::AsGiven).unwrap();
        let mut dense = vec![vec![0.0; NODES]; NODES];
        let pool = Pool::new();
        for node in 0..NODES {
            let mut unit = vec![0.0; NODES];
            unit[node] = 1.0;
            let mut product = vec![0.0; NODES];
            operator.apply(&unit, &pool, &mut product).unwrap();
            dense[node] = product.into_iter().map(f64::from).collect();
        }
        (Arc::new(operator), dense)
    }

    /// Mixing, positive roots, and shifts.
    fn favard_parameters() -> Matrix {
        let mut parameters = test_matrix(3 * ORDERS, CHANNELS, 4);
        for root in &mut parameters.values[ORDERS * CHANNELS..2 * ORDERS * CHANNELS] {
            *root = 1.0 + 0.5 * *root;
        }
        parameters
    }

    fn channel(matrix: &Matrix, channel: usize) -> Vec<f64> {
        matrix.values.iter().skip(channel).step_by(CHANNELS).map(|&x| f64::from(x)).collect()
    }

    fn times(dense: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
        dense.iter().map(|row| dot(row, x)).collect()
    }

    fn dot(x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).map(|(x, y)| x * y).sum()
    }

    fn add(sum: &mut [f64], factor: f64, x: &[f64]) {
        sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
    }

    fn assert_is(output: &Matrix, expected: impl Fn(usize) -> Vec<f64>) {
        for of in 0..CHANNELS {
            let pairs = channel(output, of).into_iter().zip(expected(of));
            for (node, (found, expected)) in pairs.enumerate() {
                assert!((found - expected).abs() < 1e-4, "{node}, {of}: {found} {expected}");
            }
        }
    }

    #[test]
    fn favard_is_the_recurrence_by_its_formula() {
        let (operator, dense) = graph();
        let (signals, parameters) = (test_matrix(NODES, CHANNELS, 1), favard_parameters());
        let filter = FavardFilter::new(operator, Pool::new());
        let output = filter.forward([signals.view(), parameters.view()], false);
        assert_is(&output, |of| {
            let parameter = channel(&parameters, of);
            let (alpha, root, eta) =
                (&parameter[..ORDERS], &parameter[ORDERS..2 * ORDERS], &parameter[2 * ORDERS..]);
            let mut before = vec![0.0; NODES];
            let mut last: Vec<f64> = channel(&signals, of).iter().map(|x| x / root[0]).collect();
            let mut sum = vec![0.0; NODES];
            add(&mut sum, alpha[0], &last);
            for k in 1..ORDERS {
                let mut next = times(&dense, &last);
                add(&mut next, -eta[k - 1], &last);
                add(&mut next, -root[k - 1], &before);
                next.iter_mut().for_each(|x| *x /= root[k]);
                add(&mut sum, alpha[k], &next);
                (before, last) = (last, next);
            }
            sum
        });
    }

    #[test]
    fn lanczos_orthogonalises_and_normalises() {
        let (operator, dense) = graph();
        let (signals, weights) =
            (test_matrix(NODES, CHANNELS, 1), test_matrix(ORDERS, CHANNELS, 2));
        let filter = LanczosFilter::new(operator, Pool::new());
        let output = filter.forward([signals.view(), weights.view()], false);
        assert_is(&output, |of| {
            let alpha = channel(&weights, of);
            let unit = |x: Vec<f64>| {
                let length = dot(&x, &x).sqrt();
                x.into_iter().map(|x| x / length).collect::<Vec<f64>>()
            };
            let mut basis = vec![unit(channel(&signals, of))];
            let mut sum = vec![0.0; NODES];
            add(&mut sum, alpha[0], &basis[0]);
            for k in 1..ORDERS {
                let mut next = times(&dense, &basis[k - 1]);
                // All that came before: in exact arithmetic the two last ones suffice.
                for earlier in &basis {
                    let along = dot(&next, earlier);
                    add(&mut next, -along, earlier);
                }
                let next = unit(next);
                add(&mut sum, alpha[k], &next);
                basis.push(next);
            }
            sum
        });
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let (operator, _) = graph();
        let signals = || test_matrix(NODES, CHANNELS, 1);
        let favard = || FavardFilter::new(Arc::clone(&operator), Pool::new());
        assert_gradients(favard, [signals(), favard_parameters()]);
        let lanczos = || LanczosFilter::new(Arc::clone(&operator), Pool::new());
        for n_orders in [1, 2, ORDERS] {
            assert_gradients(lanczos, [signals(), test_matrix(n_orders, CHANNELS, 2)]);
        }
    }

    #[test]
    fn a_channel_of_zeros_stays_one() {
        let (operator, _) = graph();
        let filter = LanczosFilter::new(operator, Pool::new());
        let weights = test_matrix(ORDERS, CHANNELS, 2);
        let output = filter.forward([Matrix::zeros(NODES, CHANNELS).view(), weights.view()], true);
        assert!(output.values.iter().all(|&value| value == 0.0));
        let [by_signals, _] = filter.backward(test_matrix(NODES, CHANNELS, 3).view());
        assert!(by_signals.values.iter().all(|value| value.is_finite()));
    }
}
