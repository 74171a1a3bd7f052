//! 512-bit vectors with dot products of bytes (VNNI): one instruction multiplies four inputs of 16 outputs.
//!
//! Sums of up to 12 rows stay in registers, so that codes are read and unpacked once for them. With one row the loop
//! waits for memory.

use super::format::{Codes, Format, Q4_0, Q4_1, Q8_0};
use super::{TILE, Tile};
use std::arch::x86_64::*;

/// How many bytes ahead codes are asked for, so that many rows don't wait for those of the next panel: 12 rows of 8-bit
/// codes from memory are multiplied 1.3 times as fast.
const AHEAD: usize = 4096;
/// With so few rows the loop waits for nothing but memory. It reads panels from end to end, which the processor
/// foresees better than we do: to ask takes a sixth of its speed.
const FEW: usize = 6;

/// Multiplies a tile of a format.
///
/// # Safety
/// The processor has the instructions, and what [`Tile`] says holds.
pub(super) unsafe fn multiply(format: Format, tile: &Tile<'_>) {
    macro_rules! by_rows {
        ($codes:ty, $($rows:literal)*) => {
            match tile.n_rows {
                $($rows => multiply_rows::<$codes, $rows>(tile),)*
                _ => unreachable!("tiles have 1 to {TILE} rows"),
            }
        };
    }
    // SAFETY: as the caller says.
    unsafe {
        match format {
            Format::Q8_0 => by_rows!(Q8_0, 1 2 3 4 5 6 7 8 9 10 11 12),
            Format::Q4_0 => by_rows!(Q4_0, 1 2 3 4 5 6 7 8 9 10 11 12),
            Format::Q4_1 => by_rows!(Q4_1, 1 2 3 4 5 6 7 8 9 10 11 12),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn multiply_rows<C: Codes, const R: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller has the instructions. Weights and activations are read within their blocks, of which there
    // are as many as the tile says.
    unsafe {
        let nibbles = _mm512_set1_epi8(15);
        let mut sums = [_mm512_setzero_ps(); R];
        let mut weights = tile.panel.as_ptr();
        let mut activations = tile.activations.as_ptr();
        for _ in 0..tile.panel.len() / C::BLOCK_BYTES {
            let mut dots = [_mm512_setzero_si512(); R];
            for (row, dot) in dots.iter_mut().enumerate() {
                let activations = &*activations.add(row);
                *dot = match C::FORMAT {
                    Format::Q8_0 => _mm512_set1_epi32(activations.centre_128),
                    Format::Q4_0 => _mm512_set1_epi32(activations.centre_8),
                    Format::Q4_1 => _mm512_setzero_si512(),
                };
            }
            // As a macro: sums that a closure borrows would leave the registers.
            macro_rules! add {
                ($codes:expr, $inputs:expr) => {{
                    let codes = $codes;
                    for (row, dot) in dots.iter_mut().enumerate() {
                        let four = (*activations.add(row)).codes.as_ptr().add($inputs);
                        let four = _mm512_set1_epi32(four.cast::<i32>().read_unaligned());
                        *dot = _mm512_dpbusd_epi32(*dot, codes, four);
                    }
                }};
            }
            for vector in 0..(C::BLOCK_BYTES - C::SCALE_BYTES) / 64 {
                let codes = weights.add(C::SCALE_BYTES + 64 * vector);
                if R > FEW {
                    _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD).cast());
                }
                let codes = _mm512_loadu_si512(codes.cast());
                if C::FORMAT == Format::Q8_0 {
                    add!(codes, 4 * vector);
                } else {
                    add!(_mm512_and_si512(codes, nibbles), 4 * vector);
                    let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibbles);
                    add!(high, 16 + 4 * vector);
                }
            }
            let numbers =
                |at: usize| _mm512_cvtph_ps(_mm256_loadu_si256(weights.add(32 * at).cast()));
            let scales = numbers(0);
            for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                let activations = &*activations.add(row);
                let scales = _mm512_mul_ps(scales, _mm512_set1_ps(activations.scale));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scales, *sum);
                if C::HAS_MINIMA {
                    *sum = _mm512_fmadd_ps(numbers(1), _mm512_set1_ps(activations.sum), *sum);
                }
            }
            weights = weights.add(C::BLOCK_BYTES);
            // Not read behind the last block, where it may be out of the slice.
            activations = activations.wrapping_add(tile.stride);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let mut lanes = [0.0; super::LANES];
            _mm512_storeu_ps(lanes.as_mut_ptr(), sums);
            tile.output.write(tile.row + row, &tile.outputs, &lanes);
        }
    }
}
