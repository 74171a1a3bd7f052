//! Parsing of everything before the tensor data: header, metadata, tensor directory.
//!
//! The layout, little-endian, lengths and counts 32 bits wide in version 1 and 64 since:
//!
//! ```text
//! "GGUF"  version: u32  tensor count  metadata count
//! metadata count x { key: string  type: u32  value }
//! tensor count   x { name: string  n_dims: u32  dims (innermost first)  type: u32  offset: u64 }
//! padding to general.alignment, then the tensors' data, each at its offset from here
//! ```

use std::collections::HashMap;

use candle_core::quantized::GgmlDType;

use super::cursor::{Cursor, Lengths, Read};
use super::dtype;
use super::tensor::TensorInfo;
use super::value::Value;

/// The format's limit for keys; we hold tensor names to it too.
const MAX_NAME_BYTES: usize = 65_535;
/// ggml's limit.
const MAX_DIMS: u32 = 4;
/// What `general.alignment` is when the file doesn't say, in bytes.
const DEFAULT_ALIGNMENT: u64 = 32;
/// The format asks for a multiple of 8; powers of two are what writers use and readers accept.
const MIN_ALIGNMENT: u64 = 8;

/// The part of a file at fault, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) problem: String,
}

/// Names the field to a problem that the cursor found.
fn at(field: impl Into<String>) -> impl FnOnce(String) -> Fault {
    move |problem| Fault { field: field.into(), problem }
}

fn fault<T>(field: impl Into<String>, problem: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { field: field.into(), problem: problem.into() })
}

/// What a file holds, checked, with the data's places in it.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: Metadata,
    /// In the file's order.
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) tensor_idx: HashMap<String, usize>,
}

/// Metadata values by key.
pub(super) type Metadata = HashMap<String, Value>;

/// Parses and checks a file's header. After it, no read of a value or a tensor can leave the file.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, Fault> {
    let mut cursor = Cursor::new(bytes, Lengths::Wide);
    let version = magic_and_version(&mut cursor)?;
    cursor.set_lengths(if version == 1 { Lengths::Narrow } else { Lengths::Wide });
    let n_tensors = cursor.length().map_err(at("tensor count"))?;
    let n_values = cursor.length().map_err(at("metadata count"))?;
    // A key's length, its type and a value of one byte; a name's length, n_dims, one dim, type,
    // offset.
    let length = cursor.lengths().size();
    let n_values = cursor.holds(n_values, length + 5).map_err(at("metadata count"))?;
    let n_tensors = cursor.holds(n_tensors, 2 * length + 16).map_err(at("tensor count"))?;

    let metadata = read_metadata(&mut cursor, n_values)?;
    let alignment = alignment(&metadata)?;
    let entries = read_entries(&mut cursor, n_tensors)?;
    let data_start = (cursor.position() as u64).checked_next_multiple_of(alignment);
    let Some(data_start) = data_start else {
        return fault("general.alignment", format!("{alignment} leaves no room for data"));
    };
    let mut tensors = Vec::new();
    let mut tensor_idx = HashMap::new();
    for (idx, entry) in entries.into_iter().enumerate() {
        let tensor = entry.place(data_start, alignment, bytes.len() as u64)?;
        if tensor_idx.insert(tensor.name.clone(), idx).is_some() {
            return fault(shown(&tensor.name), "two tensors have this name");
        }
        tensors.push(tensor);
    }
    Ok(Header { version, metadata, tensors, tensor_idx })
}

fn magic_and_version(cursor: &mut Cursor<'_>) -> Result<u32, Fault> {
    match &cursor.array::<4>().map_err(at("magic"))? {
        b"GGUF" => {}
        b"FUGG" => return fault("magic", "is big-endian; only little-endian files are read"),
        other => {
            let other = other.escape_ascii();
            return fault("magic", format!("is \"{other}\", not \"GGUF\": not a GGUF file"));
        }
    }
    let version = cursor.u32().map_err(at("version"))?;
    match version {
        1..=3 => Ok(version),
        swapped if (1..=3).contains(&swapped.swap_bytes()) => {
            fault("version", "is big-endian; only little-endian files are read")
        }
        other => fault("version", format!("{other} is not known (known: 1, 2 and 3)")),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, n_values: usize) -> Result<Metadata, Fault> {
    let mut metadata = HashMap::new();
    for idx in 0..n_values {
        let key = name(cursor).map_err(at(format!("metadata entry {idx}")))?;
        let value = Value::read(cursor).map_err(at(shown(key)))?;
        if metadata.insert(key.to_owned(), value).is_some() {
            return fault(shown(key), "the key occurs twice");
        }
    }
    Ok(metadata)
}

/// A key or a tensor's name.
fn name<'a>(cursor: &mut Cursor<'a>) -> Read<&'a str> {
    match cursor.string()? {
        "" => Err("has an empty name".to_owned()),
        name if name.len() > MAX_NAME_BYTES => {
            Err(format!("has a name of {} bytes (at most {MAX_NAME_BYTES})", name.len()))
        }
        name => Ok(name),
    }
}

fn alignment(metadata: &Metadata) -> Result<u64, Fault> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    match value.integer().and_then(|v| u64::try_from(v).ok()) {
        Some(v) if v.is_power_of_two() && v >= MIN_ALIGNMENT => Ok(v),
        _ => fault(
            "general.alignment",
            format!("is {}, not a power of two of at least {MIN_ALIGNMENT}", value.describe()),
        ),
    }
}

/// One line of the tensor directory, before its place in the file is known to exist.
struct Entry {
    name: String,
    /// Outermost first: the reverse of the file's order.
    shape: Vec<usize>,
    dtype: GgmlDType,
    n_bytes: u64,
    offset: u64,
}

fn read_entries(cursor: &mut Cursor<'_>, n_tensors: usize) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    for idx in 0..n_tensors {
        let name = name(cursor).map_err(at(format!("tensor entry {idx}")))?;
        let entry = read_entry(cursor, name).map_err(at(shown(name)))?;
        entries.push(entry);
    }
    Ok(entries)
}

fn read_entry(cursor: &mut Cursor<'_>, name: &str) -> Read<Entry> {
    let n_dims = cursor.u32()?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        return Err(format!("has {n_dims} dimensions (1 to {MAX_DIMS} are possible)"));
    }
    let mut dims = Vec::with_capacity(MAX_DIMS as usize);
    for _ in 0..n_dims {
        dims.push(cursor.length()?);
    }
    let dtype = dtype::from_number(cursor.u32()?)?;
    let offset = cursor.u64()?;
    let n_bytes = data_bytes(&dims, dtype)?;
    let shape = dims.iter().rev().map(|&dim| usize::try_from(dim));
    let shape = shape.collect::<Result<_, _>>().map_err(|_| overflow(&dims))?;
    Ok(Entry { name: name.to_owned(), shape, dtype, n_bytes, offset })
}

/// Bytes of a tensor's data; `dims` innermost first, blocks run along the first.
fn data_bytes(dims: &[u64], dtype: GgmlDType) -> Read<u64> {
    if dims.contains(&0) {
        return Err(format!("has a dimension of 0 in {dims:?}"));
    }
    let block = dtype.block_size() as u64;
    if !dims[0].is_multiple_of(block) {
        return Err(format!(
            "has rows of {} values, which blocks of {block} ({dtype:?}) don't divide",
            dims[0]
        ));
    }
    let n_values = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    n_values
        .and_then(|n_values| (n_values / block).checked_mul(dtype.type_size() as u64))
        .ok_or_else(|| overflow(dims))
}

fn overflow(dims: &[u64]) -> String {
    format!("has dimensions {dims:?}, whose product overflows")
}

impl Entry {
    /// Checks that the data lies aligned and within a file of `file_bytes`.
    fn place(self, data_start: u64, alignment: u64, file_bytes: u64) -> Result<TensorInfo, Fault> {
        let Entry { name, shape, dtype, n_bytes, offset } = self;
        if !offset.is_multiple_of(alignment) {
            let problem = format!("lies at offset {offset}, not a multiple of {alignment}");
            return fault(shown(&name), problem);
        }
        let start = data_start.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(n_bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= file_bytes => {
                // Both are within the file, which is in memory, so they fit a usize.
                let bytes = start as usize..end as usize;
                Ok(TensorInfo { name, shape, dtype, bytes })
            }
            _ => fault(
                shown(&name),
                format!(
                    "needs {n_bytes} bytes at offset {offset} of the data, which starts at \
                     {data_start}; the file ends at {file_bytes}: is it complete?"
                ),
            ),
        }
    }
}

/// A name of the file, fit for an error message: no control characters, no megabytes.
pub(super) fn shown(name: &str) -> String {
    const SHOWN_CHARS: usize = 96;
    let mut shown: String = name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
