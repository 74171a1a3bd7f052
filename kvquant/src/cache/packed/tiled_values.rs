//! Values in groups along the channels of each token: the paper's format, and integers about zero with one scale
//! a token.

use super::{Packed, reserve};
use crate::quant::bits::BitWidth;
use crate::quant::byte::LogScale;
use crate::quant::group::{GroupParams, quantize};
use crate::quant::levels::{Levels, middle};
use crate::quant::symmetric;
use crate::quant::tiles::{LANES, PanelTiles, VECTOR};
use half::f16;
use std::ops::Range;

/// Scales of integer values reach from 1/1024 to 64, far beyond the values of normalised hidden states.
pub(crate) const SCALES: LogScale = LogScale { top: 64.0 };

/// Blocks of 64 tokens, of which the last may be filled in part. A block has the tiles of its panels, and the
/// numbers of its tokens' groups.
#[derive(Debug, Clone)]
pub(crate) struct TiledValues {
    head_dim: usize,
    bits: u32,
    levels: Levels,
    kind: ValueKind,
    panels: Vec<Panel>,
    n_groups: usize,
    n_tokens: usize,
    /// `[blocks][panels][tiles]`
    codes: Vec<u8>,
    /// `[blocks]` of scales `[64]` in bytes, or of `[groups][scales, zeros][64]` in half precision.
    params: Vec<u8>,
}

/// What a token stores beside its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    /// One scale, in a byte.
    Byte,
    /// The paper's: a scale and a zero in half precision for each group.
    Zeros,
}

/// Channels that share their scales and the vectors in which they are summed.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    pub(crate) channels: Range<usize>,
    pub(crate) group: usize,
    pub(crate) tiles: PanelTiles,
    /// Where its tiles begin in a block, and how long they are.
    pub(crate) offset: usize,
    bytes: usize,
}

impl TiledValues {
    /// The paper's format. A group never reaches beyond its head; the last group of a head may be shorter.
    pub(crate) fn rtn(
        head_dim: usize,
        group: usize,
        width: BitWidth,
        levels: Levels,
    ) -> TiledValues {
        let group = group.min(head_dim);
        TiledValues::new(head_dim, group, width.bits(), levels, ValueKind::Zeros)
    }

    /// Integers about zero.
    pub(crate) fn int(head_dim: usize, bits: u32, levels: Levels) -> TiledValues {
        TiledValues::new(head_dim, head_dim, bits, levels, ValueKind::Byte)
    }

    fn new(
        head_dim: usize,
        group: usize,
        bits: u32,
        levels: Levels,
        kind: ValueKind,
    ) -> TiledValues {
        let mut panels: Vec<Panel> = Vec::new();
        let mut offset = 0;
        for first in (0..head_dim).step_by(group) {
            let last = (first + group).min(head_dim);
            let mut channel = first;
            while channel < last {
                // The widest panel that isn't wider than what is left of the group.
                let vectors = (last - channel).div_ceil(VECTOR);
                let width = [4, 2, 1].into_iter().find(|&width| width <= vectors).unwrap_or(1);
                let channels = channel..(channel + width * VECTOR).min(last);
                channel = channels.end;
                let tiles = PanelTiles::new(bits, width);
                let bytes = tiles.bytes();
                panels.push(Panel { channels, group: first / group, tiles, offset, bytes });
                offset += bytes;
            }
        }
        TiledValues {
            head_dim,
            bits,
            levels,
            kind,
            panels,
            n_groups: head_dim.div_ceil(group),
            n_tokens: 0,
            codes: Vec::new(),
            params: Vec::new(),
        }
    }

    /// The panels of a block.
    pub(crate) fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// Half-way between the least and the greatest code.
    pub(crate) fn middle(&self) -> f32 {
        middle(self.bits)
    }

    /// Groups of a token.
    pub(crate) fn n_groups(&self) -> usize {
        self.n_groups
    }

    pub(crate) fn kind(&self) -> ValueKind {
        self.kind
    }

    /// The tiles of a panel of a block.
    fn block(&self, block: usize, panel: &Panel) -> &[u8] {
        &self.codes[block * self.block_bytes() + panel.offset..][..panel.bytes]
    }

    /// The tiles of a panel from a block on, each `block_bytes` after the ones before.
    pub(crate) fn tiles_from(&self, block: usize, panel: &Panel) -> &[u8] {
        &self.codes[block * self.block_bytes() + panel.offset..]
    }

    /// The numbers of a block's tokens.
    pub(crate) fn block_params(&self, block: usize) -> &[u8] {
        let bytes = LANES * self.param_bytes();
        &self.params[block * bytes..(block + 1) * bytes]
    }

    /// Bytes of a token of a head.
    pub(crate) fn row_bytes(&self) -> usize {
        // Exact: of each panel, the tiles of 64 tokens are a multiple of 128 bytes.
        self.block_bytes() / LANES + self.param_bytes()
    }

    /// Bytes of the tiles of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        self.panels.last().map_or(0, |panel| panel.offset + panel.bytes)
    }

    fn param_bytes(&self) -> usize {
        match self.kind {
            ValueKind::Byte => 1,
            ValueKind::Zeros => self.n_groups * GroupParams::BYTES,
        }
    }

    fn group_len(&self) -> usize {
        self.panels
            .iter()
            .take_while(|panel| panel.group == 0)
            .map(|panel| panel.channels.len())
            .sum()
    }

    fn push_row(&mut self, row: &[f32], codes: &mut [u8]) {
        let (block, token) = (self.n_tokens / LANES, self.n_tokens % LANES);
        let (block_bytes, param_bytes) = (self.block_bytes(), LANES * self.param_bytes());
        if token == 0 {
            reserve(&mut self.codes, block_bytes);
            self.codes.resize((block + 1) * block_bytes, 0);
            reserve(&mut self.params, param_bytes);
            self.params.resize((block + 1) * param_bytes, 0);
        }
        let group_len = self.group_len();
        let params = &mut self.params[block * param_bytes..];
        match self.kind {
            ValueKind::Byte => {
                let scale = symmetric::quantize(row, self.bits, self.levels, codes);
                params[token] = SCALES.encode(scale);
            }
            ValueKind::Zeros => {
                let width = BitWidth::from_bits(self.bits).expect("the paper's widths");
                let groups = row.chunks(group_len).zip(codes.chunks_mut(group_len));
                for (group, (row, codes)) in groups.enumerate() {
                    let GroupParams { scale, zero } = quantize(row, width, self.levels, codes);
                    for (at, number) in [scale, zero].into_iter().enumerate() {
                        let at = half_at(group, at, token);
                        params[at..at + 2].copy_from_slice(&number.to_le_bytes());
                    }
                }
            }
        }
        for panel in &self.panels {
            let block = &mut self.codes[block * block_bytes + panel.offset..];
            panel.tiles.set(block, token, &codes[panel.channels.clone()]);
        }
        self.n_tokens += 1;
    }
}

/// Where the half-precision numbers of a group begin in a block: its scales (0) or its zeros (1), from a token on.
pub(crate) fn half_at(group: usize, which: usize, token: usize) -> usize {
    ((2 * group + which) * LANES + token) * size_of::<f16>()
}

impl Packed for TiledValues {
    fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    fn push(&mut self, rows: &[f32]) {
        let mut codes = vec![0; self.head_dim];
        for row in rows.chunks_exact(self.head_dim) {
            self.push_row(row, &mut codes);
        }
    }

    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]) {
        let mut codes = vec![0; self.head_dim];
        for (token, row) in tokens.zip(rows.chunks_exact_mut(self.head_dim)) {
            let (block, token) = (token / LANES, token % LANES);
            for panel in &self.panels {
                let tiles = self.block(block, panel);
                panel.tiles.get(tiles, token, &mut codes[panel.channels.clone()]);
            }
            let params = self.block_params(block);
            match self.kind {
                ValueKind::Byte => {
                    let scale = SCALES.decode(params[token]);
                    for (element, &code) in row.iter_mut().zip(&codes) {
                        *element = symmetric::decode(code, scale, self.bits);
                    }
                }
                ValueKind::Zeros => {
                    let len = self.group_len();
                    for (group, (row, codes)) in
                        row.chunks_mut(len).zip(codes.chunks(len)).enumerate()
                    {
                        let half = |which| {
                            let at = half_at(group, which, token);
                            f16::from_le_bytes([params[at], params[at + 1]]).to_f32()
                        };
                        let (scale, zero) = (half(0), half(1));
                        for (element, &code) in row.iter_mut().zip(codes) {
                            *element = f32::from(code) * scale + zero;
                        }
                    }
                }
            }
        }
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.n_tokens = n_tokens;
        let n_blocks = n_tokens.div_ceil(LANES);
        self.codes.truncate(n_blocks * self.block_bytes());
        self.params.truncate(n_blocks * LANES * self.param_bytes());
    }

    fn bytes(&self) -> usize {
        self.n_tokens * self.row_bytes()
    }

    fn duplicate(&self) -> Box<dyn Packed> {
        Box::new(self.clone())
    }

    fn values(&self) -> Option<&TiledValues> {
        Some(self)
    }
}
