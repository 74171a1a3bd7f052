//! 256-bit vectors.

use super::scalar::Scalar;
use super::{
    Arithmetic, CHUNK, Element, Kernels, KeyRows, Product, Sums, Tokens, ValueRows, Vector,
};
use crate::quant::tiles::{LANES, SLOTS, VECTOR};
use std::arch::x86_64::*;

/// 256-bit vectors.
#[derive(Debug, Clone, Copy)]
pub(in crate::attention) struct Avx2;

/// Lanes of a vector.
const WIDTH: usize = 8;
/// Vectors of a tile's sums.
const VECTORS: usize = LANES / WIDTH;

impl Kernels for Avx2 {
    #[inline(always)]
    unsafe fn products(self, product: &Product<'_>, sums: &mut [Sums]) {
        product.check(sums.len());
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller has the instructions, the lengths were checked.
            unsafe { products_of(product, &product.weights[row * product.stride..], sums) };
        }
    }

    #[inline(always)]
    unsafe fn gather(self, table: &[i8], indices: &[u8], out: &mut [i8]) {
        // SAFETY: plain loops.
        unsafe { Scalar.gather(table, indices, out) }
    }

    #[inline(always)]
    unsafe fn multiply_keys<T: Element>(self, rows: &KeyRows<'_, T>, logits: &mut [Tokens]) {
        rows.check(logits.len());
        let head_dim = rows.head_dim;
        for (logits, queries) in logits.chunks_mut(2).zip(rows.queries.chunks(2 * rows.stride)) {
            for block in 0..rows.n_blocks {
                // SAFETY: the caller has the instructions. By what `KeyRows::check` saw, keys are read within their
                // slice, and the block's logits are within theirs.
                unsafe {
                    let keys = rows.keys.as_ptr().add(block * VECTOR * head_dim);
                    match logits {
                        [one] => multiply_keys_of::<T, 1>(rows, keys, queries, block, [one]),
                        [one, two] => {
                            multiply_keys_of::<T, 2>(rows, keys, queries, block, [one, two]);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn add_values<T: Element>(self, rows: &ValueRows<'_, T>, outputs: &mut [f32]) {
        let head_dim = rows.head_dim;
        rows.check(outputs.len() / rows.stride, outputs.len());
        for (outputs, weights) in
            outputs.chunks_exact_mut(rows.stride).zip(rows.weights.chunks(CHUNK))
        {
            // Four vectors at a time, then one, and then single numbers.
            let mut channel = 0;
            // SAFETY: the caller has the instructions. By what `ValueRows::check` saw, values are read within their
            // slice; the vectors lie in the outputs.
            unsafe {
                while channel + 4 * WIDTH <= head_dim {
                    add_values_of::<T, 4>(rows, channel, weights, outputs);
                    channel += 4 * WIDTH;
                }
                while channel + WIDTH <= head_dim {
                    add_values_of::<T, 1>(rows, channel, weights, outputs);
                    channel += WIDTH;
                }
            }
            for (channel, output) in outputs.iter_mut().enumerate().take(head_dim).skip(channel) {
                let values = rows.values[channel..].iter().step_by(head_dim);
                for (&weight, value) in weights[..rows.n_tokens].iter().zip(values) {
                    *output += weight * value.to_f32();
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn widen(self, halves: &[u8], out: &mut [f32]) {
        let whole = out.len().min(halves.len() / 2) / WIDTH * WIDTH;
        for at in (0..whole).step_by(WIDTH) {
            // SAFETY: the caller has the instructions; both slices go on for so many numbers.
            unsafe {
                let halves = _mm_loadu_si128(halves.as_ptr().add(2 * at).cast());
                _mm256_storeu_ps(out.as_mut_ptr().add(at), _mm256_cvtph_ps(halves));
            }
        }
        // SAFETY: plain loops.
        unsafe { Scalar.widen(&halves[2 * whole..], &mut out[whole..]) }
    }
}

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the caller has the instructions, and arrays are read and written as a whole"
)]
impl Arithmetic for Avx2 {
    type Lanes = [__m256; 2];

    #[inline(always)]
    unsafe fn all(self, number: f32) -> [__m256; 2] {
        unsafe { [_mm256_set1_ps(number); 2] }
    }

    #[inline(always)]
    unsafe fn load(self, from: &Vector) -> [__m256; 2] {
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(WIDTH))] }
    }

    #[inline(always)]
    unsafe fn store(self, lanes: [__m256; 2], to: &mut Vector) {
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), lanes[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(WIDTH), lanes[1]);
        }
    }

    #[inline(always)]
    unsafe fn of_integers(self, from: &[i32; VECTOR]) -> [__m256; 2] {
        unsafe {
            let from: *const __m256i = from.as_ptr().cast();
            [
                _mm256_cvtepi32_ps(_mm256_loadu_si256(from)),
                _mm256_cvtepi32_ps(_mm256_loadu_si256(from.add(1))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn of_bytes(self, from: &[u8; VECTOR]) -> [__m256; 2] {
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(bytes))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn of_signed_bytes(self, from: &[i8; VECTOR]) -> [__m256; 2] {
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(bytes))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn abs(self, a: [__m256; 2]) -> [__m256; 2] {
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, a[0]), _mm256_andnot_ps(sign, a[1])]
        }
    }

    #[inline(always)]
    unsafe fn where_at_least(
        self,
        x: [__m256; 2],
        limit: [__m256; 2],
        a: [__m256; 2],
    ) -> [__m256; 2] {
        unsafe {
            [
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(x[0], limit[0]), a[0]),
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(x[1], limit[1]), a[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn power_of_two(self, rounded: [__m256; 2]) -> [__m256; 2] {
        unsafe {
            let one = _mm256_set1_epi32(127 << 23);
            let left = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded[0]));
            let right = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded[1]));
            [
                _mm256_castsi256_ps(_mm256_add_epi32(left, one)),
                _mm256_castsi256_ps(_mm256_add_epi32(right, one)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn low_bytes(self, a: [__m256; 2], to: &mut [i8; VECTOR]) {
        unsafe {
            // The low bytes of the four numbers of each half, side by side.
            let order = _mm256_setr_epi8(
                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, //
                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
            );
            let to: *mut i32 = to.as_mut_ptr().cast();
            for (at, a) in a.into_iter().enumerate() {
                let bytes = _mm256_shuffle_epi8(_mm256_castps_si256(a), order);
                to.add(2 * at).write_unaligned(_mm256_extract_epi32::<0>(bytes));
                to.add(2 * at + 1).write_unaligned(_mm256_extract_epi32::<4>(bytes));
            }
        }
    }
}

/// Sums of a row.
#[target_feature(enable = "avx2,f16c,fma")]
unsafe fn products_of(product: &Product<'_>, weights: &[i8], sums: &mut Sums) {
    let ones = _mm256_set1_epi16(1);
    let mut totals = [_mm256_setzero_si256(); VECTORS];
    product.for_each_tile(|begins, tile, shift, mask, at| {
        if begins {
            for total in &mut totals {
                *total = _mm256_slli_epi32::<2>(*total);
            }
        }
        let mask = _mm256_set1_epi8(mask.cast_signed());
        for half in 0..2 {
            // SAFETY: a tile has both of its halves.
            let tile = unsafe { _mm256_loadu_si256(tile.as_ptr().add(half * 32).cast()) };
            for slot in 0..SLOTS {
                let at = at + product.slots[slot];
                // SAFETY: four weights follow each place that `Product::check` saw.
                let weights = unsafe { weights.as_ptr().add(at).cast::<i32>().read_unaligned() };
                let count = _mm_cvtsi32_si128(2 * slot as i32 + shift as i32);
                let codes = _mm256_and_si256(_mm256_srl_epi16(tile, count), mask);
                // Three times 127 twice: 16 bits don't overflow.
                let twos = _mm256_maddubs_epi16(codes, _mm256_set1_epi32(weights));
                let fours = _mm256_madd_epi16(twos, ones);
                let total = &mut totals[2 * slot + half];
                *total = _mm256_add_epi32(*total, fours);
            }
        }
    });
    for (at, total) in totals.into_iter().enumerate() {
        // SAFETY: the vectors are as many as the sums hold.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().add(at * WIDTH).cast(), total) };
    }
}

/// Eight numbers in single precision.
#[inline]
#[target_feature(enable = "avx2,f16c,fma")]
unsafe fn load<T: Element>(from: *const T) -> __m256 {
    // SAFETY: the caller has the instructions, and says that eight numbers may be read.
    unsafe {
        match T::IS_HALF {
            true => _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
            false => _mm256_loadu_ps(from.cast()),
        }
    }
}

/// Logits of `R` rows with a block.
#[target_feature(enable = "avx2,f16c,fma")]
unsafe fn multiply_keys_of<T: Element, const R: usize>(
    rows: &KeyRows<'_, T>,
    keys: *const T,
    queries: &[f32],
    block: usize,
    logits: [&mut Tokens; R],
) {
    // SAFETY: the caller has the instructions, and says that a block of keys may be read.
    unsafe {
        let mut totals = [[_mm256_setzero_ps(); 2]; R];
        for channel in 0..rows.head_dim {
            let keys = keys.add(channel * VECTOR);
            let keys = [load(keys), load(keys.add(WIDTH))];
            for (row, totals) in totals.iter_mut().enumerate() {
                let query = _mm256_set1_ps(queries[row * rows.stride + channel]);
                for (total, keys) in totals.iter_mut().zip(keys) {
                    *total = _mm256_fmadd_ps(query, keys, *total);
                }
            }
        }
        for (logits, totals) in logits.into_iter().zip(totals) {
            for (half, total) in totals.into_iter().enumerate() {
                _mm256_storeu_ps(logits.as_mut_ptr().add(block * VECTOR + half * WIDTH), total);
            }
        }
    }
}

/// Outputs of a row in `V` vectors of channels from `channel` on.
#[target_feature(enable = "avx2,f16c,fma")]
unsafe fn add_values_of<T: Element, const V: usize>(
    rows: &ValueRows<'_, T>,
    channel: usize,
    weights: &[f32],
    outputs: &mut [f32],
) {
    // SAFETY: the caller has the instructions, and says that the vectors lie in values and outputs.
    unsafe {
        let outputs = outputs.as_mut_ptr().add(channel);
        let mut totals = [_mm256_setzero_ps(); V];
        for (at, total) in totals.iter_mut().enumerate() {
            *total = _mm256_loadu_ps(outputs.add(at * WIDTH));
        }
        for (token, &weight) in weights[..rows.n_tokens].iter().enumerate() {
            let values = rows.values.as_ptr().add(token * rows.head_dim + channel);
            let weight = _mm256_set1_ps(weight);
            for (at, total) in totals.iter_mut().enumerate() {
                *total = _mm256_fmadd_ps(weight, load(values.add(at * WIDTH)), *total);
            }
        }
        for (at, total) in totals.into_iter().enumerate() {
            _mm256_storeu_ps(outputs.add(at * WIDTH), total);
        }
    }
}
