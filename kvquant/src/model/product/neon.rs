//! 128-bit vectors of 64-bit Arm: one dot product multiplies four inputs of four outputs. Processors without dot
//! products multiply and add in steps.
//!
//! Both take bytes with a sign. So 8-bit codes, which are kept 128 greater, are made what they were, and 4-bit codes of
//! which 8 is to be subtracted begin with the sum of activations that this comes to.

use super::format::{Codes, Format, Q4_0, Q4_1, Q8_0, SIGN};
use super::{BLOCK, LANES, Tile};
use crate::isa::neon::{BYTES, WIDTH, add_dots, load_halves};
use std::arch::aarch64::*;

/// Vectors of a panel's outputs.
const VECTORS: usize = LANES / WIDTH;
/// Rows whose sums, integers and numbers, are kept in 24 of 32 registers; a tile has a multiple of them.
const ROWS: usize = 3;

/// Multiplies a tile of a format.
///
/// # Safety
/// The processor has NEON, and dot products if `HAS_DOT`; and what [`Tile`] says holds.
pub(super) unsafe fn multiply<const HAS_DOT: bool>(format: Format, tile: &Tile<'_>) {
    // SAFETY: as the caller says.
    unsafe {
        match format {
            Format::Q8_0 => multiply_tile::<Q8_0, HAS_DOT>(tile),
            Format::Q4_0 => multiply_tile::<Q4_0, HAS_DOT>(tile),
            Format::Q4_1 => multiply_tile::<Q4_1, HAS_DOT>(tile),
        }
    }
}

unsafe fn multiply_tile<C: Codes, const HAS_DOT: bool>(tile: &Tile<'_>) {
    for first in (0..tile.n_rows).step_by(ROWS) {
        // SAFETY: as the caller says.
        unsafe {
            match tile.n_rows - first {
                1 => multiply_rows::<C, HAS_DOT, 1>(tile, first),
                2 => multiply_rows::<C, HAS_DOT, 2>(tile, first),
                _ => multiply_rows::<C, HAS_DOT, ROWS>(tile, first),
            }
        }
    }
}

/// `R` rows from one on.
#[target_feature(enable = "neon")]
unsafe fn multiply_rows<C: Codes, const HAS_DOT: bool, const R: usize>(
    tile: &Tile<'_>,
    first: usize,
) {
    // SAFETY: the caller has the instructions. Weights and activations are read within their blocks, of which there
    // are as many as the tile says.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); VECTORS]; R];
        let mut weights = tile.panel.as_ptr();
        let mut activations = tile.activations.as_ptr().add(first);
        for _ in 0..tile.panel.len() / C::BLOCK_BYTES {
            let mut dots = [[vdupq_n_s32(0); VECTORS]; R];
            if C::FORMAT == Format::Q4_0 {
                for (row, dots) in dots.iter_mut().enumerate() {
                    *dots = [vdupq_n_s32((*activations.add(row)).centre_8); VECTORS];
                }
            }
            let codes = weights.add(C::SCALE_BYTES);
            // Inputs of each row from one on, as many as a register has.
            let inputs = |first_input: usize| {
                let mut inputs = [vdupq_n_s8(0); R];
                for (row, inputs) in inputs.iter_mut().enumerate() {
                    *inputs = vld1q_s8((*activations.add(row)).codes.as_ptr().add(first_input));
                }
                inputs
            };
            // As macros: the lane is a part of the instruction.
            macro_rules! add {
                ($lane:literal, $vector:expr, $codes:expr, $inputs:expr) => {{
                    let codes = vreinterpretq_s8_u8($codes);
                    for (dots, inputs) in dots.iter_mut().zip($inputs) {
                        let dot = &mut dots[$vector];
                        *dot = add_dots::<HAS_DOT, $lane>(*dot, codes, inputs);
                    }
                }};
            }
            macro_rules! for_each_lane {
                ($add:ident) => {
                    $add!(0);
                    $add!(1);
                    $add!(2);
                    $add!(3);
                };
            }
            if C::FORMAT == Format::Q8_0 {
                for sixteen in 0..BLOCK / BYTES {
                    let (codes, inputs) = (codes.add(sixteen * 16 * LANES), inputs(16 * sixteen));
                    macro_rules! add_bytes {
                        ($lane:literal) => {
                            for vector in 0..VECTORS {
                                let codes = vld1q_u8(codes.add($lane * 4 * LANES + vector * BYTES));
                                add!($lane, vector, veorq_u8(codes, vdupq_n_u8(SIGN)), inputs);
                            }
                        };
                    }
                    for_each_lane!(add_bytes);
                }
            } else {
                let (low, high) = (inputs(0), inputs(BLOCK / 2));
                macro_rules! add_nibbles {
                    ($lane:literal) => {
                        for vector in 0..VECTORS {
                            let codes = vld1q_u8(codes.add($lane * 4 * LANES + vector * BYTES));
                            add!($lane, vector, vandq_u8(codes, vdupq_n_u8(15)), low);
                            add!($lane, vector, vshrq_n_u8::<4>(codes), high);
                        }
                    };
                }
                for_each_lane!(add_nibbles);
            }
            for vector in 0..VECTORS {
                let numbers =
                    |at: usize| load_halves(weights.add(2 * LANES * at + 2 * WIDTH * vector));
                for (row, (sums, dots)) in sums.iter_mut().zip(&dots).enumerate() {
                    let (activations, sum) = (&*activations.add(row), &mut sums[vector]);
                    let scales = vmulq_n_f32(numbers(0), activations.scale);
                    *sum = vfmaq_f32(*sum, vcvtq_f32_s32(dots[vector]), scales);
                    if C::HAS_MINIMA {
                        *sum = vfmaq_n_f32(*sum, numbers(1), activations.sum);
                    }
                }
            }
            weights = weights.add(C::BLOCK_BYTES);
            // Not read behind the last block, where it may be out of the slice.
            activations = activations.wrapping_add(tile.stride);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let mut lanes = [0.0; LANES];
            for (vector, sums) in sums.into_iter().enumerate() {
                vst1q_f32(lanes.as_mut_ptr().add(vector * WIDTH), sums);
            }
            tile.output.write(tile.row + first + row, &tile.outputs, &lanes);
        }
    }
}
