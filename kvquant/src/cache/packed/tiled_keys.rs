//! Keys in groups along the tokens of each channel: the paper's format, and integers of any width by channel.

use super::{Packed, reserve};
use crate::policy::KeyChannels;
use crate::quant::bits::BitWidth;
use crate::quant::byte::{Centre, LogScale};
use crate::quant::group::{GroupParams, quantize};
use crate::quant::levels::{Affine, Levels, middle};
use crate::quant::tiles::{ColumnTiles, LANES, VECTOR, is_group};
use common::tensor::f16_saturating;
use half::f16;
use std::ops::Range;

/// Blocks of 64 tokens of codes, and for each group of tokens the numbers of its channels' levels. Outlying
/// channels of keys then spoil no other channel's scale (KIVI section 3).
#[derive(Debug, Clone)]
pub(crate) struct TiledKeys {
    group: usize,
    levels: Levels,
    channels: Vec<Channel>,
    params: ParamLayout,
    tiles: ColumnTiles,
    n_groups: usize,
    /// `[blocks][tiles]`
    codes: Vec<u8>,
    /// `[groups]` of what the layout says.
    group_params: Vec<u8>,
}

/// One channel of a head.
#[derive(Debug, Clone, Copy)]
struct Channel {
    bits: u32,
    /// The largest magnitude of a centre, and the largest scale, where both are bytes.
    range: f32,
}

/// What is stored for a group: first the scales of the channels that have bits, then a number for each channel.
#[derive(Debug, Clone)]
pub(crate) struct ParamLayout {
    pub(crate) kind: ParamKind,
    pub(crate) n_channels: usize,
    pub(crate) n_scales: usize,
    /// For each channel the index of its scale; of channels without bits, any. Filled up to a multiple of 64.
    pub(crate) scale_of: Vec<u8>,
    /// The largest magnitude of a centre of each channel, which is its largest scale, too, where they are bytes.
    pub(crate) ranges: Vec<Vector>,
    /// Half-way between the least and the greatest code: 0 for a channel without bits, which has no scale.
    pub(crate) middles: Vec<Vector>,
}

/// Numbers of channels.
type Vector = [f32; VECTOR];

/// The numbers of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamKind {
    /// Scales and centres in a byte each.
    Bytes,
    /// In half precision.
    Halves,
    /// The paper's: scale and zero in half precision.
    Zeros,
}

impl ParamLayout {
    fn new(kind: ParamKind, channels: &[Channel]) -> ParamLayout {
        let n_vectors = channels.len().div_ceil(VECTOR);
        let mut layout = ParamLayout {
            kind,
            n_channels: channels.len(),
            n_scales: 0,
            scale_of: vec![0; channels.len().next_multiple_of(LANES)],
            ranges: vec![[0.0; VECTOR]; n_vectors],
            middles: vec![[0.0; VECTOR]; n_vectors],
        };
        for (at, channel) in channels.iter().enumerate() {
            let (vector, lane) = (at / VECTOR, at % VECTOR);
            layout.ranges[vector][lane] = channel.range;
            layout.middles[vector][lane] = middle(channel.bits);
            if channel.bits > 0 {
                layout.scale_of[at] = layout.n_scales as u8;
                layout.n_scales += 1;
            }
        }
        layout
    }

    /// Bytes of a number.
    pub(crate) fn number_bytes(&self) -> usize {
        if self.kind == ParamKind::Bytes { 1 } else { size_of::<f16>() }
    }

    /// Bytes of a group.
    pub(crate) fn bytes(&self) -> usize {
        (self.n_scales + self.n_channels) * self.number_bytes()
    }

    /// The levels of a channel.
    fn affine(&self, params: &[u8], channel: usize) -> Affine {
        let (vector, lane) = (channel / VECTOR, channel % VECTOR);
        let middle = self.middles[vector][lane];
        let has_scale = middle > 0.0;
        let (scale_at, second_at) = (usize::from(self.scale_of[channel]), self.n_scales + channel);
        let half = |at: usize| f16::from_le_bytes([params[2 * at], params[2 * at + 1]]).to_f32();
        let (scale, second) = match self.kind {
            ParamKind::Bytes => {
                let range = self.ranges[vector][lane];
                let scale = LogScale { top: range };
                let scale = if has_scale { scale.decode(params[scale_at]) } else { 0.0 };
                (scale, Centre { range }.decode(params[second_at]))
            }
            _ => (if has_scale { half(scale_at) } else { 0.0 }, half(second_at)),
        };
        let zero = match self.kind {
            ParamKind::Zeros => second,
            _ => second - scale * middle,
        };
        Affine { scale, zero }
    }
}

impl TiledKeys {
    /// The paper's format.
    pub(crate) fn rtn(head_dim: usize, group: usize, width: BitWidth, levels: Levels) -> TiledKeys {
        let channels = vec![Channel { bits: width.bits(), range: 0.0 }; head_dim];
        TiledKeys::new(group, levels, channels, ParamKind::Zeros)
    }

    /// Integers with bits for each channel.
    pub(crate) fn int(
        head_dim: usize,
        group: usize,
        levels: Levels,
        channels: &KeyChannels,
    ) -> TiledKeys {
        let channel = |channel| Channel {
            bits: channels.bits(channel),
            range: channels.range(channel).unwrap_or(0.0),
        };
        let kind = if channels.range(0).is_some() { ParamKind::Bytes } else { ParamKind::Halves };
        TiledKeys::new(group, levels, (0..head_dim).map(channel).collect(), kind)
    }

    fn new(group: usize, levels: Levels, channels: Vec<Channel>, kind: ParamKind) -> TiledKeys {
        assert!(is_group(group), "a group of {group}");
        let tiles = ColumnTiles::new(channels.iter().map(|channel| channel.bits));
        let params = ParamLayout::new(kind, &channels);
        TiledKeys {
            group,
            levels,
            channels,
            params,
            tiles,
            n_groups: 0,
            codes: Vec::new(),
            group_params: Vec::new(),
        }
    }

    /// Tokens of a group.
    pub(crate) fn group(&self) -> usize {
        self.group
    }

    /// Groups held.
    pub(crate) fn n_groups(&self) -> usize {
        self.n_groups
    }

    /// The order of codes in a block.
    pub(crate) fn tiles(&self) -> &ColumnTiles {
        &self.tiles
    }

    /// The tiles of a block of 64 tokens, of which the last may be filled in part.
    pub(crate) fn block(&self, block: usize) -> &[u8] {
        let bytes = self.tiles.bytes();
        &self.codes[block * bytes..(block + 1) * bytes]
    }

    /// The order of a group's numbers.
    pub(crate) fn params(&self) -> &ParamLayout {
        &self.params
    }

    /// The numbers of a group.
    pub(crate) fn group_params(&self, group: usize) -> &[u8] {
        let bytes = self.params.bytes();
        &self.group_params[group * bytes..(group + 1) * bytes]
    }

    /// Bytes of a group of a head: what its tokens take.
    pub(crate) fn group_bytes(&self) -> usize {
        // Exact: a block is 64 tokens, and the bytes of its tiles a multiple of 16 for an even number of terms.
        self.tiles.bytes() * self.group / LANES + self.params.bytes()
    }

    fn head_dim(&self) -> usize {
        self.channels.len()
    }

    fn push_group(&mut self, rows: &[f32]) {
        let head_dim = self.head_dim();
        let tokens = self.n_groups * self.group..(self.n_groups + 1) * self.group;
        let block_bytes = self.tiles.bytes();
        let needed = tokens.end.div_ceil(LANES) * block_bytes;
        let missing = needed - self.codes.len().min(needed);
        reserve(&mut self.codes, missing);
        self.codes.resize(needed, 0);
        let param_bytes = self.params.bytes();
        reserve(&mut self.group_params, param_bytes);
        let first_param = self.group_params.len();
        self.group_params.resize(first_param + param_bytes, 0);

        let mut elements = vec![0.0; self.group];
        let mut codes = vec![0; self.group];
        // `[tokens][channels]`
        let mut all = vec![0; self.group * head_dim];
        for channel in 0..head_dim {
            for (element, row) in elements.iter_mut().zip(rows.chunks_exact(head_dim)) {
                *element = row[channel];
            }
            self.quantize(channel, &elements, first_param, &mut codes);
            for (codes_of_token, &code) in all.chunks_exact_mut(head_dim).zip(&codes) {
                codes_of_token[channel] = code;
            }
        }
        for (token, codes) in tokens.zip(all.chunks_exact(head_dim)) {
            let block = &mut self.codes[token / LANES * block_bytes..][..block_bytes];
            self.tiles.set(block, token % LANES, |channel| codes[channel]);
        }
        self.n_groups += 1;
    }

    /// Stores the numbers of a channel's group and gives its codes.
    fn quantize(&mut self, channel: usize, elements: &[f32], first_param: usize, codes: &mut [u8]) {
        let Channel { bits, range } = self.channels[channel];
        let layout = &self.params;
        let params = &mut self.group_params[first_param..];
        let scale_at = usize::from(layout.scale_of[channel]);
        let second_at = layout.n_scales + channel;
        let mut put = |at: usize, number: f16| {
            params[2 * at..2 * at + 2].copy_from_slice(&number.to_le_bytes());
        };
        if layout.kind == ParamKind::Zeros {
            let width = BitWidth::from_bits(bits).expect("the paper's widths");
            let GroupParams { scale, zero } = quantize(elements, width, self.levels, codes);
            put(scale_at, scale);
            put(second_at, zero);
            return;
        }
        let fitted = Affine::fit(elements, bits, self.levels);
        let centre = fitted.zero + fitted.scale * middle(bits);
        if layout.kind == ParamKind::Bytes {
            if bits > 0 {
                params[scale_at] = LogScale { top: range }.encode(fitted.scale);
            }
            params[second_at] = Centre { range }.encode(centre);
        } else {
            if bits > 0 {
                put(scale_at, f16_saturating(fitted.scale));
            }
            put(second_at, f16_saturating(centre));
        }
        // Codes are chosen for the levels as stored.
        layout.affine(params, channel).encode_all(elements, bits, codes);
    }
}

impl Packed for TiledKeys {
    fn n_tokens(&self) -> usize {
        self.n_groups * self.group
    }

    fn push(&mut self, rows: &[f32]) {
        let groups = rows.chunks_exact(self.group * self.head_dim());
        assert!(groups.remainder().is_empty(), "keys are packed in whole groups");
        for group in groups {
            self.push_group(group);
        }
    }

    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]) {
        let head_dim = self.head_dim();
        let mut codes = vec![0; head_dim];
        let mut affine = Vec::new();
        let mut of_group = None;
        for (token, row) in tokens.zip(rows.chunks_exact_mut(head_dim)) {
            let group = token / self.group;
            if of_group != Some(group) {
                let params = self.group_params(group);
                affine.clear();
                affine.extend((0..head_dim).map(|channel| self.params.affine(params, channel)));
                of_group = Some(group);
            }
            self.tiles.get(self.block(token / LANES), token % LANES, &mut codes);
            for ((element, &code), affine) in row.iter_mut().zip(&codes).zip(&affine) {
                *element = affine.decode(code);
            }
        }
    }

    fn noise(&self, tokens: Range<usize>, variances: &mut [f32]) {
        let head_dim = self.head_dim();
        for (token, row) in tokens.zip(variances.chunks_exact_mut(head_dim)) {
            let params = self.group_params(token / self.group);
            for (channel, variance) in row.iter_mut().enumerate() {
                let affine = self.params.affine(params, channel);
                *variance = affine.noise(self.channels[channel].bits);
            }
        }
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.n_groups = n_tokens / self.group;
        let n_blocks = self.n_tokens().div_ceil(LANES);
        self.codes.truncate(n_blocks * self.tiles.bytes());
        self.group_params.truncate(self.n_groups * self.params.bytes());
    }

    fn granularity(&self) -> usize {
        self.group
    }

    fn bytes(&self) -> usize {
        self.n_groups * self.group_bytes()
    }

    fn duplicate(&self) -> Box<dyn Packed> {
        Box::new(self.clone())
    }

    fn keys(&self) -> Option<&TiledKeys> {
        Some(self)
    }
}
