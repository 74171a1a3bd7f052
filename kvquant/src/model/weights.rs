//! Weight matrices: loaded, checked and multiplied with.

use super::gguf::{Gguf, TensorView};
use super::ops::add;
use crate::Result;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The form in which weights are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightFormat {
    /// As in the file, except that the types which candle multiplies without vector instructions
    /// (`Q4_1`, `Q5_0`, `Q5_1`) are turned into `Q8_0` on loading: several times as fast, for a
    /// rounding of the size of that of the activations, which all quantized products round.
    #[default]
    Auto,
    /// Exactly as in the file.
    File,
    /// Dequantized to single precision: the reference, and the fastest prefill.
    F32,
}

impl WeightFormat {
    const ALL: [WeightFormat; 3] = [WeightFormat::Auto, WeightFormat::File, WeightFormat::F32];
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WeightFormat::Auto => "auto",
            WeightFormat::File => "file",
            WeightFormat::F32 => "f32",
        })
    }
}

impl FromStr for WeightFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<WeightFormat, String> {
        WeightFormat::ALL
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| format!("`{text}` is no weight format; there are auto, file, f32"))
    }
}

/// Rows of a single-precision product at least. Below, candle's `gemm` turns to kernels that add up
/// in another order, and a text would score a little differently when cut into other chunks. Padding
/// costs decoding with `f32` weights, the reference, up to twice the time; quantized products are the
/// same for any number of rows.
const MIN_DENSE_ROWS: usize = 16;

/// Matrices `[outputs][inputs]` with the same input, one below the other, and, where the file has them, biases.
#[derive(Debug)]
pub struct Linear {
    n_inputs: usize,
    parts: Vec<Matrix>,
    bias: Option<Vec<f32>>,
}

#[derive(Debug)]
struct Matrix(QMatMul);

impl Linear {
    /// Loads `name.weight` and, if there is one, `name.bias`, of each name with its number of outputs.
    ///
    /// # Errors
    /// If a weight is missing or has another shape.
    pub fn load(
        gguf: &Gguf,
        parts: &[(String, usize)],
        n_inputs: usize,
        format: WeightFormat,
    ) -> Result<Linear> {
        let load = |(name, n_outputs): &(String, usize)| {
            let weight = checked(gguf, &format!("{name}.weight"), &[*n_outputs, n_inputs])?;
            to_matmul(&weight, format).map(Matrix)
        };
        let bias = bias(gguf, parts)?;
        Ok(Linear { n_inputs, parts: parts.iter().map(load).collect::<Result<_>>()?, bias })
    }

    /// Numbers in a row that goes in.
    pub fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    /// The biases, if there are any.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// `[rows][inputs]` to `[rows][outputs]`; a row's result does not depend on the other rows.
    ///
    /// # Errors
    /// If candle fails.
    pub fn forward(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let n_rows = rows.len() / self.n_inputs;
        if n_rows == 0 {
            return Ok(Vec::new());
        }
        let x = Tensor::from_slice(rows, (n_rows, self.n_inputs), &Device::Cpu)?;
        let parts = self.parts.iter().map(|part| part.forward(&x)).collect::<Result<Vec<_>>>()?;
        let mut output = Tensor::cat(&parts, 1)?.flatten_all()?.to_vec1()?;
        if let Some(bias) = &self.bias {
            for row in output.chunks_exact_mut(bias.len()) {
                add(row, bias);
            }
        }
        Ok(output)
    }
}

impl Matrix {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Matrix(weight) = self;
        Ok(match (weight, x.dim(0)?) {
            (QMatMul::Tensor(_), n_rows @ ..MIN_DENSE_ROWS) => {
                let padded = x.pad_with_zeros(0, 0, MIN_DENSE_ROWS - n_rows)?;
                weight.forward(&padded)?.narrow(0, 0, n_rows)?.contiguous()?
            }
            _ => weight.forward(x)?,
        })
    }
}

/// `name.bias` of each name with its number of outputs, one after the other, with zeros for those that the file
/// doesn't have; nothing if it has none.
///
/// # Errors
/// If one has another shape.
pub(crate) fn bias(gguf: &Gguf, parts: &[(String, usize)]) -> Result<Option<Vec<f32>>> {
    let has_bias = |name: &str| gguf.has_tensor(&format!("{name}.bias"));
    if !parts.iter().any(|(name, _)| has_bias(name)) {
        return Ok(None);
    }
    let mut bias = Vec::new();
    for (name, n_outputs) in parts {
        bias.extend(match has_bias(name) {
            true => vector(gguf, &format!("{name}.bias"), *n_outputs)?,
            false => vec![0.0; *n_outputs],
        });
    }
    Ok(Some(bias))
}

/// The vector `name` of this length, in single precision.
///
/// # Errors
/// If it is missing or has another shape.
pub fn vector(gguf: &Gguf, name: &str, len: usize) -> Result<Vec<f32>> {
    let tensor = checked(gguf, name, &[len])?;
    Ok(tensor.to_qtensor()?.dequantize(&Device::Cpu)?.to_vec1()?)
}

/// The tensor `name`, if it has this shape.
pub(crate) fn checked<'a>(gguf: &'a Gguf, name: &str, shape: &[usize]) -> Result<TensorView<'a>> {
    let tensor = gguf.tensor(name)?;
    if tensor.shape != shape {
        let problem = format!("has the shape {:?}, the model needs {shape:?}", tensor.shape);
        return Err(gguf.fault(name, problem));
    }
    Ok(tensor)
}

fn to_matmul(weight: &TensorView<'_>, format: WeightFormat) -> Result<QMatMul> {
    let stored = weight.to_qtensor()?;
    let slow = matches!(stored.dtype(), GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1);
    Ok(match format {
        WeightFormat::F32 => QMatMul::Tensor(stored.dequantize(&Device::Cpu)?),
        WeightFormat::Auto if slow => {
            let dense = stored.dequantize(&Device::Cpu)?;
            QMatMul::QTensor(Arc::new(QTensor::quantize(&dense, GgmlDType::Q8_0)?))
        }
        WeightFormat::Auto | WeightFormat::File => QMatMul::from_qtensor(stored)?,
    })
}
