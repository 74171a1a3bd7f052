//! Products with weights that stay on a GPU.
//!
//! Up to 16 rows, as decoding has them, go through a kernel of our own that reads every weight once; more go through
//! cuBLAS.

use super::blas::{Blas, Product};
use super::cache::address;
use super::gpu::Gpu;
use super::matrix::{GpuWeights, Matrix, Values};
use super::ops::{READ, check_len, launch};
use crate::model::gguf::{Gguf, TensorView};
use crate::model::weights::{bias, checked};
use crate::{Error, Result};
use cudarc::driver::{CudaSlice, PushKernelArg};
use std::sync::{Arc, OnceLock};

/// Rows of a product that our own kernel takes, on tensor cores in tiles of 8.
pub(super) const FEW_ROWS: usize = 16;
/// Outputs of a block of that kernel, inputs of a step of a warp, and warps at most; the names in `model.cu`.
const OUTPUTS: usize = 16;
const STEP: usize = 64;
const MOST_WARPS: usize = 8;
/// Weights that are expanded to half precision at a time.
const EXPANDED: usize = 32 << 20;
/// A matrix and, for some, a bias.
#[derive(Debug)]
pub(super) struct Linear {
    matrix: Arc<Matrix>,
    bias: Option<CudaSlice<f32>>,
}

impl Linear {
    pub(super) fn new(matrix: Arc<Matrix>, bias: Option<CudaSlice<f32>>) -> Linear {
        Linear { matrix, bias }
    }

    /// Loads the weights and biases of these names and numbers of outputs, one below the other.
    pub(super) fn load(
        gpu: &Gpu,
        gguf: &Gguf,
        format: GpuWeights,
        parts: &[(String, usize)],
        n_inputs: usize,
    ) -> Result<Linear> {
        let tensors = parts
            .iter()
            .map(|(name, outputs)| checked(gguf, &format!("{name}.weight"), &[*outputs, n_inputs]))
            .collect::<Result<Vec<TensorView<'_>>>>()?;
        let matrix = Matrix::load(gpu, format, &tensors, n_inputs)?;
        let bias = bias(gguf, parts)?.map(|bias| gpu.stream().clone_htod(&bias)).transpose()?;
        Ok(Linear { matrix: Arc::new(matrix), bias })
    }

    pub(super) fn n_outputs(&self) -> usize {
        self.matrix.n_outputs
    }

    /// Whether it multiplies with this very matrix.
    pub(super) fn is(&self, matrix: &Arc<Matrix>) -> bool {
        Arc::ptr_eq(&self.matrix, matrix)
    }

    /// Bytes of device memory.
    pub(super) fn bytes(&self) -> usize {
        self.matrix.bytes() + self.bias.as_ref().map_or(0, CudaSlice::num_bytes)
    }
}

/// What products need beside weights.
#[derive(Debug)]
pub(super) struct Products {
    gpu: Arc<Gpu>,
    blas: OnceLock<Result<Blas, String>>,
    /// Weights that are being multiplied, in half precision. One stream writes and reads it, in order.
    expanded: Option<CudaSlice<u16>>,
}

impl Products {
    pub(super) fn new(gpu: &Arc<Gpu>, format: GpuWeights) -> Result<Products> {
        let expanded = match format {
            GpuWeights::F16 => None,
            GpuWeights::Q8_0 => Some(gpu.stream().alloc_zeros(EXPANDED)?),
        };
        Ok(Products { gpu: Arc::clone(gpu), blas: OnceLock::new(), expanded })
    }

    /// `[n_rows][n_inputs]` to `[n_rows][n_outputs]`; with `is_added`, added to what `outputs` holds.
    ///
    /// # Errors
    /// If there are more than a few rows and cuBLAS is not installed, or the driver fails.
    pub(super) fn linear(
        &self,
        linear: &Linear,
        inputs: &CudaSlice<u16>,
        n_rows: usize,
        outputs: &mut CudaSlice<f32>,
        is_added: bool,
    ) -> Result<()> {
        let Matrix { n_outputs, n_inputs, .. } = *linear.matrix;
        check_len("a product", inputs.len(), n_rows * n_inputs)?;
        check_len("a product", outputs.len(), n_rows * n_outputs)?;
        match n_rows {
            0 => Ok(()),
            1..=FEW_ROWS => self.few_rows(linear, inputs, n_rows, outputs, is_added),
            _ => self.many_rows(linear, inputs, n_rows, outputs, is_added),
        }
    }

    fn few_rows(
        &self,
        Linear { matrix, bias }: &Linear,
        inputs: &CudaSlice<u16>,
        n_rows: usize,
        outputs: &mut CudaSlice<f32>,
        is_added: bool,
    ) -> Result<()> {
        let Matrix { n_outputs, n_inputs, .. } = **matrix;
        let grid = [n_outputs.div_ceil(OUTPUTS), 1, 1];
        // Two steps each: what a warp waits for is then on its way at once.
        let n_warps = n_inputs.div_ceil(2 * STEP).clamp(1, MOST_WARPS);
        let bias = bias.as_ref().map_or(0, |bias| address(self.gpu.stream(), bias));
        let in_one_tile = n_rows <= FEW_ROWS / 2;
        let is_added = u32::from(is_added);
        let [n_inputs, n_outputs, n_rows] = [n_inputs, n_outputs, n_rows].map(|n| n as u32);
        match &matrix.values {
            Values::Half(values) => {
                let name = if in_one_tile { "linear_half_8" } else { "linear_half_16" };
                launch!(
                    self.gpu,
                    name,
                    grid,
                    n_warps * 32,
                    [values, inputs, &bias, outputs, &n_inputs, &n_outputs, &n_rows, &is_added]
                );
            }
            Values::Bytes { codes, scales } => {
                let name = if in_one_tile { "linear_bytes_8" } else { "linear_bytes_16" };
                launch!(
                    self.gpu,
                    name,
                    grid,
                    n_warps * 32,
                    [
                        codes, scales, inputs, &bias, outputs, &n_inputs, &n_outputs, &n_rows,
                        &is_added
                    ]
                );
            }
        }
        Ok(())
    }

    fn many_rows(
        &self,
        Linear { matrix, bias }: &Linear,
        inputs: &CudaSlice<u16>,
        n_rows: usize,
        outputs: &mut CudaSlice<f32>,
        is_added: bool,
    ) -> Result<()> {
        let Matrix { n_outputs, n_inputs, .. } = **matrix;
        let stream = self.gpu.stream();
        let mut product = Product {
            weights: 0,
            inputs: address(stream, inputs),
            outputs: address(stream, outputs),
            n_rows,
            n_inputs,
            n_products: n_outputs,
            n_outputs,
            is_added,
        };
        match (&matrix.values, &self.expanded) {
            (Values::Half(values), _) => {
                product.weights = address(stream, values);
                self.multiply(&product)?;
            }
            (Values::Bytes { codes, scales }, Some(expanded)) => {
                product.weights = address(stream, expanded);
                let first_output = product.outputs;
                let at_once = (expanded.len() / n_inputs).max(1);
                check_len("a product", expanded.len(), at_once * n_inputs)?;
                for first in (0..n_outputs).step_by(at_once) {
                    product.n_products = at_once.min(n_outputs - first);
                    product.outputs = first_output + (first * size_of::<f32>()) as u64;
                    let n = product.n_products * n_inputs;
                    let grid = [(n / READ).div_ceil(256), 1, 1];
                    let (start, n) = ((first * n_inputs) as u64, n as u64);
                    launch!(self.gpu, "expand", grid, 256, [codes, scales, expanded, &start, &n]);
                    self.multiply(&product)?;
                }
            }
            (Values::Bytes { .. }, None) => {
                return Err(Error::Gpu("no room was made for weights of a byte".to_owned()));
            }
        }
        if let Some(bias) = bias {
            let grid = [n_outputs.div_ceil(256), n_rows, 1];
            let n_outputs = n_outputs as u32;
            launch!(self.gpu, "add_bias", grid, 256, [outputs, bias, &n_outputs]);
        }
        Ok(())
    }

    fn multiply(&self, product: &Product) -> Result<()> {
        let blas = self.blas.get_or_init(|| Blas::new(&self.gpu));
        let blas = blas.as_ref().map_err(|problem| Error::Gpu(problem.clone()))?;
        // SAFETY: `many_rows` fills products with buffers that `linear` has checked; memory is freed on the same
        // stream, after them.
        unsafe { product.run(blas) }
    }
}
