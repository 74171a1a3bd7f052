//! Loops over rows, written once and compiled for three instruction sets.
//!
//! - [`vector`]: a register of each width behind one trait
//! - [`gather`]: sums over neighbours: the recurrence's step, and rows times a matrix
//! - [`columns`]: the filter's sum over orders, and the dot products of its gradient
//!
//! A loop is a [`RowLoop`], generic in the register and in how many of them it keeps: rows of up to
//! [`PANEL`] channels stay in registers from the first neighbour to the store, wider ones are taken
//! panel by panel (register blocking, section 6.1 of the notes). All variants give the same bits.

pub(super) mod columns;
pub(super) mod gather;
mod vector;

use common::device::CpuFeatures;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};
use std::sync::LazyLock;
use vector::Portable;
pub(super) use vector::Vector;

/// Channels that are kept in registers: eight of AVX2's sixteen, four of AVX-512's thirty-two.
const PANEL: usize = 64;

/// An instruction set that the loops are compiled for. The results don't depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Plain Rust: the oracle, and what runs where there is nothing else.
    Portable,
    /// Registers of 256 bits.
    Avx2,
    /// Registers of 512 bits.
    Avx512,
}

impl Kernel {
    /// The widest that this processor has.
    #[must_use]
    pub fn best() -> Self {
        let kernels = [Self::Avx512, Self::Avx2];
        kernels.into_iter().find(|kernel| kernel.is_here()).unwrap_or(Self::Portable)
    }

    /// All that this processor has, the widest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512].into_iter().filter(|of| of.is_here()).collect()
    }

    fn is_here(self) -> bool {
        /// Asked once: a step over a small graph takes less than the questions.
        static FEATURES: LazyLock<CpuFeatures> = LazyLock::new(CpuFeatures::detect);
        match self {
            Self::Portable => true,
            Self::Avx2 => FEATURES.avx2,
            Self::Avx512 => FEATURES.avx2 && FEATURES.avx512f,
        }
    }

    /// Runs `rows` over all channels of rows of `stride` values, a multiple of 8 up to 8 and of 16
    /// beyond, as [`super::Signals`] have them.
    ///
    /// # Panics
    /// If the processor lacks the instructions.
    pub(super) fn run(self, stride: usize, rows: &mut impl RowLoop) {
        assert!(stride == 8 || stride.is_multiple_of(16), "rows are whole vectors");
        assert!(self.is_here(), "{self:?} is not available here");
        for first in (0..stride).step_by(self.panel()) {
            let width = (stride - first).min(self.panel());
            // SAFETY: the processor has the instructions, and the panel lies within the stride.
            unsafe { self.run_panel(width, first, rows) };
        }
    }

    /// Channels that a loop keeps in registers. Compilers keep one plain vector there, not several.
    fn panel(self) -> usize {
        if self == Self::Portable { 8 } else { PANEL }
    }

    /// # Safety
    /// The processor has the instructions; `first + width` is within the loop's stride.
    unsafe fn run_panel(self, width: usize, first: usize, rows: &mut impl RowLoop) {
        // SAFETY: the caller's promise; the number of registers times their lanes is the width.
        unsafe {
            match (self, width) {
                #[cfg(target_arch = "x86_64")]
                (Self::Avx512, 16) => avx512::<1>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx512, 32) => avx512::<2>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx512, 48) => avx512::<3>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx512, 64) => avx512::<4>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx512 | Self::Avx2, 8) => avx2::<1>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx2, 16) => avx2::<2>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx2, 32) => avx2::<4>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx2, 48) => avx2::<6>(first, rows),
                #[cfg(target_arch = "x86_64")]
                (Self::Avx2, 64) => avx2::<8>(first, rows),
                (_, 8) => rows.run::<Portable, 1>(first),
                _ => unreachable!("panels are 8, 16, 32, 48 or 64 wide, plain ones 8"),
            }
        }
    }
}

/// A loop over rows, for the channels from `first` that `N` registers hold.
pub(super) trait RowLoop {
    /// Runs it. Implementations are `#[inline(always)]`, so that they are compiled with the
    /// instructions of the caller.
    ///
    /// # Safety
    /// The processor has the register's instructions; `first + N * WIDTH` is within the stride.
    unsafe fn run<V: Vector, const N: usize>(&mut self, first: usize);
}

/// # Safety
/// As [`RowLoop::run`], for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2<const N: usize>(first: usize, rows: &mut impl RowLoop) {
    // SAFETY: the function has the feature; the rest is the caller's promise.
    unsafe { rows.run::<__m256, N>(first) }
}

/// # Safety
/// As [`RowLoop::run`], for AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f")]
unsafe fn avx512<const N: usize>(first: usize, rows: &mut impl RowLoop) {
    // SAFETY: the function has the feature; the rest is the caller's promise.
    unsafe { rows.run::<__m512, N>(first) }
}
