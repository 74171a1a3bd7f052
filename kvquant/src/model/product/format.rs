//! How the codes of weights are laid out, in files and in panels.
//!
//! A file has, for each output, its blocks of 32 inputs one after the other; a block is scales and then codes. A block
//! of a panel is the blocks of 16 outputs: their scales side by side, and then their codes, four inputs of each output
//! at a time, which is what an instruction multiplies. Both have the same bytes, in another order.

use super::{BLOCK, LANES};
use half::f16;

/// What the codes of a matrix mean, by the names of GGML. A block of 32 weights has a scale `d` in half precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Codes `q` of 8 bits with a sign: `w = d q`.
    Q8_0,
    /// Codes of 4 bits: `w = d (q - 8)`.
    Q4_0,
    /// Codes of 4 bits, and a half-precision minimum `m`: `w = d q + m`.
    Q4_1,
}

/// Flips the sign bit of a byte: codes with a sign are kept as bytes without one, 128 greater.
pub(super) const SIGN: u8 = 0x80;

impl Format {
    /// Bytes of the scale and the minimum of a block of one output.
    pub(super) const fn scale_bytes(self) -> usize {
        match self {
            Format::Q8_0 | Format::Q4_0 => 2,
            Format::Q4_1 => 4,
        }
    }

    /// Bytes of the codes of a block of one output.
    pub(super) const fn code_bytes(self) -> usize {
        match self {
            Format::Q8_0 => BLOCK,
            Format::Q4_0 | Format::Q4_1 => BLOCK / 2,
        }
    }

    /// Bytes of a block of one output.
    pub const fn block_bytes(self) -> usize {
        self.scale_bytes() + self.code_bytes()
    }

    /// Puts an output's block of a file into its lane of a panel's block.
    pub(super) fn place(self, file: &[u8], panel: &mut [u8], lane: usize) {
        let (scales, codes) = file.split_at(self.scale_bytes());
        let (panel_scales, panel_codes) = panel.split_at_mut(LANES * self.scale_bytes());
        for (number, to) in scales.chunks_exact(2).zip(panel_scales.chunks_exact_mut(2 * LANES)) {
            to[2 * lane..][..2].copy_from_slice(number);
        }
        for (four, to) in codes.chunks_exact(4).zip(panel_codes.chunks_exact_mut(4 * LANES)) {
            for (code, to) in four.iter().zip(&mut to[4 * lane..][..4]) {
                *to = if self == Format::Q8_0 { code ^ SIGN } else { *code };
            }
        }
    }

    /// The scale and the minimum of a lane of a panel's block.
    #[inline(always)]
    pub(super) fn scales(self, panel: &[u8], lane: usize) -> (f32, f32) {
        let number = |at: usize| f16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
        match self {
            Format::Q8_0 | Format::Q4_0 => (number(2 * lane), 0.0),
            Format::Q4_1 => (number(2 * lane), number(2 * (LANES + lane))),
        }
    }

    /// The code of an input in a lane of a panel's block, less what the codes of the format are too great by.
    #[inline(always)]
    pub(super) fn code(self, panel: &[u8], lane: usize, input: usize) -> i32 {
        let byte = |input: usize| {
            let four = LANES * self.scale_bytes() + input / 4 * (4 * LANES);
            panel[four + 4 * lane + input % 4]
        };
        if self == Format::Q8_0 {
            return i32::from((byte(input) ^ SIGN).cast_signed());
        }
        let pair = byte(input % (BLOCK / 2));
        let code = if input < BLOCK / 2 { pair & 15 } else { pair >> 4 };
        i32::from(code) - if self == Format::Q4_0 { 8 } else { 0 }
    }
}

/// A block of a file in [`Format::Q8_0`] with codes that are nearest to 32 weights.
pub(super) fn nearest_bytes(weights: &[f32; BLOCK]) -> [u8; Format::Q8_0.block_bytes()] {
    let greatest = weights.iter().fold(0.0_f32, |greatest, weight| greatest.max(weight.abs()));
    let scale = greatest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; Format::Q8_0.block_bytes()];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (code, weight) in block[2..].iter_mut().zip(weights) {
        *code = ((weight * inverse).round() as i8).cast_unsigned();
    }
    block
}

/// A format as a type, which kernels are compiled for.
pub(super) trait Codes {
    const FORMAT: Format;
    /// Bytes of the scales of a panel's block, behind which are its codes.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(dead_code, reason = "plain loops ask the format")
    )]
    const SCALE_BYTES: usize = LANES * Self::FORMAT.scale_bytes();
    /// Bytes of a panel's block.
    const BLOCK_BYTES: usize = LANES * Self::FORMAT.block_bytes();
    const HAS_MINIMA: bool = matches!(Self::FORMAT, Format::Q4_1);
}

pub(super) struct Q8_0;
pub(super) struct Q4_0;
pub(super) struct Q4_1;

impl Codes for Q8_0 {
    const FORMAT: Format = Format::Q8_0;
}

impl Codes for Q4_0 {
    const FORMAT: Format = Format::Q4_0;
}

impl Codes for Q4_1 {
    const FORMAT: Format = Format::Q4_1;
}
