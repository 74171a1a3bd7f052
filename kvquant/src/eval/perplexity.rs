//! Perplexity means decoding.
//!
//! The query at position t sees exactly the cache that decoding t tokens one at a time would have
//! left: its window in half precision, everything older quantized. Text goes through in chunks for
//! speed, and the cache keeps that promise for any chunk length. (KIVI's own evaluation attends to
//! the whole prompt in full precision and only *stores* it quantized; a perplexity measured so shows
//! no loss at any width.)

use super::probability::LogProbabilities;
use crate::cache::CacheBytes;
use crate::model::LanguageModel;
use crate::policy::Plan;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Which predictions of a window count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScoringRule {
    /// All but the first token's, which nothing predicts.
    #[default]
    All,
    /// Those of the second half, llama.cpp's rule: every scored token has at least half a window
    /// before it.
    SecondHalf,
}

impl ScoringRule {
    /// Indices in a window of the tokens whose successors are scored.
    pub fn scored(self, context: usize) -> Range<usize> {
        match self {
            ScoringRule::All => 0..context - 1,
            ScoringRule::SecondHalf => context / 2..context - 1,
        }
    }
}

impl fmt::Display for ScoringRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ScoringRule::All => "all",
            ScoringRule::SecondHalf => "second-half",
        })
    }
}

impl FromStr for ScoringRule {
    type Err = String;

    fn from_str(text: &str) -> Result<ScoringRule, String> {
        match text {
            "all" => Ok(ScoringRule::All),
            "second-half" => Ok(ScoringRule::SecondHalf),
            _ => Err(format!("`{text}` is no scoring rule; there are all, second-half")),
        }
    }
}

/// How a text is cut up and scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// Tokens in a window; windows don't overlap and each starts with an empty cache.
    pub context: usize,
    /// Windows left out at the start of the text.
    pub skipped_windows: usize,
    /// The most windows taken after those.
    pub max_windows: usize,
    /// Which predictions count.
    pub rule: ScoringRule,
    /// Tokens that go through the model at once. Changes speed and memory, not the result.
    pub chunk: usize,
    /// Replaces the first token of each window, for models that were trained so.
    pub bos: Option<u32>,
}

impl Protocol {
    /// The windows of a text.
    ///
    /// # Errors
    /// If a window is too short to score, or the text has none that isn't left out.
    pub fn windows(self, tokens: &[u32]) -> Result<Vec<Vec<u32>>> {
        let short = |n_tokens| Error::TextTooShort { n_tokens, context: self.context };
        if self.context < 2 {
            return Err(short(tokens.len()));
        }
        let windows = tokens.chunks_exact(self.context).skip(self.skipped_windows);
        let with_bos = |window: &[u32]| {
            let mut window = window.to_vec();
            if let Some(bos) = self.bos {
                window[0] = bos;
            }
            window
        };
        let windows: Vec<Vec<u32>> = windows.take(self.max_windows).map(with_bos).collect();
        match windows.is_empty() {
            true => Err(short(tokens.len().saturating_sub(self.skipped_windows * self.context))),
            false => Ok(windows),
        }
    }

    /// The chunks of a window: where each begins, and which of its tokens' successors are scored.
    pub fn chunks(self, window: &[u32]) -> impl Iterator<Item = (usize, &[u32], Range<usize>)> {
        let scored = self.rule.scored(window.len());
        let chunk = self.chunk.max(1);
        window.chunks(chunk).enumerate().map(move |(chunk_idx, tokens)| {
            let first = chunk_idx * chunk;
            let start = scored.start.clamp(first, first + tokens.len());
            let end = scored.end.clamp(start, first + tokens.len());
            (first, tokens, start - first..end - first)
        })
    }
}

/// The score of one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowScore {
    /// Sum of the negative log-likelihoods, in nats.
    pub nll: f64,
    /// Predictions scored.
    pub n_tokens: usize,
}

impl WindowScore {
    /// exp of the mean negative log-likelihood.
    pub fn perplexity(self) -> f64 {
        (self.nll / self.n_tokens as f64).exp()
    }
}

/// The score of a text and the cache that a window left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Score of each window, in order.
    pub windows: Vec<WindowScore>,
    /// Bytes that the running cache held at the end of a window.
    pub cache_bytes: CacheBytes,
    /// The same for an element, metadata and half-precision window included.
    pub bits_per_element: f64,
}

impl Evaluation {
    /// All windows together.
    pub fn total(&self) -> WindowScore {
        WindowScore {
            nll: self.windows.iter().map(|window| window.nll).sum(),
            n_tokens: self.windows.iter().map(|window| window.n_tokens).sum(),
        }
    }
}

/// Scores a text, given as tokens. `on_window` hears of each window as it is done.
///
/// # Errors
/// If the text is shorter than a window, the window too short to score or longer than the model's context, the
/// plan does not fit the model, or the model fails.
pub fn evaluate(
    model: &impl LanguageModel,
    tokens: &[u32],
    plan: &Plan,
    protocol: Protocol,
    mut on_window: impl FnMut(WindowScore),
) -> Result<Evaluation> {
    let mut windows = Vec::new();
    let mut cache_bytes = CacheBytes::default();
    model.check_tokens(tokens)?;
    model.check_context(protocol.context)?;
    for window in protocol.windows(tokens)? {
        let mut cache = model.cache_for(plan, protocol.context, protocol.chunk)?;
        let score = score_window(model, &window, &mut cache, protocol)?;
        cache_bytes = model.cache_bytes(&cache);
        on_window(score);
        windows.push(score);
    }
    let shape = model.config().cache_shape();
    let bits_per_element = cache_bytes.bits_per_element(shape, protocol.context);
    Ok(Evaluation { windows, cache_bytes, bits_per_element })
}

fn score_window<Model: LanguageModel>(
    model: &Model,
    window: &[u32],
    cache: &mut Model::Cache,
    protocol: Protocol,
) -> Result<WindowScore> {
    let mut nlls = Vec::with_capacity(window.len());
    for (first, tokens, scored) in protocol.chunks(window) {
        let targets = &window[first + scored.start + 1..first + scored.end + 1];
        let logits = model.read(cache, tokens, scored)?;
        nlls.extend(negative_log_likelihoods(&logits, model.vocab_size(), targets));
    }
    Ok(WindowScore { nll: nlls.iter().sum(), n_tokens: nlls.len() })
}

/// For each row of `logits`, `[rows][vocab_size]`, -ln of the probability of the row's target.
fn negative_log_likelihoods(logits: &[f32], vocab_size: usize, targets: &[u32]) -> Vec<f64> {
    logits
        .par_chunks_exact(vocab_size)
        .zip(targets)
        .map(|(row, &target)| -LogProbabilities::of(row).at(target as usize))
        .collect()
}
