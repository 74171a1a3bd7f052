//! Keys in the paper's format: groups along the tokens of each channel.

use super::{Packed, reserve};
use crate::quant::bits::{BitWidth, pack, unpack};
use crate::quant::group::{GroupParams, quantize};
use crate::quant::levels::Levels;
use std::ops::Range;

/// Blocks of `group` tokens; in a block, channel after channel, the codes of its tokens. Outlying
/// channels of keys then spoil no other channel's scale (KIVI section 3).
#[derive(Debug, Clone)]
pub(crate) struct RtnKeys {
    head_dim: usize,
    group: usize,
    width: BitWidth,
    levels: Levels,
    /// `[blocks][head_dim][packed bytes of a group]`
    codes: Vec<u8>,
    /// `[blocks][head_dim]`
    params: Vec<GroupParams>,
}

impl RtnKeys {
    pub(crate) fn new(head_dim: usize, group: usize, width: BitWidth, levels: Levels) -> RtnKeys {
        RtnKeys { head_dim, group, width, levels, codes: Vec::new(), params: Vec::new() }
    }

    fn push_block(&mut self, rows: &[f32]) {
        let group_bytes = self.width.packed_bytes(self.group);
        reserve(&mut self.codes, self.head_dim * group_bytes);
        reserve(&mut self.params, self.head_dim);
        let mut elements = vec![0.0; self.group];
        let mut codes = vec![0; self.group];
        for channel in 0..self.head_dim {
            for (element, row) in elements.iter_mut().zip(rows.chunks_exact(self.head_dim)) {
                *element = row[channel];
            }
            self.params.push(quantize(&elements, self.width, self.levels, &mut codes));
            let start = self.codes.len();
            self.codes.resize(start + group_bytes, 0);
            pack(&codes, self.width, &mut self.codes[start..]);
        }
    }

    /// Writes those rows of one block that belong to `tokens`.
    fn decode_block(&self, block: usize, tokens: Range<usize>, rows: &mut [f32]) {
        let group_bytes = self.width.packed_bytes(self.group);
        let mut codes = vec![0; self.group];
        for channel in 0..self.head_dim {
            let index = block * self.head_dim + channel;
            unpack(&self.codes[index * group_bytes..][..group_bytes], self.width, &mut codes);
            let params = self.params[index];
            let (scale, zero) = (params.scale.to_f32(), params.zero.to_f32());
            let rows = rows.chunks_exact_mut(self.head_dim);
            for (row, &code) in rows.zip(&codes[tokens.clone()]) {
                row[channel] = f32::from(code) * scale + zero;
            }
        }
    }
}

impl Packed for RtnKeys {
    fn n_tokens(&self) -> usize {
        self.params.len() / self.head_dim * self.group
    }

    fn push(&mut self, rows: &[f32]) {
        let blocks = rows.chunks_exact(self.group * self.head_dim);
        debug_assert!(blocks.remainder().is_empty(), "keys are packed in whole groups");
        for block in blocks {
            self.push_block(block);
        }
    }

    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]) {
        let mut token = tokens.start;
        while token < tokens.end {
            let (block, first) = (token / self.group, token % self.group);
            let last = (first + tokens.end - token).min(self.group);
            let at = (token - tokens.start) * self.head_dim;
            self.decode_block(
                block,
                first..last,
                &mut rows[at..][..(last - first) * self.head_dim],
            );
            token += last - first;
        }
    }

    fn noise(&self, tokens: Range<usize>, variances: &mut [f32]) {
        for (token, row) in tokens.zip(variances.chunks_exact_mut(self.head_dim)) {
            let params = &self.params[token / self.group * self.head_dim..];
            for (variance, params) in row.iter_mut().zip(params) {
                *variance = params.affine().noise(self.width.bits());
            }
        }
    }

    fn truncate(&mut self, n_tokens: usize) {
        let n_groups = n_tokens / self.group * self.head_dim;
        self.params.truncate(n_groups);
        self.codes.truncate(n_groups * self.width.packed_bytes(self.group));
    }

    fn granularity(&self) -> usize {
        self.group
    }

    fn bytes(&self) -> usize {
        self.codes.len() + self.params.len() * GroupParams::BYTES
    }

    fn duplicate(&self) -> Box<dyn Packed> {
        Box::new(self.clone())
    }
}
