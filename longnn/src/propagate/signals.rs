//! Signals on a graph: one row a node, one column a channel, laid out for vector loads.
//!
//! Rows are padded with zeros to whole vectors and start on a vector's boundary, so that a kernel
//! has no tail to care for and seven classes cost one load (section 6.1 of the notes: five channels
//! alone would waste three lanes, ten seeds of them side by side hardly any).

use crate::{Error, Result};
use common::tensor::AlignedBuf;

/// The narrowest row: one AVX2 vector, half a cache line.
const NARROW: usize = 8;
/// Wider rows are whole cache lines: a gathered row then touches as few of them as it can.
const WIDE: usize = 16;

/// `N` rows of `C` channels in single precision, each row padded with zeros to [`Self::stride`].
#[derive(Debug, Clone, PartialEq)]
pub struct Signals {
    values: AlignedBuf<f32>,
    n_rows: usize,
    n_columns: usize,
}

impl Signals {
    /// Zeros.
    ///
    /// # Panics
    /// If they take more bytes than the address space has.
    #[must_use]
    pub fn zeroed(n_rows: usize, n_columns: usize) -> Self {
        let len =
            n_rows.checked_mul(stride_of(n_columns)).expect("the size fits the address space");
        Self { values: AlignedBuf::zeroed(len), n_rows, n_columns }
    }

    /// From `n_rows` rows of `n_columns` values, row after row.
    ///
    /// # Errors
    /// If there are more or fewer values.
    pub fn from_rows(n_rows: usize, n_columns: usize, rows: &[f32]) -> Result<Self> {
        check_len("signals", rows.len(), n_rows, n_columns)?;
        let mut signals = Self::zeroed(n_rows, n_columns);
        for (row_idx, row) in rows.chunks_exact(n_columns.max(1)).enumerate() {
            signals.row_mut(row_idx).copy_from_slice(row);
        }
        Ok(signals)
    }

    /// The values without their padding, row after row.
    #[must_use]
    pub fn to_rows(&self) -> Vec<f32> {
        (0..self.n_rows).flat_map(|row_idx| self.row(row_idx)).copied().collect()
    }

    /// Rows: nodes, as a rule.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns: channels, of all seeds that are computed side by side.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Values from the start of one row to the start of the next.
    #[must_use]
    pub fn stride(&self) -> usize {
        stride_of(self.n_columns)
    }

    /// A row without its padding.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row_idx: usize) -> &[f32] {
        &self.values[row_idx * self.stride()..][..self.n_columns]
    }

    /// A row without its padding, to write to.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, row_idx: usize) -> &mut [f32] {
        let stride = self.stride();
        &mut self.values[row_idx * stride..][..self.n_columns]
    }

    /// All rows with their padding, [`Self::stride`] values each.
    #[must_use]
    pub fn padded(&self) -> &[f32] {
        &self.values
    }

    /// Whoever writes here leaves the padding zero.
    pub(super) fn padded_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// That `other` has this shape.
    pub(super) fn check_like(&self, operation: &'static str, other: &Self) -> Result<()> {
        other.check_shape(operation, self.n_rows, self.n_columns)
    }

    pub(super) fn check_shape(
        &self,
        operation: &'static str,
        n_rows: usize,
        n_columns: usize,
    ) -> Result<()> {
        if (self.n_rows, self.n_columns) == (n_rows, n_columns) {
            return Ok(());
        }
        let problem = format!(
            "the signals are {} x {}; expected {n_rows} x {n_columns}",
            self.n_rows, self.n_columns
        );
        Err(Error::Shape { operation, problem })
    }
}

/// Values from one row of `n_columns` to the next.
pub(super) fn stride_of(n_columns: usize) -> usize {
    if n_columns <= NARROW { NARROW } else { n_columns.next_multiple_of(WIDE) }
}

/// That `len` values are `n_rows` rows of `n_columns`.
pub(super) fn check_len(
    operation: &'static str,
    len: usize,
    n_rows: usize,
    n_columns: usize,
) -> Result<()> {
    if n_rows.checked_mul(n_columns) == Some(len) {
        return Ok(());
    }
    let problem = format!("{len} values are not {n_rows} rows of {n_columns}");
    Err(Error::Shape { operation, problem })
}

/// How many columns `len` values make of `n_rows` rows.
pub(super) fn columns_of(operation: &'static str, len: usize, n_rows: usize) -> Result<usize> {
    let n_columns = len.checked_div(n_rows).unwrap_or(0);
    check_len(operation, len, n_rows, n_columns)?;
    Ok(n_columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_whole_vectors() {
        let strides = [(0, 8), (1, 8), (8, 8), (9, 16), (16, 16), (17, 32), (50, 64), (64, 64)];
        for (n_columns, stride) in strides {
            assert_eq!(Signals::zeroed(3, n_columns).stride(), stride);
        }
    }

    #[test]
    fn a_wrong_number_of_values_is_named() {
        let error = Signals::from_rows(3, 2, &[0.0; 5]).unwrap_err().to_string();
        assert_eq!(error, "signals: 5 values are not 3 rows of 2");
        assert_eq!(columns_of("filter", 12, 4).unwrap(), 3);
        assert!(columns_of("filter", 13, 4).is_err());
        assert_eq!(columns_of("filter", 0, 0).unwrap(), 0);
        assert!(columns_of("filter", 1, 0).is_err());
    }

    proptest! {
        #[test]
        fn values_survive_and_padding_is_zero(n_rows in 0usize..9, n_columns in 0usize..40) {
            let rows: Vec<f32> = (0..n_rows * n_columns).map(|i| i as f32 + 1.0).collect();
            let signals = Signals::from_rows(n_rows, n_columns, &rows).unwrap();
            prop_assert_eq!(signals.to_rows(), rows);
            for row in signals.padded().chunks_exact(signals.stride()) {
                prop_assert!(row[n_columns..].iter().all(|&value| value == 0.0));
            }
        }
    }
}
