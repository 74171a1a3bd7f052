//! The quantized cache under a model of your own.
//!
//! The "model" is one attention layer with random projections over a random walk of hidden vectors: it
//! shows how the cache is called, not what a trained model loses. Yours brings its own keys, values
//! and queries. Run it with
//!
//! ```text
//! cargo run --release -p kvquant --example own_model
//! ```

// An example prints.
#![allow(clippy::print_stdout)]

use common::tensor::nmse;
use kvquant::attention::{Heads, attend};
use kvquant::cache::{CacheShape, KvCache};
use kvquant::policy::Plan;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Six query heads share two KV heads of 64 channels.
const HEADS: Heads = Heads { n_heads: 6, n_kv_heads: 2, head_dim: 64 };
const HIDDEN: usize = 256;
const N_TOKENS: usize = 600;
/// A prompt comes in one chunk, what follows token by token.
const N_PROMPT: usize = 400;

/// A layer's projections, `[outputs][HIDDEN]`.
struct Layer {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
}

impl Layer {
    fn random(rng: &mut ChaCha8Rng) -> Layer {
        let mut matrix = |outputs: usize, gain: f32| -> Vec<f32> {
            let bound = gain * (3.0 / HIDDEN as f32).sqrt();
            (0..outputs * HIDDEN).map(|_| rng.random_range(-bound..bound)).collect()
        };
        let kv_row = HEADS.n_kv_heads * HEADS.head_dim;
        // Logits that differ by several units, as in trained models: attention picks some tokens.
        Layer {
            query: matrix(HEADS.row_len(), 8.0),
            key: matrix(kv_row, 1.0),
            value: matrix(kv_row, 1.0),
        }
    }

    /// Attention over hidden vectors `[tokens][HIDDEN]` that follow those in the cache.
    fn forward(&self, hidden: &[f32], cache: &mut KvCache) -> kvquant::Result<Vec<f32>> {
        let keys = project(&self.key, hidden);
        let values = project(&self.value, hidden);
        let queries = project(&self.query, hidden);
        let mut output = vec![0.0; queries.len()];
        // What is appended is seen as decoding token by token would see it, and packed on drop.
        let appended = cache.layer_mut(0).append(&keys, &values)?;
        attend(&appended, HEADS, &queries, &mut output)?;
        Ok(output)
    }
}

/// Every hidden vector times the matrix: `[tokens][outputs]`.
fn project(matrix: &[f32], hidden: &[f32]) -> Vec<f32> {
    let dot = |row: &[f32], x: &[f32]| row.iter().zip(x).map(|(w, x)| w * x).sum();
    hidden
        .chunks_exact(HIDDEN)
        .flat_map(|x| matrix.chunks_exact(HIDDEN).map(move |row| dot(row, x)))
        .collect()
}

/// Hidden vectors that change slowly from token to token, as those of text do.
fn random_walk(rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut x = vec![0.0; HIDDEN];
    let mut walk = Vec::with_capacity(N_TOKENS * HIDDEN);
    for _ in 0..N_TOKENS {
        for x in &mut x {
            *x = 0.9 * *x + rng.random_range(-0.5..0.5);
        }
        walk.extend_from_slice(&x);
    }
    walk
}

fn main() -> kvquant::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let layer = Layer::random(&mut rng);
    let hidden = random_walk(&mut rng);
    let Heads { n_kv_heads, head_dim, .. } = HEADS;
    let shape = CacheShape { n_layers: 1, n_kv_heads, head_dim };

    let run = |plan: &Plan| -> kvquant::Result<(Vec<f32>, KvCache)> {
        let mut cache = KvCache::new(shape, plan)?;
        let (prompt, rest) = hidden.split_at(N_PROMPT * HIDDEN);
        let mut output = layer.forward(prompt, &mut cache)?;
        for token in rest.chunks_exact(HIDDEN) {
            output.extend(layer.forward(token, &mut cache)?);
        }
        Ok((output, cache))
    };

    let (reference, _) = run(&Plan::f16())?;
    println!("plan          bits per element   keys, bytes   values, bytes   error (NMSE)");
    for plan in ["f16", "kivi-8", "kivi-4", "kivi-2", "kivi-1"] {
        let (output, cache) = run(&plan.parse()?)?;
        println!(
            "{plan:<12}  {:>16.2}   {:>11}   {:>13}   {:>12.5}",
            cache.bits_per_element(),
            cache.bytes().keys,
            cache.bytes().values,
            nmse(&reference, &output),
        );
    }
    Ok(())
}
