//! What the kernels in NEON's 128-bit vectors share: dot products of bytes, and half-precision numbers.

use std::arch::aarch64::*;
use std::arch::asm;

/// Bytes of a vector.
pub(crate) const BYTES: usize = 16;
/// Numbers of a vector.
pub(crate) const WIDTH: usize = 4;

/// Adds to each of four sums its four products of `bytes` with the four bytes of lane `LANE` of `fours`.
///
/// Without dot products, two of the products at a time are added in 16 bits: 128 times 127 twice fits.
///
/// # Safety
/// The processor has NEON, and dot products if `HAS_DOT`.
#[inline(always)]
pub(crate) unsafe fn add_dots<const HAS_DOT: bool, const LANE: i32>(
    sums: int32x4_t,
    bytes: int8x16_t,
    fours: int8x16_t,
) -> int32x4_t {
    // SAFETY: the caller has the instructions, which touch nothing but registers.
    unsafe {
        if HAS_DOT {
            let mut sums = sums;
            // The intrinsic is unstable yet. Callers needn't be compiled for dot products, so the assembler is told.
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {bytes:v}.16b, {fours:v}.4b[{lane}]",
                sums = inout(vreg) sums,
                bytes = in(vreg) bytes,
                fours = in(vreg) fours,
                lane = const LANE,
                options(pure, nomem, nostack, preserves_flags),
            );
            return sums;
        }
        let four = vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(fours));
        let four = vreinterpretq_s8_s32(four);
        let low = vmull_s8(vget_low_s8(bytes), vget_low_s8(four));
        let high = vmull_high_s8(bytes, four);
        vpadalq_s16(sums, vpaddq_s16(low, high))
    }
}

/// Four bytes in all lanes.
///
/// # Safety
/// The processor has NEON, and the bytes may be read.
#[inline(always)]
pub(crate) unsafe fn four_everywhere(from: *const i8) -> int8x16_t {
    // SAFETY: as the caller says.
    unsafe { vreinterpretq_s8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())) }
}

/// Four half-precision numbers, which may lie anywhere, in single precision.
///
/// # Safety
/// The processor has NEON, and the numbers may be read.
#[inline(always)]
pub(crate) unsafe fn load_halves(from: *const u8) -> float32x4_t {
    // SAFETY: as the caller says; a vector of bytes is read from anywhere.
    unsafe { vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from))) }
}
