//! The graph operator `Â = D^-1/2 A D^-1/2` (section 1.1 of the notes), applied without its values.
//!
//! With `S = D^-1/2`, a recurrence in `u` is one in `v = S u`: `S Â S^-1 = D^-1 A`, so the product is a
//! plain sum over neighbours and one scaling a row, and only indices are streamed. Signals enter this
//! scaled space once, go through all steps, and leave it at the end. A gradient enters the same way:
//! `Â` is symmetric, its own transpose.

use super::kernel::Kernel;
use super::kernel::gather::{Addend, Gather, Ones, RowIndex, StepRows};
use super::parallel::{Bounds, for_each_task, in_pool, split_by_cost, split_evenly};
use super::signals::{check_len, columns_of};
use super::{Pool, Signals};
use crate::graph::Adjacency;
use crate::{Error, Result};
use std::sync::Arc;

/// What a row costs beside its entries, in entries: its addends, its scaling and its store.
const ROW_COST: u64 = 4;
/// Entries that a task has at least: some microseconds, so that handing it over pays.
const MIN_TASK_COST: u64 = 4096;
/// Rows of a task where all rows cost the same.
const ROWS_PER_TASK: usize = 1024;

/// Whether every node is a neighbour of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfLoops {
    /// `Â`: only where the data has them, as in the spectral models.
    Without,
    /// `Ã = (D+I)^-1/2 (A+I) (D+I)^-1/2`: GCN's and APPNP's.
    With,
}

/// `Â` of a graph. A node without neighbours has an empty row, and 1 for its `d^-1/2`.
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

/// The neighbours of all rows, in the shortest type that can name them.
#[derive(Debug)]
enum Neighbours {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl Neighbours {
    fn of(nodes: Vec<u32>, n_nodes: usize) -> Self {
        if n_nodes > usize::from(u16::MAX) + 1 {
            return Self::Wide(nodes);
        }
        Self::Narrow(nodes.into_iter().map(|node| node as u16).collect())
    }
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
        let stride = out.stride();
        for_each_task(&self.by_rows, stride, out.padded_mut(), &|nodes, out: &mut [f32]| {
            for (node, out) in nodes.zip(out.chunks_exact_mut(stride)) {
                let row = &rows[node * n_columns..][..n_columns];
                scale(row, self.inverse_root_degree[node], &mut out[..n_columns]);
            }
        });
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
        for_each_task(&self.by_rows, n_columns, rows, &|nodes, rows: &mut [f32]| {
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
        let stride = out.stride();
        // SAFETY: the constructor takes offsets and neighbours from an `Adjacency`, whose columns are
        // nodes; `step` has checked that the signals have a row for each.
        let gather =
            unsafe { Gather::new(&self.offsets, neighbours, Ones, signals.padded(), stride) };
        let (order, row_scale) = (&self.order[..], &self.inverse_degree[..]);
        for_each_task(&self.by_cost, stride, out.padded_mut(), &|rows, out: &mut [f32]| {
            let mut rows = StepRows { gather, order, row_scale, product, addends, rows, out };
            self.kernel.run(stride, &mut rows);
        });
    }

    /// `out = Â · rows` for `N` rows without padding, and so its own gradient.
    ///
    /// # Errors
    /// If `rows` and `out` differ in length or aren't `N` rows.
    pub fn apply(&self, rows: &[f32], pool: &Arc<Pool>, out: &mut [f32]) -> Result<()> {
        let n_columns = columns_of("apply", rows.len(), self.n_nodes())?;
        let mut signals = pool.take(self.n_nodes(), n_columns);
        let mut products = pool.take(self.n_nodes(), n_columns);
        self.in_pool(|| {
            self.enter(rows, &mut signals)?;
            self.step(&Step::product(1.0, &signals), &mut products)?;
            self.leave(&products, out)
        })
    }

    /// Degrees, 1 for a node without neighbours: `⟨u, w⟩ = Σ_i d_i v_i y_i` in the scaled space.
    pub(super) fn degrees(&self) -> &[f32] {
        &self.degree
    }

    /// `d^1/2`, by which a row leaves the scaled space.
    pub(super) fn root_degrees(&self) -> &[f32] {
        &self.root_degree
    }

    /// Tasks of equal rows.
    pub(super) fn by_rows(&self) -> &[usize] {
        &self.by_rows
    }

    pub(super) fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Runs several steps in the thread pool, which is entered once.
    pub(super) fn in_pool<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        in_pool(self.by_cost.len() > 2, work)
    }
}

/// `out = α ⊙ (D^-1 A) x + Σ w ⊙ y`, in the scaled space of [`Operator`].
#[derive(Debug, Clone)]
pub struct Step<'a> {
    product: Coefficients<'a>,
    signals: &'a Signals,
    terms: Vec<(Coefficients<'a>, &'a Signals)>,
}

impl<'a> Step<'a> {
    /// `α ⊙ Â x`.
    #[must_use]
    pub fn product(alpha: impl Into<Coefficients<'a>>, signals: &'a Signals) -> Self {
        Self { product: alpha.into(), signals, terms: Vec::new() }
    }

    /// Adds `w ⊙ y`: the signals themselves, the step before, the source of Clenshaw's rule.
    #[must_use]
    pub fn plus(mut self, weights: impl Into<Coefficients<'a>>, signals: &'a Signals) -> Self {
        self.terms.push((weights.into(), signals));
        self
    }
}

/// The factor of each column.
#[derive(Debug, Clone, Copy)]
pub enum Coefficients<'a> {
    /// The same for all.
    Same(f32),
    /// One a column.
    PerColumn(&'a [f32]),
}

impl Coefficients<'_> {
    /// One a column, zero for the padding.
    fn padded(&self, n_columns: usize, stride: usize) -> Result<Vec<f32>> {
        let mut padded = vec![0.0; stride];
        match *self {
            Self::Same(value) => padded[..n_columns].fill(value),
            Self::PerColumn(values) => {
                check_len("coefficients", values.len(), 1, n_columns)?;
                padded[..n_columns].copy_from_slice(values);
            }
        }
        Ok(padded)
    }
}

impl From<f32> for Coefficients<'_> {
    fn from(value: f32) -> Self {
        Self::Same(value)
    }
}

impl<'a> From<&'a [f32]> for Coefficients<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::PerColumn(values)
    }
}

/// Compressed rows.
struct Rows {
    offsets: Vec<u32>,
    neighbours: Vec<u32>,
}

impl Rows {
    /// The rows of a graph, each node its own neighbour once where asked for.
    fn of(graph: &Adjacency, self_loops: SelfLoops) -> Result<Self> {
        if graph.n_entries() + graph.n_nodes() >= u32::MAX as usize {
            let problem = "more entries than 32-bit offsets can count";
            return Err(Error::Graph { part: "graph".into(), problem: problem.into() });
        }
        let mut rows = Self { offsets: vec![0], neighbours: Vec::new() };
        for node in 0..graph.n_nodes() {
            let row = graph.neighbours_of(node);
            let before = row.partition_point(|&neighbour| (neighbour as usize) < node);
            let (before, mut after) = row.split_at(before);
            rows.neighbours.extend_from_slice(before);
            if self_loops == SelfLoops::With {
                rows.neighbours.push(node as u32);
                after = after.strip_prefix(&[node as u32]).unwrap_or(after);
            }
            rows.neighbours.extend_from_slice(after);
            rows.offsets.push(rows.neighbours.len() as u32);
        }
        Ok(rows)
    }

    fn len(&self, row_idx: usize) -> usize {
        (self.offsets[row_idx + 1] - self.offsets[row_idx]) as usize
    }

    fn reordered(&self, order: &[u32]) -> Self {
        let mut rows = Self { offsets: vec![0], neighbours: Vec::new() };
        rows.neighbours.reserve_exact(self.neighbours.len());
        for &row_idx in order {
            let row = row_idx as usize;
            let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
            rows.neighbours.extend_from_slice(&self.neighbours[range]);
            rows.offsets.push(rows.neighbours.len() as u32);
        }
        rows
    }
}

fn scale(from: &[f32], factor: f32, to: &mut [f32]) {
    for (from, to) in from.iter().zip(to) {
        *to = from * factor;
    }
}
