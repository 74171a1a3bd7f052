//! Reading tables of a TOML file, key by key, with the line of every mistake.

use super::Value;
use crate::cluster::check_figure;
use crate::{Error, Result};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The file that values come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

impl Source<'_> {
    /// A mistake at a place of the file.
    pub fn error(&self, span: Range<usize>, problem: impl Into<String>) -> Error {
        Error::line(self.path, self.line(span), problem)
    }

    /// The line, from 1, that a place is on.
    pub fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(span.start);
        1 + before.filter(|&&byte| byte == b'\n').count()
    }

    /// A mistake that the library found in a value, at the value's place.
    pub fn locate(&self, span: Range<usize>, error: &Error) -> Error {
        self.error(span, error.to_string())
    }
}

/// A table of which all keys are known.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a, 'i> {
    pub source: Source<'a>,
    table: &'a DeTable<'i>,
    span: Range<usize>,
    name: &'a str,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// A table at a place, under the name that errors call it.
    ///
    /// # Errors
    /// Names the first key that isn't known.
    pub fn new(
        source: Source<'a>,
        table: &'a DeTable<'i>,
        span: Range<usize>,
        name: &'a str,
        known: &[&str],
    ) -> Result<Self> {
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let problem = format!(
                "{name} has no key `{}`; there are {}",
                key.get_ref().escape_debug(),
                known.join(", ")
            );
            return Err(source.error(key.span(), problem));
        }
        Ok(Self { source, table, span, name })
    }

    /// The table of a value.
    ///
    /// # Errors
    /// If it is something else, or has an unknown key.
    pub fn of(
        source: Source<'a>,
        value: &'a Value<'i>,
        name: &'a str,
        known: &[&str],
    ) -> Result<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Self::new(source, table, value.span(), name, known),
            other => Err(source.error(value.span(), wrong_type(name, other, "a table"))),
        }
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &str) -> Option<&'a Value<'i>> {
        self.table.get(key)
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &str) -> Result<&'a Value<'i>> {
        self.get(key).ok_or_else(|| {
            self.source.error(self.span.clone(), format!("{} lacks `{key}`", self.name))
        })
    }

    /// Where a key's value is, or the table if it isn't there.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.get(key).map_or(self.span.clone(), Value::span)
    }

    /// A mistake of a key's value.
    pub fn error(&self, key: &str, problem: impl Display) -> Error {
        self.source.error(self.span_of(key), format!("{key}: {problem}"))
    }

    /// A mistake that the library found, at the key that it names.
    pub fn locate(&self, error: &Error) -> Error {
        let span = match error {
            Error::Setting { setting, .. } => self.span_of(setting),
            _ => self.span.clone(),
        };
        self.source.locate(span, error)
    }

    /// A count that must be there.
    pub fn count(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize> {
        self.required(key)?;
        self.count_or(key, range, 0)
    }

    /// A count, or what it is if absent.
    pub fn count_or(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
        absent: usize,
    ) -> Result<usize> {
        self.get(key).map_or(Ok(absent), |value| count(self.source, value, key, range))
    }

    /// A number above 0, or what it is if absent.
    pub fn positive_or(&self, key: &str, absent: f64) -> Result<f64> {
        let Some(value) = self.get(key) else { return Ok(absent) };
        let number = number(self.source, value, key)?;
        check_figure(number).map(|()| number).map_err(|problem| self.error(key, problem))
    }

    /// True or false; false if absent.
    pub fn flag(&self, key: &str) -> Result<bool> {
        match self.get(key).map(|value| (value, value.get_ref())) {
            None => Ok(false),
            Some((_, DeValue::Boolean(flag))) => Ok(*flag),
            Some((value, other)) => {
                let problem = wrong_type(key, other, "true or false");
                Err(self.source.error(value.span(), problem))
            }
        }
    }
}

/// A whole number of a range.
pub(super) fn count(
    source: Source,
    value: &Value,
    key: &str,
    range: RangeInclusive<usize>,
) -> Result<usize> {
    let (least, most) = (range.start(), range.end());
    let DeValue::Integer(integer) = value.get_ref() else {
        let right = format!("a whole number from {least} to {most}");
        return Err(source.error(value.span(), wrong_type(key, value.get_ref(), &right)));
    };
    usize::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .filter(|count| range.contains(count))
        .ok_or_else(|| {
            source.error(value.span(), format!("{key}: {integer} is not {least} to {most}"))
        })
}

/// Any number, written with or without a point.
pub(super) fn number(source: Source, value: &Value, key: &str) -> Result<f64> {
    let number = match value.get_ref() {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|whole| whole as f64)
        }
        other => return Err(source.error(value.span(), wrong_type(key, other, "a number"))),
    };
    number.ok_or_else(|| source.error(value.span(), format!("{key}: no such number can be kept")))
}

/// That a value is of the wrong type, and which would be right.
pub(super) fn wrong_type(key: &str, value: &DeValue, right: &str) -> String {
    format!("{key}: a value of type {} where {right} is wanted", value.type_str())
}
