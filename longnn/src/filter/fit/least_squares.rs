//! The linear least-squares problem behind a filter fit.
//!
//! Images are smooth, so `T_j(Â) x` are nearly parallel and their normal equations would lose most
//! digits. The columns are orthonormalised instead, twice, as Gram and Schmidt did (once leaves the
//! rounding of nearly parallel columns, twice is enough), and the error is measured on the residual
//! itself, not as a difference of large sums.

use super::ReducedProblem;

/// A polynomial filter fitted to a target.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterFit {
    /// Chebyshev coefficients, `K + 1`.
    pub coefficients: Vec<f64>,
    /// The sum of squared errors over all nodes that count.
    pub squared_error: f64,
    /// The part of the target's variance that is explained; 1 for a constant target that is hit.
    pub r_squared: f64,
}

/// Columns ready to be combined into any target.
#[derive(Debug, Clone)]
pub struct LeastSquares {
    /// Orthonormal columns; zero for one that depends on those before it.
    orthonormal: Vec<Vec<f64>>,
    /// `columns[j] = Σ_{i≤j} factors[j][i] orthonormal[i]`.
    factors: Vec<Vec<f64>>,
}

impl LeastSquares {
    /// What of a column must be left for it not to depend on those before it.
    const DEPENDENT: f64 = 1e-13;

    /// From columns of equal length.
    #[must_use]
    pub fn new(columns: Vec<Vec<f64>>) -> Self {
        let mut orthonormal: Vec<Vec<f64>> = Vec::with_capacity(columns.len());
        let mut factors = Vec::with_capacity(columns.len());
        for mut column in columns {
            let length = dot(&column, &column).sqrt();
            let mut row = vec![0.0; orthonormal.len()];
            for _ in 0..2 {
                remove(&mut column, &orthonormal, &mut row);
            }
            let rest = dot(&column, &column).sqrt();
            let independent = rest > Self::DEPENDENT * length;
            let scale = if independent { 1.0 / rest } else { 0.0 };
            column.iter_mut().for_each(|value| *value *= scale);
            row.push(if independent { rest } else { 0.0 });
            orthonormal.push(column);
            factors.push(row);
        }
        Self { orthonormal, factors }
    }

    /// The combination of the columns that is nearest to `target`.
    #[must_use]
    pub fn fit(&self, target: &[f64]) -> FilterFit {
        self.reduced(target).solution()
    }

    /// The error as a function of the columns' coefficients.
    #[must_use]
    pub fn reduced(&self, target: &[f64]) -> ReducedProblem {
        let mut residual = target.to_vec();
        let mut projections = vec![0.0; self.orthonormal.len()];
        for _ in 0..2 {
            remove(&mut residual, &self.orthonormal, &mut projections);
        }
        let floor = dot(&residual, &residual);
        let mean = target.iter().sum::<f64>() / target.len() as f64;
        let variance = target.iter().map(|value| (value - mean).powi(2)).sum();
        ReducedProblem::new(self.factors.clone(), projections, floor, variance)
    }
}

/// Takes the part along each direction out of `vector` and adds its length to `parts`.
fn remove(vector: &mut [f64], directions: &[Vec<f64>], parts: &mut [f64]) {
    for (direction, part) in directions.iter().zip(parts) {
        let along = dot(vector, direction);
        *part += along;
        for (value, direction) in vector.iter_mut().zip(direction) {
            *value -= along * direction;
        }
    }
}

/// The inner product, in eight interleaved sums that vectorise.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Powers of 0 to 1: columns that are nearly parallel.
    fn columns(n: usize) -> Vec<Vec<f64>> {
        (0..n).map(|k| (0..=50).map(|i| (f64::from(i) / 50.0).powi(k as i32)).collect()).collect()
    }

    #[test]
    fn a_combination_is_found() {
        let columns = columns(8);
        let target: Vec<f64> =
            (0..=50).map(|i| 3.0 * columns[1][i] - 2.0 * columns[5][i]).collect();
        let fit = LeastSquares::new(columns).fit(&target);
        assert!(fit.squared_error < 1e-28, "{fit:?}");
        for (found, given) in fit.coefficients.iter().zip([0.0, 3.0, 0.0, 0.0, 0.0, -2.0]) {
            assert!((found - given).abs() < 1e-8, "{fit:?}");
        }
    }

    #[test]
    fn the_residual_is_orthogonal_to_all_columns() {
        let columns = columns(6);
        let target: Vec<f64> = (0..=50).map(|i| (f64::from(i) * 0.3).sin()).collect();
        let fit = LeastSquares::new(columns.clone()).fit(&target);
        let residual: Vec<f64> = (0..=50)
            .map(|i| {
                let terms = columns.iter().zip(&fit.coefficients);
                target[i] - terms.map(|(column, factor)| column[i] * factor).sum::<f64>()
            })
            .collect();
        assert!((dot(&residual, &residual) / fit.squared_error - 1.0).abs() < 1e-9);
        assert!(columns.iter().all(|column| dot(column, &residual).abs() < 1e-11));
        assert!(fit.r_squared > 0.0 && fit.r_squared < 1.0);
    }

    #[test]
    fn columns_that_depend_on_others_are_left_out() {
        let columns =
            vec![vec![1.0, 0.0, 0.0], vec![2.0, 0.0, 0.0], vec![0.0; 3], vec![0.0, 1.0, 0.0]];
        let fit = LeastSquares::new(columns).fit(&[3.0, 4.0, 5.0]);
        assert_eq!(fit.coefficients, [3.0, 0.0, 0.0, 4.0]);
        assert_eq!(fit.squared_error, 25.0);
    }
}
