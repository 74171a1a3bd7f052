//! Values as integers about zero, of one width in a head: one scale, in a byte, for each token.

use super::{Packed, reserve};
use crate::quant::byte::LogScale;
use crate::quant::levels::Levels;
use crate::quant::planes::{plane_bytes, push_planes, read_planes};
use crate::quant::symmetric;
use std::ops::Range;

/// Scales of values reach from 1/1024 to 64, far beyond the values of normalised hidden states.
const SCALES: LogScale = LogScale { top: 64.0 };

/// One packed row a token.
#[derive(Debug, Clone)]
pub(crate) struct IntValues {
    head_dim: usize,
    bits: u32,
    levels: Levels,
    /// `[tokens][planes][bytes of a plane]`
    codes: Vec<u8>,
    /// `[tokens]`
    scales: Vec<u8>,
}

impl IntValues {
    pub(crate) fn new(head_dim: usize, bits: u32, levels: Levels) -> IntValues {
        IntValues { head_dim, bits, levels, codes: Vec::new(), scales: Vec::new() }
    }

    fn code_bytes_per_row(&self) -> usize {
        self.bits as usize * plane_bytes(self.head_dim)
    }
}

/// Bytes of a token of a head.
pub(crate) fn row_bytes(head_dim: usize, bits: u32) -> usize {
    bits as usize * plane_bytes(head_dim) + 1
}

impl Packed for IntValues {
    fn n_tokens(&self) -> usize {
        self.scales.len()
    }

    fn push(&mut self, rows: &[f32]) {
        let n_tokens = rows.len() / self.head_dim;
        let code_bytes = self.code_bytes_per_row();
        reserve(&mut self.codes, n_tokens * code_bytes);
        reserve(&mut self.scales, n_tokens);
        let mut codes = vec![0; self.head_dim];
        for row in rows.chunks_exact(self.head_dim) {
            let scale = symmetric::quantize(row, self.bits, self.levels, &mut codes);
            self.scales.push(SCALES.encode(scale));
            push_planes(&codes, self.bits, &mut self.codes);
        }
    }

    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]) {
        let code_bytes = self.code_bytes_per_row();
        let mut codes = vec![0; self.head_dim];
        for (token, row) in tokens.zip(rows.chunks_exact_mut(self.head_dim)) {
            read_planes(&self.codes[token * code_bytes..][..code_bytes], &mut codes);
            let scale = SCALES.decode(self.scales[token]);
            for (element, &code) in row.iter_mut().zip(&codes) {
                *element = symmetric::decode(code, scale, self.bits);
            }
        }
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.codes.truncate(n_tokens * self.code_bytes_per_row());
        self.scales.truncate(n_tokens);
    }

    fn bytes(&self) -> usize {
        self.codes.len() + self.scales.len()
    }

    fn duplicate(&self) -> Box<dyn Packed> {
        Box::new(self.clone())
    }
}
