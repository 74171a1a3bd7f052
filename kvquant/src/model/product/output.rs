//! Outputs that a team of threads writes together.

use super::LANES;

/// A matrix of outputs, or some of its columns, as products write it. Threads may share it.
#[derive(Debug, Clone, Copy)]
pub struct OutputView {
    first: *mut f32,
    n_rows: usize,
    stride: usize,
    adds: bool,
}

// SAFETY: whoever makes a view sees to it that threads write different outputs.
unsafe impl Send for OutputView {}
// SAFETY: as above.
unsafe impl Sync for OutputView {}

impl OutputView {
    /// Of `n_rows` rows, each `stride` numbers after the one before. Products write their outputs from `first` on.
    ///
    /// # Safety
    /// As long as products write to the view, all rows are numbers in memory, `stride` of each and of the last row as
    /// many as there are outputs; and nobody else reads or writes the outputs of the rows and panels that a product was
    /// asked for: different threads ask for different rows or different panels.
    pub unsafe fn new(first: *mut f32, n_rows: usize, stride: usize) -> OutputView {
        OutputView { first, n_rows, stride, adds: false }
    }

    /// Adds products to what is there, in place of replacing it.
    pub fn adding(self) -> OutputView {
        OutputView { adds: true, ..self }
    }

    /// Without the first rows, for a thread whose activations are only its own rows.
    ///
    /// # Panics
    /// If there are fewer rows.
    pub fn skip_rows(self, n_rows: usize) -> OutputView {
        assert!(n_rows <= self.n_rows, "{n_rows} of {} rows", self.n_rows);
        let first = self.first.wrapping_add(n_rows * self.stride);
        OutputView { first, n_rows: self.n_rows - n_rows, ..self }
    }

    /// Checks that so many rows of so many outputs are within the view.
    pub(super) fn check(&self, n_rows: usize, outputs: usize) {
        assert!(n_rows <= self.n_rows, "{n_rows} of {} rows", self.n_rows);
        assert!(outputs <= self.stride, "rows don't overlap");
    }

    /// Writes those outputs of a panel that there are.
    ///
    /// # Safety
    /// They were checked to be within the view, and no other thread reads or writes them.
    #[inline(always)]
    pub(super) unsafe fn write(&self, row: usize, panel: &PanelOutputs, sums: &[f32; LANES]) {
        // SAFETY: as the caller says.
        unsafe {
            let to = self.first.add(row * self.stride + panel.first);
            if panel.count == LANES {
                let to = to.cast::<[f32; LANES]>();
                let mut outputs = *sums;
                if self.adds {
                    let before = to.read_unaligned();
                    for (output, before) in outputs.iter_mut().zip(before) {
                        *output += before;
                    }
                }
                to.write_unaligned(outputs);
                return;
            }
            for (lane, sum) in sums.iter().enumerate().take(panel.count) {
                let to = to.add(lane);
                *to = if self.adds { *to + sum } else { *sum };
            }
        }
    }
}

/// Which outputs a panel has.
#[derive(Debug, Clone, Copy)]
pub(super) struct PanelOutputs {
    pub(super) first: usize,
    /// 16, or fewer in the last panel.
    pub(super) count: usize,
}
