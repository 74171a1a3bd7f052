//! The tokens of one head that are in half precision: the first ones, for good, and the recent ones.

use super::layer::Side;
use super::packed::reserve;
use crate::quant::tiles::VECTOR;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// The sinks, and consecutive tokens after them, dropped from the front as they are packed.
#[derive(Debug, Clone)]
pub(crate) struct Exact {
    side: Side,
    head_dim: usize,
    n_sinks: usize,
    sinks: Vec<f16>,
    n_sinks_held: usize,
    /// Position of the first recent token held.
    first: usize,
    n_recent: usize,
    /// Position of the first token that has a place in `recent`: 16 tokens of keys are dropped together, and
    /// moving the rest is put off until it pays.
    origin: usize,
    recent: Vec<f16>,
}

impl Exact {
    pub(super) fn new(side: Side, head_dim: usize, n_sinks: usize) -> Exact {
        Exact {
            side,
            head_dim,
            n_sinks,
            sinks: Vec::new(),
            n_sinks_held: 0,
            first: n_sinks,
            n_recent: 0,
            origin: n_sinks,
            recent: Vec::new(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        (self.n_sinks_held + self.n_recent) * self.head_dim * size_of::<f16>()
    }

    /// Appends one token.
    pub(super) fn push(&mut self, row: impl Iterator<Item = f16>) {
        let (side, head_dim) = (self.side, self.head_dim);
        if self.n_sinks_held < self.n_sinks {
            put(side, head_dim, &mut self.sinks, self.n_sinks_held, row);
            self.n_sinks_held += 1;
        } else {
            put(side, head_dim, &mut self.recent, self.first + self.n_recent - self.origin, row);
            self.n_recent += 1;
        }
    }

    /// The recent tokens from this position on, or the sinks, as they are held: of keys, blocks of
    /// `[channels][16 tokens]` that begin at the first sink and the first token after the sinks; of values,
    /// `[tokens][channels]`.
    ///
    /// Of keys, the position is a multiple of 16 from there.
    pub(crate) fn held_from(&self, position: usize) -> &[f16] {
        let (held, origin) = match position < self.n_sinks {
            true => (&self.sinks, 0),
            false => (&self.recent, self.origin),
        };
        &held[(position - origin) * self.head_dim..]
    }

    /// Writes the rows of the tokens at these positions, all sinks or all recent.
    pub(super) fn decode(&self, positions: Range<usize>, rows: &mut [f32]) {
        if positions.is_empty() {
            return;
        }
        let (held, origin) = match positions.start < self.n_sinks {
            true => (&self.sinks, 0),
            false => (&self.recent, self.origin),
        };
        if self.side == Side::Values {
            let at = |position: usize| (position - origin) * self.head_dim;
            held[at(positions.start)..at(positions.end)].convert_to_f32_slice(rows);
            return;
        }
        for (position, row) in positions.zip(rows.chunks_exact_mut(self.head_dim)) {
            let place = position - origin;
            let block = &held[place / VECTOR * VECTOR * self.head_dim..];
            for (element, of_channel) in row.iter_mut().zip(block.chunks(VECTOR)) {
                *element = of_channel[place % VECTOR].to_f32();
            }
        }
    }

    /// Drops the recent tokens before `position`.
    pub(super) fn drop_before(&mut self, position: usize) {
        let dropped = position.saturating_sub(self.first).min(self.n_recent);
        self.n_recent -= dropped;
        self.first = self.first.max(position);
        if self.n_recent == 0 {
            self.recent.clear();
            self.origin = self.aligned(self.first);
            return;
        }
        let unused = self.aligned(self.first) - self.origin;
        if unused * self.head_dim * 2 >= self.recent.len() {
            self.recent.drain(..unused * self.head_dim);
            self.origin += unused;
        }
    }

    /// Drops the tokens from `position` on; with `refill`, rows of tokens that end at `position`,
    /// the window starts anew with those.
    pub(super) fn truncate(&mut self, position: usize, refill: &[f32]) {
        self.n_sinks_held = self.n_sinks_held.min(position);
        let position = position.max(self.n_sinks);
        if position >= self.first && refill.is_empty() {
            self.n_recent = self.n_recent.min(position - self.first);
            return;
        }
        self.recent.clear();
        self.n_recent = 0;
        self.first = position - refill.len() / self.head_dim;
        self.origin = self.aligned(self.first);
        for row in refill.chunks_exact(self.head_dim) {
            self.push(row.iter().map(|&element| f16::from_f32(element)));
        }
    }

    /// The last position up to this one at which something held may begin.
    fn aligned(&self, position: usize) -> usize {
        match self.side {
            Side::Keys => position - (position - self.n_sinks) % VECTOR,
            Side::Values => position,
        }
    }
}

/// Writes a row to its place.
fn put(
    side: Side,
    head_dim: usize,
    held: &mut Vec<f16>,
    place: usize,
    row: impl Iterator<Item = f16>,
) {
    let places = match side {
        Side::Keys => (place + 1).next_multiple_of(VECTOR),
        Side::Values => place + 1,
    };
    if held.len() < places * head_dim {
        let missing = places * head_dim - held.len();
        reserve(held, missing);
        held.resize(places * head_dim, f16::ZERO);
    }
    match side {
        Side::Keys => {
            let block = &mut held[place / VECTOR * VECTOR * head_dim..];
            for (of_channel, element) in block.chunks_mut(VECTOR).zip(row) {
                of_channel[place % VECTOR] = element;
            }
        }
        Side::Values => {
            let place = &mut held[place * head_dim..];
            for (place, element) in place.iter_mut().zip(row) {
                *place = element;
            }
        }
    }
}
