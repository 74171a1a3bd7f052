//! Values in the paper's format: groups along the channels of each token.

use super::{Packed, reserve};
use crate::quant::bits::{BitWidth, pack, unpack};
use crate::quant::group::{GroupParams, quantize};
use crate::quant::levels::Levels;
use std::ops::Range;

/// One packed row a token. A group never reaches beyond its head; the last group of a head may be
/// shorter.
#[derive(Debug, Clone)]
pub(crate) struct RtnValues {
    head_dim: usize,
    group: usize,
    width: BitWidth,
    levels: Levels,
    /// `[tokens][packed bytes of a row]`
    codes: Vec<u8>,
    /// `[tokens][groups in a row]`
    params: Vec<GroupParams>,
}

impl RtnValues {
    pub(crate) fn new(head_dim: usize, group: usize, width: BitWidth, levels: Levels) -> RtnValues {
        let group = group.min(head_dim);
        RtnValues { head_dim, group, width, levels, codes: Vec::new(), params: Vec::new() }
    }

    fn groups_per_row(&self) -> usize {
        self.head_dim.div_ceil(self.group)
    }
}

impl Packed for RtnValues {
    fn n_tokens(&self) -> usize {
        self.params.len() / self.groups_per_row()
    }

    fn push(&mut self, rows: &[f32]) {
        let n_tokens = rows.len() / self.head_dim;
        let row_bytes = self.width.packed_bytes(self.head_dim);
        reserve(&mut self.codes, n_tokens * row_bytes);
        let n_groups = n_tokens * self.groups_per_row();
        reserve(&mut self.params, n_groups);
        let mut codes = vec![0; self.head_dim];
        for row in rows.chunks_exact(self.head_dim) {
            for (group, codes) in row.chunks(self.group).zip(codes.chunks_mut(self.group)) {
                self.params.push(quantize(group, self.width, self.levels, codes));
            }
            let start = self.codes.len();
            self.codes.resize(start + row_bytes, 0);
            pack(&codes, self.width, &mut self.codes[start..]);
        }
    }

    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]) {
        let row_bytes = self.width.packed_bytes(self.head_dim);
        let mut codes = vec![0; self.head_dim];
        for (token, row) in tokens.zip(rows.chunks_exact_mut(self.head_dim)) {
            unpack(&self.codes[token * row_bytes..][..row_bytes], self.width, &mut codes);
            let params = &self.params[token * self.groups_per_row()..];
            let groups = row.chunks_mut(self.group).zip(codes.chunks(self.group));
            for ((row, codes), params) in groups.zip(params) {
                let (scale, zero) = (params.scale.to_f32(), params.zero.to_f32());
                for (element, &code) in row.iter_mut().zip(codes) {
                    *element = f32::from(code) * scale + zero;
                }
            }
        }
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.codes.truncate(n_tokens * self.width.packed_bytes(self.head_dim));
        self.params.truncate(n_tokens * self.groups_per_row());
    }

    fn bytes(&self) -> usize {
        self.codes.len() + self.params.len() * GroupParams::BYTES
    }

    fn duplicate(&self) -> Box<dyn Packed> {
        Box::new(self.clone())
    }
}
