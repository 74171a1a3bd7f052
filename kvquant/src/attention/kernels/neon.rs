//! 128-bit vectors of 64-bit Arm, with dot products of bytes where the processor has them.

use super::scalar::Scalar;
use super::{
    Arithmetic, CHUNK, Element, Kernels, KeyRows, Product, Sums, Tokens, ValueRows, Vector,
};
use crate::isa::neon::{BYTES, WIDTH, add_dots, four_everywhere, load_halves};
use crate::quant::tiles::{LANES, SLOTS, TILE_BYTES, VECTOR};
use std::arch::aarch64::*;
use std::array::from_fn;

/// 128-bit vectors.
#[derive(Debug, Clone, Copy)]
pub(in crate::attention) struct Neon<const HAS_DOT: bool>;

/// Vectors of a slot's sums.
const VECTORS: usize = VECTOR / WIDTH;
/// Rows whose sums are kept in registers together.
const ROWS: usize = 4;
/// Bytes that one instruction looks up in.
const TABLE: usize = 4 * BYTES;

impl<const HAS_DOT: bool> Kernels for Neon<HAS_DOT> {
    #[inline(always)]
    unsafe fn products(self, product: &Product<'_>, sums: &mut [Sums]) {
        product.check(sums.len());
        let is_split = product.slots != [0; SLOTS];
        for (batch, sums) in sums.chunks_mut(ROWS).enumerate() {
            let first = batch * ROWS * product.stride;
            // SAFETY: the caller has the instructions, the lengths were checked.
            unsafe {
                if is_split {
                    products_of_rows::<HAS_DOT, true>(product, first, sums);
                } else {
                    products_of_rows::<HAS_DOT, false>(product, first, sums);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn gather(self, table: &[i8], indices: &[u8], out: &mut [i8]) {
        let (parts, rest) = table.as_chunks::<TABLE>();
        let n = out.len().min(indices.len());
        // The rest, and tables of any other size, in plain loops.
        let whole = if rest.is_empty() && parts.len() <= SLOTS { n / BYTES * BYTES } else { 0 };
        for at in (0..whole).step_by(BYTES) {
            // SAFETY: the caller has the instructions; `whole` vectors of indices and output are read and written, and
            // parts of the table as a whole.
            unsafe {
                let mut indices = vld1q_u8(indices.as_ptr().add(at));
                let mut bytes = vdupq_n_s8(0);
                for part in parts {
                    // Lanes whose index is beyond this part, or was before it and has wrapped around, stay.
                    bytes = vqtbx4q_s8(bytes, vld1q_s8_x4(part.as_ptr()), indices);
                    indices = vsubq_u8(indices, vdupq_n_u8(TABLE as u8));
                }
                vst1q_s8(out.as_mut_ptr().add(at), bytes);
            }
        }
        // SAFETY: plain loops.
        unsafe { Scalar.gather(table, &indices[whole..], &mut out[whole..]) }
    }

    #[inline(always)]
    unsafe fn multiply_keys<T: Element>(self, rows: &KeyRows<'_, T>, logits: &mut [Tokens]) {
        rows.check(logits.len());
        for (batch, logits) in logits.chunks_mut(ROWS).enumerate() {
            let queries = &rows.queries[batch * ROWS * rows.stride..];
            // SAFETY: the caller has the instructions, the lengths were checked.
            unsafe {
                match logits.len() {
                    1 => multiply_keys_of::<T, 1, 4>(rows, queries, logits),
                    2 => multiply_keys_of::<T, 2, 2>(rows, queries, logits),
                    3 => multiply_keys_of::<T, 3, 1>(rows, queries, logits),
                    _ => multiply_keys_of::<T, 4, 1>(rows, queries, logits),
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
                // A single row leaves registers for twice the sums, of which fewer wait for each other then.
                while channel + 2 * VECTOR <= head_dim && outputs.len() == rows.stride {
                    add_values_of::<T, 1, { 2 * VECTORS }>(rows, channel, weights, outputs);
                    channel += 2 * VECTOR;
                }
                while channel + VECTOR <= head_dim {
                    match outputs.len() / rows.stride {
                        1 => add_values_of::<T, 1, VECTORS>(rows, channel, weights, outputs),
                        2 => add_values_of::<T, 2, VECTORS>(rows, channel, weights, outputs),
                        3 => add_values_of::<T, 3, VECTORS>(rows, channel, weights, outputs),
                        _ => add_values_of::<T, 4, VECTORS>(rows, channel, weights, outputs),
                    }
                    channel += VECTOR;
                }
            }
            for (row, outputs) in outputs.chunks_mut(rows.stride).enumerate() {
                let weights = &weights[row * CHUNK..][..rows.n_tokens];
                for (at, output) in outputs.iter_mut().enumerate().take(head_dim).skip(channel) {
                    let values = rows.values[at..].iter().step_by(head_dim);
                    for (&weight, value) in weights.iter().zip(values) {
                        *output += weight * value.to_f32();
                    }
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
                vst1q_f32(out.as_mut_ptr().add(at), load_halves(halves.as_ptr().add(2 * at)))
            };
        }
        // SAFETY: plain loops.
        unsafe { Scalar.widen(&halves[2 * whole..], &mut out[whole..]) }
    }
}

/// Four vectors.
type Lanes = [float32x4_t; VECTORS];

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "the caller has the instructions, and arrays are read and written as a whole"
)]
impl<const HAS_DOT: bool> Arithmetic for Neon<HAS_DOT> {
    type Lanes = Lanes;

    #[inline(always)]
    unsafe fn all(self, number: f32) -> Lanes {
        unsafe { [vdupq_n_f32(number); VECTORS] }
    }

    #[inline(always)]
    unsafe fn load(self, from: &Vector) -> Lanes {
        from_fn(|at| unsafe { vld1q_f32(from.as_ptr().add(at * WIDTH)) })
    }

    #[inline(always)]
    unsafe fn store(self, lanes: Lanes, to: &mut Vector) {
        for (at, lanes) in lanes.into_iter().enumerate() {
            unsafe { vst1q_f32(to.as_mut_ptr().add(at * WIDTH), lanes) };
        }
    }

    #[inline(always)]
    unsafe fn of_integers(self, from: &[i32; VECTOR]) -> Lanes {
        from_fn(|at| unsafe { vcvtq_f32_s32(vld1q_s32(from.as_ptr().add(at * WIDTH))) })
    }

    #[inline(always)]
    unsafe fn of_bytes(self, from: &[u8; VECTOR]) -> Lanes {
        unsafe {
            let bytes = vld1q_u8(from.as_ptr());
            let (left, right) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
            [
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(left))),
                vcvtq_f32_u32(vmovl_high_u16(left)),
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(right))),
                vcvtq_f32_u32(vmovl_high_u16(right)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn of_signed_bytes(self, from: &[i8; VECTOR]) -> Lanes {
        unsafe {
            let bytes = vld1q_s8(from.as_ptr());
            let (left, right) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(left))),
                vcvtq_f32_s32(vmovl_high_s16(left)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(right))),
                vcvtq_f32_s32(vmovl_high_s16(right)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|at| unsafe { vaddq_f32(a[at], b[at]) })
    }

    #[inline(always)]
    unsafe fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|at| unsafe { vsubq_f32(a[at], b[at]) })
    }

    #[inline(always)]
    unsafe fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|at| unsafe { vmulq_f32(a[at], b[at]) })
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        from_fn(|at| unsafe { vfmaq_f32(c[at], a[at], b[at]) })
    }

    /// By a comparison: the instruction that gives a maximum gives NaN if one of both is.
    #[inline(always)]
    unsafe fn max(self, a: Lanes, b: Lanes) -> Lanes {
        from_fn(|at| unsafe { vbslq_f32(vcgtq_f32(a[at], b[at]), a[at], b[at]) })
    }

    #[inline(always)]
    unsafe fn abs(self, a: Lanes) -> Lanes {
        from_fn(|at| unsafe { vabsq_f32(a[at]) })
    }

    #[inline(always)]
    unsafe fn where_at_least(self, x: Lanes, limit: Lanes, a: Lanes) -> Lanes {
        from_fn(|at| unsafe {
            let is_least = vcgeq_f32(x[at], limit[at]);
            vreinterpretq_f32_u32(vandq_u32(is_least, vreinterpretq_u32_f32(a[at])))
        })
    }

    #[inline(always)]
    unsafe fn power_of_two(self, rounded: Lanes) -> Lanes {
        from_fn(|at| unsafe {
            let exponents = vshlq_n_s32::<23>(vreinterpretq_s32_f32(rounded[at]));
            vreinterpretq_f32_s32(vaddq_s32(exponents, vdupq_n_s32(127 << 23)))
        })
    }

    #[inline(always)]
    unsafe fn low_bytes(self, a: Lanes, to: &mut [i8; VECTOR]) {
        unsafe {
            // Every second half of a number, and then every second byte of these.
            let halves = |a, b| vuzp1q_s16(vreinterpretq_s16_f32(a), vreinterpretq_s16_f32(b));
            let (left, right) = (halves(a[0], a[1]), halves(a[2], a[3]));
            let bytes = vuzp1q_s8(vreinterpretq_s8_s16(left), vreinterpretq_s8_s16(right));
            vst1q_s8(to.as_mut_ptr(), bytes);
        }
    }
}

/// Sums of up to four rows, whose weights begin at `first`.
///
/// 16 vectors of sums stay in registers: the more rows, the fewer lanes at a time. What is unpacked serves all rows,
/// and a block of tiles, which is then read again, is in the cache.
///
/// # Safety
/// The processor has the instructions, and `Product::check` has seen the lengths.
#[inline(always)]
unsafe fn products_of_rows<const HAS_DOT: bool, const IS_SPLIT: bool>(
    product: &Product<'_>,
    first: usize,
    sums: &mut [Sums],
) {
    // SAFETY: as the caller says; vectors are of a slot.
    unsafe {
        match sums.len() {
            1 => products_of::<1, 4, HAS_DOT, IS_SPLIT>(product, first, 0, sums),
            2 => {
                for vector in (0..VECTORS).step_by(2) {
                    products_of::<2, 2, HAS_DOT, IS_SPLIT>(product, first, vector, sums);
                }
            }
            3 => {
                for vector in 0..VECTORS {
                    products_of::<3, 1, HAS_DOT, IS_SPLIT>(product, first, vector, sums);
                }
            }
            _ => {
                for vector in 0..VECTORS {
                    products_of::<4, 1, HAS_DOT, IS_SPLIT>(product, first, vector, sums);
                }
            }
        }
    }
}

/// Sums of `R` rows in `V` of the vectors of each slot, from `vector` on.
#[target_feature(enable = "neon")]
unsafe fn products_of<const R: usize, const V: usize, const HAS_DOT: bool, const IS_SPLIT: bool>(
    product: &Product<'_>,
    first: usize,
    vector: usize,
    sums: &mut [Sums],
) {
    // SAFETY: the caller has the instructions. By what `Product::check` saw, tiles and weights are read within their
    // slices.
    unsafe {
        let mut totals = [[[vdupq_n_s32(0); V]; SLOTS]; R];
        let mut level_tiles = product.tiles.as_ptr();
        for (at, level) in product.levels.iter().enumerate() {
            if at > 0 {
                for total in totals.as_flattened_mut().as_flattened_mut() {
                    *total = vshlq_n_s32::<2>(*total);
                }
            }
            for block in 0..product.n_blocks {
                let mut tile = level_tiles.add(block * product.block_stride);
                let mut weights =
                    product.weights.as_ptr().add(first + block * LANES + level.weights);
                // As a macro: sums that a closure borrows would leave the registers.
                macro_rules! add {
                    ($bits:literal, $codes:expr) => {{
                        let codes: [uint8x16_t; V] = $codes;
                        for slot in 0..SLOTS {
                            let mut digits = [vdupq_n_s8(0); V];
                            for (digits, codes) in digits.iter_mut().zip(codes) {
                                *digits = digits_of::<$bits>(codes, slot);
                            }
                            for (row, totals) in totals.iter_mut().enumerate() {
                                let offset = if IS_SPLIT { product.slots[slot] } else { 0 };
                                let weights = weights.add(row * product.stride + offset);
                                let weights = four_everywhere(weights);
                                for (total, digits) in totals[slot].iter_mut().zip(digits) {
                                    *total = add_dots::<HAS_DOT, 0>(*total, digits, weights);
                                }
                            }
                        }
                        // Behind the last, where nothing is read, it may be out of the slice.
                        weights = weights.wrapping_add(product.step);
                    }};
                }
                macro_rules! vectors {
                    ($at:ident => $load:expr) => {{
                        let mut codes = [vdupq_n_u8(0); V];
                        for (at, codes) in codes.iter_mut().enumerate() {
                            let $at = vector + at;
                            *codes = $load;
                        }
                        codes
                    }};
                }
                for _ in 0..level.pair_tiles {
                    add!(2, vectors!(at => whole(tile, at)));
                    tile = tile.add(TILE_BYTES);
                }
                if level.has_pair_rest {
                    add!(2, vectors!(at => spread(tile, at)));
                    tile = tile.add(TILE_BYTES / 2);
                }
                for _ in 0..level.single_tiles {
                    let codes = vectors!(at => whole(tile, at));
                    add!(1, codes);
                    add!(1, codes.map(|codes| vshrq_n_u8::<1>(codes)));
                    tile = tile.add(TILE_BYTES);
                }
                if level.has_single_half {
                    add!(1, vectors!(at => doubled(at, |at| whole(tile, at))));
                    tile = tile.add(TILE_BYTES / 2);
                }
                if level.has_single_quarter {
                    add!(1, vectors!(at => doubled(at, |at| spread(tile, at))));
                }
                // The weights behind the last are not read.
                let _ = weights;
            }
            level_tiles = level_tiles.add(level.bytes());
        }
        for (sums, slots) in sums.iter_mut().zip(totals) {
            for (slot, totals) in slots.into_iter().enumerate() {
                for (at, total) in totals.into_iter().enumerate() {
                    // As much too great as the digits of the slot were.
                    let total = match slot {
                        1 => vshrq_n_s32::<2>(total),
                        2 => vshrq_n_s32::<4>(total),
                        _ => total,
                    };
                    let lane = slot * VECTOR + (vector + at) * WIDTH;
                    vst1q_s32(sums.as_mut_ptr().add(lane), total);
                }
            }
        }
    }
}

/// Digits of a slot, of one or two bits. Those of the last slot, where they could be taken for a sign, are shifted to the
/// lowest bits; the others stay where they are.
#[inline]
#[target_feature(enable = "neon")]
fn digits_of<const BITS: u32>(codes: uint8x16_t, slot: usize) -> int8x16_t {
    let ones = (1 << BITS) - 1;
    vreinterpretq_s8_u8(match (slot, BITS) {
        (3, 2) => vshrq_n_u8::<6>(codes),
        (3, _) => vandq_u8(vshrq_n_u8::<6>(codes), vdupq_n_u8(1)),
        _ => vandq_u8(codes, vdupq_n_u8(ones << (2 * slot))),
    })
}

/// A vector of a whole tile.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn whole(tile: *const u8, vector: usize) -> uint8x16_t {
    // SAFETY: the caller has the instructions, and says that the tile may be read.
    unsafe { vld1q_u8(tile.add(vector * BYTES)) }
}

/// A vector of a tile with two terms of each lane, as the first two of four.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn spread(half: *const u8, vector: usize) -> uint8x16_t {
    // SAFETY: the caller has the instructions, and says that half a tile may be read.
    unsafe {
        let twos = vreinterpret_u16_u8(vld1_u8(half.add(vector * BYTES / 2)));
        vreinterpretq_u8_u32(vmovl_u16(twos))
    }
}

/// A vector of half a tile, whose higher bits are the other half's lower ones.
#[inline]
#[target_feature(enable = "neon")]
fn doubled(vector: usize, of_half: impl Fn(usize) -> uint8x16_t) -> uint8x16_t {
    match vector.checked_sub(VECTORS / 2) {
        None => of_half(vector),
        Some(vector) => vshrq_n_u8::<1>(of_half(vector)),
    }
}

/// Four numbers in single precision.
///
/// # Safety
/// The processor has the instructions, and the numbers may be read.
#[inline(always)]
unsafe fn load<T: Element>(from: *const T) -> float32x4_t {
    // SAFETY: as the caller says.
    unsafe {
        match T::IS_HALF {
            true => load_halves(from.cast()),
            false => vld1q_f32(from.cast()),
        }
    }
}

/// Logits of `R` rows, each in `S` sums of every `S`th channel, so that additions don't wait for each other.
#[target_feature(enable = "neon")]
unsafe fn multiply_keys_of<T: Element, const R: usize, const S: usize>(
    rows: &KeyRows<'_, T>,
    queries: &[f32],
    logits: &mut [Tokens],
) {
    let (head_dim, stride) = (rows.head_dim, rows.stride);
    // SAFETY: the caller has the instructions. By what `KeyRows::check` saw, keys and queries are read within their
    // slices, and blocks end within the logits.
    unsafe {
        for block in 0..rows.n_blocks {
            let keys = rows.keys.as_ptr().add(block * VECTOR * head_dim);
            let mut totals = [[[vdupq_n_f32(0.0); VECTORS]; S]; R];
            // As a macro: sums that a closure borrows would leave the registers.
            macro_rules! add {
                ($channel:expr, $sum:expr) => {{
                    let mut of_tokens = [vdupq_n_f32(0.0); VECTORS];
                    for (vector, of_tokens) in of_tokens.iter_mut().enumerate() {
                        *of_tokens = load(keys.add($channel * VECTOR + vector * WIDTH));
                    }
                    for (row, totals) in totals.iter_mut().enumerate() {
                        let query = *queries.as_ptr().add(row * stride + $channel);
                        for (total, keys) in totals[$sum].iter_mut().zip(of_tokens) {
                            *total = vfmaq_n_f32(*total, keys, query);
                        }
                    }
                }};
            }
            let whole = head_dim / S * S;
            for channel in (0..whole).step_by(S) {
                for sum in 0..S {
                    add!(channel + sum, sum);
                }
            }
            for channel in whole..head_dim {
                add!(channel, 0);
            }
            for (logits, sums) in logits.iter_mut().zip(totals) {
                for vector in 0..VECTORS {
                    let mut total = sums[0][vector];
                    for sum in &sums[1..] {
                        total = vaddq_f32(total, sum[vector]);
                    }
                    vst1q_f32(logits.as_mut_ptr().add(block * VECTOR + vector * WIDTH), total);
                }
            }
        }
    }
}

/// Outputs of `R` rows in `V` vectors of channels from `channel` on.
#[target_feature(enable = "neon")]
unsafe fn add_values_of<T: Element, const R: usize, const V: usize>(
    rows: &ValueRows<'_, T>,
    channel: usize,
    weights: &[f32],
    outputs: &mut [f32],
) {
    // SAFETY: the caller has the instructions. By what `ValueRows::check` saw, values and weights are read within
    // their slices; the caller says that the vectors lie in values and outputs.
    unsafe {
        let output = |row: usize, vector: usize| row * rows.stride + channel + vector * WIDTH;
        let mut totals = [[vdupq_n_f32(0.0); V]; R];
        for (row, totals) in totals.iter_mut().enumerate() {
            for (vector, total) in totals.iter_mut().enumerate() {
                *total = vld1q_f32(outputs.as_ptr().add(output(row, vector)));
            }
        }
        for token in 0..rows.n_tokens {
            let mut values = [vdupq_n_f32(0.0); V];
            for (vector, values) in values.iter_mut().enumerate() {
                let at = token * rows.head_dim + channel + vector * WIDTH;
                *values = load(rows.values.as_ptr().add(at));
            }
            for (row, totals) in totals.iter_mut().enumerate() {
                let weight = *weights.as_ptr().add(row * CHUNK + token);
                for (total, values) in totals.iter_mut().zip(values) {
                    *total = vfmaq_n_f32(*total, values, weight);
                }
            }
        }
        for (row, totals) in totals.into_iter().enumerate() {
            for (vector, total) in totals.into_iter().enumerate() {
                vst1q_f32(outputs.as_mut_ptr().add(output(row, vector)), total);
            }
        }
    }
}
