//! The graph operator `Â = D^-1/2 A D^-1/2` (section 1.1 of the notes), applied without its values.
//!
//! With `S = D^-1/2`, a recurrence in `u` is one in `v = S u`: `S Â S^-1 = D^-1 A`, so the product is a
//! plain sum over neighbours and one scaling a row, and only indices are streamed. Signals enter this
//! scaled space once, go through all steps, and leave it at the end. A gradient enters the same way:
//! `Â` is symmetric, its own transpose.

use super::kernel::Kernel;
use super::kernel::columns::{DotRows, SumRows};
use super::kernel::gather::{Addend, Gather, Ones, RowIndex, StepRows};
use super::parallel::{Bounds, for_each_task, in_pool, split_by_cost, split_evenly};
use super::rows::{Neighbours, Rows};
use super::signals::{check_len, columns_of, stride_of};
use super::{Coefficients, Pool, Signals, Step};
use crate::Result;
use crate::graph::{Adjacency, SelfLoops};
use std::sync::Arc;

/// What a row costs beside its entries, in entries: its addends, its scaling and its store.
const ROW_COST: u64 = 4;
/// Entries that a task has at least: some microseconds, so that handing it over pays.
const MIN_TASK_COST: u64 = 4096;
/// Cost of a pass, times the values of a row, below which one thread is faster than two: on Cora, seven
/// classes wide, a pass takes 10 µs, and a second thread made training steps half as slow again.
const MIN_PARALLEL_COST: u64 = 300_000;
/// Rows of a task where all rows cost the same.
const ROWS_PER_TASK: usize = 1024;

/// What a sum has of some signals.
pub type Term<'a> = (Coefficients<'a>, &'a Signals);

/// `Â` of a graph, or with self loops added `Ã = (D+I)^-1/2 (A+I) (D+I)^-1/2` as in GCN and APPNP. A node
/// without neighbours has an empty row, and 1 for its `d^-1/2`.
#[derive(Debug)]
pub struct Operator {
    /// The rows in the order in which they are computed: within a task by their number of
    /// neighbours, so that the loop over them ends when the branch predictor expects it (three times
    /// as fast where rows have seven on average). `offsets` and `neighbours` are in this order.
    order: Vec<u32>,
    offsets: Vec<u32>,
    neighbours: Neighbours,
    /// Degrees `d`, 1 for a node without neighbours, and their powers.
    degree: Vec<f32>,
    inverse_degree: Vec<f32>,
    root_degree: Vec<f32>,
    inverse_root_degree: Vec<f32>,
    /// Tasks of about equal cost for products, of equal rows for all else.
    by_cost: Bounds,
    by_rows: Bounds,
    kernel: Kernel,
}

impl Operator {
    /// The operator of a graph, run by the best kernel of this processor.
    ///
    /// # Errors
    /// If there are more entries than 32-bit offsets can count.
    pub fn new(graph: &Adjacency, self_loops: SelfLoops) -> Result<Self> {
        Self::with_kernel(graph, self_loops, Kernel::best())
    }

    /// The operator run by a kernel of one's choice; the bits are the same.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_kernel(graph: &Adjacency, loops: SelfLoops, kernel: Kernel) -> Result<Self> {
        let rows = Rows::of(graph, loops)?;
        let n_nodes = graph.n_nodes();
        let degree: Vec<f64> =
            (0..n_nodes).map(|row_idx| rows.len(row_idx).max(1) as f64).collect();
        let power = |of: fn(f64) -> f64| degree.iter().map(|&d| of(d) as f32).collect();
        let cost = |row_idx: usize| u64::from(rows.offsets[row_idx]) + ROW_COST * row_idx as u64;
        let by_cost = split_by_cost(n_nodes, MIN_TASK_COST, cost);
        let mut order: Vec<u32> = (0..n_nodes as u32).collect();
        for task in by_cost.windows(2) {
            order[task[0]..task[1]].sort_by_key(|&row_idx| rows.len(row_idx as usize));
        }
        let rows = rows.reordered(&order);
        Ok(Self {
            order,
            by_cost,
            by_rows: split_evenly(n_nodes, ROWS_PER_TASK),
            degree: power(|d| d),
            inverse_degree: power(f64::recip),
            root_degree: power(f64::sqrt),
            inverse_root_degree: power(|d| d.sqrt().recip()),
            neighbours: Neighbours::of(rows.neighbours, n_nodes),
            offsets: rows.offsets,
            kernel,
        })
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.degree.len()
    }

    /// Number of entries of `Â`.
    #[must_use]
    pub fn n_entries(&self) -> usize {
        self.offsets.last().map_or(0, |&end| end as usize)
    }

    /// Enters the scaled space: `out = S · rows`, from `N` rows without padding.
    ///
    /// # Errors
    /// If `rows` and `out` differ in shape or `N` in nodes.
    pub fn enter(&self, rows: &[f32], out: &mut Signals) -> Result<()> {
        let n_columns = out.n_columns();
        out.check_shape("enter", self.n_nodes(), n_columns)?;
        check_len("enter", rows.len(), self.n_nodes(), n_columns)?;
        let (stride, parallel) = (out.stride(), self.is_parallel(out));
        for_each_task(
            parallel,
            &self.by_rows,
            stride,
            out.padded_mut(),
            &|nodes, out: &mut [f32]| {
                for (node, out) in nodes.zip(out.chunks_exact_mut(stride)) {
                    let row = &rows[node * n_columns..][..n_columns];
                    scale(row, self.inverse_root_degree[node], &mut out[..n_columns]);
                }
            },
        );
        Ok(())
    }

    /// Leaves the scaled space: `rows = S^-1 · signals`, `N` rows without padding.
    ///
    /// # Errors
    /// If `signals` and `rows` differ in shape or `N` in nodes.
    pub fn leave(&self, signals: &Signals, rows: &mut [f32]) -> Result<()> {
        let n_columns = signals.n_columns();
        signals.check_shape("leave", self.n_nodes(), n_columns)?;
        check_len("leave", rows.len(), self.n_nodes(), n_columns)?;
        let parallel = self.is_parallel(signals);
        for_each_task(parallel, &self.by_rows, n_columns, rows, &|nodes, rows: &mut [f32]| {
            for (node, row) in nodes.zip(rows.chunks_exact_mut(n_columns.max(1))) {
                scale(signals.row(node), self.root_degree[node], row);
            }
        });
        Ok(())
    }

    /// One step of a recurrence in the scaled space, in one pass over the rows. The number of
    /// threads doesn't change a bit of it, nor do the columns that stand beside a column.
    ///
    /// # Errors
    /// If the signals differ in shape or `N` in nodes, or there are neither one nor `C` coefficients
    /// to a term.
    pub fn step(&self, step: &Step<'_>, out: &mut Signals) -> Result<()> {
        step.signals.check_shape("step", self.n_nodes(), out.n_columns())?;
        out.check_like("step", step.signals)?;
        for (_, signals) in &step.terms {
            out.check_like("step", signals)?;
        }
        let (stride, n_columns) = (out.stride(), out.n_columns());
        let product = step.product.padded(n_columns, stride)?;
        let coefficients = step.terms.iter().map(|(of, _)| of.padded(n_columns, stride));
        let coefficients: Vec<Vec<f32>> = coefficients.collect::<Result<_>>()?;
        let terms = coefficients.iter().zip(&step.terms);
        let addends: Vec<Addend<'_>> = terms
            .map(|(coefficients, (_, signals))| Addend { coefficients, signals: signals.padded() })
            .collect();
        match &self.neighbours {
            Neighbours::Narrow(nodes) => self.pass(nodes, step.signals, &product, &addends, out),
            Neighbours::Wide(nodes) => self.pass(nodes, step.signals, &product, &addends, out),
        }
        Ok(())
    }

    fn pass<I: RowIndex>(
        &self,
        neighbours: &[I],
        signals: &Signals,
        product: &[f32],
        addends: &[Addend<'_>],
        out: &mut Signals,
    ) {
        let (stride, parallel) = (out.stride(), self.is_parallel(out));
        // SAFETY: the constructor takes offsets and neighbours from an `Adjacency`, whose columns are
        // nodes; `step` has checked that the signals have a row for each.
        let gather =
            unsafe { Gather::new(&self.offsets, neighbours, Ones, signals.padded(), stride) };
        let (order, row_scale) = (&self.order[..], &self.inverse_degree[..]);
        for_each_task(
            parallel,
            &self.by_cost,
            stride,
            out.padded_mut(),
            &|rows, out: &mut [f32]| {
                let mut rows = StepRows { gather, order, row_scale, product, addends, rows, out };
                self.kernel.run(stride, &mut rows);
            },
        );
    }

    /// `out = Σ w ⊙ y` in the scaled space: a step without a product.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn combine(&self, terms: &[Term<'_>], out: &mut Signals) -> Result<()> {
        let (n_columns, stride) = (out.n_columns(), out.stride());
        out.check_shape("combine", self.n_nodes(), n_columns)?;
        self.sum(terms, n_columns, None, stride, out.padded_mut())
    }

    /// `rows = S^-1 Σ w ⊙ y`, `N` rows without padding: the sum leaves the scaled space.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn leave_sum(&self, terms: &[Term<'_>], rows: &mut [f32]) -> Result<()> {
        let n_columns = columns_of("leave", rows.len(), self.n_nodes())?;
        self.sum(terms, n_columns, Some(&self.root_degree), n_columns, rows)
    }

    /// Terms of `n_columns`, added up into rows of `row_len` values.
    fn sum(
        &self,
        terms: &[Term<'_>],
        n_columns: usize,
        row_scale: Option<&[f32]>,
        row_len: usize,
        out: &mut [f32],
    ) -> Result<()> {
        let stride = stride_of(n_columns);
        let mut weights = Vec::with_capacity(terms.len() * stride);
        for (coefficients, signals) in terms {
            signals.check_shape("combine", self.n_nodes(), n_columns)?;
            weights.extend(coefficients.padded(n_columns, stride)?);
        }
        let orders: Vec<&[f32]> = terms.iter().map(|(_, signals)| signals.padded()).collect();
        let parallel = self.is_worth_threads(stride);
        for_each_task(parallel, &self.by_rows, row_len, out, &|rows, out: &mut [f32]| {
            let (orders, weights, n_columns) = (&orders, &weights, row_len);
            let mut rows = SumRows { orders, weights, stride, row_scale, rows, out, n_columns };
            self.kernel.run(stride, &mut rows);
        });
        Ok(())
    }

    /// `out = Â · rows` for `N` rows without padding, and so its own gradient.
    ///
    /// # Errors
    /// If `rows` and `out` differ in length or aren't `N` rows.
    pub fn apply(&self, rows: &[f32], pool: &Arc<Pool>, out: &mut [f32]) -> Result<()> {
        let n_columns = columns_of("apply", rows.len(), self.n_nodes())?;
        let mut signals = pool.take(self.n_nodes(), n_columns);
        let mut products = pool.take(self.n_nodes(), n_columns);
        self.in_pool(n_columns, || {
            self.enter(rows, &mut signals)?;
            self.step(&Step::product(1.0, &signals), &mut products)?;
            self.leave(&products, out)
        })
    }

    /// `⟨u_kc, y_c⟩` for every `k` and column `c`, of signals in the scaled space: `K x C` values. Partial
    /// sums of fixed rows are added up in their order, in double precision.
    ///
    /// # Errors
    /// If the signals differ in shape or `N` in nodes.
    pub fn dot_products(&self, orders: &[&Signals], signals: &Signals) -> Result<Vec<f64>> {
        let (n_columns, stride) = (signals.n_columns(), signals.stride());
        for of_order in orders.iter().chain([&signals]) {
            of_order.check_shape("dot products", self.n_nodes(), n_columns)?;
        }
        let orders: Vec<&[f32]> = orders.iter().map(|of_order| of_order.padded()).collect();
        let len = orders.len() * stride;
        let mut partials = vec![0.0; (self.by_rows.len() - 1) * len];
        let parallel = self.is_parallel(signals);
        let tasks: Bounds = (0..self.by_rows.len()).collect();
        for_each_task(parallel, &tasks, len, &mut partials, &|tasks, sums: &mut [f64]| {
            let rows = self.by_rows[tasks.start]..self.by_rows[tasks.end];
            let (orders, signals, row_weight) = (&orders, signals.padded(), &self.degree);
            let mut dots = DotRows { orders, signals, stride, row_weight, rows, sums };
            self.kernel.run(stride, &mut dots);
        });
        let total = |at: usize| -> f64 { partials.iter().skip(at).step_by(len).sum() };
        let columns = |order: usize| (order * stride..order * stride + n_columns).map(total);
        Ok((0..orders.len()).flat_map(columns).collect())
    }

    /// Whether threads are worth waking for one pass over `signals`.
    pub(super) fn is_parallel(&self, signals: &Signals) -> bool {
        self.is_worth_threads(signals.stride())
    }

    fn is_worth_threads(&self, stride: usize) -> bool {
        let cost = self.n_entries() as u64 + ROW_COST * self.n_nodes() as u64;
        cost * stride as u64 >= MIN_PARALLEL_COST
    }

    /// Runs several steps over `n_columns` in the thread pool, which is entered once.
    pub(crate) fn in_pool<R: Send>(&self, n_columns: usize, work: impl FnOnce() -> R + Send) -> R {
        in_pool(self.is_worth_threads(stride_of(n_columns)), work)
    }
}

fn scale(from: &[f32], factor: f32, to: &mut [f32]) {
    for (from, to) in from.iter().zip(to) {
        *to = from * factor;
    }
}
