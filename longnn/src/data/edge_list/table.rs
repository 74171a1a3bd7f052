//! Lines of fields, with their numbers for messages.

use super::{Error, Source, fault};
use crate::Result;
use std::path::Path;

/// What is between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    Comma,
    Tab,
    Blanks,
}

/// The lines of a file that say something.
pub(super) struct Table<'a> {
    path: &'a Path,
    lines: Vec<Line<'a>>,
}

/// The fields of one line.
pub(super) struct Line<'a> {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// Without the blanks around them.
    pub(super) fields: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// The lines of a file, without comments and empty ones.
    pub(super) fn parse(source: Source<'a>) -> Result<Self> {
        let Source { path, bytes } = source;
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let number = bytes[..error.valid_up_to()].split(|&byte| byte == b'\n').count();
            at(path, number, "is not UTF-8")
        })?;
        // Spreadsheets write a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let says_something = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
        let mut lines = text.lines().zip(1..).filter(|(line, _)| says_something(line)).peekable();
        let separator = lines.peek().map_or(Separator::Comma, |(line, _)| Separator::of(line));
        let lines = lines.map(|(line, number)| Line { number, fields: separator.split(line) });
        Ok(Self { path, lines: lines.collect() })
    }

    /// The file.
    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// The lines, in order.
    pub(super) fn lines(&self) -> &[Line<'a>] {
        &self.lines
    }

    /// The error for a line.
    pub(super) fn wrong(&self, number: usize, problem: impl Into<String>) -> Error {
        at(self.path, number, problem)
    }
}

impl Separator {
    fn of(line: &str) -> Self {
        match line {
            line if line.contains(',') => Separator::Comma,
            line if line.contains('\t') => Separator::Tab,
            _ => Separator::Blanks,
        }
    }

    fn split(self, line: &str) -> Vec<&str> {
        match self {
            Separator::Comma => line.split(',').map(str::trim).collect(),
            Separator::Tab => line.split('\t').map(str::trim).collect(),
            Separator::Blanks => line.split_whitespace().collect(),
        }
    }
}

fn at(path: &Path, number: usize, problem: impl Into<String>) -> Error {
    fault(path, format!("line {number}"), problem)
}
