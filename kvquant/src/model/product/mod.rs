//! Products of quantized weights with activations that are rounded to bytes.
//!
//! A decoder reads each of its weights once for a token, so a token takes as long as memory takes to hand over the
//! weights: they stay in the 4 or 8 bits that they have in their file, and are multiplied as integers. A matrix is kept
//! as panels of 16 outputs, in the order in which the loops read it. Many rows, as of a prompt, are multiplied a tile
//! at a time: the sums of a tile stay in registers, and a panel stays in the cache while tiles pass over it.
//!
//! The products of a block of 32 inputs are integers, which all forms of instructions compute exactly. Then, block by
//! block and with one rounding each, `sum += dot * (weight scale * activation scale)`. So an output has the same bits
//! in all forms, whatever other rows are multiplied with it and however threads share the work.

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod format;
#[cfg(target_arch = "aarch64")]
mod neon;
mod output;
mod pack;
mod scalar;
mod storage;
#[cfg(test)]
mod tests;

pub use activations::Activations;
pub use format::Format;
pub use output::OutputView;
pub use storage::Storage;

use crate::isa::Isa;
use activations::Block;
use format::{Q4_0, Q4_1, Q8_0};
use output::PanelOutputs;
use std::ops::Range;

/// Inputs that have a scale of their own, as in GGML's formats.
pub const BLOCK: usize = 32;
/// Outputs of a panel: lanes of a 512-bit vector.
pub const LANES: usize = 16;
/// Rows that are multiplied together: as many as have their sums, integers and numbers, in 24 of 32 registers.
pub const TILE: usize = 12;

/// Bytes of activations that pass over a panel before the next does, so that they stay in a second-level cache.
/// Without, 4096 rows of 4864 inputs take 1.4 times as long, 512 rows as long.
const GROUP_BYTES: usize = 512 << 10;

/// A matrix of quantized weights, `[outputs][inputs]`, packed for products. Clones share their codes.
#[derive(Debug, Clone)]
pub struct Panels {
    format: Format,
    outputs: usize,
    inputs: usize,
    /// `[panels][blocks]` of 16 outputs and 32 inputs each; see `format.rs`.
    storage: Storage,
}

/// A panel, and the rows that it is multiplied by.
///
/// `panel` is one or more whole blocks, and for each of them `activations` has `n_rows` blocks, `stride` after those
/// before. `output` may be written from `row` on.
struct Tile<'a> {
    panel: &'a [u8],
    activations: &'a [Block],
    stride: usize,
    n_rows: usize,
    output: &'a OutputView,
    row: usize,
    outputs: PanelOutputs,
}

impl Panels {
    /// Multiplies rows of activations by panels of 16 outputs, and writes these outputs of these rows. Threads that
    /// multiply at once share the work as [`Panels::share`] says.
    ///
    /// # Panics
    /// If the activations have other inputs, there are fewer rows or panels, the rows don't fit into the output, or the
    /// processor hasn't the instructions.
    pub fn multiply(
        &self,
        isa: Isa,
        activations: &Activations,
        rows: Range<usize>,
        panels: Range<usize>,
        output: &OutputView,
    ) {
        assert!(isa.is_available(), "the processor has {isa}");
        assert_eq!(activations.inputs(), self.inputs, "activations of as many inputs");
        assert!(rows.end <= activations.n_rows(), "{rows:?} of {} rows", activations.n_rows());
        assert!(panels.end <= self.n_panels(), "{panels:?} of {} panels", self.n_panels());
        output.check(rows.end, self.outputs);
        let n_blocks = self.inputs / BLOCK;
        let panel_bytes = n_blocks * LANES * self.format.block_bytes();
        let tile_bytes = n_blocks * TILE * size_of::<Block>();
        let group = (GROUP_BYTES / tile_bytes).max(1) * TILE;
        for group in cut(rows, group) {
            for panel in panels.clone() {
                let first = panel * LANES;
                let outputs = PanelOutputs { first, count: LANES.min(self.outputs - first) };
                let panel = &self.storage[panel * panel_bytes..][..panel_bytes];
                for rows in cut(group.clone(), TILE) {
                    let (activations, stride) = activations.starting_at(rows.start);
                    let (n_rows, row) = (rows.len(), rows.start);
                    let tile = Tile { panel, activations, stride, n_rows, output, row, outputs };
                    // SAFETY: the processor has the instructions. Rows don't go beyond their tile, so each has a block
                    // for each of the panel's; the outputs were checked, and are the caller's, as `OutputView` says.
                    unsafe { tile.multiply(isa, self.format) };
                }
            }
        }
    }

    /// Which rows and panels a thread of a team multiplies. Shares are disjoint and are all of them together.
    ///
    /// # Panics
    /// If the thread is none of so many.
    pub fn share(
        &self,
        n_rows: usize,
        n_threads: usize,
        thread: usize,
    ) -> (Range<usize>, Range<usize>) {
        assert!(thread < n_threads, "one of {n_threads} threads");
        let (n_panels, n_tiles) = (self.n_panels(), n_rows.div_ceil(TILE));
        let part = |n: usize| n * thread / n_threads..n * (thread + 1) / n_threads;
        // The greatest share is what the team waits for. If they are equal, weights are read by one thread only.
        let greatest_of_panels = n_panels.div_ceil(n_threads) * n_rows;
        let greatest_of_rows = n_panels * (n_tiles.div_ceil(n_threads) * TILE).min(n_rows);
        if greatest_of_panels <= greatest_of_rows {
            return (0..n_rows, part(n_panels));
        }
        let tiles = part(n_tiles);
        ((tiles.start * TILE).min(n_rows)..(tiles.end * TILE).min(n_rows), 0..n_panels)
    }

    /// The shares of all threads.
    pub fn shares(
        &self,
        n_rows: usize,
        n_threads: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        (0..n_threads).map(move |thread| self.share(n_rows, n_threads, thread))
    }

    /// How codes are kept.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many outputs there are; the last panel may have fewer than 16.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many inputs there are: a multiple of 32.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How many panels of 16 outputs there are.
    pub fn n_panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Bytes of codes and scales.
    pub fn bytes(&self) -> usize {
        self.storage.len()
    }
}

/// Cuts a range at multiples of a number.
fn cut(range: Range<usize>, at: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let part = start..range.end.min((start / at + 1) * at);
        start = part.end;
        (!part.is_empty()).then_some(part)
    })
}

impl Tile<'_> {
    /// Multiplies the rows by the panel.
    ///
    /// # Safety
    /// The processor has the instructions, what [`Tile`] says holds, and nobody else uses its outputs.
    #[inline(always)]
    unsafe fn multiply(&self, isa: Isa, format: Format) {
        // SAFETY: as the caller says.
        unsafe {
            match (isa, format) {
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx512, format) => avx512::multiply(format, self),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, format) => avx2::multiply(format, self),
                #[cfg(target_arch = "aarch64")]
                (Isa::NeonDot, format) => neon::multiply::<true>(format, self),
                #[cfg(target_arch = "aarch64")]
                (Isa::Neon, format) => neon::multiply::<false>(format, self),
                (_, Format::Q8_0) => scalar::multiply::<Q8_0>(self),
                (_, Format::Q4_0) => scalar::multiply::<Q4_0>(self),
                (_, Format::Q4_1) => scalar::multiply::<Q4_1>(self),
            }
        }
    }
}
