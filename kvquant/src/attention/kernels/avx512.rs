//! 512-bit vectors: dot products of bytes (VNNI), permutations of bytes (VBMI).

use super::{
    Arithmetic, CHUNK, Element, Kernels, KeyRows, Product, Sums, Tokens, ValueRows, Vector,
};
use crate::quant::tiles::{LANES, SLOTS, TILE_BYTES, VECTOR};
use std::arch::x86_64::*;

/// 512-bit vectors.
#[derive(Debug, Clone, Copy)]
pub(in crate::attention) struct Avx512;

/// Rows whose sums are kept in registers together.
const ROWS: usize = 4;

impl Kernels for Avx512 {
    #[inline(always)]
    unsafe fn products(self, product: &Product<'_>, sums: &mut [Sums]) {
        product.check(sums.len());
        let is_split = product.slots != [0; SLOTS];
        for (batch, sums) in sums.chunks_mut(ROWS).enumerate() {
            let first = batch * ROWS * product.stride;
            // SAFETY: the caller has the instructions, the lengths were checked.
            unsafe {
                match (sums.len(), is_split) {
                    (1, false) => products_of::<1, false>(product, first, sums),
                    (2, false) => products_of::<2, false>(product, first, sums),
                    (3, false) => products_of::<3, false>(product, first, sums),
                    (4, false) => products_of::<4, false>(product, first, sums),
                    (1, true) => products_of::<1, true>(product, first, sums),
                    (2, true) => products_of::<2, true>(product, first, sums),
                    (3, true) => products_of::<3, true>(product, first, sums),
                    (_, true) => products_of::<4, true>(product, first, sums),
                    (_, false) => unreachable!("batches have at most {ROWS} rows"),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn gather(self, table: &[i8], indices: &[u8], out: &mut [i8]) {
        if table.len() > 128 || !out.len().is_multiple_of(64) || !table.len().is_multiple_of(64) {
            for (out, &index) in out.iter_mut().zip(indices) {
                *out = table[usize::from(index)];
            }
            return;
        }
        assert_eq!(indices.len(), out.len(), "an index for each");
        // SAFETY: the caller has the instructions; whole vectors of table, indices and output are read and written,
        // by the lengths just looked at.
        unsafe {
            let low = _mm512_loadu_si512(table.as_ptr().cast());
            let high = match table.len() {
                128 => _mm512_loadu_si512(table.as_ptr().add(64).cast()),
                _ => low,
            };
            for at in (0..out.len()).step_by(64) {
                let indices = _mm512_loadu_si512(indices.as_ptr().add(at).cast());
                let bytes = _mm512_permutex2var_epi8(low, indices, high);
                _mm512_storeu_si512(out.as_mut_ptr().add(at).cast(), bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply_keys<T: Element>(self, rows: &KeyRows<'_, T>, logits: &mut [Tokens]) {
        rows.check(logits.len());
        for (batch, logits) in logits.chunks_mut(ROWS).enumerate() {
            let queries = &rows.queries[batch * ROWS * rows.stride..];
            // SAFETY: the caller has the instructions, the lengths were checked.
            unsafe {
                match logits.len() {
                    1 => multiply_keys_of::<T, 1>(rows, queries, logits),
                    2 => multiply_keys_of::<T, 2>(rows, queries, logits),
                    3 => multiply_keys_of::<T, 3>(rows, queries, logits),
                    _ => multiply_keys_of::<T, 4>(rows, queries, logits),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn add_values<T: Element>(self, rows: &ValueRows<'_, T>, outputs: &mut [f32]) {
        let head_dim = rows.head_dim;
        rows.check(outputs.len() / rows.stride, outputs.len());
        for (batch, outputs) in outputs.chunks_mut(ROWS * rows.stride).enumerate() {
            let weights = &rows.weights[batch * ROWS * CHUNK..];
            let mut channel = 0;
            // SAFETY: the caller has the instructions, the lengths were checked.
            unsafe {
                // Few rows leave registers for whole rows of values, which are then read once.
                while channel + 2 * LANES <= head_dim && outputs.len() <= 2 * rows.stride {
                    match outputs.len() / rows.stride {
                        1 => add_values_of::<T, 1, 8>(rows, channel, !0, weights, outputs),
                        _ => add_values_of::<T, 2, 8>(rows, channel, !0, weights, outputs),
                    }
                    channel += 2 * LANES;
                }
                while channel + LANES <= head_dim {
                    match outputs.len() / rows.stride {
                        1 => add_values_of::<T, 1, SLOTS>(rows, channel, !0, weights, outputs),
                        2 => add_values_of::<T, 2, SLOTS>(rows, channel, !0, weights, outputs),
                        3 => add_values_of::<T, 3, SLOTS>(rows, channel, !0, weights, outputs),
                        _ => add_values_of::<T, 4, SLOTS>(rows, channel, !0, weights, outputs),
                    }
                    channel += LANES;
                }
                while channel < head_dim {
                    let mask = !0 >> (VECTOR - (head_dim - channel).min(VECTOR));
                    for (row, outputs) in outputs.chunks_mut(rows.stride).enumerate() {
                        let weights = &weights[row * CHUNK..];
                        add_values_of::<T, 1, 1>(rows, channel, mask, weights, outputs);
                    }
                    channel += VECTOR;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn widen(self, halves: &[u8], out: &mut [f32]) {
        let n = out.len().min(halves.len() / 2);
        for at in (0..n).step_by(VECTOR) {
            let mask: u16 = !0 >> (VECTOR - (n - at).min(VECTOR));
            // SAFETY: the caller has the instructions; the mask keeps to both slices.
            unsafe {
                let halves = _mm256_maskz_loadu_epi16(mask, halves.as_ptr().add(2 * at).cast());
                _mm512_mask_storeu_ps(out.as_mut_ptr().add(at), mask, _mm512_cvtph_ps(halves));
            }
        }
    }
}

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the caller has the instructions, and arrays are read and written as a whole"
)]
impl Arithmetic for Avx512 {
    type Lanes = __m512;

    #[inline(always)]
    unsafe fn all(self, number: f32) -> __m512 {
        unsafe { _mm512_set1_ps(number) }
    }

    #[inline(always)]
    unsafe fn load(self, from: &Vector) -> __m512 {
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, lanes: __m512, to: &mut Vector) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), lanes) }
    }

    #[inline(always)]
    unsafe fn of_integers(self, from: &[i32; VECTOR]) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(from.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn of_bytes(self, from: &[u8; VECTOR]) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    unsafe fn of_signed_bytes(self, from: &[i8; VECTOR]) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    unsafe fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }

    #[inline(always)]
    unsafe fn where_at_least(self, x: __m512, limit: __m512, a: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, limit), a) }
    }

    #[inline(always)]
    unsafe fn power_of_two(self, rounded: __m512) -> __m512 {
        unsafe {
            let exponents = _mm512_slli_epi32::<23>(_mm512_castps_si512(rounded));
            _mm512_castsi512_ps(_mm512_add_epi32(exponents, _mm512_set1_epi32(127 << 23)))
        }
    }

    #[inline(always)]
    unsafe fn low_bytes(self, a: __m512, to: &mut [i8; VECTOR]) {
        unsafe {
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(a)));
        }
    }
}

/// Sums of `R` rows, whose weights begin at `first`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,f16c,fma")]
unsafe fn products_of<const R: usize, const IS_SPLIT: bool>(
    product: &Product<'_>,
    first: usize,
    sums: &mut [Sums],
) {
    // SAFETY: the caller has the instructions. By what `Product::check` saw, tiles and weights are read within their
    // slices.
    unsafe {
        let [mut pairs, mut singles] = [[_mm512_setzero_si512(); SLOTS]; 2];
        for slot in 0..SLOTS {
            pairs[slot] = _mm512_set1_epi8((3_u8 << (2 * slot)).cast_signed());
            singles[slot] = _mm512_set1_epi8(1 << (2 * slot));
        }
        let mut totals = [[_mm512_setzero_si512(); SLOTS]; R];
        let step = product.step;
        let mut level_tiles = product.tiles.as_ptr();
        for (at, level) in product.levels.iter().enumerate() {
            if at > 0 {
                for total in totals.as_flattened_mut() {
                    *total = _mm512_slli_epi32::<2>(*total);
                }
            }
            for block in 0..product.n_blocks {
                let mut tile = level_tiles.add(block * product.block_stride);
                let mut weights =
                    product.weights.as_ptr().add(first + block * LANES + level.weights);
                // As a macro: sums that a closure borrows would leave the registers.
                macro_rules! add {
                    ($codes:expr, $masks:expr) => {{
                        let codes = $codes;
                        for slot in 0..SLOTS {
                            let codes = _mm512_and_si512(codes, $masks[slot]);
                            for row in 0..R {
                                let offset = if IS_SPLIT { product.slots[slot] } else { 0 };
                                let weights = weights.add(row * product.stride + offset);
                                let weights = weights.cast::<i32>().read_unaligned();
                                totals[row][slot] = _mm512_dpbusd_epi32(
                                    totals[row][slot],
                                    codes,
                                    _mm512_set1_epi32(weights),
                                );
                            }
                        }
                        weights = weights.add(step);
                    }};
                }
                for _ in 0..level.pair_tiles {
                    _mm_prefetch::<_MM_HINT_T0>(tile.wrapping_add(product.ahead).cast());
                    add!(_mm512_loadu_si512(tile.cast()), pairs);
                    tile = tile.add(TILE_BYTES);
                }
                if level.has_pair_rest {
                    add!(_mm512_cvtepu16_epi32(_mm256_loadu_si256(tile.cast())), pairs);
                    tile = tile.add(TILE_BYTES / 2);
                }
                for _ in 0..level.single_tiles {
                    _mm_prefetch::<_MM_HINT_T0>(tile.wrapping_add(product.ahead).cast());
                    let codes = _mm512_loadu_si512(tile.cast());
                    add!(codes, singles);
                    add!(_mm512_srli_epi16::<1>(codes), singles);
                    tile = tile.add(TILE_BYTES);
                }
                if level.has_single_half {
                    add!(doubled(_mm256_loadu_si256(tile.cast())), singles);
                    tile = tile.add(TILE_BYTES / 2);
                }
                if level.has_single_quarter {
                    let codes = _mm256_cvtepu16_epi32(_mm_loadu_si128(tile.cast()));
                    add!(doubled(codes), singles);
                }
                // The weights behind the last are not read.
                let _ = weights;
            }
            level_tiles = level_tiles.add(level.bytes());
        }
        for (sums, totals) in sums.iter_mut().zip(totals) {
            let sums = sums.as_mut_ptr();
            _mm512_storeu_si512(sums.cast(), totals[0]);
            _mm512_storeu_si512(sums.add(VECTOR).cast(), _mm512_srai_epi32::<2>(totals[1]));
            _mm512_storeu_si512(sums.add(2 * VECTOR).cast(), _mm512_srai_epi32::<4>(totals[2]));
            _mm512_storeu_si512(sums.add(3 * VECTOR).cast(), _mm512_srai_epi32::<6>(totals[3]));
        }
    }
}

/// Half a tile, whose higher bits are the other half's lower ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,f16c,fma")]
fn doubled(half: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(half), _mm256_srli_epi16::<1>(half))
}

/// 16 numbers in single precision.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,f16c,fma")]
unsafe fn load<T: Element>(from: *const T, mask: u16) -> __m512 {
    // SAFETY: the caller has the instructions, and says that the numbers of the mask may be read.
    unsafe {
        match (T::IS_HALF, mask) {
            (true, 0xffff) => _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
            (true, mask) => _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from.cast())),
            (false, mask) => _mm512_maskz_loadu_ps(mask, from.cast()),
        }
    }
}

/// Logits of `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,f16c,fma")]
unsafe fn multiply_keys_of<T: Element, const R: usize>(
    rows: &KeyRows<'_, T>,
    queries: &[f32],
    logits: &mut [Tokens],
) {
    /// Sums of every second channel and so on, so that additions don't wait for each other.
    const SUMS: usize = 4;
    let (head_dim, stride) = (rows.head_dim, rows.stride);
    // SAFETY: the caller has the instructions. By what `KeyRows::check` saw, keys and queries are read within their
    // slices, and blocks end within the logits.
    unsafe {
        for block in 0..rows.n_blocks {
            let keys = rows.keys.as_ptr().add(block * VECTOR * head_dim);
            let mut totals = [[_mm512_setzero_ps(); SUMS]; R];
            let mut channel = 0;
            while channel + SUMS <= head_dim {
                for sum in 0..SUMS {
                    let keys = load(keys.add((channel + sum) * VECTOR), !0);
                    for (row, totals) in totals.iter_mut().enumerate() {
                        let query = *queries.as_ptr().add(row * stride + channel + sum);
                        totals[sum] = _mm512_fmadd_ps(_mm512_set1_ps(query), keys, totals[sum]);
                    }
                }
                channel += SUMS;
            }
            while channel < head_dim {
                let keys = load(keys.add(channel * VECTOR), !0);
                for (row, totals) in totals.iter_mut().enumerate() {
                    let query = *queries.as_ptr().add(row * stride + channel);
                    totals[0] = _mm512_fmadd_ps(_mm512_set1_ps(query), keys, totals[0]);
                }
                channel += 1;
            }
            for (logits, [a, b, c, d]) in logits.iter_mut().zip(totals) {
                let total = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
                _mm512_storeu_ps(logits.as_mut_ptr().add(block * VECTOR), total);
            }
        }
    }
}

/// Outputs of `R` rows in `V` vectors of channels from `channel` on; of the last vector, those of the mask.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,f16c,fma")]
unsafe fn add_values_of<T: Element, const R: usize, const V: usize>(
    rows: &ValueRows<'_, T>,
    channel: usize,
    mask: u16,
    weights: &[f32],
    outputs: &mut [f32],
) {
    let head_dim = rows.head_dim;
    // SAFETY: the caller has the instructions. By what `ValueRows::check` saw, values and weights are read within
    // their slices, and the vectors lie in the outputs.
    unsafe {
        let output = |row: usize, vector: usize| row * rows.stride + channel + vector * VECTOR;
        let mut totals = [[_mm512_setzero_ps(); V]; R];
        for (row, totals) in totals.iter_mut().enumerate() {
            for (vector, total) in totals.iter_mut().enumerate() {
                *total = _mm512_maskz_loadu_ps(mask, outputs.as_ptr().add(output(row, vector)));
            }
        }
        for token in 0..rows.n_tokens {
            let mut values = [_mm512_setzero_ps(); V];
            for (vector, values) in values.iter_mut().enumerate() {
                let at = token * head_dim + channel + vector * VECTOR;
                *values = load(rows.values.as_ptr().add(at), mask);
            }
            for (row, totals) in totals.iter_mut().enumerate() {
                let weight = _mm512_set1_ps(*weights.as_ptr().add(row * CHUNK + token));
                for (total, values) in totals.iter_mut().zip(values) {
                    *total = _mm512_fmadd_ps(weight, values, *total);
                }
            }
        }
        for (row, totals) in totals.into_iter().enumerate() {
            for (vector, total) in totals.into_iter().enumerate() {
                _mm512_mask_storeu_ps(outputs.as_mut_ptr().add(output(row, vector)), mask, total);
            }
        }
    }
}
