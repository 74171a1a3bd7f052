//! Matrices of weights in device memory, in half precision or as `Q8_0`, whatever the file stores.

use super::gpu::Gpu;
use super::ops::{READ, check_len, launch};
use crate::model::gguf::TensorView;
use crate::{Error, Result};
use cudarc::driver::{CudaSlice, PushKernelArg};
use half::f16;
use rayon::prelude::*;
use std::fmt;
use std::str::FromStr;

/// Weights that share a scale; rows are of whole blocks in either form.
const BLOCK: usize = 32;

/// The form in which weights are kept on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GpuWeights {
    /// Half precision.
    #[default]
    F16,
    /// Codes of a byte with a half-precision scale for 32 of them: half the memory, and half the time of decoding
    /// one sequence.
    Q8_0,
}

impl GpuWeights {
    const ALL: [GpuWeights; 2] = [GpuWeights::F16, GpuWeights::Q8_0];
}

impl fmt::Display for GpuWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GpuWeights::F16 => "f16",
            GpuWeights::Q8_0 => "q8_0",
        })
    }
}

impl FromStr for GpuWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<GpuWeights, String> {
        GpuWeights::ALL
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| format!("`{text}` is no format of weights; there are f16, q8_0"))
    }
}

/// A matrix `[n_outputs][n_inputs]`.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) n_outputs: usize,
    pub(super) n_inputs: usize,
    pub(super) values: Values,
}

/// Its numbers, row by row.
#[derive(Debug)]
pub(super) enum Values {
    Half(CudaSlice<u16>),
    Bytes { codes: CudaSlice<i8>, scales: CudaSlice<u16> },
}

impl Matrix {
    /// Brings a matrix onto the GPU, given its rows of `n_inputs` numbers.
    pub(super) fn new(
        gpu: &Gpu,
        format: GpuWeights,
        [n_outputs, n_inputs]: [usize; 2],
        row: impl Fn(usize) -> Result<Vec<f32>> + Sync,
    ) -> Result<Matrix> {
        if n_outputs == 0 || n_inputs == 0 || !n_inputs.is_multiple_of(BLOCK) {
            return Err(Error::Shape {
                operation: "weights on a GPU",
                what: "a row",
                got: n_inputs,
                expected: format!("a multiple of {BLOCK}"),
            });
        }
        let stream = gpu.stream();
        let n = n_outputs * n_inputs;
        let values = match format {
            GpuWeights::F16 => {
                let mut halves = vec![0u16; n];
                halves.par_chunks_exact_mut(n_inputs).enumerate().try_for_each(
                    |(output, halves)| -> Result<()> {
                        for (half, weight) in halves.iter_mut().zip(row(output)?) {
                            *half = f16::from_f32(weight).to_bits();
                        }
                        Ok(())
                    },
                )?;
                Values::Half(stream.clone_htod(&halves)?)
            }
            GpuWeights::Q8_0 => {
                let (mut codes, mut scales) = (vec![0i8; n], vec![0u16; n / BLOCK]);
                codes
                    .par_chunks_exact_mut(n_inputs)
                    .zip(scales.par_chunks_exact_mut(n_inputs / BLOCK))
                    .enumerate()
                    .try_for_each(|(output, (codes, scales))| -> Result<()> {
                        quantize(&row(output)?, codes, scales);
                        Ok(())
                    })?;
                Values::Bytes {
                    codes: stream.clone_htod(&codes)?,
                    scales: stream.clone_htod(&scales)?,
                }
            }
        };
        Ok(Matrix { n_outputs, n_inputs, values })
    }

    /// The rows of tensors below each other.
    pub(super) fn load(
        gpu: &Gpu,
        format: GpuWeights,
        tensors: &[TensorView<'_>],
        n_inputs: usize,
    ) -> Result<Matrix> {
        let n_outputs = tensors.iter().map(TensorView::rows).sum();
        Matrix::new(gpu, format, [n_outputs, n_inputs], |output| {
            let mut row = output;
            for tensor in tensors {
                match row.checked_sub(tensor.rows()) {
                    Some(in_next) => row = in_next,
                    None => return tensor.dequantize_row(row),
                }
            }
            Ok(Vec::new())
        })
    }

    /// Bytes of device memory.
    pub(super) fn bytes(&self) -> usize {
        match &self.values {
            Values::Half(values) => values.num_bytes(),
            Values::Bytes { codes, scales } => codes.num_bytes() + scales.num_bytes(),
        }
    }

    /// The rows of `tokens`, in single precision: `[n_rows][n_inputs]`.
    ///
    /// Whoever writes the tokens has checked that there are such rows.
    pub(super) fn embed(
        &self,
        gpu: &Gpu,
        tokens: &CudaSlice<u32>,
        n_rows: usize,
        hidden: &mut CudaSlice<f32>,
    ) -> Result<()> {
        check_len("embedding", tokens.len(), n_rows)?;
        check_len("embedding", hidden.len(), n_rows * self.n_inputs)?;
        let threads = (self.n_inputs / READ).next_multiple_of(32).min(256);
        let grid = [(self.n_inputs / READ).div_ceil(threads), n_rows, 1];
        let n_inputs = self.n_inputs as u32;
        match &self.values {
            Values::Half(values) => {
                launch!(gpu, "embed_half", grid, threads, [values, tokens, hidden, &n_inputs]);
            }
            Values::Bytes { codes, scales } => {
                let name = "embed_bytes";
                launch!(gpu, name, grid, threads, [codes, scales, tokens, hidden, &n_inputs]);
            }
        }
        Ok(())
    }
}

/// A row as `Q8_0`: the largest magnitude of a block is code 127 or -127.
pub(super) fn quantize(row: &[f32], codes: &mut [i8], scales: &mut [u16]) {
    for ((block, codes), scale) in
        row.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK)).zip(scales)
    {
        let largest = block.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
        *scale = f16::from_f32(largest / 127.0).to_bits();
        let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
        for (code, weight) in codes.iter_mut().zip(block) {
            *code = (weight * inverse).round() as i8;
        }
    }
}
