//! The tokens of one head that are in half precision: the first ones, for good, and the recent ones.

use super::packed::reserve;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// Rows `[tokens][head_dim]`: those of the sinks, and those of consecutive tokens after them, dropped from
/// the front as they are packed.
#[derive(Debug, Clone)]
pub(super) struct Exact {
    head_dim: usize,
    n_sinks: usize,
    sinks: Vec<f16>,
    /// Position of the first recent token held.
    first: usize,
    /// Elements before this index are dropped already; moving the rest is put off until it pays.
    start: usize,
    recent: Vec<f16>,
}

impl Exact {
    pub(super) fn new(head_dim: usize, n_sinks: usize) -> Exact {
        let (sinks, recent) = (Vec::new(), Vec::new());
        Exact { head_dim, n_sinks, sinks, first: n_sinks, start: 0, recent }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.sinks.as_slice()) + size_of_val(&self.recent[self.start..])
    }

    /// Appends one token.
    pub(super) fn push(&mut self, row: impl Iterator<Item = f16>) {
        let is_sink = self.sinks.len() < self.n_sinks * self.head_dim;
        let rows = if is_sink { &mut self.sinks } else { &mut self.recent };
        reserve(rows, self.head_dim);
        rows.extend(row);
    }

    /// Writes the rows of the tokens at these positions, all sinks or all recent.
    pub(super) fn decode(&self, positions: Range<usize>, rows: &mut [f32]) {
        if positions.is_empty() {
            return;
        }
        let (held, first) = match positions.start < self.n_sinks {
            true => (self.sinks.as_slice(), 0),
            false => (&self.recent[self.start..], self.first),
        };
        let at = |position: usize| (position - first) * self.head_dim;
        held[at(positions.start)..at(positions.end)].convert_to_f32_slice(rows);
    }

    /// Drops the recent tokens before `position`.
    pub(super) fn drop_before(&mut self, position: usize) {
        let held = (self.recent.len() - self.start) / self.head_dim;
        let dropped = position.saturating_sub(self.first).min(held);
        self.start += dropped * self.head_dim;
        self.first = self.first.max(position);
        if self.start * 2 >= self.recent.len() {
            self.recent.drain(..self.start);
            self.start = 0;
        }
    }

    /// Drops the tokens from `position` on; with `refill`, rows of tokens that end at `position`,
    /// the window starts anew with those.
    pub(super) fn truncate(&mut self, position: usize, refill: &[f32]) {
        self.sinks.truncate(position * self.head_dim);
        let position = position.max(self.n_sinks);
        if position >= self.first && refill.is_empty() {
            let kept = self.start + (position - self.first) * self.head_dim;
            self.recent.truncate(kept.max(self.start));
            return;
        }
        self.recent.clear();
        self.start = 0;
        self.first = position - refill.len() / self.head_dim;
        self.recent.extend(refill.iter().map(|&element| f16::from_f32(element)));
    }
}
