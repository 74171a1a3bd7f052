//! The cache of one layer: keys and values, each packed behind a half-precision window.

use super::packed::{Blocks, Packed, RtnKeys, RtnValues};
use super::recent::Recent;
use super::retention::Retention;
use super::{CacheBytes, CacheShape};
use crate::policy::{LayerFormat, Plan, SideFormat};
use crate::{Error, Result};
use candle_core::quantized::k_quants::{BlockQ4_0, BlockQ8_0};
use common::tensor::f16_saturating;
use std::ops::Range;

/// Keys and values of one layer of one sequence.
#[derive(Debug)]
pub struct LayerCache {
    keys: SideCache,
    values: SideCache,
}

impl LayerCache {
    /// An empty layer. The plan was checked against the shape.
    pub(super) fn new(shape: CacheShape, format: LayerFormat, plan: &Plan) -> LayerCache {
        LayerCache {
            keys: SideCache::new(shape, Side::Keys, format.keys, plan),
            values: SideCache::new(shape, Side::Values, format.values, plan),
        }
    }

    /// Tokens held.
    pub fn n_tokens(&self) -> usize {
        self.keys.n_tokens
    }

    /// Appends the keys and values of the next tokens, each `[tokens][KV heads][head dim]`, rounded
    /// to half precision (beyond its range they saturate).
    ///
    /// The result is the layer as the queries of those tokens see it, each query with the window
    /// that it would have found when decoding token by token. When it is dropped, the tokens that
    /// have left the window by then are held packed only.
    ///
    /// # Errors
    /// If the lengths do not match each other or the shape, or a number is NaN. Nothing is appended
    /// then.
    pub fn append(&mut self, keys: &[f32], values: &[f32]) -> Result<Appended<'_>> {
        let row = self.keys.row_len();
        if keys.is_empty() || !keys.len().is_multiple_of(row) {
            return Err(Error::Shape {
                operation: "append to the cache",
                what: "keys",
                got: keys.len(),
                expected: format!("one or more tokens of {row} (KV heads x head dim)"),
            });
        }
        if values.len() != keys.len() {
            return Err(Error::Shape {
                operation: "append to the cache",
                what: "values",
                got: values.len(),
                expected: format!("{}, as many as keys", keys.len()),
            });
        }
        self.keys.check_numbers("key", keys)?;
        self.values.check_numbers("value", values)?;
        let first = self.n_tokens();
        self.keys.append(keys);
        self.values.append(values);
        Ok(Appended { layer: self, first })
    }

    /// The exact bytes held now.
    pub fn bytes(&self) -> CacheBytes {
        CacheBytes { keys: self.keys.bytes() as u64, values: self.values.bytes() as u64 }
    }

    pub(super) fn truncate(&mut self, n_tokens: usize) {
        self.keys.truncate(n_tokens);
        self.values.truncate(n_tokens);
    }
}

/// A layer just after an append, as the appended queries see it; settles when dropped.
#[derive(Debug)]
pub struct Appended<'a> {
    layer: &'a mut LayerCache,
    first: usize,
}

impl Appended<'_> {
    /// Positions of the appended tokens.
    pub fn positions(&self) -> Range<usize> {
        self.first..self.layer.n_tokens()
    }

    /// The keys.
    pub fn keys(&self) -> &SideCache {
        &self.layer.keys
    }

    /// The values.
    pub fn values(&self) -> &SideCache {
        &self.layer.values
    }
}

impl Drop for Appended<'_> {
    fn drop(&mut self) {
        self.layer.keys.settle();
        self.layer.values.settle();
    }
}

/// Which side of a layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Grouped along the tokens of a channel.
    Keys,
    /// Grouped along the channels of a token.
    Values,
}

/// One side, keys or values, of one layer.
#[derive(Debug)]
pub struct SideCache {
    head_dim: usize,
    retention: Retention,
    n_tokens: usize,
    /// Tokens packed when the last append began.
    base: usize,
    heads: Vec<HeadCache>,
}

#[derive(Debug)]
struct HeadCache {
    packed: Option<Box<dyn Packed>>,
    recent: Recent,
}

impl SideCache {
    fn new(shape: CacheShape, side: Side, format: SideFormat, plan: &Plan) -> SideCache {
        let head_dim = shape.head_dim;
        let head = || HeadCache {
            packed: new_packed(head_dim, side, format, plan.group),
            recent: Recent::new(head_dim),
        };
        SideCache {
            head_dim,
            retention: retention(side, format, plan),
            n_tokens: 0,
            base: 0,
            heads: std::iter::repeat_with(head).take(shape.n_kv_heads).collect(),
        }
    }

    /// Channels of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Number of KV heads.
    pub fn n_heads(&self) -> usize {
        self.heads.len()
    }

    /// How many tokens, from the first on, the query at `position` sees packed; see [`Retention`].
    pub fn packed_for_query(&self, position: usize) -> usize {
        self.retention.packed_for_query(self.base, position)
    }

    /// Writes the packed tokens at these positions, dequantized, as `[tokens][head_dim]`.
    ///
    /// # Panics
    /// If they are not all packed, or the length of `rows` is another.
    pub fn decode_packed(&self, head_idx: usize, positions: Range<usize>, rows: &mut [f32]) {
        let packed = self.heads[head_idx].packed.as_ref().expect("a side that packs tokens");
        packed.decode(positions, rows);
    }

    /// Writes the half-precision tokens at these positions as `[tokens][head_dim]`.
    ///
    /// # Panics
    /// If they are not all held, or the length of `rows` is another.
    pub fn decode_recent(&self, head_idx: usize, positions: Range<usize>, rows: &mut [f32]) {
        self.heads[head_idx].recent.decode(positions, rows);
    }

    fn row_len(&self) -> usize {
        self.heads.len() * self.head_dim
    }

    fn check_numbers(&self, side: &'static str, rows: &[f32]) -> Result<()> {
        let Some(at) = rows.iter().position(|number| number.is_nan()) else { return Ok(()) };
        Err(Error::NotANumber {
            side,
            token: self.n_tokens + at / self.row_len(),
            head: at % self.row_len() / self.head_dim,
            channel: at % self.head_dim,
            value: rows[at],
        })
    }

    /// Appends rows `[tokens][heads][head_dim]` and packs what will have left the window by the last
    /// of them. The window keeps all that the first of them still sees, until [`Self::settle`].
    fn append(&mut self, rows: &[f32]) {
        self.settle();
        let row_len = self.row_len();
        self.n_tokens += rows.len() / row_len;
        let packed_now = self.retention.packed_at_rest(self.base, self.n_tokens);
        for (head_idx, head) in self.heads.iter_mut().enumerate() {
            let first = head_idx * self.head_dim;
            for row in rows.chunks_exact(row_len) {
                let elements = &row[first..first + self.head_dim];
                head.recent.push(elements.iter().map(|&element| f16_saturating(element)));
            }
            if let Some(packed) = &mut head.packed {
                let leaving = packed.n_tokens()..packed_now;
                let mut scratch = vec![0.0; leaving.len() * self.head_dim];
                head.recent.decode(leaving, &mut scratch);
                packed.push(&scratch);
            }
        }
    }

    /// Drops what is packed from the window.
    fn settle(&mut self) {
        self.base = self.retention.packed_at_rest(self.base, self.n_tokens);
        for head in &mut self.heads {
            head.recent.drop_before(self.base);
        }
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.settle();
        if n_tokens >= self.n_tokens {
            return;
        }
        self.n_tokens = n_tokens;
        for head in &mut self.heads {
            let mut cut_group = Vec::new();
            if let Some(packed) = &mut head.packed
                && n_tokens < packed.n_tokens()
            {
                let whole = n_tokens / packed.granularity() * packed.granularity();
                cut_group.resize((n_tokens - whole) * self.head_dim, 0.0);
                packed.decode(whole..n_tokens, &mut cut_group);
                packed.truncate(whole);
                self.base = whole;
            }
            head.recent.truncate(n_tokens, &cut_group);
        }
    }

    fn bytes(&self) -> usize {
        self.heads
            .iter()
            .map(|head| head.recent.bytes() + head.packed.as_ref().map_or(0, |p| p.bytes()))
            .sum()
    }
}

/// When this side packs its tokens.
pub(super) fn retention(side: Side, format: SideFormat, plan: &Plan) -> Retention {
    match (format, side) {
        (SideFormat::F16, _) => Retention::KeepAll,
        (SideFormat::Q8_0 | SideFormat::Q4_0, _) => Retention::Immediate,
        (SideFormat::Rtn(_), Side::Keys) => {
            Retention::Gather { block: plan.window.max(plan.group) }
        }
        (SideFormat::Rtn(_), Side::Values) => Retention::Slide { window: plan.window },
    }
}

fn new_packed(
    head_dim: usize,
    side: Side,
    format: SideFormat,
    group: usize,
) -> Option<Box<dyn Packed>> {
    match (format, side) {
        (SideFormat::F16, _) => None,
        (SideFormat::Q8_0, _) => Some(Box::new(Blocks::<BlockQ8_0>::new(head_dim))),
        (SideFormat::Q4_0, _) => Some(Box::new(Blocks::<BlockQ4_0>::new(head_dim))),
        (SideFormat::Rtn(width), Side::Keys) => {
            Some(Box::new(RtnKeys::new(head_dim, group, width)))
        }
        (SideFormat::Rtn(width), Side::Values) => {
            Some(Box::new(RtnValues::new(head_dim, group, width)))
        }
    }
}
