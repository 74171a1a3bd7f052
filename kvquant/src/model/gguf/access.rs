//! Typed access to the metadata.
//!
//! Writers disagree on integer widths (a head count is a u32 here and an i32 there), so any integer
//! converts to any width that it fits in. A value of another type is an error even where the key is
//! optional: the file says something that we would otherwise ignore.

use super::Gguf;
use super::cursor::{Cursor, Lengths};
use super::value::{Array, Value, ValueType};
use crate::Result;

impl Gguf {
    /// The value of `key`, whatever its type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(key)
    }

    /// An unsigned integer; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// [`Error::Gguf`](crate::Error::Gguf), here and below, when the value is of another
    /// type or out of range.
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "an integer from 0 to 2^32 - 1", |v| u32::try_from(v.integer()?).ok())
    }

    /// A float; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// As [`Gguf::opt_u32`].
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a float", |v| match *v {
            Value::F32(v) => Some(v),
            Value::F64(v) => Some(v as f32),
            _ => None,
        })
    }

    /// A truth value; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// As [`Gguf::opt_u32`].
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a bool", |v| match *v {
            Value::Bool(v) => Some(v),
            _ => None,
        })
    }

    /// A text; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// As [`Gguf::opt_u32`].
    pub fn opt_str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", |v| match v {
            Value::String(v) => Some(v.as_str()),
            _ => None,
        })
    }

    /// An array of strings; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// As [`Gguf::opt_u32`].
    pub fn opt_str_array(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.typed(key, "an array of strings", |v| self.strings(v))
    }

    /// An array of floats; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// As [`Gguf::opt_u32`].
    pub fn opt_f32_array(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.typed(key, "an array of floats", |v| {
            self.elements(v, |element| match element {
                Value::F32(v) => Some(v),
                Value::F64(v) => Some(v as f32),
                _ => None,
            })
        })
    }

    /// An array of signed integers; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// As [`Gguf::opt_u32`].
    pub fn opt_i32_array(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.typed(key, "an array of integers of 32 bits", |v| {
            self.elements(v, |element| i32::try_from(element.integer()?).ok())
        })
    }

    /// An array of unsigned integers; `None` when the file doesn't have the key.
    ///
    /// # Errors
    /// As [`Gguf::opt_u32`].
    pub fn opt_u32_array(&self, key: &str) -> Result<Option<Vec<u32>>> {
        self.typed(key, "an array of integers from 0 to 2^32 - 1", |v| {
            self.elements(v, |element| u32::try_from(element.integer()?).ok())
        })
    }

    /// As [`Gguf::opt_u32`], for a key that must be there.
    ///
    /// # Errors
    /// [`Error::Gguf`](crate::Error::Gguf), here and below, when the key is absent, or as
    /// the optional form.
    pub fn u32(&self, key: &str) -> Result<u32> {
        self.required(key, self.opt_u32(key)?)
    }

    /// As [`Gguf::opt_f32`], for a key that must be there.
    ///
    /// # Errors
    /// As [`Gguf::u32`].
    pub fn f32(&self, key: &str) -> Result<f32> {
        self.required(key, self.opt_f32(key)?)
    }

    /// As [`Gguf::opt_bool`], for a key that must be there.
    ///
    /// # Errors
    /// As [`Gguf::u32`].
    pub fn bool(&self, key: &str) -> Result<bool> {
        self.required(key, self.opt_bool(key)?)
    }

    /// As [`Gguf::opt_str`], for a key that must be there.
    ///
    /// # Errors
    /// As [`Gguf::u32`].
    pub fn str(&self, key: &str) -> Result<&str> {
        self.required(key, self.opt_str(key)?)
    }

    /// As [`Gguf::opt_str_array`], for a key that must be there.
    ///
    /// # Errors
    /// As [`Gguf::u32`].
    pub fn str_array(&self, key: &str) -> Result<Vec<&str>> {
        self.required(key, self.opt_str_array(key)?)
    }

    /// As [`Gguf::opt_f32_array`], for a key that must be there.
    ///
    /// # Errors
    /// As [`Gguf::u32`].
    pub fn f32_array(&self, key: &str) -> Result<Vec<f32>> {
        self.required(key, self.opt_f32_array(key)?)
    }

    /// As [`Gguf::opt_i32_array`], for a key that must be there.
    ///
    /// # Errors
    /// As [`Gguf::u32`].
    pub fn i32_array(&self, key: &str) -> Result<Vec<i32>> {
        self.required(key, self.opt_i32_array(key)?)
    }

    /// As [`Gguf::opt_u32_array`], for a key that must be there.
    ///
    /// # Errors
    /// As [`Gguf::u32`].
    pub fn u32_array(&self, key: &str) -> Result<Vec<u32>> {
        self.required(key, self.opt_u32_array(key)?)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(self.fault(key, format!("is {}, not {wanted}", value.describe()))),
        }
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.fault(key, "the file doesn't have this key, and it is needed"))
    }

    /// A cursor over an array's elements.
    fn cursor(&self, array: &Array) -> Cursor<'_> {
        let lengths = if self.version() == 1 { Lengths::Narrow } else { Lengths::Wide };
        Cursor::new(&self.bytes.as_slice()[array.bytes.clone()], lengths)
    }

    fn strings(&self, value: &Value) -> Option<Vec<&str>> {
        let Value::Array(array) = value else { return None };
        if array.element() != ValueType::String {
            return None;
        }
        let mut cursor = self.cursor(array);
        (0..array.len()).map(|_| cursor.string().ok()).collect()
    }

    /// The elements of an array of scalars, each converted; `None` when one doesn't convert.
    fn elements<T>(&self, value: &Value, convert: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
        let Value::Array(array) = value else { return None };
        if matches!(array.element(), ValueType::String | ValueType::Array) {
            return None;
        }
        let mut cursor = self.cursor(array);
        let element = |_| convert(Value::read_as(array.element(), &mut cursor, 0).ok()?);
        (0..array.len()).map(element).collect()
    }
}
