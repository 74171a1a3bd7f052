//! Timings of attention alone: one token over its history.

use crate::Result;
use crate::attention::{Heads, attend};
use crate::cache::{Appended, CacheShape, KvCache};
use crate::policy::{KeyChannels, Plan, SideFormat};
use common::statistics::median;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPool;
use std::time::Instant;

/// Bytes that the caches of a case have together at least: beyond what processors keep near.
const BYTES: usize = if cfg!(test) { 1 << 20 } else { 128 << 20 };
/// Tokens that are appended at a time.
const CHUNK: usize = 1024;

/// One attention to time.
#[derive(Debug, Clone)]
pub struct AttentionCase {
    /// Query and KV heads.
    pub heads: Heads,
    /// The format.
    pub plan: Plan,
    /// Layers that the plan is for; a time is that of the mean layer.
    pub n_layers: usize,
    /// Tokens of the history, with the one that attends.
    pub context: usize,
}

/// What it took.
#[derive(Debug, Clone, Copy)]
pub struct AttentionTime {
    /// Seconds of an attention, the merging of its parts included: the median.
    pub seconds: f64,
    /// Bytes of the cache that it reads.
    pub bytes: usize,
    /// Caches, each of a layer, that were gone over in turn.
    pub n_caches: usize,
}

/// A uniform plan for timings: integer keys of `bits` with 8-bit parameters in groups of `group` tokens, integer
/// values of as many bits, and windows of 64 tokens.
pub fn integer_plan(heads: Heads, bits: u8, group: usize) -> Plan {
    let ranges = vec![KeyChannels::range_octave(4.0); heads.head_dim];
    let channels = KeyChannels::new(vec![bits; heads.head_dim], ranges);
    let keys = SideFormat::IntChannels(vec![channels; heads.n_kv_heads].into());
    let mut plan = Plan::uniform(keys, SideFormat::Int(bits));
    (plan.group, plan.window, plan.sinks) = (group, 64, 4);
    plan
}

/// Times attention on the threads of `pool`, all cases in turn, `n_repeats` times.
///
/// Every case has as many caches as take memory that no processor keeps near, which are gone over in turn.
///
/// # Errors
/// If a plan does not fit its heads and layers.
pub fn attention_times(
    pool: &ThreadPool,
    cases: &[AttentionCase],
    n_repeats: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<AttentionTime>> {
    let mut ready = Vec::with_capacity(cases.len());
    for (done, case) in cases.iter().enumerate() {
        progress(done);
        ready.push(case.ready()?);
    }
    let mut open: Vec<OpenCase<'_>> =
        ready.iter_mut().map(ReadyCase::open).collect::<Result<_>>()?;
    let mut seconds = vec![Vec::with_capacity(n_repeats); cases.len()];
    // The first round warms up.
    for repeat in 0..=n_repeats {
        for (case, seconds) in open.iter_mut().zip(&mut seconds) {
            let n_caches = case.appended.len();
            let clock = Instant::now();
            pool.install(|| (0..n_caches).try_for_each(|_| case.attend_next()))?;
            if repeat > 0 {
                seconds.push(clock.elapsed().as_secs_f64() / n_caches as f64);
            }
        }
    }
    let times = open.iter().zip(seconds).map(|(case, seconds)| AttentionTime {
        seconds: median(&seconds).unwrap_or(f64::NAN),
        bytes: case.bytes,
        n_caches: case.appended.len(),
    });
    Ok(times.collect())
}

/// Caches that are filled, but for the token that attends.
#[derive(Debug)]
pub struct ReadyCase {
    heads: Heads,
    caches: Vec<KvCache>,
    /// Queries, keys and values of the token that attends.
    rows: [Vec<f32>; 3],
    bytes: usize,
}

/// Caches with the token that attends.
#[derive(Debug)]
pub struct OpenCase<'a> {
    heads: Heads,
    appended: Vec<Appended<'a>>,
    queries: &'a [f32],
    output: Vec<f32>,
    bytes: usize,
    next: usize,
}

impl AttentionCase {
    /// Fills caches with random numbers.
    ///
    /// # Errors
    /// If the plan does not fit heads and layers.
    pub fn ready(&self) -> Result<ReadyCase> {
        let AttentionCase { heads, plan, n_layers, context } = self;
        let Heads { n_kv_heads, head_dim, .. } = *heads;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random =
            |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-2.0..2.0)).collect() };
        let shape = CacheShape { n_layers: *n_layers, n_kv_heads, head_dim };
        let mut cache = KvCache::new(shape, plan)?;
        let row = n_kv_heads * head_dim;
        let (keys, values) = (random(CHUNK * row), random(CHUNK * row));
        let mut left = context.saturating_sub(1);
        while left > 0 {
            let n = CHUNK.min(left) * row;
            for layer in 0..*n_layers {
                drop(cache.layer_mut(layer).append(&keys[..n], &values[..n])?);
            }
            left -= n / row;
        }
        let rows = [random(heads.row_len()), random(row), random(row)];
        let bytes = cache.bytes().total() as usize;
        let caches = vec![cache; BYTES.div_ceil(bytes.max(1))];
        Ok(ReadyCase { heads: *heads, caches, rows, bytes: bytes / n_layers })
    }
}

impl ReadyCase {
    /// Appends the token that attends.
    ///
    /// # Errors
    /// If the rows do not fit, which those of [`AttentionCase::ready`] do.
    pub fn open(&mut self) -> Result<OpenCase<'_>> {
        let [queries, keys, values] = &self.rows;
        let layers = self.caches.iter_mut().flat_map(KvCache::layers_mut);
        Ok(OpenCase {
            heads: self.heads,
            appended: layers.map(|layer| layer.append(keys, values)).collect::<Result<_>>()?,
            queries,
            output: vec![0.0; queries.len()],
            bytes: self.bytes,
            next: 0,
        })
    }
}

impl OpenCase<'_> {
    /// Bytes that an attention reads: of the mean layer.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Attends over the next of the caches.
    ///
    /// # Errors
    /// If shapes do not match, which those of [`AttentionCase::ready`] do.
    pub fn attend_next(&mut self) -> Result<()> {
        let appended = &self.appended[self.next];
        self.next = (self.next + 1) % self.appended.len();
        attend(appended, self.heads, self.queries, &mut self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_layers_take_their_turn() {
        let heads = Heads { n_heads: 4, n_kv_heads: 2, head_dim: 64 };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let case = |plan| AttentionCase { heads, plan, n_layers: 3, context: 200 };
        let cases = [case(Plan::f16()), case(integer_plan(heads, 2, 64))];
        let times = attention_times(&pool, &cases, 2, &mut |_| ()).unwrap();
        let f16_bytes = 2 * 2 * 2 * 64 * 199;
        assert_eq!(times[0].bytes, f16_bytes);
        assert!(times[1].bytes < f16_bytes / 2, "{}", times[1].bytes);
        for time in times {
            assert_eq!(time.n_caches, 3 * BYTES.div_ceil(3 * time.bytes));
            assert!(time.seconds > 0.0);
        }
        let wrong = AttentionCase { n_layers: 3, ..case("asymkv-4/0".parse().unwrap()) };
        assert!(wrong.ready().is_err());
    }
}
