//! The list of cases over which every form of attention is tested against the reference.

use super::Heads;
use crate::policy::Plan;
use rand::{Rng, RngExt};

const PLANS: &[&str] = &[
    "f16",
    "kivi-2:window=32",
    "kivi-4:window=0",
    "kivi-8:window=64",
    "asymkv-1/0:window=32",
    "rtn1/f16:window=32",
    "f16/rtn1:window=32",
    "rtn2/q8_0:window=32,group=16",
    "q8_0/q4_0",
    "kivi-2:window=32,sinks=4,key-levels=centroid,value-levels=unbiased",
    "int2/int1:window=32,group=32,sinks=4",
    "int5/int3:window=20,group=16,sinks=3",
    "q8_0/int2:sinks=40",
    "kivi-2:window=32,jensen",
    "int2/f16:window=20,group=16,sinks=3,jensen",
];

/// For heads whose length is a power of two.
const ROTATED: &[&str] = &[
    "f16:rotate=both",
    "int2/int1:window=32,group=32,sinks=4,rotate=values",
    "rtn4/int2:window=32,rotate=both",
    "int2:window=32,rotate=both,jensen",
];

pub(crate) const HEADS: &[Heads] = &[
    Heads { n_heads: 6, n_kv_heads: 2, head_dim: 64 },
    Heads { n_heads: 2, n_kv_heads: 2, head_dim: 96 },
];

/// Lengths of the chunks that a sequence arrives in.
const CHUNKS: &[&[usize]] = &[&[1], &[200], &[7, 64, 1, 1, 65, 130], &[31, 1, 1, 32, 33]];

pub(crate) fn numbers(rng: &mut impl Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-2.0..2.0)).collect()
}

pub(crate) fn cases() -> impl Iterator<Item = (Plan, Heads, &'static [usize])> {
    let all = HEADS.iter().flat_map(|&heads| PLANS.iter().map(move |plan| (plan, heads)));
    let rotated = ROTATED.iter().map(|plan| (plan, HEADS[0]));
    all.chain(rotated).flat_map(|(plan, heads)| {
        CHUNKS.iter().map(move |&chunks| (plan.parse().unwrap(), heads, chunks))
    })
}
