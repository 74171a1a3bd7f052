//! What an evaluation asks of a model, whatever runs it.

use super::config::Config;
use super::llama::{Chunk, Llama};
use crate::cache::{CacheBytes, KvCache};
use crate::policy::Plan;
use crate::{Error, Result};
use std::ops::Range;

/// A model that reads a text in chunks and says what it expects next.
pub trait LanguageModel {
    /// What it keeps of one sequence.
    type Cache;

    /// Sizes and constants.
    fn config(&self) -> &Config;

    /// Number of tokens in the vocabulary.
    fn vocab_size(&self) -> usize;

    /// An empty cache for a sequence of at most `n_tokens` tokens, which come in chunks of at most `chunk`.
    ///
    /// # Errors
    /// If the plan does not fit the model.
    fn cache_for(&self, plan: &Plan, n_tokens: usize, chunk: usize) -> Result<Self::Cache>;

    /// Reads the next tokens of a sequence. Gives logits `[logits.len()][vocab_size]`, those after the tokens of the
    /// range.
    ///
    /// # Errors
    /// If there is no token, one is not in the vocabulary, or the range reaches beyond them.
    fn read(
        &self,
        cache: &mut Self::Cache,
        tokens: &[u32],
        logits: Range<usize>,
    ) -> Result<Vec<f32>>;

    /// Bytes that the tokens in a cache take in its formats.
    fn cache_bytes(&self, cache: &Self::Cache) -> CacheBytes;

    /// Checks that the model has these tokens.
    ///
    /// # Errors
    /// If one is not in the vocabulary.
    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let vocab_size = self.vocab_size();
        match tokens.iter().find(|&&token| token as usize >= vocab_size) {
            None => Ok(()),
            Some(token) => Err(Error::Tokenizer(format!(
                "token {token} is not in the vocabulary of {vocab_size}"
            ))),
        }
    }

    /// Checks that a text of so many tokens is no longer than those that the model was trained on.
    ///
    /// # Errors
    /// [`Error::ContextTooLong`] if it is.
    fn check_context(&self, n_tokens: usize) -> Result<()> {
        let most = self.config().context_len;
        if n_tokens > most {
            return Err(Error::ContextTooLong { n_tokens, most });
        }
        Ok(())
    }
}

impl LanguageModel for Llama {
    type Cache = KvCache;

    fn config(&self) -> &Config {
        self.config()
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size()
    }

    fn cache_for(&self, plan: &Plan, _: usize, _: usize) -> Result<KvCache> {
        self.new_cache(plan)
    }

    fn read(&self, cache: &mut KvCache, tokens: &[u32], logits: Range<usize>) -> Result<Vec<f32>> {
        Ok(self.forward(&mut [Chunk { cache, tokens, logits }])?.remove(0))
    }

    fn cache_bytes(&self, cache: &KvCache) -> CacheBytes {
        cache.bytes()
    }
}
