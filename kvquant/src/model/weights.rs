//! Weight matrices: loaded, checked and multiplied with.

use super::gguf::{Gguf, TensorView};
use super::ops::add;
use super::product::{Activations, BLOCK, Format, OutputView, Panels, TILE};
use crate::Result;
use crate::isa::Isa;
use candle_core::quantized::{GgmlDType, QMatMul};
use candle_core::{Device, Module, Tensor};
use rayon::prelude::*;
use std::fmt;
use std::str::FromStr;

/// The form in which weights are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightFormat {
    /// Repacked for our own products, which round activations to 8 bits: `Q4_0`, `Q4_1` and `Q8_0` with the file's
    /// weights to the bit, other quantized types in `Q8_0`. Weights that the file doesn't quantize stay as they are.
    #[default]
    Auto,
    /// Exactly as in the file, multiplied by candle.
    File,
    /// Dequantized to single precision: the reference.
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

/// Rows of a product that are a thread's work where there are many: whole tiles.
const SHARE_ROWS: usize = 4 * TILE;

/// Matrices `[outputs][inputs]` with the same input, one below the other, and, where the file has them, biases.
#[derive(Debug)]
pub struct Linear {
    n_inputs: usize,
    n_outputs: usize,
    parts: Vec<Matrix>,
    bias: Option<Vec<f32>>,
}

#[derive(Debug)]
enum Matrix {
    /// Quantized, repacked for the loops that read it.
    Panels(Panels),
    /// Dense, or quantized as in the file.
    Candle(QMatMul),
}

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
            Matrix::load(&weight, format)
        };
        let bias = bias(gguf, parts)?;
        let n_outputs = parts.iter().map(|(_, n_outputs)| n_outputs).sum();
        let parts = parts.iter().map(load).collect::<Result<_>>()?;
        Ok(Linear { n_inputs, n_outputs, parts, bias })
    }

    /// Numbers in a row that goes in.
    pub fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    /// The biases, if there are any.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Bytes of the weights in memory.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Matrix::bytes).sum()
    }

    /// The repacked matrices, for [`Panels::gather`].
    pub(super) fn panels_mut(&mut self) -> impl Iterator<Item = &mut Panels> {
        self.parts.iter_mut().filter_map(|part| match part {
            Matrix::Panels(panels) => Some(panels),
            Matrix::Candle(_) => None,
        })
    }

    /// `[rows][inputs]` to `[rows][outputs]`, in place of what the output held; a row's result does not depend on the
    /// other rows.
    ///
    /// # Errors
    /// If candle fails.
    pub fn forward(&self, rows: &[f32], output: &mut Vec<f32>) -> Result<()> {
        let n_rows = rows.len() / self.n_inputs;
        output.resize(n_rows * self.n_outputs, 0.0);
        let mut rounded = None;
        let mut column = 0;
        for part in &self.parts {
            let output = Columns { rows: output, first: column, row_len: self.n_outputs };
            column += match part {
                Matrix::Panels(panels) => {
                    multiply(panels, rows, &mut rounded, output);
                    panels.outputs()
                }
                Matrix::Candle(weight) => {
                    let found = multiply_by_candle(weight, rows, self.n_inputs)?;
                    let n_outputs = found.len() / n_rows.max(1);
                    output.fill(&found, n_outputs);
                    n_outputs
                }
            };
        }
        if let Some(bias) = &self.bias {
            for row in output.chunks_exact_mut(bias.len()) {
                add(row, bias);
            }
        }
        Ok(())
    }
}

/// Some columns of a matrix of outputs, which a part of it goes into.
struct Columns<'a> {
    rows: &'a mut [f32],
    first: usize,
    row_len: usize,
}

impl Columns<'_> {
    fn fill(self, part: &[f32], part_len: usize) {
        if part_len > 0 {
            let rows = self.rows.chunks_exact_mut(self.row_len);
            for (row, part) in rows.zip(part.chunks_exact(part_len)) {
                row[self.first..self.first + part_len].copy_from_slice(part);
            }
        }
    }
}

/// On all threads: of many rows each rounds its own, few rows are rounded once, in `rounded`, which the next matrix
/// with the same input finds there.
fn multiply(
    panels: &Panels,
    rows: &[f32],
    rounded: &mut Option<Activations>,
    Columns { rows: output, first, row_len }: Columns<'_>,
) {
    let isa = Isa::current();
    let n_inputs = panels.inputs();
    let n_rows = rows.len() / n_inputs;
    if n_rows == 0 {
        return;
    }
    // SAFETY: the columns from `first` on are as many as the panels have outputs, and shares are disjoint.
    let view = unsafe { OutputView::new(output.as_mut_ptr().add(first), n_rows, row_len) };
    let n_threads = rayon::current_num_threads();
    if n_rows >= SHARE_ROWS * n_threads {
        rows.par_chunks(SHARE_ROWS * n_inputs).enumerate().for_each_init(
            Activations::default,
            |activations, (share, rows)| {
                let n_rows = rows.len() / n_inputs;
                activations.fill(isa, rows, n_rows, n_inputs);
                let view = view.skip_rows(share * SHARE_ROWS);
                panels.multiply(isa, activations, 0..n_rows, 0..panels.n_panels(), &view);
            },
        );
        return;
    }
    let activations = rounded.get_or_insert_with(|| {
        let mut activations = Activations::default();
        activations.fill(isa, rows, n_rows, n_inputs);
        activations
    });
    let run = |thread| {
        let (rows, of_thread) = panels.share(n_rows, n_threads, thread);
        panels.multiply(isa, activations, rows, of_thread, &view);
    };
    (0..n_threads).into_par_iter().with_max_len(1).for_each(run);
}

fn multiply_by_candle(weight: &QMatMul, rows: &[f32], n_inputs: usize) -> Result<Vec<f32>> {
    let n_rows = rows.len() / n_inputs;
    if n_rows == 0 {
        return Ok(Vec::new());
    }
    let x = Tensor::from_slice(rows, (n_rows, n_inputs), &Device::Cpu)?;
    let y = match weight {
        QMatMul::Tensor(_) if n_rows < MIN_DENSE_ROWS => {
            let padded = x.pad_with_zeros(0, 0, MIN_DENSE_ROWS - n_rows)?;
            weight.forward(&padded)?.narrow(0, 0, n_rows)?
        }
        _ => weight.forward(&x)?,
    };
    Ok(y.flatten_all()?.to_vec1()?)
}

impl Matrix {
    fn load(weight: &TensorView<'_>, format: WeightFormat) -> Result<Matrix> {
        let (outputs, inputs) = (weight.rows(), weight.columns());
        let is_dense = matches!(weight.dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        if format == WeightFormat::Auto && !is_dense && inputs.is_multiple_of(BLOCK) {
            let stored = match weight.dtype {
                GgmlDType::Q4_0 => Some(Format::Q4_0),
                GgmlDType::Q4_1 => Some(Format::Q4_1),
                GgmlDType::Q8_0 => Some(Format::Q8_0),
                _ => None,
            };
            let panels = match stored {
                Some(format) => Panels::from_blocks(format, weight.data, outputs, inputs),
                None => {
                    Panels::from_rows(&dense(weight)?.flatten_all()?.to_vec1()?, outputs, inputs)
                }
            };
            return panels.map(Matrix::Panels).map_err(|problem| weight.fault(problem));
        }
        Ok(Matrix::Candle(match format {
            WeightFormat::F32 => QMatMul::Tensor(dense(weight)?),
            WeightFormat::Auto | WeightFormat::File => QMatMul::from_qtensor(weight.to_qtensor()?)?,
        }))
    }

    fn bytes(&self) -> usize {
        match self {
            Matrix::Panels(panels) => panels.bytes(),
            Matrix::Candle(QMatMul::QTensor(weight)) => weight.storage_size_in_bytes(),
            Matrix::Candle(QMatMul::Tensor(weight) | QMatMul::TensorF16(weight)) => {
                weight.elem_count() * weight.dtype().size_in_bytes()
            }
        }
    }
}

fn dense(weight: &TensorView<'_>) -> Result<Tensor> {
    Ok(weight.to_qtensor()?.dequantize(&Device::Cpu)?)
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
