//! 256-bit vectors.
//!
//! Their products of bytes are added in pairs to 16 bits and saturate there. So 8-bit codes give their signs to the
//! activations: `128 * 127 * 2` fits. Of 4-bit codes all 32 inputs do: `15 * 127 * 2 * 8` fits.

use super::format::{Codes, Format, Q4_0, Q4_1, Q8_0};
use super::{LANES, Tile};
use std::arch::x86_64::*;

/// Rows whose sums are kept together.
const ROWS: usize = 4;

/// Multiplies a tile of a format.
///
/// # Safety
/// The processor has the instructions, and what [`Tile`] says holds.
pub(super) unsafe fn multiply(format: Format, tile: &Tile<'_>) {
    // SAFETY: as the caller says.
    unsafe {
        match format {
            Format::Q8_0 => multiply_tile::<Q8_0>(tile),
            Format::Q4_0 => multiply_tile::<Q4_0>(tile),
            Format::Q4_1 => multiply_tile::<Q4_1>(tile),
        }
    }
}

unsafe fn multiply_tile<C: Codes>(tile: &Tile<'_>) {
    for first in (0..tile.n_rows).step_by(ROWS) {
        // SAFETY: as the caller says.
        unsafe {
            match tile.n_rows - first {
                1 => multiply_rows::<C, 1>(tile, first),
                2 => multiply_rows::<C, 2>(tile, first),
                3 => multiply_rows::<C, 3>(tile, first),
                _ => multiply_rows::<C, ROWS>(tile, first),
            }
        }
    }
}

/// `R` rows from one on.
#[target_feature(enable = "avx2,f16c,fma")]
unsafe fn multiply_rows<C: Codes, const R: usize>(tile: &Tile<'_>, first: usize) {
    // SAFETY: the caller has the instructions. Weights and activations are read within their blocks, of which there
    // are as many as the tile says.
    unsafe {
        let (nibbles, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
        let sign = _mm256_set1_epi8(i8::MIN);
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        let mut weights = tile.panel.as_ptr();
        let mut activations = tile.activations.as_ptr().add(first);
        for _ in 0..tile.panel.len() / C::BLOCK_BYTES {
            // Of 8-bit codes sums of 32 bits, of 4-bit codes sums of 16.
            let mut dots = [[_mm256_setzero_si256(); 2]; R];
            for vector in 0..(C::BLOCK_BYTES - C::SCALE_BYTES) / 32 {
                let (fours, half) = (4 * (vector / 2), vector % 2);
                let codes = weights.add(C::SCALE_BYTES + 32 * vector);
                let codes = _mm256_loadu_si256(codes.cast());
                for (row, halves) in dots.iter_mut().enumerate() {
                    let dot = &mut halves[half];
                    let four = (*activations.add(row)).codes.as_ptr().add(fours).cast::<i32>();
                    let low = _mm256_set1_epi32(four.read_unaligned());
                    if C::FORMAT == Format::Q8_0 {
                        let codes = _mm256_xor_si256(codes, sign);
                        let signed = _mm256_sign_epi8(low, codes);
                        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), signed);
                        *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(pairs, ones));
                    } else {
                        let high = _mm256_set1_epi32(four.add(4).read_unaligned());
                        let pairs = _mm256_maddubs_epi16(_mm256_and_si256(codes, nibbles), low);
                        let codes = _mm256_srli_epi16::<4>(codes);
                        let high_pairs =
                            _mm256_maddubs_epi16(_mm256_and_si256(codes, nibbles), high);
                        *dot = _mm256_add_epi16(*dot, _mm256_add_epi16(pairs, high_pairs));
                    }
                }
            }
            for half in 0..2 {
                let numbers = |at: usize| {
                    let halves = weights.add(32 * at + 16 * half);
                    _mm256_cvtph_ps(_mm_loadu_si128(halves.cast()))
                };
                for row in 0..R {
                    let (activations, dot) = (&*activations.add(row), dots[row][half]);
                    let dot = match C::FORMAT {
                        Format::Q8_0 => dot,
                        Format::Q4_0 => _mm256_add_epi32(
                            _mm256_madd_epi16(dot, ones),
                            _mm256_set1_epi32(activations.centre_8),
                        ),
                        Format::Q4_1 => _mm256_madd_epi16(dot, ones),
                    };
                    let scales = _mm256_mul_ps(numbers(0), _mm256_set1_ps(activations.scale));
                    let sum = &mut sums[row][half];
                    *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scales, *sum);
                    if C::HAS_MINIMA {
                        *sum = _mm256_fmadd_ps(numbers(1), _mm256_set1_ps(activations.sum), *sum);
                    }
                }
            }
            weights = weights.add(C::BLOCK_BYTES);
            // Not read behind the last block, where it may be out of the slice.
            activations = activations.wrapping_add(tile.stride);
        }
        for (row, halves) in sums.into_iter().enumerate() {
            let mut lanes = [0.0; LANES];
            _mm256_storeu_ps(lanes.as_mut_ptr(), halves[0]);
            _mm256_storeu_ps(lanes.as_mut_ptr().add(LANES / 2), halves[1]);
            tile.output.write(tile.row + first + row, &tile.outputs, &lanes);
        }
    }
}
