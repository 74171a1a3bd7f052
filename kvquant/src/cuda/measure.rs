//! Timings: what the GPU's memory can do, and how near attention comes to it.

use super::cache::{CacheSize, GpuCache, NewTokens, Output};
use super::gpu::{Gpu, Kernels, Source, launch_config};
use crate::Result;
use crate::attention::Heads;
use crate::measure::AttentionTime;
use crate::policy::Plan;
use cudarc::driver::{CudaSlice, PushKernelArg};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Bytes read for one figure: far beyond any cache.
const BYTES: usize = 2 << 30;
const REPEATS: usize = 11;
/// Launches of attention in a row, at least: the ends of a measurement are long beside a single one.
const LAUNCHES: usize = 16;

/// The bandwidth of reading device memory, in bytes per second: the median of several passes over 2 GiB.
///
/// # Errors
/// If there is no room for them, or of the driver.
pub fn read_bandwidth(gpu: &Arc<Gpu>) -> Result<f64> {
    let stream = gpu.stream();
    let data = stream.alloc_zeros::<u8>(BYTES)?;
    let mut sink = stream.alloc_zeros::<u32>(1)?;
    let kernels = Kernels { source: Source::Measure, defines: Vec::new() };
    let function = gpu.function(&kernels, "read_all")?;
    let n = (BYTES / 16) as u64;
    let mut times = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        times.push(gpu.time(|| {
            let mut launch = stream.launch_builder(&function);
            launch.arg(&data).arg(&n).arg(&mut sink);
            let config = launch_config([8 * gpu.multiprocessors(), 1, 1], 512, 0);
            // SAFETY: the kernel reads `n` times 16 bytes of `data`.
            unsafe { launch.launch(config) }?;
            Ok(())
        })?);
    }
    times.sort_by(f32::total_cmp);
    Ok(BYTES as f64 / (f64::from(times[REPEATS / 2]) * 1e-3))
}

/// One attention to time: decoding one token of each sequence.
#[derive(Debug, Clone)]
pub struct AttentionCase {
    /// Query and KV heads.
    pub heads: Heads,
    /// The format.
    pub plan: Plan,
    /// Tokens of each sequence.
    pub context: usize,
    /// Sequences.
    pub n_sequences: usize,
}

/// Times attention over caches of random numbers, all cases in turn.
///
/// Every case goes over so many caches that together they are four times the second-level cache: nothing is served
/// from it.
///
/// # Errors
/// If a plan has no kernel, memory does not suffice, or of the driver.
pub fn attention_times(
    gpu: &Arc<Gpu>,
    cases: &[AttentionCase],
    n_repeats: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<AttentionTime>> {
    let mut ready = Vec::with_capacity(cases.len());
    for (done, case) in cases.iter().enumerate() {
        progress(done);
        ready.push(ReadyCase::new(gpu, case)?);
    }
    let mut seconds = vec![Vec::with_capacity(n_repeats); cases.len()];
    for repeat in 0..n_repeats + 2 {
        for (case, seconds) in ready.iter_mut().zip(&mut seconds) {
            let n_caches = case.cache.shape().n_layers;
            let n_launches = n_caches * LAUNCHES.div_ceil(n_caches);
            let milliseconds = gpu.time(|| {
                (0..n_launches).try_for_each(|launch| {
                    let output = &mut Output::Single(&mut case.output);
                    case.cache.attend_only(launch % n_caches, 1, &case.queries, output)
                })
            })?;
            // The first rounds compile and warm up.
            if repeat >= 2 {
                seconds.push(f64::from(milliseconds) * 1e-3 / n_launches as f64);
            }
        }
    }
    let times = ready.iter().zip(&mut seconds).map(|(case, seconds)| {
        seconds.sort_by(f64::total_cmp);
        AttentionTime {
            seconds: seconds[seconds.len() / 2],
            bytes: case.bytes,
            n_caches: case.cache.shape().n_layers,
        }
    });
    Ok(times.collect())
}

struct ReadyCase {
    cache: GpuCache,
    queries: CudaSlice<f32>,
    output: CudaSlice<f32>,
    bytes: usize,
}

impl ReadyCase {
    fn new(gpu: &Arc<Gpu>, case: &AttentionCase) -> Result<ReadyCase> {
        const CHUNK: usize = 1024;
        let AttentionCase { heads, plan, context, n_sequences } = case;
        let stream = gpu.stream();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random = |n: usize| -> Result<CudaSlice<f32>> {
            let numbers: Vec<f32> = (0..n).map(|_| rng.random_range(-2.0..2.0)).collect();
            Ok(stream.clone_htod(&numbers)?)
        };
        let row = heads.n_kv_heads * heads.head_dim;
        let (keys, values) = (random(CHUNK * row)?, random(CHUNK * row)?);
        let queries = random(n_sequences * heads.row_len())?;

        // The query is that of the last token held.
        let size = CacheSize { n_sequences: 1, capacity: context + 1, most_new: CHUNK };
        let mut one = GpuCache::new(gpu, 1, *heads, plan, size)?;
        let bytes = GpuCache::planned_bytes(one.shape(), plan, size)? * n_sequences;
        while one.lengths()[0] < *context {
            let n_new = CHUNK.min(context - one.lengths()[0]);
            let new = NewTokens { n_new, queries: &queries, keys: &keys, values: &values };
            one.append(0, &new)?;
            one.settle(0, &new)?;
            one.advance(n_new)?;
        }
        let n_caches = (4 * gpu.l2_bytes()).div_ceil(bytes).max(1);
        let size = CacheSize { n_sequences: *n_sequences, most_new: 1, ..size };
        let mut cache = GpuCache::new(gpu, n_caches, *heads, plan, size)?;
        for sequence in 0..*n_sequences {
            for layer in 0..n_caches {
                cache.copy_layer(layer, sequence, &one, 0)?;
            }
        }
        cache.set_lengths(vec![*context; *n_sequences])?;
        let output = stream.alloc_zeros(n_sequences * heads.row_len())?;
        gpu.synchronize()?;
        Ok(ReadyCase { cache, queries, output, bytes })
    }
}
