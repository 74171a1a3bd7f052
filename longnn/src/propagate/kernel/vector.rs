//! The few vector operations that the kernels need, for the three register widths.
//!
//! Products and sums are rounded one by one, never fused: then a lane of `__m512`, of `__m256` and
//! of plain Rust holds the same bits, and the plain loop stays an oracle that compilers can still
//! vectorise (a fused product without the instruction is a function call).

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
    _mm256_storeu_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
    _mm512_storeu_ps,
};

/// A register of `f32`.
///
/// # Safety
/// `WIDTH` is the number of lanes, `load` and `store` touch exactly that many values, and every
/// lane's result depends on that lane's operands alone.
pub(crate) unsafe trait Vector: Copy {
    /// Lanes.
    const WIDTH: usize;

    /// All lanes alike.
    ///
    /// # Safety
    /// The processor has the type's instructions, here as in all that follow.
    unsafe fn splat(value: f32) -> Self;
    /// # Safety
    /// `from` points to `WIDTH` values; no alignment is needed.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// `to` points to room for `WIDTH` values; no alignment is needed.
    unsafe fn store(self, to: *mut f32);
    /// # Safety
    /// As [`Self::splat`].
    unsafe fn add(self, other: Self) -> Self;
    /// # Safety
    /// As [`Self::splat`].
    unsafe fn mul(self, other: Self) -> Self;
}

/// Eight lanes in plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

// SAFETY: eight lanes, eight values; `from_fn` computes each lane from its own operands.
unsafe impl Vector for Portable {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for eight values; an array of `f32` is aligned as one.
        Self(unsafe { *from.cast::<[f32; 8]>() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { *to.cast::<[f32; 8]>() = self.0 }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * other.0[lane]))
    }
}

/// An x86 register by its five intrinsics.
#[cfg(target_arch = "x86_64")]
macro_rules! x86_vector {
    ($register:ty, $width:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $mul:ident) => {
        // SAFETY: the intrinsics have `WIDTH` lanes, and add and multiply lane by lane.
        unsafe impl Vector for $register {
            const WIDTH: usize = $width;

            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                // SAFETY: the caller vouches for the instructions.
                unsafe { $splat(value) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller vouches for the instructions and the values.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: the caller vouches for the instructions and the room.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: the caller vouches for the instructions.
                unsafe { $add(self, other) }
            }

            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: the caller vouches for the instructions.
                unsafe { $mul(self, other) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86_vector!(
    __m256,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_add_ps,
    _mm256_mul_ps
);
#[cfg(target_arch = "x86_64")]
x86_vector!(
    __m512,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_add_ps,
    _mm512_mul_ps
);
