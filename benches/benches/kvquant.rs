//! Criterion benches of kvquant: `cargo bench -p benches --bench kvquant`.
//!
//! Compare within one run only. `f16` is the baseline of each group: what the same code does with the
//! cache in half precision.

// A benchmark's driver, not a library; criterion's macros leave their functions undocumented.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

use common::command::text_variable;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kvquant::attention::Heads;
use kvquant::cache::{CacheShape, KvCache};
use kvquant::measure::{AttentionCase, integer_plan, read_bandwidth};
use kvquant::policy::Plan;
use kvquant::quant::bits::BitWidth;
use kvquant::quant::group::quantize;
use kvquant::quant::levels::Levels;
use std::hint::black_box;
use std::time::Duration;

/// SmolLM2-135M's heads.
const HEADS: Heads = Heads { n_heads: 9, n_kv_heads: 3, head_dim: 64 };
/// Set, it asks for all head dims, groups, contexts and bits: more than an hour.
const WHOLE_MATRIX: &str = "KVQUANT_BENCH_ALL";
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

/// One token over its history, on one thread, beside what the memory gives in the same run.
fn attention(criterion: &mut Criterion) {
    let whole = text_variable(WHOLE_MATRIX).is_some();
    let (head_dims, groups, contexts, bits) = match whole {
        true => (vec![64, 128], vec![1, 3, 4, 8], vec![1, 4, 16, 32, 128], vec![16, 8, 4, 3, 2, 1]),
        false => (vec![64, 128], vec![1, 4], vec![32], vec![16, 2, 1]),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    eprintln!("memory reads at {:.1} GB/s", pool.install(read_bandwidth) / 1e9);
    for head_dim in head_dims {
        for &group_size in &groups {
            for &context in &contexts {
                let heads = Heads { n_heads: 2 * group_size, n_kv_heads: 2, head_dim };
                let name = format!("attention, head {head_dim}, {group_size} queries, {context}k");
                let mut group = criterion.benchmark_group(name);
                for &bits in &bits {
                    let plan = match bits {
                        16 => Plan::f16(),
                        bits => integer_plan(heads, bits, 128),
                    };
                    let case = AttentionCase { heads, plan, n_layers: 1, context: context << 10 };
                    let mut ready = case.ready().unwrap();
                    let mut open = ready.open().unwrap();
                    group.throughput(Throughput::Bytes(open.bytes() as u64));
                    group.bench_function(BenchmarkId::from_parameter(bits), |bencher| {
                        pool.install(|| bencher.iter(|| open.attend_next().unwrap()));
                    });
                }
                group.finish();
            }
        }
    }
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
    targets = attention, append, quantizer
}
criterion_main!(benches);
