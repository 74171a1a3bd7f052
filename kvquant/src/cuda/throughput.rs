//! Timings of reading and of decoding with a whole model.

use super::cache::{CacheSize, GpuCache};
use super::decoder::Decoder;
use super::llama::{CHUNK, GpuLlama};
use crate::Result;
use crate::measure::{DecodeCase, DecodeTime};
use crate::model::LanguageModel;
use common::statistics::median;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rounds before those that count: they compile, and fill memory pools.
const WARM_UP: usize = 1;

/// Times reading a context of random tokens, then `n_steps` of greedy decoding after it, all cases in turn.
///
/// # Errors
/// If a plan has no kernel, memory does not suffice for all cases together, or of the driver.
pub fn decode_times(
    model: &GpuLlama,
    cases: &[DecodeCase],
    n_steps: usize,
    n_repeats: usize,
) -> Result<Vec<DecodeTime>> {
    let mut read = cases
        .iter()
        .map(|case| case.empty_cache(model, 1, n_steps))
        .collect::<Result<Vec<GpuCache>>>()?;
    let mut prefills = vec![Vec::with_capacity(n_repeats); cases.len()];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for repeat in 0..n_repeats + WARM_UP {
        for ((case, cache), seconds) in cases.iter().zip(&mut read).zip(&mut prefills) {
            let tokens = random_tokens(&mut rng, model, case.context);
            let Some(last) = tokens.len().checked_sub(1) else { continue };
            cache.clear()?;
            let milliseconds = model.gpu().time(|| {
                model.forward(cache, &tokens, last..tokens.len())?;
                Ok(())
            })?;
            if repeat >= WARM_UP {
                seconds.push(f64::from(milliseconds) * 1e-3);
            }
        }
    }
    let mut caches = cases
        .iter()
        .zip(read)
        .map(|(case, one)| case.batch_of(model, &one, n_steps))
        .collect::<Result<Vec<GpuCache>>>()?;
    let mut decoders = caches
        .iter_mut()
        .map(|cache| Decoder::new(model, cache))
        .collect::<Result<Vec<Decoder<'_>>>>()?;
    let mut runs = vec![Vec::with_capacity(n_repeats); cases.len()];
    for repeat in 0..n_repeats + WARM_UP {
        for ((case, decoder), seconds) in cases.iter().zip(&mut decoders).zip(&mut runs) {
            decoder.rewind(vec![case.context; case.n_sequences])?;
            decoder.feed(&random_tokens(&mut rng, model, case.n_sequences))?;
            let milliseconds = model.gpu().time(|| decoder.launch(n_steps))?;
            if repeat >= WARM_UP {
                seconds.push(f64::from(milliseconds) * 1e-3 / n_steps as f64);
            }
        }
    }
    let times = decoders.iter().zip(runs).zip(prefills).map(|((decoder, runs), prefills)| {
        Ok(DecodeTime {
            step_seconds: median(&runs).unwrap_or(f64::NAN),
            prefill_seconds: median(&prefills),
            cache_bytes: decoder.cache().bytes(),
        })
    });
    times.collect()
}

impl DecodeCase {
    fn empty_cache(
        &self,
        model: &GpuLlama,
        n_sequences: usize,
        n_steps: usize,
    ) -> Result<GpuCache> {
        let most_new = if n_sequences == 1 { self.context.clamp(1, CHUNK) } else { 1 };
        let size = CacheSize { n_sequences, capacity: self.context + n_steps, most_new };
        model.new_cache(&self.plan, size)
    }

    /// As many copies of a sequence as the batch has.
    fn batch_of(&self, model: &GpuLlama, one: &GpuCache, n_steps: usize) -> Result<GpuCache> {
        let mut batch = self.empty_cache(model, self.n_sequences, n_steps)?;
        for sequence in 0..self.n_sequences {
            for layer in 0..one.shape().n_layers {
                batch.copy_layer(layer, sequence, one, layer)?;
            }
        }
        batch.set_lengths(vec![self.context; self.n_sequences])?;
        Ok(batch)
    }
}

fn random_tokens(rng: &mut ChaCha8Rng, model: &GpuLlama, n: usize) -> Vec<u32> {
    (0..n).map(|_| rng.random_range(0..model.vocab_size() as u32)).collect()
}
