//! Tensors of a GGUF file, as views into it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use candle_core::backend::BackendStorage;
use candle_core::quantized::{GgmlDType, QTensor, ggml_file};
use candle_core::{CpuStorage, Device};

use super::header::shown;
use crate::{Error, Result};

/// The strictest alignment that candle's block types ask for (f32), in bytes.
const BLOCK_ALIGNMENT: usize = 4;

/// A tensor of the directory: its place is checked to lie within the file.
#[derive(Debug)]
pub(super) struct TensorInfo {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: GgmlDType,
    pub(super) bytes: Range<usize>,
}

/// A tensor's data where it lies in the file.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    pub(super) path: &'a Path,
    /// Its name in the file.
    pub name: &'a str,
    /// How its values are stored.
    pub dtype: GgmlDType,
    /// Outermost dimension first: `[rows, columns]` for a matrix, the reverse of the file's order.
    pub shape: &'a [usize],
    /// The stored blocks, row after row.
    pub data: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// Values in a row: the innermost dimension.
    pub fn columns(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// Number of rows: the product of all dimensions but the innermost.
    pub fn rows(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product()
    }

    /// The stored blocks of the rows in `range`.
    ///
    /// # Errors
    /// [`Error::Gguf`] when the tensor has fewer rows.
    pub fn row_data(&self, range: Range<usize>) -> Result<&'a [u8]> {
        let row_bytes = self.columns() / self.dtype.block_size() * self.dtype.type_size();
        if range.start > range.end || range.end > self.rows() {
            return Err(self.fault(format!("has {} rows, not the rows {range:?}", self.rows())));
        }
        Ok(&self.data[range.start * row_bytes..range.end * row_bytes])
    }

    /// Copies the tensor, as stored, into one that candle computes with.
    ///
    /// # Errors
    /// [`Error::Gguf`] when candle refuses it.
    pub fn to_qtensor(&self) -> Result<QTensor> {
        self.check_layout(self.data, self.rows())?;
        ggml_file::qtensor_from_ggml(self.dtype, self.data, self.shape.to_vec(), &Device::Cpu)
            .map_err(|error| self.fault(error.to_string()))
    }

    /// One row as f32: an embedding is looked up without dequantizing the table.
    ///
    /// # Errors
    /// [`Error::Gguf`] when there is no such row.
    pub fn dequantize_row(&self, row: usize) -> Result<Vec<f32>> {
        let data = self.row_data(row..row.saturating_add(1))?;
        self.check_layout(data, 1)?;
        let values = self.dtype.from_data(Cow::Borrowed(data)).dequantize(self.columns());
        match values.map_err(|error| self.fault(error.to_string()))? {
            CpuStorage::F32(values) => Ok(values),
            // Not with candle 0.11, whose block types all dequantize to f32.
            other => Err(self.fault(format!("dequantizes to {:?}, not to f32", other.dtype()))),
        }
    }

    /// Candle casts the bytes to blocks without looking at length or address. Opening a file makes
    /// sure of both, but the fields are public and may have been changed since.
    fn check_layout(&self, data: &[u8], rows: usize) -> Result<()> {
        let row_bytes = self.columns() / self.dtype.block_size() * self.dtype.type_size();
        let aligned = data.as_ptr().addr().is_multiple_of(BLOCK_ALIGNMENT.min(self.block_step()));
        if aligned && rows.checked_mul(row_bytes) == Some(data.len()) {
            return Ok(());
        }
        Err(self.fault(format!("has {} bytes of data, not {rows} aligned rows", data.len())))
    }

    /// The alignment a block of the type can have at most: the largest power of two in its size.
    fn block_step(&self) -> usize {
        1 << self.dtype.type_size().trailing_zeros()
    }

    pub(crate) fn fault(&self, problem: String) -> Error {
        Error::Gguf { path: self.path.to_owned(), field: shown(self.name), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gguf::Gguf;
    use crate::model::gguf_writer::Writer;

    /// Numbers of the supported types, and the bytes of 256 values.
    const TYPES: [(u32, usize); 13] = [
        (0, 1024),
        (1, 512),
        (2, 144),
        (3, 160),
        (6, 176),
        (7, 192),
        (8, 272),
        (10, 84),
        (11, 110),
        (12, 144),
        (13, 176),
        (14, 210),
        (30, 512),
    ];

    /// Three rows of 256 values in each type.
    fn file() -> Gguf {
        let file = TYPES.iter().fold(Writer::new(3), |file, &(number, row_bytes)| {
            // Small exponents in every float, so that no value is NaN.
            let data: Vec<u8> = (0..3 * row_bytes).map(|i| (i * 37 % 61) as u8).collect();
            file.tensor(&format!("type {number}"), &[256, 3], number, &data)
        });
        Gguf::parse("types.gguf", &file.write().bytes).unwrap()
    }

    #[test]
    fn a_row_is_the_whole_tensors_row_in_every_type() {
        let file = file();
        for (number, row_bytes) in TYPES {
            let tensor = file.tensor(&format!("type {number}")).unwrap();
            assert_eq!((tensor.rows(), tensor.columns()), (3, 256));
            assert_eq!(tensor.row_data(1..3).unwrap(), &tensor.data[row_bytes..]);
            let whole = tensor.to_qtensor().unwrap().dequantize(&Device::Cpu).unwrap();
            let whole = whole.to_vec2::<f32>().unwrap();
            for (row, values) in whole.iter().enumerate() {
                assert_eq!(&tensor.dequantize_row(row).unwrap(), values, "type {number}");
            }
            let error = tensor.dequantize_row(3).unwrap_err().to_string();
            assert!(error.contains(&format!("types.gguf: type {number}: has 3 rows")), "{error}");
            #[allow(clippy::reversed_empty_ranges)]
            let reversed = tensor.row_data(2..1);
            assert!(reversed.is_err() && tensor.dequantize_row(usize::MAX).is_err());
        }
    }

    /// The fields are public: what candle would read beyond the data must be an error.
    #[test]
    fn a_view_that_does_not_fit_its_data_is_refused() {
        let file = file();
        let mut tensor = file.tensor("type 0").unwrap();
        tensor.shape = &[4, 256];
        assert!(tensor.to_qtensor().is_err());
        tensor.shape = &[3, 256];
        assert!(tensor.to_qtensor().is_ok());
        // Enough bytes for one value, but at an odd address.
        tensor.data = &file.tensor("type 2").unwrap().data[1..5];
        tensor.shape = &[1, 1];
        assert!(tensor.to_qtensor().is_err() && tensor.dequantize_row(0).is_err());
    }
}
