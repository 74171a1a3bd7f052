//! The kernels and the engine against dense matrices in double precision, and against themselves:
//! the same bits for every instruction set, number of threads and neighbouring column.

use super::*;
use crate::graph::{Adjacency, SelfLoops};
use common::testing::assert_nmse;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Ten products of single-precision sums of up to some hundred terms.
const NMSE_FILTER: f64 = 1e-11;
/// One product.
const NMSE_STEP: f64 = 1e-13;
/// Dot products: their terms are rounded, and may cancel.
const NMSE_DOTS: f64 = 1e-10;

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Random edges; node 0 is everybody's neighbour where there is a `hub`.
fn random_graph(n_nodes: usize, n_edges: usize, hub: bool) -> Adjacency {
    let mut rng = ChaCha8Rng::seed_from_u64(n_nodes as u64);
    let mut edges: Vec<(u32, u32)> = (0..n_edges)
        .map(|_| (rng.random_range(0..n_nodes as u32), rng.random_range(0..n_nodes as u32)))
        .collect();
    if hub {
        edges.extend((1..n_nodes as u32).map(|node| (0, node)));
    }
    Adjacency::from_edges(n_nodes, &edges).unwrap()
}

/// The one list of graphs: a lone node, no edge at all, isolated nodes, self loops, a hub, several
/// tasks, 32-bit indices.
fn graphs() -> Vec<Adjacency> {
    vec![
        Adjacency::from_edges(1, &[]).unwrap(),
        Adjacency::from_edges(1, &[(0, 0)]).unwrap(),
        Adjacency::from_edges(5, &[]).unwrap(),
        Adjacency::from_edges(4, &[(0, 1), (1, 2), (2, 2)]).unwrap(),
        random_graph(60, 40, false),
        random_graph(90, 400, true),
        random_graph(3000, 20_000, true),
        random_graph(70_000, 30_000, false),
    ]
}

/// The one list of widths: one column, tails, whole vectors, one panel, several panels.
const WIDTHS: [usize; 9] = [1, 5, 8, 9, 16, 24, 50, 64, 130];

/// `Â` times row-major columns, in double precision, by the explicit matrix.
fn dense_product(graph: &Adjacency, loops: SelfLoops, x: &[f64], n_columns: usize) -> Vec<f64> {
    let mut product = vec![0.0; x.len()];
    for (node, row) in graph.normalized(loops).outer_iterator().enumerate() {
        for (neighbour, value) in row.iter() {
            for column in 0..n_columns {
                product[node * n_columns + column] += value * x[neighbour * n_columns + column];
            }
        }
    }
    product
}

/// `T_0 Z … T_K Z` in double precision.
fn dense_basis(graph: &Adjacency, z: &[f32], n_columns: usize, order: usize) -> Vec<Vec<f64>> {
    let product = |x: &[f64]| dense_product(graph, SelfLoops::AsGiven, x, n_columns);
    let mut basis: Vec<Vec<f64>> = vec![z.iter().map(|&z| f64::from(z)).collect()];
    for k in 1..=order {
        let mut next = product(&basis[k - 1]);
        if k > 1 {
            next.iter_mut()
                .zip(&basis[k - 2])
                .for_each(|(next, before)| *next = 2.0 * *next - before);
        }
        basis.push(next);
    }
    basis
}

fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn engine(graph: &Adjacency, order: usize) -> Chebyshev {
    Chebyshev::new(Arc::new(Operator::new(graph, SelfLoops::AsGiven).unwrap()), order)
}

/// All that the engine computes: output, evaluation, both gradients.
fn everything(
    engine: &Chebyshev,
    z: &[f32],
    weights: &[f32],
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<f64>) {
    let (mut y, mut evaluated, mut dz) =
        (vec![0.0; z.len()], vec![0.0; z.len()], vec![0.0; z.len()]);
    let basis = engine.basis(z).unwrap();
    engine.combine(&basis, weights, &mut y).unwrap();
    engine.filter(z, weights, &mut evaluated).unwrap();
    let dw = engine.gradients(&basis, weights, dy, &mut dz).unwrap();
    (y, evaluated, dz, dw)
}

fn with_threads<R: Send>(n_threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap().install(work)
}

#[test]
fn a_product_is_the_matrix() {
    for graph in graphs() {
        for loops in [SelfLoops::AsGiven, SelfLoops::Added] {
            let operator = Operator::new(&graph, loops).unwrap();
            let n_columns = 5;
            let x = numbers(graph.n_nodes() * n_columns, 1);
            let mut product = vec![0.0; x.len()];
            operator.apply(&x, &Pool::new(), &mut product).unwrap();
            let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            let dense = to_f32(&dense_product(&graph, loops, &wide, n_columns));
            assert_nmse(&dense, &product, NMSE_STEP, &format!("{} nodes", graph.n_nodes()));
        }
    }
}

#[test]
fn a_step_has_the_same_bits_for_every_kernel() {
    for graph in graphs() {
        for n_columns in WIDTHS {
            if graph.n_nodes() > 10_000 && n_columns > 9 {
                continue;
            }
            let shape = |seed| {
                let rows = numbers(graph.n_nodes() * n_columns, seed);
                Signals::from_rows(graph.n_nodes(), n_columns, &rows).unwrap()
            };
            let (x, before, source) = (shape(1), shape(2), shape(3));
            let weights = numbers(n_columns, 4);
            let step = Step::product(2.0, &x)
                .plus(0.25, &x)
                .plus(-1.0, &before)
                .plus(&weights[..], &source);
            let results: Vec<Signals> = Kernel::available()
                .into_iter()
                .map(|kernel| {
                    let loops = SelfLoops::AsGiven;
                    let operator = Operator::with_kernel(&graph, loops, kernel).unwrap();
                    let mut out = shape(5);
                    operator.step(&step, &mut out).unwrap();
                    out
                })
                .collect();
            for result in &results {
                assert_eq!(result, &results[0], "{} nodes, {n_columns} wide", graph.n_nodes());
                for row in result.padded().chunks_exact(result.stride()) {
                    assert!(row[n_columns..].iter().all(|&padding| padding == 0.0));
                }
            }
        }
    }
}

#[test]
fn a_filter_has_the_same_bits_for_every_kernel() {
    let graph = random_graph(1500, 9000, true);
    for n_columns in WIDTHS {
        let len = graph.n_nodes() * n_columns;
        let (z, weights, dy) = (numbers(len, 1), numbers(6 * n_columns, 2), numbers(len, 3));
        let results: Vec<_> = Kernel::available()
            .into_iter()
            .map(|kernel| {
                let operator = Operator::with_kernel(&graph, SelfLoops::AsGiven, kernel).unwrap();
                everything(&Chebyshev::new(Arc::new(operator), 5), &z, &weights, &dy)
            })
            .collect();
        assert!(results.iter().all(|result| result == &results[0]), "{n_columns} wide");
    }
}

#[test]
fn a_filter_is_the_polynomial_of_the_matrix() {
    for graph in graphs().into_iter().filter(|graph| graph.n_nodes() < 10_000) {
        for (order, n_columns) in [(0, 3), (1, 3), (2, 5), (3, 9), (10, 7)] {
            let len = graph.n_nodes() * n_columns;
            let z = numbers(len, 1);
            let weights = numbers((order + 1) * n_columns, 2);
            let dy = numbers(len, 3);
            let (y, evaluated, dz, dw) = everything(&engine(&graph, order), &z, &weights, &dy);
            let label = format!("{} nodes, order {order}", graph.n_nodes());

            let weighted = |basis: &[Vec<f64>]| -> Vec<f32> {
                let value = |at: usize| -> f64 {
                    let weight = |k: usize| f64::from(weights[k * n_columns + at % n_columns]);
                    basis.iter().enumerate().map(|(k, order)| weight(k) * order[at]).sum()
                };
                (0..len).map(|at| value(at) as f32).collect()
            };
            let basis = dense_basis(&graph, &z, n_columns, order);
            assert_nmse(&weighted(&basis), &y, NMSE_FILTER, &label);
            assert_nmse(&weighted(&basis), &evaluated, NMSE_FILTER, &label);
            // Σ T_k(Â) (w_k ⊙ dY): the columns' weights commute with the matrix.
            let of_gradient = dense_basis(&graph, &dy, n_columns, order);
            assert_nmse(&weighted(&of_gradient), &dz, NMSE_FILTER, &label);

            let dots: Vec<f64> = (0..(order + 1) * n_columns)
                .map(|at| {
                    let column = (at % n_columns..len).step_by(n_columns);
                    column.map(|i| f64::from(dy[i]) * basis[at / n_columns][i]).sum()
                })
                .collect();
            assert_nmse(&to_f32(&dots), &to_f32(&dw), NMSE_DOTS, &label);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let graph = random_graph(3000, 20_000, true);
    let n_columns = 13;
    let len = graph.n_nodes() * n_columns;
    let (z, weights, dy) = (numbers(len, 1), numbers(11 * n_columns, 2), numbers(len, 3));
    let run = || everything(&engine(&graph, 10), &z, &weights, &dy);
    let alone = with_threads(1, run);
    assert!(alone == with_threads(2, run) && alone == with_threads(4, run));
}

#[test]
fn buffers_are_used_again_and_leave_nothing_behind() {
    let graph = random_graph(90, 400, true);
    let engine = engine(&graph, 4);
    let len = graph.n_nodes() * 3;
    let (z, weights, dy) = (numbers(len, 1), numbers(15, 2), numbers(len, 3));
    let first = everything(&engine, &z, &weights, &dy);
    drop(everything(&engine, &dy, &weights, &z));
    assert!(first == everything(&engine, &z, &weights, &dy));
}

#[test]
fn wrong_shapes_are_named() {
    let graph = random_graph(60, 40, false);
    let engine = engine(&graph, 2);
    let z = numbers(120, 1);
    let basis = engine.basis(&z).unwrap();
    let mut out = vec![0.0; 120];
    let errors = [
        engine.basis(&z[1..]).unwrap_err(),
        engine.combine(&basis, &[1.0; 5], &mut out).unwrap_err(),
        engine.combine(&basis, &[1.0; 6], &mut out[1..]).unwrap_err(),
        engine.filter(&z, &[1.0; 9], &mut out).unwrap_err(),
        engine.filter(&z, &[1.0; 6], &mut out[2..]).unwrap_err(),
        engine.gradients(&basis, &[1.0; 6], &z[2..], &mut out).unwrap_err(),
        engine.gradients(&basis, &[1.0; 6], &z, &mut out[2..]).unwrap_err(),
        super::Chebyshev::new(Arc::clone(engine.operator()), 3)
            .combine(&basis, &[1.0; 8], &mut out)
            .unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, crate::Error::Shape { .. }), "{error}");
    }
    let signals = Signals::zeroed(60, 2);
    let short = Step::product(1.0, &signals).plus(&[1.0][..], &signals);
    assert!(engine.operator().step(&short, &mut Signals::zeroed(60, 2)).is_err());
    let operator = engine.operator();
    assert!(operator.step(&Step::product(1.0, &signals), &mut Signals::zeroed(60, 3)).is_err());
    assert!(operator.step(&Step::product(1.0, &signals), &mut Signals::zeroed(59, 2)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Several seeds side by side train as each would alone.
    #[test]
    fn a_column_does_not_see_its_neighbours(
        n_nodes in 1usize..400,
        n_edges in 0usize..2000,
        widths in prop::collection::vec(1usize..12, 1..6),
        order in 0usize..6,
    ) {
        let graph = random_graph(n_nodes, n_edges, false);
        let engine = engine(&graph, order);
        let total: usize = widths.iter().sum();
        let (z, weights, dy) = (
            numbers(n_nodes * total, 1),
            numbers((order + 1) * total, 2),
            numbers(n_nodes * total, 3),
        );
        let together = everything(&engine, &z, &weights, &dy);
        let mut first = 0;
        for width in widths {
            let pick = |rows: &[f32]| -> Vec<f32> {
                rows.chunks_exact(total).flat_map(|row| &row[first..first + width]).copied().collect()
            };
            let alone = everything(&engine, &pick(&z), &pick(&weights), &pick(&dy));
            prop_assert_eq!(&alone.0, &pick(&together.0));
            prop_assert_eq!(&alone.1, &pick(&together.1));
            prop_assert_eq!(&alone.2, &pick(&together.2));
            let dw: Vec<f64> = together.3.chunks_exact(total)
                .flat_map(|row| &row[first..first + width]).copied().collect();
            prop_assert_eq!(&alone.3, &dw);
            first += width;
        }
    }

    /// `⟨F z, y⟩ = ⟨z, F y⟩`: the gradient of a filter is the filter.
    #[test]
    fn a_filter_is_symmetric(n_nodes in 1usize..200, n_edges in 0usize..900, seed in any::<u64>()) {
        let graph = random_graph(n_nodes, n_edges, true);
        let engine = engine(&graph, 5);
        let weights = numbers(6, seed);
        let (z, y) = (numbers(n_nodes, seed ^ 1), numbers(n_nodes, seed ^ 2));
        let (mut filtered_z, mut filtered_y) = (vec![0.0; n_nodes], vec![0.0; n_nodes]);
        engine.filter(&z, &weights, &mut filtered_z).unwrap();
        engine.filter(&y, &weights, &mut filtered_y).unwrap();
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let norm = (dot(&z, &z) * dot(&y, &y)).sqrt();
        let difference = dot(&filtered_z, &y) - dot(&z, &filtered_y);
        prop_assert!(difference.abs() <= 1e-5 * norm, "{} of {}", difference, norm);
    }
}
