//! Criterion benches of kvquant: `cargo bench -p benches --bench kvquant`.
//!
//! Compare within one run only. `f16` is the baseline of each group: what the same code does with the
//! cache in half precision.

// A benchmark's driver, not a library; criterion's macros leave their functions undocumented.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kvquant::attention::{Heads, attend};
use kvquant::cache::{CacheShape, KvCache};
use kvquant::quant::bits::BitWidth;
use kvquant::quant::group::quantize;
use kvquant::quant::levels::Levels;
use std::hint::black_box;
use std::time::Duration;

/// SmolLM2-135M's heads.
const HEADS: Heads = Heads { n_heads: 9, n_kv_heads: 3, head_dim: 64 };
const PLANS: [&str; 5] = ["f16", "q8_0", "q4_0", "kivi-2", "kivi-1"];

/// Numbers that repeat only after a thousand.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 250.0 - 2.0).collect()
}

fn cache(plan: &str, n_tokens: usize) -> KvCache {
    let Heads { n_kv_heads, head_dim, .. } = HEADS;
    let shape = CacheShape { n_layers: 1, n_kv_heads, head_dim };
    let mut cache = KvCache::new(shape, &plan.parse().unwrap()).unwrap();
    let rows = numbers(n_tokens * n_kv_heads * head_dim);
    drop(cache.layer_mut(0).append(&rows, &rows).unwrap());
    cache
}

/// One token against a cache of 4096: the decode step of one layer.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode attention, 4096 tokens");
    let row = numbers(HEADS.n_kv_heads * HEADS.head_dim);
    let queries = numbers(HEADS.row_len());
    let mut output = vec![0.0; queries.len()];
    for plan in PLANS {
        let mut cache = cache(plan, 4096);
        group.bench_function(BenchmarkId::from_parameter(plan), |bencher| {
            bencher.iter(|| {
                let appended = cache.layer_mut(0).append(&row, &row).unwrap();
                attend(&appended, HEADS, black_box(&queries), &mut output).unwrap();
                drop(appended);
                cache.truncate(4096);
            });
        });
    }
    group.finish();
}

/// A chunk of 256 tokens appended to a cache of 1024.
fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append 256 tokens");
    let rows = numbers(256 * HEADS.n_kv_heads * HEADS.head_dim);
    group.throughput(Throughput::Elements(2 * rows.len() as u64));
    for plan in PLANS {
        let mut cache = cache(plan, 1024);
        group.bench_function(BenchmarkId::from_parameter(plan), |bencher| {
            bencher.iter(|| {
                drop(cache.layer_mut(0).append(black_box(&rows), &rows).unwrap());
                cache.truncate(1024);
            });
        });
    }
    group.finish();
}

/// Quantizing a group of 32.
fn quantizer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("groups of 32 elements");
    group.throughput(Throughput::Elements(32));
    let elements = numbers(32);
    for width in BitWidth::ALL {
        let mut codes = [0; 32];
        group.bench_function(BenchmarkId::new("quantize", width), |bencher| {
            bencher.iter(|| quantize(black_box(&elements), width, Levels::MinMax, &mut codes));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = decode, append, quantizer
}
criterion_main!(benches);
