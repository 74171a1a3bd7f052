//! Activations as bytes, laid out for products.
//!
//! A block of 32 inputs of a row gets one scale. Rows are taken in tiles of as many as a kernel keeps sums of; of a
//! tile, the first blocks of all rows come first, then their second ones: a kernel reads them one after the other.

use super::{BLOCK, TILE};
use crate::isa::Isa;

/// 32 activations of a row.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(16))]
pub(super) struct Block {
    /// From -127 to 127.
    pub(super) codes: [i8; BLOCK],
    /// What a code is multiplied by.
    pub(super) scale: f32,
    /// -8 and -128 times the sum of codes: what products begin with whose weights' codes are so much too great.
    pub(super) centre_8: i32,
    pub(super) centre_128: i32,
    /// The sum of codes times the scale, for the minima of weights.
    pub(super) sum: f32,
}

/// Rows of activations, rounded to bytes. They can be filled again and again without new memory.
#[derive(Debug, Clone, Default)]
pub struct Activations {
    /// A tile has its blocks from `first row * n_blocks` on, as `[n_blocks][rows of the tile]`.
    blocks: Vec<Block>,
    n_rows: usize,
    n_blocks: usize,
}

impl Activations {
    /// Rounds `[n_rows][inputs]` numbers, with the fastest instructions that there are.
    ///
    /// # Panics
    /// As [`Activations::fill`] does.
    pub fn quantize(rows: &[f32], n_rows: usize, inputs: usize) -> Activations {
        let mut activations = Activations::default();
        activations.fill(Isa::current(), rows, n_rows, inputs);
        activations
    }

    /// Rounds `[n_rows][inputs]` numbers in place of those before. The scale of a block is its greatest `|x| / 127`, a
    /// code is the integer nearest to `x / scale`, the even one of two. A block with an infinity or NaN has a scale of
    /// NaN, which reaches all outputs of its row. All forms of instructions give the same.
    ///
    /// # Panics
    /// If there are not as many numbers, `inputs` is no multiple of 32, or the processor hasn't the instructions.
    pub fn fill(&mut self, isa: Isa, rows: &[f32], n_rows: usize, inputs: usize) {
        assert!(inputs.is_multiple_of(BLOCK), "whole blocks of inputs");
        assert_eq!(Some(rows.len()), n_rows.checked_mul(inputs), "an activation for each input");
        assert!(isa.is_available(), "the processor has {isa}");
        (self.n_rows, self.n_blocks) = (n_rows, inputs / BLOCK);
        let n_blocks = n_rows * self.n_blocks;
        self.blocks.resize(n_blocks.max(self.blocks.len()), Block::default());
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the instructions.
            Isa::Avx2 | Isa::Avx512 => unsafe { self.round_avx2(rows) },
            // Where there is NEON, plain loops are compiled for it.
            _ => self.round(rows),
        }
    }

    /// Of a block there is too little for longer vectors: with them, it takes a third longer.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn round_avx2(&mut self, rows: &[f32]) {
        self.round(rows);
    }

    /// Compiled for each form of instructions, of which the compiler makes good use.
    #[inline(always)]
    fn round(&mut self, rows: &[f32]) {
        for (row, numbers) in rows.chunks_exact((self.n_blocks * BLOCK).max(1)).enumerate() {
            let (first, stride) = self.place(row);
            for (block, numbers) in numbers.as_chunks::<BLOCK>().0.iter().enumerate() {
                self.blocks[first + block * stride] = Block::nearest(numbers);
            }
        }
    }

    /// Where a row's first block is, and how far each of its blocks is from the one before.
    fn place(&self, row: usize) -> (usize, usize) {
        let tile = row / TILE * TILE;
        (tile * self.n_blocks + row - tile, TILE.min(self.n_rows - tile))
    }

    /// The blocks from a row's first one on, and how far each of its blocks is from the one before.
    pub(super) fn starting_at(&self, row: usize) -> (&[Block], usize) {
        let (first, stride) = self.place(row);
        (&self.blocks[first..], stride)
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How many numbers a row has.
    pub fn inputs(&self) -> usize {
        self.n_blocks * BLOCK
    }

    /// The numbers that the codes stand for, `[n_rows][inputs]`.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut numbers = Vec::with_capacity(self.n_rows * self.inputs());
        for row in 0..self.n_rows {
            let (first, stride) = self.place(row);
            for at in 0..self.n_blocks {
                let block = &self.blocks[first + at * stride];
                numbers.extend(block.codes.iter().map(|&code| f32::from(code) * block.scale));
            }
        }
        numbers
    }
}

/// Added to a number of up to 22 bits, it leaves its integer in the lowest bits, rounded to the nearest.
const ROUND: f32 = 1.5 * (1 << 23) as f32;

impl Block {
    /// The nearest codes of numbers.
    #[inline(always)]
    fn nearest(numbers: &[f32; BLOCK]) -> Block {
        // As bits, an infinity is greater than numbers, and NaN than an infinity.
        let mut greatest = 0;
        for number in numbers {
            greatest = greatest.max(number.abs().to_bits());
        }
        let greatest = f32::from_bits(greatest);
        let inverse = 127.0 / greatest;
        if !(inverse > 0.0 && inverse < f32::INFINITY) {
            // Zeros, numbers that are next to nothing, or an infinity or NaN.
            let scale = if greatest < 1.0 { 0.0 } else { f32::NAN };
            return Block { scale, sum: scale, ..Block::default() };
        }
        let (mut codes, mut sum) = ([0; BLOCK], 0);
        for (code, number) in codes.iter_mut().zip(numbers) {
            let integer = number.mul_add(inverse, ROUND).to_bits().wrapping_sub(ROUND.to_bits());
            *code = integer as i8;
            sum += integer.cast_signed();
        }
        let scale = greatest / 127.0;
        Block { codes, scale, centre_8: -8 * sum, centre_128: -128 * sum, sum: scale * sum as f32 }
    }
}
