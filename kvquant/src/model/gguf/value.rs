//! Values of a GGUF file's metadata: thirteen types, arrays among them.
//!
//! An array stays where it is in the file. Opening only walks over it, checks every length and
//! every string in it, and keeps its range: a vocabulary of 150,000 tokens costs one small struct,
//! and a hostile count can't make us reserve anything.

use std::ops::Range;

use super::cursor::{Cursor, Lengths, Read};

/// How deep arrays of arrays may nest. Models use one level; the limit keeps a crafted file from
/// using up the stack.
const MAX_ARRAY_DEPTH: usize = 4;

/// Type of a value, by its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the format's own.
pub enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    /// In the order of their numbers.
    const ALL: [ValueType; 13] = [
        ValueType::U8,
        ValueType::I8,
        ValueType::U16,
        ValueType::I16,
        ValueType::U32,
        ValueType::I32,
        ValueType::F32,
        ValueType::Bool,
        ValueType::String,
        ValueType::Array,
        ValueType::U64,
        ValueType::I64,
        ValueType::F64,
    ];

    fn read(cursor: &mut Cursor<'_>) -> Read<ValueType> {
        let number = cursor.u32()?;
        let known = usize::try_from(number).ok().and_then(|n| Self::ALL.get(n).copied());
        known.ok_or_else(|| format!("has the unknown value type {number} (known: 0 to 12)"))
    }

    /// The least bytes that a value of this type takes in a file.
    fn min_bytes(self, lengths: Lengths) -> usize {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => 1,
            ValueType::U16 | ValueType::I16 => 2,
            ValueType::U32 | ValueType::I32 | ValueType::F32 => 4,
            ValueType::U64 | ValueType::I64 | ValueType::F64 => 8,
            ValueType::String => lengths.size(),
            ValueType::Array => 4 + lengths.size(),
        }
    }
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The names are the format's own.
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    /// Read its elements by [`Gguf::str_array`](super::Gguf::str_array) and its siblings.
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of the metadata, checked and left in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    element: ValueType,
    len: usize,
    /// Where its elements lie, in bytes from the start of the file.
    pub(super) bytes: Range<usize>,
}

impl Array {
    /// The type that all its elements have.
    pub fn element(&self) -> ValueType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Value {
    /// Reads a type and a value of it.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Read<Value> {
        let value_type = ValueType::read(cursor)?;
        Self::read_as(value_type, cursor, 0)
    }

    /// Reads one value of a known type; `depth` counts the arrays around it.
    pub(super) fn read_as(
        value_type: ValueType,
        cursor: &mut Cursor<'_>,
        depth: usize,
    ) -> Read<Value> {
        Ok(match value_type {
            ValueType::U8 => Value::U8(u8::from_le_bytes(cursor.array()?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(cursor.array()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.array()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.array()?)),
            ValueType::U32 => Value::U32(cursor.u32()?),
            ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.array()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array()?)),
            ValueType::Bool => Value::Bool(read_bool(cursor)?),
            ValueType::String => Value::String(cursor.string()?.to_owned()),
            ValueType::Array => Value::Array(skim_array(cursor, depth)?),
            ValueType::U64 => Value::U64(cursor.u64()?),
            ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.array()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array()?)),
        })
    }

    /// The value if it is an integer of any width.
    pub fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(v) => v.into(),
            Value::I8(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U64(v) => v.into(),
            Value::I64(v) => v.into(),
            _ => return None,
        })
    }

    /// What the value is, in words for an error message.
    pub(super) fn describe(&self) -> String {
        match self {
            Value::String(_) => "a string".to_owned(),
            Value::Array(array) => format!("an array of {:?}", array.element),
            scalar => format!("{scalar:?}"),
        }
    }
}

fn read_bool(cursor: &mut Cursor<'_>) -> Read<bool> {
    match cursor.array::<1>()? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(format!("is a bool of value {other}, neither 0 nor 1")),
    }
}

/// Walks over an array and checks everything in it.
fn skim_array(cursor: &mut Cursor<'_>, depth: usize) -> Read<Array> {
    if depth == MAX_ARRAY_DEPTH {
        return Err(format!("nests arrays deeper than {MAX_ARRAY_DEPTH} levels"));
    }
    let element = ValueType::read(cursor)?;
    let len = cursor.count(element.min_bytes(cursor.lengths()))?;
    let start = cursor.position();
    match element {
        ValueType::String => {
            for idx in 0..len {
                cursor.string().map_err(|problem| format!("element {idx} {problem}"))?;
            }
        }
        ValueType::Bool => {
            for _ in 0..len {
                read_bool(cursor)?;
            }
        }
        ValueType::Array => {
            for _ in 0..len {
                skim_array(cursor, depth + 1)?;
            }
        }
        // `count` has checked that they fit, so the product is within the file.
        fixed => {
            cursor.take((len * fixed.min_bytes(cursor.lengths())) as u64)?;
        }
    }
    Ok(Array { element, len, bytes: start..cursor.position() })
}
