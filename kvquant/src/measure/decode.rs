//! Timings of reading and of decoding with a whole model.

use crate::Result;
use crate::cache::KvCache;
use crate::model::{Chunk, LanguageModel, Llama};
use crate::policy::Plan;
use common::statistics::median;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

/// Tokens of a context that go through the model at once.
const CHUNK: usize = 512;

/// A batch to time.
#[derive(Debug, Clone)]
pub struct DecodeCase {
    /// The cache's format.
    pub plan: Plan,
    /// Tokens of each sequence before the first step.
    pub context: usize,
    /// Sequences.
    pub n_sequences: usize,
}

/// What it took: medians.
#[derive(Debug, Clone, Copy)]
pub struct DecodeTime {
    /// Seconds of a step, which gives a token of each sequence.
    pub step_seconds: f64,
    /// Seconds of reading the context of one sequence; none where it is empty.
    pub prefill_seconds: Option<f64>,
    /// Bytes that hold the batch's tokens when decoding begins.
    pub cache_bytes: usize,
}

/// Times reading a context of random tokens, then `n_steps` of decoding after it, all cases in turn, `n_repeats` times.
/// `beside` hears of each round before it begins: what is compared with these times can take its turn there.
///
/// # Errors
/// If a plan does not fit the model, or the model fails.
pub fn decode_times<E: From<crate::Error>>(
    model: &Llama,
    cases: &[DecodeCase],
    n_steps: usize,
    n_repeats: usize,
    mut beside: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<DecodeTime>, E> {
    let mut rounds = vec![Vec::with_capacity(n_repeats); cases.len()];
    for round in 0..n_repeats {
        beside(round)?;
        for (case, times) in cases.iter().zip(&mut rounds) {
            times.push(case.time(model, n_steps, round as u64)?);
        }
    }
    Ok(rounds.iter().map(|times| medians(times)).collect())
}

impl DecodeCase {
    fn time(&self, model: &Llama, n_steps: usize, seed: u64) -> Result<DecodeTime> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let vocab_size = model.vocab_size() as u32;
        let mut random =
            |n| -> Vec<u32> { (0..n).map(|_| rng.random_range(0..vocab_size)).collect() };
        let mut read = model.new_cache(&self.plan)?;
        let clock = Instant::now();
        for tokens in random(self.context).chunks(CHUNK) {
            let logits = tokens.len() - 1..tokens.len();
            model.read(&mut read, tokens, logits)?;
        }
        let prefill_seconds = (self.context > 0).then(|| clock.elapsed().as_secs_f64());
        let mut caches = vec![read; self.n_sequences];
        let cache_bytes = caches.iter().map(|cache| cache.bytes().total() as usize).sum();
        // What is done once for a cache that has been copied is not of a step.
        step(model, &mut caches, &random(self.n_sequences))?;
        let clock = Instant::now();
        for _ in 0..n_steps {
            step(model, &mut caches, &random(self.n_sequences))?;
        }
        let step_seconds = clock.elapsed().as_secs_f64() / n_steps as f64;
        Ok(DecodeTime { step_seconds, prefill_seconds, cache_bytes })
    }
}

/// A token of each sequence.
fn step(model: &Llama, caches: &mut [KvCache], tokens: &[u32]) -> Result<()> {
    let mut chunks: Vec<Chunk<'_>> = caches
        .iter_mut()
        .zip(tokens.chunks(1))
        .map(|(cache, tokens)| Chunk { cache, tokens, logits: 0..1 })
        .collect();
    model.forward(&mut chunks)?;
    Ok(())
}

fn medians(times: &[DecodeTime]) -> DecodeTime {
    let of = |number: fn(&DecodeTime) -> Option<f64>| {
        median(&times.iter().filter_map(number).collect::<Vec<f64>>())
    };
    DecodeTime {
        step_seconds: of(|time| Some(time.step_seconds)).unwrap_or(f64::NAN),
        prefill_seconds: of(|time| time.prefill_seconds),
        cache_bytes: times.first().map_or(0, |time| time.cache_bytes),
    }
}
