//! Polynomials of `Â` applied to signals in `f64`, for what must be exact: targets of filters,
//! least-squares floors, moments of a spectrum.
//!
//! Training has its own kernels in `f32`. This one is simple: eight signals side by side, and all
//! steps of a recurrence in the space scaled by `D^-1/2`, where `u_j = 2 Â u_{j−1} − u_{j−2}` becomes
//! `v_j = 2 D^-1 A v_{j−1} − v_{j−2}`: a sum over neighbours without any product.

use super::ChebyshevSeries;
use crate::graph::{Adjacency, SelfLoops};
use crate::{Error, Result};

/// Signals side by side in a panel: two panels and their sums stay in a core's cache.
pub const LANES: usize = 8;

/// One row a node, one signal a lane.
pub type Panel = Vec<[f64; LANES]>;

/// `Â = D^-1/2 A D^-1/2` as something to apply.
#[derive(Debug, Clone)]
pub struct Propagator<'a> {
    adjacency: &'a Adjacency,
    /// `D^-1/2`, 1 for a node without neighbours.
    scales: Vec<f64>,
}

impl<'a> Propagator<'a> {
    /// The operator of a graph, without self loops but those of the data.
    #[must_use]
    pub fn new(adjacency: &'a Adjacency) -> Self {
        Self { adjacency, scales: adjacency.inverse_sqrt_degrees(SelfLoops::AsGiven) }
    }

    /// The number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.adjacency.n_nodes()
    }

    /// Packs `N × C` values, row after row, into panels of [`LANES`] columns; the last is filled up
    /// with zeros.
    ///
    /// # Errors
    /// If there aren't `N × C` values.
    pub fn panels(&self, values: &[f32], n_columns: usize) -> Result<Vec<Panel>> {
        let n_nodes = self.n_nodes();
        if values.len() != n_nodes * n_columns {
            return Err(Error::Shape {
                operation: "signals",
                problem: format!(
                    "{} values for {n_nodes} nodes and {n_columns} columns",
                    values.len()
                ),
            });
        }
        let panel = |first: usize| {
            let row = |node: usize| {
                std::array::from_fn(|lane| match first + lane {
                    column if column < n_columns => f64::from(values[node * n_columns + column]),
                    _ => 0.0,
                })
            };
            (0..n_nodes).map(row).collect()
        };
        Ok((0..n_columns).step_by(LANES).map(panel).collect())
    }

    /// `T_0(Â) x … T_K(Â) x`.
    #[must_use]
    pub fn chebyshev_basis(&self, signals: &Panel, degree: usize) -> Vec<Panel> {
        let mut basis = Vec::with_capacity(degree + 1);
        self.for_each_term(signals, degree + 1, |_, term| basis.push(self.unscaled(term.clone())));
        basis
    }

    /// `h(Â) x` for each of several series, which share the sparse products.
    #[must_use]
    pub fn filtered(&self, signals: &Panel, series: &[ChebyshevSeries]) -> Vec<Panel> {
        let n_terms = series.iter().map(|series| series.coefficients().len()).max().unwrap_or(0);
        let mut sums = vec![vec![[0.0; LANES]; self.n_nodes()]; series.len()];
        self.for_each_term(signals, n_terms, |j, term| {
            for (sum, series) in sums.iter_mut().zip(series) {
                match series.coefficients().get(j) {
                    None | Some(0.0) => {}
                    Some(&coefficient) => accumulate(sum, coefficient, term),
                }
            }
        });
        sums.into_iter().map(|sum| self.unscaled(sum)).collect()
    }

    /// Calls `visit(j, D^-1/2 T_j(Â) x)` for `j` below `n_terms`.
    pub(super) fn for_each_term(
        &self,
        signals: &Panel,
        n_terms: usize,
        mut visit: impl FnMut(usize, &Panel),
    ) {
        let scale = |(row, scale): (&[f64; LANES], &f64)| row.map(|value| value * scale);
        let mut current: Panel = signals.iter().zip(&self.scales).map(scale).collect();
        let mut previous = vec![[0.0; LANES]; self.n_nodes()];
        for j in 0..n_terms {
            visit(j, &current);
            if j + 1 < n_terms {
                self.step(&current, &mut previous, if j == 0 { 1.0 } else { 2.0 });
                std::mem::swap(&mut current, &mut previous);
            }
        }
    }

    /// `v ← factor · D^-1 A u − v`.
    fn step(&self, u: &Panel, v: &mut Panel, factor: f64) {
        let (offsets, neighbours) = (self.adjacency.offsets(), self.adjacency.neighbours());
        for (node, row) in v.iter_mut().enumerate() {
            let mut sum = [0.0; LANES];
            for &neighbour in &neighbours[offsets[node] as usize..offsets[node + 1] as usize] {
                let values = &u[neighbour as usize];
                for lane in 0..LANES {
                    sum[lane] += values[lane];
                }
            }
            let scale = factor * self.scales[node] * self.scales[node];
            for lane in 0..LANES {
                row[lane] = scale * sum[lane] - row[lane];
            }
        }
    }

    fn unscaled(&self, mut panel: Panel) -> Panel {
        for (row, scale) in panel.iter_mut().zip(&self.scales) {
            *row = row.map(|value| value / scale);
        }
        panel
    }
}

fn accumulate(sum: &mut Panel, factor: f64, term: &Panel) {
    for (sum, term) in sum.iter_mut().zip(term) {
        for lane in 0..LANES {
            sum[lane] += factor * term[lane];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path, a self loop, and a node alone.
    fn graph() -> Adjacency {
        Adjacency::from_edges(6, &[(0, 1), (1, 2), (2, 3), (3, 3), (1, 4)]).unwrap()
    }

    fn dense_product(adjacency: &Adjacency, signals: &Panel) -> Panel {
        let matrix = adjacency.normalized(SelfLoops::AsGiven);
        let mut product = vec![[0.0; LANES]; signals.len()];
        for (&value, (row, column)) in matrix.iter() {
            for lane in 0..LANES {
                product[row as usize][lane] += value * signals[column as usize][lane];
            }
        }
        product
    }

    #[test]
    fn terms_follow_the_recurrence_of_the_plain_matrix() {
        let adjacency = graph();
        let propagator = Propagator::new(&adjacency);
        let values: Vec<f32> = (0..18).map(|i| (i as f32 * 0.7).sin()).collect();
        let signals = &propagator.panels(&values, 3).unwrap()[0];
        let basis = propagator.chebyshev_basis(signals, 6);
        let mut expected = vec![signals.clone(), dense_product(&adjacency, signals)];
        for j in 2..=6 {
            let mut next = dense_product(&adjacency, &expected[j - 1]);
            for (row, before) in next.iter_mut().zip(&expected[j - 2]) {
                *row = std::array::from_fn(|lane| 2.0 * row[lane] - before[lane]);
            }
            expected.push(next);
        }
        for (term, expected) in
            basis.iter().flatten().flatten().zip(expected.iter().flatten().flatten())
        {
            assert!((term - expected).abs() < 1e-14, "{term} {expected}");
        }
    }

    #[test]
    fn a_series_sums_its_terms() {
        let adjacency = graph();
        let propagator = Propagator::new(&adjacency);
        let values: Vec<f32> = (0..6).map(|i| i as f32 - 2.5).collect();
        let signals = &propagator.panels(&values, 1).unwrap()[0];
        // λ = 1 − x, so this is Â x − 3 x.
        let series = ChebyshevSeries::of(|frequency| -2.0 - frequency, 8);
        let filtered = &propagator.filtered(signals, &[series])[0];
        let product = dense_product(&adjacency, signals);
        for node in 0..6 {
            let expected = product[node][0] - 3.0 * signals[node][0];
            assert!((filtered[node][0] - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn values_that_do_not_fit_are_counted() {
        let adjacency = graph();
        let error = Propagator::new(&adjacency).panels(&[0.0; 13], 2).unwrap_err().to_string();
        assert_eq!(error, "signals: 13 values for 6 nodes and 2 columns");
    }
}
