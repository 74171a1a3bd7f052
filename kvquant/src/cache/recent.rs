//! The tokens of one head that are still in half precision.

use super::packed::reserve;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// Rows `[tokens][head_dim]` of consecutive tokens, dropped from the front as they are packed.
#[derive(Debug)]
pub(super) struct Recent {
    head_dim: usize,
    /// Position of the first token held.
    first: usize,
    /// Elements before this index are dropped already; moving the rest is put off until it pays.
    start: usize,
    elements: Vec<f16>,
}

impl Recent {
    pub(super) fn new(head_dim: usize) -> Recent {
        Recent { head_dim, first: 0, start: 0, elements: Vec::new() }
    }

    pub(super) fn n_tokens(&self) -> usize {
        (self.elements.len() - self.start) / self.head_dim
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.elements[self.start..])
    }

    /// Appends one token.
    pub(super) fn push(&mut self, row: impl Iterator<Item = f16>) {
        reserve(&mut self.elements, self.head_dim);
        self.elements.extend(row);
    }

    /// Writes the rows of the tokens at these positions.
    pub(super) fn decode(&self, positions: Range<usize>, rows: &mut [f32]) {
        let at = |position: usize| self.start + (position - self.first) * self.head_dim;
        self.elements[at(positions.start)..at(positions.end)].convert_to_f32_slice(rows);
    }

    /// Drops the tokens before `position`.
    pub(super) fn drop_before(&mut self, position: usize) {
        let dropped = position.saturating_sub(self.first).min(self.n_tokens());
        self.start += dropped * self.head_dim;
        self.first = self.first.max(position);
        if self.start * 2 >= self.elements.len() {
            self.elements.drain(..self.start);
            self.start = 0;
        }
    }

    /// Drops the tokens from `position` on; with `refill`, rows of tokens that end at `position`,
    /// the window starts anew with those.
    pub(super) fn truncate(&mut self, position: usize, refill: &[f32]) {
        if position >= self.first && refill.is_empty() {
            let kept = self.start + (position - self.first) * self.head_dim;
            self.elements.truncate(kept.max(self.start));
            return;
        }
        self.elements.clear();
        self.start = 0;
        self.first = position - refill.len() / self.head_dim;
        self.elements.extend(refill.iter().map(|&element| f16::from_f32(element)));
    }
}
