//! Bias, rectifier and dropout in one pass over an `N x H` matrix, and dropout alone.
//!
//! Rows are worked on in blocks of a fixed size, and sums over them are added in the blocks' order,
//! so the bits don't depend on the number of threads.

use super::function::{Function, Matrix, MatrixRef, Tape};
use crate::propagate::Dropout;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Rows of a block: enough work for a task, few enough that two threads both have some on the
/// smallest graphs.
const BLOCK_ROWS: usize = 512;

/// `dropout(relu(x + bias))`: `N x H` and `1 x H` give `N x H`.
#[derive(Debug)]
pub struct HiddenLayer {
    dropout: Option<Dropout>,
    /// The output: where it is positive, the gradient passes.
    tape: Tape<Vec<f32>>,
}

impl HiddenLayer {
    /// With this dropout.
    #[must_use]
    pub fn new(dropout: Option<Dropout>) -> Self {
        Self { dropout, tape: Tape::default() }
    }
}

impl Function<2> for HiddenLayer {
    fn forward(&self, [x, bias]: [MatrixRef<'_>; 2], training: bool) -> Matrix {
        let mut output = Matrix::zeros(x.rows, x.columns);
        let block = BLOCK_ROWS * x.columns;
        let blocks = output.values.par_chunks_mut(block).zip(x.values.par_chunks(block));
        blocks.enumerate().for_each(|(index, (output, x))| {
            let first_row = index * BLOCK_ROWS;
            let bias = bias.values;
            Arch::new().dispatch(Activate { dropout: self.dropout, first_row, x, bias, output });
        });
        if training {
            self.tape.keep(output.values.clone());
        }
        output
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 2] {
        let mut output = self.tape.take();
        let scale = self.dropout.map_or(1.0, Dropout::scale);
        let (columns, block) = (gradient.columns, BLOCK_ROWS * gradient.columns);
        let blocks = output.par_chunks_mut(block).zip(gradient.values.par_chunks(block));
        let sums: Vec<Vec<f32>> = blocks
            .map(|(output, gradient)| {
                let mut sums = vec![0.0; columns];
                Arch::new().dispatch(Pass { scale, gradient, output, sums: &mut sums });
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

/// The forward pass of a block of rows, compiled for the widest vectors.
struct Activate<'a> {
    dropout: Option<Dropout>,
    first_row: usize,
    x: &'a [f32],
    bias: &'a [f32],
    output: &'a mut [f32],
}

impl NullaryFnOnce for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let columns = self.bias.len();
        let rows = self.output.chunks_exact_mut(columns).zip(self.x.chunks_exact(columns));
        for (row, (output, x)) in rows.enumerate() {
            let sums = output.iter_mut().zip(x).zip(self.bias);
            match self.dropout.map(|dropout| dropout.of_row((self.first_row + row) as u32)) {
                None => sums.for_each(|((out, x), bias)| *out = (x + bias).max(0.0)),
                Some(mask) => {
                    for (place, ((out, x), bias)) in sums.enumerate() {
                        *out = mask.kept(place as u32, (x + bias).max(0.0));
                    }
                }
            }
        }
    }
}

/// The backward pass of a block of rows: the output becomes the gradient of `x`.
struct Pass<'a> {
    scale: f32,
    gradient: &'a [f32],
    output: &'a mut [f32],
    sums: &'a mut [f32],
}

impl NullaryFnOnce for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let columns = self.sums.len();
        let rows = self.output.chunks_exact_mut(columns).zip(self.gradient.chunks_exact(columns));
        for (output, gradient) in rows {
            for ((out, gradient), sum) in output.iter_mut().zip(gradient).zip(&mut *self.sums) {
                *out = if *out > 0.0 { gradient * self.scale } else { 0.0 };
                *sum += *out;
            }
        }
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
            let (first_row, columns) = (index * BLOCK_ROWS, x.columns);
            Arch::new().dispatch(Drop { dropout: self.0, first_row, columns, values: block });
        });
        output
    }
}

/// Dropout of a block of rows.
struct Drop<'a> {
    dropout: Dropout,
    first_row: usize,
    columns: usize,
    values: &'a mut [f32],
}

impl NullaryFnOnce for Drop<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (row, values) in self.values.chunks_exact_mut(self.columns).enumerate() {
            let mask = self.dropout.of_row((self.first_row + row) as u32);
            for (place, value) in values.iter_mut().enumerate() {
                *value = mask.kept(place as u32, *value);
            }
        }
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
