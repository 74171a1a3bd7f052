//! Weight matrices: loaded, checked and multiplied with.

use super::gguf::{Gguf, TensorView};
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

/// A matrix `[outputs][inputs]` and, where the file has one, a bias.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// Loads `name.weight` and, if there is one, `name.bias`.
    ///
    /// # Errors
    /// If the weight is missing or has another shape.
    pub fn load(
        gguf: &Gguf,
        name: &str,
        outputs: usize,
        inputs: usize,
        format: WeightFormat,
    ) -> Result<Linear> {
        let weight = checked(gguf, &format!("{name}.weight"), &[outputs, inputs])?;
        let weight = to_matmul(&weight, format)?;
        let bias = format!("{name}.bias");
        let bias = match gguf.has_tensor(&bias) {
            true => Some(vector(gguf, &bias, outputs)?),
            false => None,
        };
        Ok(Linear { weight, bias })
    }

    /// The bias, if there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// `[rows][inputs]` to `[rows][outputs]`; a row's result does not depend on the other rows.
    ///
    /// # Errors
    /// If candle fails, as on a wrong shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match (&self.weight, x.dim(0)?) {
            (QMatMul::Tensor(_), n_rows @ ..MIN_DENSE_ROWS) => {
                let padded = x.pad_with_zeros(0, 0, MIN_DENSE_ROWS - n_rows)?;
                self.weight.forward(&padded)?.narrow(0, 0, n_rows)?.contiguous()?
            }
            _ => self.weight.forward(x)?,
        };
        match &self.bias {
            Some(bias) => Ok(y.broadcast_add(bias)?),
            None => Ok(y),
        }
    }
}

/// The vector `name` of this length, in single precision.
///
/// # Errors
/// If it is missing or has another shape.
pub fn vector(gguf: &Gguf, name: &str, len: usize) -> Result<Tensor> {
    let tensor = checked(gguf, name, &[len])?;
    Ok(tensor.to_qtensor()?.dequantize(&Device::Cpu)?)
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
