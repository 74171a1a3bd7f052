//! A small dense matrix in `f64`: the change of basis, the coefficients, the weights.
//!
//! Products are plain loops in one fixed order of summation. So a channel's weights have the same
//! bits whatever other channels stand beside it, which a blocked matrix product doesn't promise.

use std::ops::{Index, IndexMut};

/// Rows × columns, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    n_rows: usize,
    n_columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// All zero.
    #[must_use]
    pub fn zeros(n_rows: usize, n_columns: usize) -> Self {
        Self { n_rows, n_columns, values: vec![0.0; n_rows * n_columns] }
    }

    /// The value at `(row, column)` by a function of both.
    #[must_use]
    pub fn from_fn(n_rows: usize, n_columns: usize, of: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..n_rows).flat_map(|row| (0..n_columns).map(move |column| (row, column)));
        Self { n_rows, n_columns, values: values.map(|(row, column)| of(row, column)).collect() }
    }

    /// From the `f32` values of a tensor, row after row.
    ///
    /// # Panics
    /// If there aren't `n_rows * n_columns` values.
    #[must_use]
    pub fn from_f32(n_rows: usize, n_columns: usize, values: &[f32]) -> Self {
        assert_eq!(values.len(), n_rows * n_columns, "values of a {n_rows} x {n_columns} matrix");
        Self { n_rows, n_columns, values: values.iter().copied().map(f64::from).collect() }
    }

    /// The values rounded to `f32`, row after row, as a tensor takes them.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|&value| value as f32).collect()
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// All values, row after row.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.values
    }

    /// All values to change, row after row.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// One row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.n_columns..(row + 1) * self.n_columns]
    }

    /// One column.
    #[must_use]
    pub fn column(&self, column: usize) -> Vec<f64> {
        (0..self.n_rows).map(|row| self[(row, column)]).collect()
    }

    /// Replaces one column.
    pub fn set_column(&mut self, column: usize, values: &[f64]) {
        for (row, &value) in values.iter().enumerate() {
            self[(row, column)] = value;
        }
    }

    /// This matrix times a vector.
    #[must_use]
    pub fn times(&self, vector: &[f64]) -> Vec<f64> {
        (0..self.n_rows)
            .map(|row| self.row(row).iter().zip(vector).map(|(m, v)| m * v).sum())
            .collect()
    }

    /// The transpose of this matrix times a vector.
    #[must_use]
    pub fn transposed_times(&self, vector: &[f64]) -> Vec<f64> {
        let mut product = vec![0.0; self.n_columns];
        for (row, factor) in vector.iter().enumerate() {
            for (sum, value) in product.iter_mut().zip(self.row(row)) {
                *sum += value * factor;
            }
        }
        product
    }
}

impl Index<(usize, usize)> for Matrix {
    type Output = f64;

    fn index(&self, (row, column): (usize, usize)) -> &f64 {
        &self.values[row * self.n_columns + column]
    }
}

impl IndexMut<(usize, usize)> for Matrix {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut f64 {
        &mut self.values[row * self.n_columns + column]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products() {
        let matrix = Matrix::from_fn(2, 3, |row, column| (3 * row + column) as f64);
        assert_eq!(matrix.times(&[1.0, 10.0, 100.0]), [210.0, 543.0]);
        assert_eq!(matrix.transposed_times(&[1.0, 10.0]), [30.0, 41.0, 52.0]);
    }

    #[test]
    fn the_border_to_tensors_keeps_the_order() {
        let matrix = Matrix::from_f32(2, 2, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((matrix[(0, 1)], matrix.column(0)), (2.0, vec![1.0, 3.0]));
        assert_eq!(matrix.to_f32(), [1.0, 2.0, 3.0, 4.0]);
    }
}
