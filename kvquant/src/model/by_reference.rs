//! A model whose attention is the plain loops: what the fused kernels are held against on texts.

use super::config::Config;
use super::language_model::LanguageModel;
use super::llama::Llama;
use crate::Result;
use crate::attention::reference;
use crate::cache::{CacheBytes, KvCache};
use crate::policy::Plan;
use std::ops::Range;

/// The same weights and products, and [`reference::attend`] over the cache: thousands of times slower.
#[derive(Debug, Clone, Copy)]
pub struct ByReference<'m>(pub &'m Llama);

impl LanguageModel for ByReference<'_> {
    type Cache = KvCache;

    fn config(&self) -> &Config {
        self.0.config()
    }

    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    fn cache_for(&self, plan: &Plan, n_tokens: usize, chunk: usize) -> Result<KvCache> {
        self.0.cache_for(plan, n_tokens, chunk)
    }

    fn read(&self, cache: &mut KvCache, tokens: &[u32], logits: Range<usize>) -> Result<Vec<f32>> {
        let hidden_len = self.config().hidden_len;
        let mut hidden = self.0.embed(tokens)?;
        for layer_idx in 0..self.config().n_layers {
            self.0.step_with(
                layer_idx,
                &mut hidden,
                cache.layer_mut(layer_idx),
                reference::attend,
            )?;
        }
        self.0.predict(&hidden[logits.start * hidden_len..logits.end * hidden_len])
    }

    fn cache_bytes(&self, cache: &KvCache) -> CacheBytes {
        cache.bytes()
    }
}
