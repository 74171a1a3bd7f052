//! What the model does on the calibration text with a cache in half precision.

use crate::cache::KvCache;
use crate::model::{AttentionInputs, Llama};
use crate::policy::Plan;
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// A run in half precision over one window of text, kept so that any layers can be run again with another
/// cache and be held against it.
#[derive(Debug)]
pub struct Calibration {
    n_tokens: usize,
    /// What enters each layer, `[tokens][hidden_len]`.
    hidden: Vec<Vec<f32>>,
    /// Logarithms of the predictions' probabilities, `[scored tokens][vocabulary]`.
    predictions: Vec<f32>,
    layers: Vec<LayerStatistics>,
}

/// What entered a layer's attention.
#[derive(Debug)]
pub struct LayerStatistics {
    /// Mean square of the queries that read a KV head, `[KV heads][head_dim]`.
    pub query_squares: Vec<Vec<f64>>,
    /// `[KV heads][tokens][head_dim]`
    pub keys: Vec<Vec<f32>>,
}

impl Calibration {
    /// Runs the model over `tokens`.
    ///
    /// # Errors
    /// If there are fewer than two tokens, or the model fails.
    pub fn run(model: &Llama, tokens: &[u32]) -> Result<Calibration> {
        if tokens.len() < 2 {
            return Err(Error::TextTooShort { n_tokens: tokens.len(), context: 2 });
        }
        let shape = model.config().cache_shape();
        let mut cache = model.new_cache(&Plan::f16())?;
        let mut hidden = vec![model.embed(tokens)?];
        let mut layers = Vec::with_capacity(shape.n_layers);
        for layer in 0..shape.n_layers {
            let mut states = hidden[layer].clone();
            model.step(layer, &mut states, cache.layer_mut(layer), |inputs| {
                layers.push(LayerStatistics::of(inputs, model));
            })?;
            hidden.push(states);
        }
        let leaving = hidden.pop();
        let leaving = leaving.as_ref().expect("a model has layers");
        let scored = scored(tokens.len());
        let mut predictions = predict(model, leaving, scored)?;
        predictions.par_chunks_exact_mut(model.vocab_size()).for_each(log_softmax);
        Ok(Calibration { n_tokens: tokens.len(), hidden, predictions, layers })
    }

    /// What entered each layer's attention.
    pub fn layers(&self) -> &[LayerStatistics] {
        &self.layers
    }

    /// How far the predictions move, in nats, when the layers from `first` on are run with `cache`, an
    /// empty one: the mean Kullback-Leibler divergence from those of half precision.
    ///
    /// # Errors
    /// If the model fails.
    pub fn divergence(&self, model: &Llama, first: usize, cache: &mut KvCache) -> Result<f64> {
        let mut hidden = self.hidden[first].clone();
        for layer in first..model.config().n_layers {
            model.step(layer, &mut hidden, cache.layer_mut(layer), |_| {})?;
        }
        let mut moved = predict(model, &hidden, scored(self.n_tokens))?;
        let vocab_size = model.vocab_size();
        let rows = moved.par_chunks_exact_mut(vocab_size);
        let divergences: Vec<f64> = rows
            .zip(self.predictions.par_chunks_exact(vocab_size))
            .map(|(moved, expected)| {
                log_softmax(moved);
                divergence(expected, moved)
            })
            .collect();
        Ok(divergences.iter().sum::<f64>() / divergences.len() as f64)
    }
}

impl LayerStatistics {
    fn of(inputs: &AttentionInputs, model: &Llama) -> LayerStatistics {
        let heads = model.config().heads;
        let n_tokens = inputs.queries.len() / heads.row_len();
        let mut query_squares = vec![vec![0.0; heads.head_dim]; heads.n_kv_heads];
        for (at, query) in inputs.queries.chunks_exact(heads.head_dim).enumerate() {
            let kv_head = at % heads.n_heads / heads.group_size();
            for (square, &channel) in query_squares[kv_head].iter_mut().zip(query) {
                *square += f64::from(channel * channel) / (n_tokens * heads.group_size()) as f64;
            }
        }
        let mut keys = vec![Vec::with_capacity(n_tokens * heads.head_dim); heads.n_kv_heads];
        for (at, key) in inputs.keys.chunks_exact(heads.head_dim).enumerate() {
            keys[at % heads.n_kv_heads].extend_from_slice(key);
        }
        LayerStatistics { query_squares, keys }
    }
}

/// The tokens whose successors' predictions count: those that see much of the text, most of it packed.
fn scored(n_tokens: usize) -> Range<usize> {
    n_tokens / 2..n_tokens
}

fn predict(model: &Llama, hidden: &[f32], tokens: Range<usize>) -> Result<Vec<f32>> {
    let row_len = model.config().hidden_len;
    model.predict(&hidden[tokens.start * row_len..tokens.end * row_len])
}

/// Logits to logarithms of probabilities, in place.
fn log_softmax(row: &mut [f32]) {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.iter().map(|&logit| f64::from((logit - greatest).exp())).sum();
    let shift = greatest + total.ln() as f32;
    for logit in row {
        *logit -= shift;
    }
}

/// From logarithms of probabilities.
fn divergence(expected: &[f32], found: &[f32]) -> f64 {
    let terms = expected.iter().zip(found);
    terms.map(|(&p, &q)| f64::from(p.exp()) * f64::from(p - q)).sum()
}
