//! Attention on a GPU against the reference, over the list of cases of the CPU and more.

// What was measured is of interest, too: run with `--nocapture`.
#![allow(clippy::print_stdout)]

use super::cache::{NewTokens, Output};
use super::gpu::{Kernels, Source};
use super::nvrtc::Nvrtc;
use super::{CacheSize, Gpu, GpuCache};
use crate::Error;
use crate::attention::cases::{cases, numbers};
use crate::attention::{Heads, reference};
use crate::cache::{CacheShape, KvCache};
use crate::policy::{KeyChannels, LayerFormat, Plan, Rule, SideFormat};
use common::tensor::nmse;
use common::testing;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Weights and queries in half precision against double; a few codes differ where the CPU and the GPU round a
/// scale differently.
const MAX_NMSE: f64 = 5e-5;

const MORE_PLANS: &[&str] = &[
    "int1/int1:group=64,window=64,sinks=4,rotate=values",
    "int2/int2:group=128,window=128",
    "int4/int4:group=64,window=32",
    "int8/int8:group=64,window=64",
    "int3/rtn4:group=64,window=64",
    "rtn2/int2:group=32,window=64,sinks=20",
    "f16/int2:window=30",
    "int2/f16:group=64,window=0",
    "kivi-2",
];

const MORE_CHUNKS: &[&[usize]] = &[&[400, 1, 1], &[1, 1, 70, 300, 1, 64, 128, 1]];

fn gpu() -> Option<Arc<Gpu>> {
    let found = testing::gpu()?;
    Some(Gpu::open(found.index, None).unwrap())
}

/// Bits for each channel, in ranges, and for each head, like the plans of a search.
fn mixed_plan(heads: Heads, group: usize) -> Plan {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let keys = (0..heads.n_kv_heads).map(|_| {
        let bits: Vec<u8> = (0..heads.head_dim / 2)
            .flat_map(|_| {
                let bits = rng.random_range(0..6);
                [bits, bits]
            })
            .collect();
        let ranges = vec![KeyChannels::range_octave(3.0); heads.head_dim];
        KeyChannels::new(bits, ranges)
    });
    let keys = SideFormat::IntChannels(keys.collect());
    let values =
        SideFormat::IntHeads((0..heads.n_kv_heads).map(|head| 1 + head as u8 % 4).collect());
    let mut plan = Plan::new(Rule::Uniform(LayerFormat { keys, values }));
    plan.group = group;
    plan.window = 64;
    plan.sinks = 4;
    plan.rotate.values = true;
    plan
}

/// More plans and chunks for some heads.
fn more_cases(heads: Heads) -> Vec<(Plan, Heads, &'static [usize])> {
    let named = MORE_PLANS.iter().map(|plan| plan.parse().unwrap());
    let mixed = [64, 128].map(|group| mixed_plan(heads, group));
    named
        .chain(mixed)
        .flat_map(|plan: Plan| MORE_CHUNKS.iter().map(move |&chunks| (plan.clone(), heads, chunks)))
        .collect()
}

#[test]
fn the_gpu_equals_the_reference() {
    check(cases(), 40);
}

#[test]
fn three_queries_of_64_channels() {
    check(more_cases(Heads { n_heads: 9, n_kv_heads: 3, head_dim: 64 }), 22);
}

#[test]
fn seven_queries_of_64_channels() {
    check(more_cases(Heads { n_heads: 14, n_kv_heads: 2, head_dim: 64 }), 22);
}

#[test]
fn one_query_of_128_channels() {
    check(more_cases(Heads { n_heads: 2, n_kv_heads: 2, head_dim: 128 }), 22);
}

#[test]
fn four_queries_of_128_channels() {
    check(more_cases(Heads { n_heads: 8, n_kv_heads: 2, head_dim: 128 }), 22);
}

/// Layers of one plan that share a kernel and need other amounts of shared memory.
#[test]
fn wide_and_narrow_layers() {
    let format = |bits| LayerFormat::both(SideFormat::Int(bits));
    let ranges = vec![(0..1, format(8)), (2..3, format(4))];
    let mut plan = Plan::new(Rule::Layers { default: format(1), ranges });
    (plan.window, plan.group) = (64, 64);
    let heads = Heads { n_heads: 8, n_kv_heads: 2, head_dim: 128 };
    check(MORE_CHUNKS.iter().map(|&chunks| (plan.clone(), heads, chunks)), 2);
}

/// As many layers as the plan has formats for.
fn n_layers(plan: &Plan) -> usize {
    match &plan.rule {
        Rule::Layers { ranges, .. } => {
            ranges.iter().map(|(layers, _)| layers.end).max().unwrap_or(1)
        }
        _ => 1,
    }
}

#[test]
fn more_queries_than_columns() {
    for n_heads in [16, 12] {
        check(more_cases(Heads { n_heads, n_kv_heads: 1, head_dim: 128 }), 22);
    }
}

/// Runs each case on the GPU, unless there is no kernel for it; at least so many have one.
fn check(cases: impl IntoIterator<Item = (Plan, Heads, &'static [usize])>, least: usize) {
    let Some(gpu) = gpu() else { return };
    let (mut n_run, mut worst) = (0, 0.0f64);
    let mut failures = Vec::new();
    for (plan, heads, chunks) in cases {
        let Heads { n_kv_heads, head_dim, .. } = heads;
        let size = CacheSize {
            n_sequences: 1,
            capacity: chunks.iter().sum(),
            most_new: *chunks.iter().max().unwrap(),
        };
        let n_layers = n_layers(&plan);
        let mut device = match GpuCache::new(&gpu, n_layers, heads, &plan, size) {
            Ok(cache) => cache,
            Err(Error::PlanDoesNotFit { problem, .. }) => {
                assert!(problem.contains("GPUs"), "{plan}: {problem}");
                continue;
            }
            Err(error) => panic!("{plan}: {error}"),
        };
        assert_eq!(
            device.bytes(),
            GpuCache::planned_bytes(device.shape(), &plan, size).unwrap(),
            "{plan}"
        );
        let mut cache = KvCache::new(CacheShape { n_layers, n_kv_heads, head_dim }, &plan).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for &n_new in chunks {
            let kv_len = n_new * n_kv_heads * head_dim;
            let (k, v) = (numbers(&mut rng, kv_len), numbers(&mut rng, kv_len));
            let queries = numbers(&mut rng, n_new * heads.row_len());
            let stream = gpu.stream();
            let new = [&queries, &k, &v].map(|host| stream.clone_htod(host).unwrap());
            let new = NewTokens { n_new, queries: &new[0], keys: &new[1], values: &new[2] };
            device.check_room(n_new).unwrap();
            for layer in 0..n_layers {
                let appended = cache.layer_mut(layer).append(&k, &v).unwrap();
                let mut expected = vec![0.0; queries.len()];
                reference::attend(&appended, heads, &queries, &mut expected).unwrap();
                drop(appended);
                let mut output = stream.clone_htod(&vec![f32::NAN; queries.len()]).unwrap();
                device.attend(layer, &new, &mut Output::Single(&mut output)).unwrap();
                let error = nmse(&expected, &stream.clone_dtoh(&output).unwrap());
                worst = worst.max(error);
                if error.is_nan() || error >= MAX_NMSE {
                    let case = format!("{plan} {heads:?} {chunks:?} at {n_new}");
                    failures.push(format!("{case}, layer {layer}: {error:e}"));
                }
            }
            device.advance(n_new).unwrap();
        }
        n_run += 1;
    }
    assert!(failures.is_empty(), "{} of {n_run}:\n{}", failures.len(), failures.join("\n"));
    assert!(n_run >= least, "{n_run} cases ran");
    println!("{n_run} cases, the largest error {worst:e}");
}

/// For GPUs that aren't here, too: Ampere, Hopper, Blackwell.
#[test]
fn kernels_compile_for_every_architecture() {
    let compiler = match Nvrtc::load() {
        Ok(compiler) => compiler,
        Err(why) => return testing::skip("REQUIRE_NVRTC", &why),
    };
    let forms = [(64, 0, 0, 64), (64, 1, 1, 64), (128, 1, 1, 128), (128, 2, 2, 32), (64, 3, 1, 64)];
    for architecture in ["sm_80", "sm_90", "sm_100"] {
        for (head_dim, keys, values, group) in forms {
            for source in [Source::Attend, Source::Append] {
                let numbers = [
                    ("HEAD_DIM", head_dim),
                    ("KEYS", keys),
                    ("VALUES", values),
                    ("KEY_GROUP", group),
                    ("VALUE_GROUP", 32),
                ];
                let defines = numbers.map(|(name, number)| format!("{name}={number}"));
                let kernels = Kernels { source, defines: defines.into() };
                let (text, options) = kernels.for_compiler();
                let code = compiler.compile(&text, architecture, &options).unwrap();
                assert!(code.starts_with(b"\x7fELF"), "{kernels:?} for {architecture}");
            }
        }
        let kernels = Kernels { source: Source::Measure, defines: Vec::new() };
        let (text, options) = kernels.for_compiler();
        compiler.compile(&text, architecture, &options).unwrap();
    }
}
