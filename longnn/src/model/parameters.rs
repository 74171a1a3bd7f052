//! Everything that a model learns, as one burn module.
//!
//! The four kinds are the four parameter groups of the settings, each with its own learning rate and
//! decay; a model leaves empty what it doesn't have. They start as PyTorch's would, from generators
//! of our own, so that a seed gives the same start everywhere.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The learnable parameters of one model.
#[derive(Module, Debug)]
pub struct Parameters {
    /// Affine maps, in the order in which the model uses them.
    pub encoder: Vec<Affine>,
    /// What all channels of a filter share, `1 x (K+1)`.
    pub coefficients: Option<Param<Tensor<2>>>,
    /// A channel's own, `(K+1) x C`.
    pub mixing: Option<Param<Tensor<2>>>,
    /// What the basis itself learns.
    pub basis: Option<Param<Tensor<2>>>,
}

/// `x W + b`.
#[derive(Module, Debug)]
pub struct Affine {
    /// `inputs x outputs`.
    pub weight: Param<Tensor<2>>,
    /// `1 x outputs`.
    pub bias: Param<Tensor<2>>,
}

impl Affine {
    /// `x W + b` for dense `x`.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val()) + self.bias.val()
    }
}

/// Draws where parameters start.
#[derive(Debug)]
pub struct Initializer {
    random: ChaCha8Rng,
    device: Device,
}

impl Initializer {
    /// The same seed gives the same draws.
    #[must_use]
    pub fn new(seed: u64, device: Device) -> Self {
        // Another stream than that of the splits, which start from the same seeds.
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(1);
        Self { random, device }
    }

    /// As PyTorch's `Linear` starts: weights and biases uniform in `±1/√inputs`.
    pub fn affine(&mut self, n_inputs: usize, n_outputs: usize) -> Affine {
        let bound = 1.0 / (n_inputs as f32).sqrt();
        let weight = self.uniform(n_inputs, n_outputs, bound);
        Affine { weight, bias: self.uniform(1, n_outputs, bound) }
    }

    /// As the graph convolutions start: weights by Glorot and Bengio, no bias.
    pub fn glorot(&mut self, n_inputs: usize, n_outputs: usize) -> Affine {
        let bound = (6.0 / (n_inputs + n_outputs) as f32).sqrt();
        let weight = self.uniform(n_inputs, n_outputs, bound);
        Affine { weight, bias: self.given(1, n_outputs, vec![0.0; n_outputs]) }
    }

    /// A parameter that starts at given values, row after row.
    #[must_use]
    pub fn given(&self, rows: usize, columns: usize, values: Vec<f32>) -> Param<Tensor<2>> {
        let data = TensorData::new(values, [rows, columns]);
        Param::from_tensor(Tensor::from_data(data, &self.device))
    }

    fn uniform(&mut self, rows: usize, columns: usize, bound: f32) -> Param<Tensor<2>> {
        let draws = (0..rows * columns).map(|_| self.random.random_range(-bound..bound)).collect();
        self.given(rows, columns, draws)
    }
}
