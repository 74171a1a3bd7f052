//! Keys as integers of any width by channel: groups along the tokens of each channel.

use super::{Packed, reserve};
use crate::policy::KeyChannels;
use crate::quant::byte::{Centre, LogScale};
use crate::quant::levels::{Affine, Levels, middle};
use crate::quant::planes::{plane_bytes, push_planes, read_planes};
use common::tensor::f16_saturating;
use half::f16;
use std::ops::Range;

/// Blocks of `group` tokens. A block has, channel after channel, the planes of its codes, and the scale
/// and the centre of its levels. Channels of no bits keep the centre only, the group's mean.
#[derive(Debug, Clone)]
pub(crate) struct IntKeys {
    group: usize,
    levels: Levels,
    channels: Vec<Channel>,
    /// `[blocks][channels][planes][bytes of a plane]`
    codes: Vec<u8>,
    /// `[blocks][channels][scale, centre]`
    params: Vec<u8>,
    n_blocks: usize,
}

/// One channel of a head.
#[derive(Debug, Clone, Copy)]
struct Channel {
    bits: u32,
    /// The largest magnitude of a centre, and the largest scale, where both are bytes.
    range: Option<f32>,
}

impl IntKeys {
    pub(crate) fn new(
        head_dim: usize,
        group: usize,
        levels: Levels,
        channels: &KeyChannels,
    ) -> IntKeys {
        let channels = (0..head_dim)
            .map(|channel| Channel { bits: channels.bits(channel), range: channels.range(channel) })
            .collect();
        IntKeys { group, levels, channels, codes: Vec::new(), params: Vec::new(), n_blocks: 0 }
    }

    fn code_bytes_per_block(&self) -> usize {
        let planes: u32 = self.channels.iter().map(|channel| channel.bits).sum();
        planes as usize * plane_bytes(self.group)
    }

    fn param_bytes_per_block(&self) -> usize {
        self.channels.iter().map(|channel| channel.param_bytes()).sum()
    }

    fn push_block(&mut self, rows: &[f32]) {
        let (code_bytes, param_bytes) = (self.code_bytes_per_block(), self.param_bytes_per_block());
        reserve(&mut self.codes, code_bytes);
        reserve(&mut self.params, param_bytes);
        let mut elements = vec![0.0; self.group];
        let mut codes = vec![0; self.group];
        for (channel_idx, channel) in self.channels.iter().enumerate() {
            let rows = rows.chunks_exact(self.channels.len());
            for (element, row) in elements.iter_mut().zip(rows) {
                *element = row[channel_idx];
            }
            let fitted = Affine::fit(&elements, channel.bits, self.levels);
            let start = self.params.len();
            channel.push_params(fitted, &mut self.params);
            // Codes are chosen for the levels as stored.
            let stored = channel.affine(&self.params[start..]);
            for (code, &element) in codes.iter_mut().zip(&elements) {
                *code = stored.encode(element, channel.bits);
            }
            push_planes(&codes, channel.bits, &mut self.codes);
        }
        self.n_blocks += 1;
    }

    /// Visits the parts of a range of tokens that lie in one block each: the block, its tokens and their rows.
    fn for_each_block(
        &self,
        tokens: Range<usize>,
        rows: &mut [f32],
        mut visit: impl FnMut(usize, Range<usize>, &mut [f32]),
    ) {
        let head_dim = self.channels.len();
        let mut token = tokens.start;
        while token < tokens.end {
            let (block, first) = (token / self.group, token % self.group);
            let last = (first + tokens.end - token).min(self.group);
            let at = (token - tokens.start) * head_dim;
            visit(block, first..last, &mut rows[at..][..(last - first) * head_dim]);
            token += last - first;
        }
    }

    /// Writes those rows of one block that belong to `tokens`.
    fn decode_block(&self, block: usize, tokens: Range<usize>, rows: &mut [f32]) {
        let mut planes = &self.codes[block * self.code_bytes_per_block()..];
        let mut params = &self.params[block * self.param_bytes_per_block()..];
        let mut codes = vec![0; self.group];
        for (channel_idx, channel) in self.channels.iter().enumerate() {
            let affine = channel.affine(params);
            let code_bytes = channel.bits as usize * plane_bytes(self.group);
            read_planes(&planes[..code_bytes], &mut codes);
            (planes, params) = (&planes[code_bytes..], &params[channel.param_bytes()..]);
            let rows = rows.chunks_exact_mut(self.channels.len());
            for (row, &code) in rows.zip(&codes[tokens.clone()]) {
                row[channel_idx] = affine.decode(code);
            }
        }
    }
}

impl Channel {
    fn param_bytes(self) -> usize {
        let numbers = if self.bits == 0 { 1 } else { 2 };
        match self.range {
            Some(_) => numbers,
            None => numbers * size_of::<f16>(),
        }
    }

    fn push_params(self, affine: Affine, params: &mut Vec<u8>) {
        let centre = affine.zero + affine.scale * middle(self.bits);
        match self.range {
            Some(range) => {
                if self.bits > 0 {
                    params.push(LogScale { top: range }.encode(affine.scale));
                }
                params.push(Centre { range }.encode(centre));
            }
            None => {
                if self.bits > 0 {
                    params.extend(f16_saturating(affine.scale).to_le_bytes());
                }
                params.extend(f16_saturating(centre).to_le_bytes());
            }
        }
    }

    /// The levels whose numbers stand at the front of `params`.
    fn affine(self, params: &[u8]) -> Affine {
        let half = |at: usize| f16::from_le_bytes([params[2 * at], params[2 * at + 1]]).to_f32();
        let (scale, centre) = match (self.range, self.bits) {
            (Some(range), 0) => (0.0, Centre { range }.decode(params[0])),
            (Some(range), _) => {
                (LogScale { top: range }.decode(params[0]), Centre { range }.decode(params[1]))
            }
            (None, 0) => (0.0, half(0)),
            (None, _) => (half(0), half(1)),
        };
        Affine { scale, zero: centre - scale * middle(self.bits) }
    }
}

impl Packed for IntKeys {
    fn n_tokens(&self) -> usize {
        self.n_blocks * self.group
    }

    fn push(&mut self, rows: &[f32]) {
        let blocks = rows.chunks_exact(self.group * self.channels.len());
        debug_assert!(blocks.remainder().is_empty(), "keys are packed in whole groups");
        for block in blocks {
            self.push_block(block);
        }
    }

    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]) {
        self.for_each_block(tokens, rows, |block, tokens, rows| {
            self.decode_block(block, tokens, rows);
        });
    }

    fn noise(&self, tokens: Range<usize>, variances: &mut [f32]) {
        self.for_each_block(tokens, variances, |block, _, variances| {
            let mut params = &self.params[block * self.param_bytes_per_block()..];
            for (channel_idx, channel) in self.channels.iter().enumerate() {
                let noise = channel.affine(params).noise(channel.bits);
                params = &params[channel.param_bytes()..];
                for row in variances.chunks_exact_mut(self.channels.len()) {
                    row[channel_idx] = noise;
                }
            }
        });
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.n_blocks = n_tokens / self.group;
        self.codes.truncate(self.n_blocks * self.code_bytes_per_block());
        self.params.truncate(self.n_blocks * self.param_bytes_per_block());
    }

    fn granularity(&self) -> usize {
        self.group
    }

    fn bytes(&self) -> usize {
        self.codes.len() + self.params.len()
    }

    fn duplicate(&self) -> Box<dyn Packed> {
        Box::new(self.clone())
    }
}

/// Bytes of a block of a head.
pub(crate) fn block_bytes(head_dim: usize, group: usize, channels: &KeyChannels) -> usize {
    // An empty head knows its block.
    let head = IntKeys::new(head_dim, group, Levels::default(), channels);
    head.code_bytes_per_block() + head.param_bytes_per_block()
}
