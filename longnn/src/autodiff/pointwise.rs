//! Bias, rectifier and dropout in one pass over an `N x H` matrix, and dropout alone.
//!
//! Rows are worked on in blocks of a fixed size, and sums over them are added in the blocks' order,
//! so the bits don't depend on the number of threads.

use super::function::{Function, Matrix, MatrixRef};
use crate::propagate::Dropout;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Rows of a block: enough work for a task, few enough that two threads both have some on the
/// smallest graphs.
const BLOCK_ROWS: usize = 512;

/// `dropout(relu(x + bias))`: `N x H` and `1 x H` give `N x H`.
#[derive(Debug)]
pub struct HiddenLayer {
    dropout: Option<Dropout>,
    /// The output: where it is positive, the gradient passes.
    tape: Mutex<Vec<f32>>,
}

impl HiddenLayer {
    /// With this dropout.
    #[must_use]
    pub fn new(dropout: Option<Dropout>) -> Self {
        Self { dropout, tape: Mutex::default() }
    }
}

impl Function<2> for HiddenLayer {
    fn forward(&self, [x, bias]: [MatrixRef<'_>; 2], training: bool) -> Matrix {
        let mut output = Matrix::zeros(x.rows, x.columns);
        let block = BLOCK_ROWS * x.columns;
        let blocks = output.values.par_chunks_mut(block).zip(x.values.par_chunks(block));
        blocks.enumerate().for_each(|(index, (output, x))| {
            let rows = output.chunks_exact_mut(bias.columns).zip(x.chunks_exact(bias.columns));
            for (position, (output, x)) in rows.enumerate() {
                for ((out, x), bias) in output.iter_mut().zip(x).zip(bias.values) {
                    *out = (x + bias).max(0.0);
                }
                if let Some(dropout) = self.dropout {
                    dropout.apply_in_place((index * BLOCK_ROWS + position) as u32, output);
                }
            }
        });
        if training {
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = output.values.clone();
        }
        output
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 2] {
        let mut output =
            std::mem::take(&mut *self.tape.lock().unwrap_or_else(PoisonError::into_inner));
        let scale = self.dropout.map_or(1.0, Dropout::scale);
        let (columns, block) = (gradient.columns, BLOCK_ROWS * gradient.columns);
        let blocks = output.par_chunks_mut(block).zip(gradient.values.par_chunks(block));
        let sums: Vec<Vec<f32>> = blocks
            .map(|(output, gradient)| {
                let mut sums = vec![0.0; columns];
                let rows = output.chunks_exact_mut(columns).zip(gradient.chunks_exact(columns));
                for (output, gradient) in rows {
                    for ((out, gradient), sum) in output.iter_mut().zip(gradient).zip(&mut sums) {
                        *out = if *out > 0.0 { gradient * scale } else { 0.0 };
                        *sum += *out;
                    }
                }
                sums
            })
            .collect();
        let mut by_bias = Matrix::zeros(1, columns);
        for sums in sums {
            for (total, sum) in by_bias.values.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        [Matrix { rows: gradient.rows, columns, values: output }, by_bias]
    }
}

/// `dropout(x)`.
#[derive(Debug)]
pub struct DropoutLayer(pub Dropout);

impl DropoutLayer {
    fn apply(&self, x: MatrixRef<'_>) -> Matrix {
        let mut output = Matrix { rows: x.rows, columns: x.columns, values: x.values.to_vec() };
        let blocks = output.values.par_chunks_mut(BLOCK_ROWS * x.columns);
        blocks.enumerate().for_each(|(index, block)| {
            for (position, row) in block.chunks_exact_mut(x.columns).enumerate() {
                self.0.apply_in_place((index * BLOCK_ROWS + position) as u32, row);
            }
        });
        output
    }
}

impl Function<1> for DropoutLayer {
    fn forward(&self, [x]: [MatrixRef<'_>; 1], _: bool) -> Matrix {
        self.apply(x)
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 1] {
        [self.apply(gradient)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::function::{assert_gradients, test_matrix};

    #[test]
    fn gradients_are_those_of_central_differences() {
        for rate in [0.0, 0.4] {
            let dropout = Dropout::new(rate, 1, 2).unwrap();
            let inputs = [test_matrix(700, 5, 1), test_matrix(1, 5, 2)];
            // A step over the rectifier's corner is no derivative: entries near it are moved away.
            let away = |x: f32| if x.abs() < 0.1 { x.signum() * 0.1 } else { x };
            let [mut x, bias] = inputs;
            for row in x.values.chunks_exact_mut(5) {
                for (x, bias) in row.iter_mut().zip(&bias.values) {
                    *x = away(*x + bias) - bias;
                }
            }
            assert_gradients(|| HiddenLayer::new(dropout), [x, bias]);
            if let Some(dropout) = dropout {
                assert_gradients(|| DropoutLayer(dropout), [test_matrix(700, 5, 3)]);
            }
        }
    }
}
