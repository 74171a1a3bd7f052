//! The cache of one layer: keys and values, each packed behind a half-precision window.

use super::exact::Exact;
use super::packed::{Blocks, Packed, TiledKeys, TiledValues};
use super::pre_rope::PreRope;
use super::retention::Retention;
use super::{CacheBytes, CacheShape};
use crate::policy::{KeyChannels, LayerFormat, Plan, SideFormat, Sides};
use crate::quant::hadamard;
use crate::quant::levels::Levels;
use crate::{Error, Result};
use candle_core::quantized::k_quants::{BlockQ4_0, BlockQ8_0};
use common::tensor::f16_saturating;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Keys and values of one layer of one sequence.
#[derive(Debug, Clone)]
pub struct LayerCache {
    keys: SideCache,
    values: SideCache,
}

impl LayerCache {
    /// An empty layer. The plan was checked against the shape.
    pub(super) fn new(
        shape: CacheShape,
        format: LayerFormat,
        plan: &Plan,
        pre_rope: Option<Arc<PreRope>>,
    ) -> LayerCache {
        LayerCache {
            keys: SideCache::new(shape, Side::Keys, &format.keys, plan, pre_rope),
            values: SideCache::new(shape, Side::Values, &format.values, plan, None),
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
        match keys.len() < SHARED {
            true => {
                self.keys.append(keys);
                self.values.append(values);
            }
            false => {
                rayon::join(|| self.keys.append(keys), || self.values.append(values));
            }
        }
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

/// Numbers of a side from which on heads are appended on several threads.
const SHARED: usize = 1 << 12;

/// Which side of a layer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Grouped along the tokens of a channel.
    Keys,
    /// Grouped along the channels of a token.
    Values,
}

impl Side {
    /// What belongs to this side.
    fn of<T>(self, sides: Sides<T>) -> T {
        match self {
            Side::Keys => sides.keys,
            Side::Values => sides.values,
        }
    }
}

/// One side, keys or values, of one layer.
#[derive(Debug, Clone)]
pub struct SideCache {
    head_dim: usize,
    n_sinks: usize,
    /// Whether rows are held after a rotation of the head.
    is_rotated: bool,
    /// Whether logits are corrected for the noise of packed tokens.
    is_corrected: bool,
    /// What is taken off keys before they are held.
    pre_rope: Option<Arc<PreRope>>,
    retention: Retention,
    n_tokens: usize,
    /// Tokens packed when the last append began.
    base: usize,
    heads: Vec<HeadCache>,
}

/// The positions that a query sees, by the form in which it sees them: first sinks, then packed tokens, then
/// recent ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// In half precision, from the first token on.
    pub sinks: Range<usize>,
    /// Packed.
    pub packed: Range<usize>,
    /// In half precision, up to the query's own.
    pub recent: Range<usize>,
}

#[derive(Debug, Clone)]
struct HeadCache {
    packed: Option<Box<dyn Packed>>,
    exact: Exact,
}

impl SideCache {
    fn new(
        shape: CacheShape,
        side: Side,
        format: &SideFormat,
        plan: &Plan,
        pre_rope: Option<Arc<PreRope>>,
    ) -> SideCache {
        let head_dim = shape.head_dim;
        let head = |head_idx| HeadCache {
            packed: new_packed(head_dim, side, format, plan, head_idx),
            exact: Exact::new(side, head_dim, plan.sinks),
        };
        SideCache {
            head_dim,
            n_sinks: plan.sinks,
            is_rotated: side.of(plan.rotate),
            is_corrected: side == Side::Keys && plan.jensen,
            pre_rope,
            retention: retention(side, format, plan),
            n_tokens: 0,
            base: 0,
            heads: (0..shape.n_kv_heads).map(head).collect(),
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

    /// The first tokens that stay in half precision.
    pub(crate) fn n_sinks(&self) -> usize {
        self.n_sinks
    }

    /// Packed keys that integer kernels read; `None` also where something was taken off them before.
    pub(crate) fn tiled_keys(&self, head_idx: usize) -> Option<&TiledKeys> {
        let packed = self.heads[head_idx].packed.as_ref();
        packed.filter(|_| self.pre_rope.is_none()).and_then(|packed| packed.keys())
    }

    /// Packed values that integer kernels read.
    pub(crate) fn tiled_values(&self, head_idx: usize) -> Option<&TiledValues> {
        self.heads[head_idx].packed.as_ref().and_then(|packed| packed.values())
    }

    /// The half-precision rows as kernels read them; `None` where something was taken off them before.
    pub(crate) fn exact(&self, head_idx: usize) -> Option<&Exact> {
        self.pre_rope.is_none().then(|| &self.heads[head_idx].exact)
    }

    /// The first position from this one on that is held in half precision.
    pub(crate) fn first_exact(&self, position: usize) -> usize {
        if position < self.n_sinks { position } else { position.max(self.n_sinks + self.base) }
    }

    /// Whether rows are held after a [rotation](hadamard::rotate) of the head.
    pub fn is_rotated(&self) -> bool {
        self.is_rotated
    }

    /// What the query at `position` sees; see [`Retention`].
    pub fn seen(&self, position: usize) -> Seen {
        let first = self.n_sinks;
        let packed = match position.checked_sub(first) {
            Some(position) => self.retention.packed_for_query(self.base, position),
            None => 0,
        };
        let packed = first..first + packed;
        let recent = packed.end..(position + 1).max(packed.end);
        Seen { sinks: 0..first.min(position + 1), packed, recent }
    }

    /// Writes the packed tokens at these positions, dequantized, as `[tokens][head_dim]`.
    ///
    /// # Panics
    /// If they are not all packed, or the length of `rows` is another.
    pub fn decode_packed(&self, head_idx: usize, positions: Range<usize>, rows: &mut [f32]) {
        let packed = self.heads[head_idx].packed.as_ref().expect("a side that packs tokens");
        packed.decode(positions.start - self.n_sinks..positions.end - self.n_sinks, rows);
        self.put_back(head_idx, positions, rows);
    }

    /// Whether logits are corrected for the noise of packed tokens.
    pub fn is_corrected(&self) -> bool {
        self.is_corrected
    }

    /// Writes the variances of the errors of the packed tokens at these positions, as `[tokens][head_dim]`,
    /// in the space in which they are held.
    ///
    /// # Panics
    /// As [`SideCache::decode_packed`].
    pub fn noise(&self, head_idx: usize, positions: Range<usize>, variances: &mut [f32]) {
        let packed = self.heads[head_idx].packed.as_ref().expect("a side that packs tokens");
        packed.noise(positions.start - self.n_sinks..positions.end - self.n_sinks, variances);
    }

    /// Writes the half-precision tokens at these positions, all sinks or all recent, as
    /// `[tokens][head_dim]`.
    ///
    /// # Panics
    /// If they are not all held, or the length of `rows` is another.
    pub fn decode_exact(&self, head_idx: usize, positions: Range<usize>, rows: &mut [f32]) {
        self.heads[head_idx].exact.decode(positions.clone(), rows);
        self.put_back(head_idx, positions, rows);
    }

    /// The rows of all tokens up to `position` as the query there sees them, `[tokens][head_dim]`, without the
    /// rotation in which they are held.
    pub fn read(&self, head_idx: usize, position: usize) -> Vec<f32> {
        let mut rows = vec![0.0; (position + 1) * self.head_dim];
        let at = |tokens: &Range<usize>| tokens.start * self.head_dim..tokens.end * self.head_dim;
        let Seen { sinks, packed, recent } = self.seen(position);
        self.decode_exact(head_idx, sinks.clone(), &mut rows[at(&sinks)]);
        if !packed.is_empty() {
            self.decode_packed(head_idx, packed.clone(), &mut rows[at(&packed)]);
        }
        // What is packed on arrival leaves nothing, not even the query's own token.
        if !recent.is_empty() {
            self.decode_exact(head_idx, recent.clone(), &mut rows[at(&recent)]);
        }
        if self.is_rotated {
            rows.chunks_exact_mut(self.head_dim).for_each(hadamard::rotate);
        }
        rows
    }

    /// What was taken off before they were held.
    fn put_back(&self, head_idx: usize, positions: Range<usize>, rows: &mut [f32]) {
        if let Some(pre_rope) = &self.pre_rope {
            pre_rope.put_back(head_idx, positions, rows);
        }
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
        let packed_now = self.packed_at_rest();
        let first_position = self.n_tokens - rows.len() / row_len;
        let (head_dim, n_sinks) = (self.head_dim, self.n_sinks);
        let (pre_rope, is_rotated) = (&self.pre_rope, self.is_rotated);
        let append = |(head_idx, head): (usize, &mut HeadCache)| {
            let mut held = vec![0.0; head_dim];
            let first = head_idx * head_dim;
            for (at, row) in rows.chunks_exact(row_len).enumerate() {
                held.copy_from_slice(&row[first..first + head_dim]);
                if let Some(pre_rope) = pre_rope {
                    pre_rope.take_off(head_idx, first_position + at, &mut held);
                }
                if is_rotated {
                    hadamard::rotate(&mut held);
                }
                head.exact.push(held.iter().map(|&element| f16_saturating(element)));
            }
            if let Some(packed) = &mut head.packed {
                let leaving = n_sinks + packed.n_tokens()..n_sinks + packed_now;
                let mut scratch = vec![0.0; leaving.len() * head_dim];
                head.exact.decode(leaving, &mut scratch);
                packed.push(&scratch);
            }
        };
        match rows.len() < SHARED {
            true => self.heads.iter_mut().enumerate().for_each(append),
            false => self.heads.par_iter_mut().enumerate().for_each(append),
        }
    }

    /// Drops what is packed from the window.
    fn settle(&mut self) {
        self.base = self.packed_at_rest();
        for head in &mut self.heads {
            head.exact.drop_before(self.n_sinks + self.base);
        }
    }

    /// How many tokens after the sinks are to be packed once all have been attended.
    fn packed_at_rest(&self) -> usize {
        self.retention.packed_at_rest(self.base, self.n_tokens.saturating_sub(self.n_sinks))
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.settle();
        if n_tokens >= self.n_tokens {
            return;
        }
        self.n_tokens = n_tokens;
        let after_sinks = n_tokens.saturating_sub(self.n_sinks);
        for head in &mut self.heads {
            let mut cut_group = Vec::new();
            if let Some(packed) = &mut head.packed
                && after_sinks < packed.n_tokens()
            {
                let whole = after_sinks / packed.granularity() * packed.granularity();
                cut_group.resize((after_sinks - whole) * self.head_dim, 0.0);
                packed.decode(whole..after_sinks, &mut cut_group);
                packed.truncate(whole);
                self.base = whole;
            }
            head.exact.truncate(n_tokens, &cut_group);
        }
    }

    fn bytes(&self) -> usize {
        self.heads
            .iter()
            .map(|head| head.exact.bytes() + head.packed.as_ref().map_or(0, |p| p.bytes()))
            .sum()
    }
}

/// When this side packs its tokens.
pub(crate) fn retention(side: Side, format: &SideFormat, plan: &Plan) -> Retention {
    let (window, group) = (plan.window, plan.group);
    match (format, side) {
        (SideFormat::F16, _) => Retention::KeepAll,
        (SideFormat::Q8_0 | SideFormat::Q4_0, _) => Retention::Immediate,
        (SideFormat::Rtn(_), Side::Keys) => Retention::Gather { block: window.max(group) },
        (_, Side::Keys) => Retention::Lag { window, group },
        (_, Side::Values) => Retention::Slide { window },
    }
}

/// The channels of a head of integer keys, if they are that.
pub(crate) fn key_channels(format: &SideFormat, head_idx: usize) -> Option<KeyChannels> {
    match format {
        SideFormat::Int(bits) => Some(KeyChannels::uniform(*bits)),
        SideFormat::IntHeads(heads) => Some(KeyChannels::uniform(heads[head_idx])),
        SideFormat::IntChannels(heads) => Some(heads[head_idx].clone()),
        _ => None,
    }
}

/// The bits of a head of integer values, if they are that.
pub(crate) fn value_bits(format: &SideFormat, head_idx: usize) -> Option<u32> {
    match format {
        SideFormat::Int(bits) => Some(u32::from(*bits)),
        SideFormat::IntHeads(heads) => Some(u32::from(heads[head_idx])),
        _ => None,
    }
}

fn new_packed(
    head_dim: usize,
    side: Side,
    format: &SideFormat,
    plan: &Plan,
    head_idx: usize,
) -> Option<Box<dyn Packed>> {
    let group = plan.group;
    let levels = side.of(plan.levels);
    match (format, side) {
        (SideFormat::F16, _) => None,
        (SideFormat::Q8_0, _) => Some(Box::new(Blocks::<BlockQ8_0>::new(head_dim))),
        (SideFormat::Q4_0, _) => Some(Box::new(Blocks::<BlockQ4_0>::new(head_dim))),
        (SideFormat::Rtn(width), Side::Keys) => {
            Some(Box::new(TiledKeys::rtn(head_dim, group, *width, levels.unwrap_or_default())))
        }
        (SideFormat::Rtn(width), Side::Values) => {
            Some(Box::new(TiledValues::rtn(head_dim, group, *width, levels.unwrap_or_default())))
        }
        (_, Side::Keys) => {
            let channels = key_channels(format, head_idx).expect("a format of keys");
            let levels = levels.unwrap_or(Levels::LeastSquares);
            Some(Box::new(TiledKeys::int(head_dim, group, levels, &channels)))
        }
        (_, Side::Values) => {
            let bits = value_bits(format, head_idx).expect("a format of values");
            Some(Box::new(TiledValues::int(head_dim, bits, levels.unwrap_or(Levels::Unbiased))))
        }
    }
}
