//! llama.cpp's cache formats, the baselines: blocks of 32 channels of a token.

use super::{Packed, reserve};
use crate::cache::GGML_BLOCK;
use candle_core::quantized::k_quants::GgmlType;
use std::fmt;
use std::ops::Range;

/// Rows of blocks of type `B`, quantized by candle's code for that type.
#[derive(Clone)]
pub(crate) struct Blocks<B> {
    blocks_per_row: usize,
    /// `[tokens][blocks_per_row]`
    blocks: Vec<B>,
}

impl<B: GgmlType> Blocks<B> {
    pub(crate) fn new(head_dim: usize) -> Blocks<B> {
        assert!(B::BLCK_SIZE == GGML_BLOCK && head_dim.is_multiple_of(GGML_BLOCK));
        Blocks { blocks_per_row: head_dim / GGML_BLOCK, blocks: Vec::new() }
    }
}

impl<B: GgmlType + Clone + 'static> Packed for Blocks<B> {
    fn n_tokens(&self) -> usize {
        self.blocks.len() / self.blocks_per_row
    }

    fn push(&mut self, rows: &[f32]) {
        let start = self.blocks.len();
        let added = rows.len() / GGML_BLOCK;
        reserve(&mut self.blocks, added);
        self.blocks.resize_with(start + added, B::zeros);
        B::from_float(rows, &mut self.blocks[start..]);
    }

    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]) {
        let blocks = tokens.start * self.blocks_per_row..tokens.end * self.blocks_per_row;
        B::to_float(&self.blocks[blocks], rows);
    }

    fn truncate(&mut self, n_tokens: usize) {
        self.blocks.truncate(n_tokens * self.blocks_per_row);
    }

    fn bytes(&self) -> usize {
        size_of_val(self.blocks.as_slice())
    }

    fn duplicate(&self) -> Box<dyn Packed> {
        Box::new(self.clone())
    }
}

impl<B: GgmlType> fmt::Debug for Blocks<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocks<{:?}>({} blocks)", B::DTYPE, self.blocks.len())
    }
}
