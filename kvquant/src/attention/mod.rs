//! Grouped-query attention over packed groups and the half-precision window.
//!
//! | file | what |
//! |---|---|
//! | [`mod@reference`] | the plain loops: one query and one token at a time, double precision |
//! | [`fused`] | what the model runs: nothing is dequantized, all threads work |
//! | `span` | one head over a span of tokens: logits, online softmax, outputs |
//! | `kernels` | the inner loops, for each form of vector instructions |
//! | `exponential` | exponentials in vector instructions |
//!
//! The fused form is tested against the reference over one list of cases: every format, chunk
//! lengths around the window, several query heads to a KV head.

mod exponential;
pub mod fused;
mod kernels;
pub mod reference;
mod span;

pub use fused::attend;

use crate::cache::Appended;
use crate::{Error, Result};

/// The heads of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads, a multiple of `n_kv_heads`.
    pub n_heads: usize,
    /// KV heads; query head h reads KV head h / (n_heads / n_kv_heads).
    pub n_kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl Heads {
    /// Query heads that share a KV head.
    pub fn group_size(self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// Numbers in one token's queries, and in its output.
    pub fn row_len(self) -> usize {
        self.n_heads * self.head_dim
    }

    /// What logits are multiplied by, 1/sqrt(head_dim).
    fn logit_scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Checks queries and output against the cache and its appended tokens.
    fn check(self, appended: &Appended<'_>, queries: &[f32], output: &[f32]) -> Result<()> {
        let keys = appended.keys();
        let shape_error =
            |what, got, expected| Err(Error::Shape { operation: "attention", what, got, expected });
        if (self.n_kv_heads, self.head_dim) != (keys.n_heads(), keys.head_dim()) {
            let expected =
                format!("{} (KV heads x head dim of the cache)", keys.n_heads() * keys.head_dim());
            return shape_error("a row of keys", self.n_kv_heads * self.head_dim, expected);
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let expected = format!("a multiple of the {} KV heads", self.n_kv_heads);
            return shape_error("the list of query heads", self.n_heads, expected);
        }
        let n_tokens = appended.positions().len();
        for (what, got) in [("the queries", queries.len()), ("the output", output.len())] {
            if got != n_tokens * self.row_len() {
                let expected =
                    format!("{n_tokens} tokens x {} heads x {}", self.n_heads, self.head_dim);
                return shape_error(what, got, expected);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod cases;
#[cfg(test)]
mod tests;
