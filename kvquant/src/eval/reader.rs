//! A text that has been read, to be gone on with in several ways.

use super::probability::LogProbabilities;
use crate::cache::KvCache;
use crate::model::tokenizer::Tokenizer;
use crate::model::{Chunk, LanguageModel, Llama};
use crate::policy::Plan;
use crate::{Error, Result};

/// Tokens that go through the model at once.
const CHUNK: usize = 512;

/// What a model has read, and what it expects next. A copy goes on by itself.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    model: &'a Llama,
    cache: KvCache,
    /// Logits after the last token; nothing has been read if they are empty.
    next: Vec<f32>,
}

impl<'a> Reader<'a> {
    /// Has read nothing.
    ///
    /// # Errors
    /// If the plan does not fit the model.
    pub fn new(model: &'a Llama, plan: &Plan) -> Result<Reader<'a>> {
        Ok(Reader { model, cache: model.new_cache(plan)?, next: Vec::new() })
    }

    /// Tokens read.
    pub fn n_tokens(&self) -> usize {
        self.cache.n_tokens()
    }

    /// Reads on.
    ///
    /// # Errors
    /// If the text becomes longer than the model's context, or the model fails.
    pub fn read(&mut self, tokens: &[u32]) -> Result<()> {
        self.model.check_context(self.cache.n_tokens() + tokens.len())?;
        let n_chunks = tokens.len().div_ceil(CHUNK);
        for (at, tokens) in tokens.chunks(CHUNK).enumerate() {
            let last = if at + 1 == n_chunks { tokens.len() - 1..tokens.len() } else { 0..0 };
            let chunk = Chunk { cache: &mut self.cache, tokens, logits: last.clone() };
            let logits = self.model.forward(&mut [chunk])?.remove(0);
            if !last.is_empty() {
                self.next = logits;
            }
        }
        Ok(())
    }

    /// The logarithm of the probability that the text goes on with these tokens.
    ///
    /// # Errors
    /// If nothing has been read, or the model fails.
    pub fn log_probability(&self, tokens: &[u32]) -> Result<f64> {
        let Some(&first) = tokens.first() else { return Ok(0.0) };
        self.model.check_tokens(tokens)?;
        if self.next.is_empty() {
            return Err(Error::Tokenizer(
                "nothing has been read that a text could follow".to_owned(),
            ));
        }
        let mut total = LogProbabilities::of(&self.next).at(first as usize);
        if tokens.len() > 1 {
            let mut cache = self.cache.clone();
            let read = &tokens[..tokens.len() - 1];
            let chunk = Chunk { cache: &mut cache, tokens: read, logits: 0..read.len() };
            let logits = self.model.forward(&mut [chunk])?.remove(0);
            let rows = logits.chunks_exact(self.model.vocab_size()).zip(&tokens[1..]);
            total +=
                rows.map(|(row, &token)| LogProbabilities::of(row).at(token as usize)).sum::<f64>();
        }
        Ok(total)
    }

    /// The most probable continuation of at most so many tokens, as text: until the model ends it, its context is full,
    /// or `is_over` says so of what there is.
    ///
    /// # Errors
    /// If the model fails.
    pub fn go_on(
        &mut self,
        tokenizer: &Tokenizer,
        most_tokens: usize,
        is_over: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let mut tokens = Vec::new();
        let mut text = String::new();
        while tokens.len() < most_tokens && !is_over(&text) {
            let next = self.most_probable().filter(|&token| !tokenizer.ends_generation(token));
            let Some(next) = next else { break };
            tokens.push(next);
            text = tokenizer.decode(&tokens)?;
            if self.n_tokens() == self.model.config().context_len {
                break;
            }
            self.read(&[next])?;
        }
        Ok(text)
    }

    /// The most probable next token.
    fn most_probable(&self) -> Option<u32> {
        let best = (0..self.next.len()).max_by(|&a, &b| self.next[a].total_cmp(&self.next[b]));
        best.map(|token| token as u32)
    }
}
