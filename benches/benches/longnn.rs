//! Criterion benches of longnn: `cargo bench -p benches --bench longnn`.
//!
//! Compare within one run only. `sprs` is the baseline: the same product of the same normalised matrix,
//! with its values, by that library's sparse times dense. Graphs that aren't at hand are left out.

// A benchmark's driver, not a library; criterion's macros leave their functions undocumented.
#![allow(missing_docs, clippy::unwrap_used)]

use common::testing::shared_data;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longnn::graph::{Graph, SelfLoops};
use longnn::propagate::{Chebyshev, Dropout, FeatureProduct, Operator, Signals, Step};
use ndarray::Array2;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const GRAPHS: [&str; 6] =
    ["cora", "chameleon", "squirrel", "actor", "amazon_photo", "amazon_computers"];
/// Classes, a vector, two, ten seeds of five classes side by side, a hidden layer.
const WIDTHS: [usize; 5] = [5, 8, 16, 50, 64];
/// The paper's.
const ORDER: usize = 10;
const HIDDEN: usize = 64;

fn graphs() -> impl Iterator<Item = Graph> {
    GRAPHS
        .iter()
        .filter_map(|name| shared_data(&format!("graphs/{name}.npz")))
        .map(|path| longnn::data::read(&path).unwrap())
}

/// Numbers that repeat only after a thousand.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

/// Thread pools by the name that results carry.
fn pools() -> Vec<(&'static str, rayon::ThreadPool)> {
    let pool = |n_threads| rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    vec![("1 thread", pool(1)), ("2 threads", pool(2))]
}

/// One step of the recurrence, `2 Â x - y`, and sprs' `Â x`, which is less.
fn step(criterion: &mut Criterion) {
    for graph in graphs() {
        let mut group = criterion.benchmark_group(format!("propagate/step/{}", graph.name()));
        let operator = Operator::new(graph.adjacency(), SelfLoops::AsGiven).unwrap();
        let matrix = graph.adjacency().normalized(SelfLoops::AsGiven).map(|&value| value as f32);
        for n_columns in WIDTHS {
            group.throughput(Throughput::Elements((operator.n_entries() * n_columns) as u64));
            let rows = numbers(graph.n_nodes() * n_columns);
            let signals = Signals::from_rows(graph.n_nodes(), n_columns, &rows).unwrap();
            let before = signals.clone();
            let mut out = signals.clone();
            for (name, pool) in pools() {
                group.bench_function(BenchmarkId::new(name, n_columns), |bencher| {
                    pool.install(|| {
                        bencher.iter(|| {
                            let step = Step::product(2.0, black_box(&signals)).plus(-1.0, &before);
                            operator.step(&step, &mut out).unwrap();
                        });
                    });
                });
            }
            let dense = Array2::from_shape_vec((graph.n_nodes(), n_columns), rows).unwrap();
            group.bench_function(BenchmarkId::new("sprs", n_columns), |bencher| {
                bencher.iter(|| &matrix * black_box(&dense));
            });
        }
        group.finish();
    }
}

/// A training step's filter, both directions: `2K` products, the sum over orders, the gradients.
fn filter(criterion: &mut Criterion) {
    for graph in graphs() {
        let mut group = criterion.benchmark_group(format!("propagate/filter/{}", graph.name()));
        let operator = Operator::new(graph.adjacency(), SelfLoops::AsGiven).unwrap();
        let engine = Chebyshev::new(Arc::new(operator), ORDER);
        for n_columns in [graph.n_classes(), 10 * graph.n_classes()] {
            let z = numbers(graph.n_nodes() * n_columns);
            let weights = numbers((ORDER + 1) * n_columns);
            let (mut y, mut dz) = (z.clone(), z.clone());
            for (name, pool) in pools() {
                group.bench_function(BenchmarkId::new(name, n_columns), |bencher| {
                    pool.install(|| {
                        bencher.iter(|| {
                            let basis = engine.basis(black_box(&z)).unwrap();
                            engine.combine(&basis, &weights, &mut y).unwrap();
                            engine.gradients(&basis, &weights, &z, &mut dz).unwrap()
                        });
                    });
                });
            }
        }
        group.finish();
    }
}

/// The first layer, both directions, with half of the features dropped.
fn features(criterion: &mut Criterion) {
    for graph in graphs() {
        let mut group = criterion.benchmark_group(format!("propagate/features/{}", graph.name()));
        let product = FeatureProduct::new(graph.features().unwrap().clone().row_normalized());
        let weights = numbers(product.n_features() * HIDDEN);
        let (mut hidden, mut gradient) = (numbers(product.n_rows() * HIDDEN), weights.clone());
        for rate in [0.0, 0.5] {
            let dropout = Dropout::new(rate, 1, 2).unwrap();
            for (name, pool) in pools() {
                let id = BenchmarkId::new(name, format!("dropout {rate}"));
                group.bench_function(id, |bencher| {
                    pool.install(|| {
                        bencher.iter(|| {
                            product.multiply(&weights, HIDDEN, dropout, &mut hidden).unwrap();
                            product
                                .weight_gradient(&hidden, HIDDEN, dropout, &mut gradient)
                                .unwrap();
                        });
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    targets = step, filter, features
}
criterion_main!(benches);
