//! The one error type of the library. Its variants carry what was read or asked for and the part at
//! fault, so that the message alone says what was wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// What can go wrong in `longnn`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is truncated, inconsistent, or asks for something absurd.
    #[error("{}: {part}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The part at fault: an array, a line, a field.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nodes, edges, features and labels don't make a graph.
    #[error("{part}: {problem}")]
    Graph {
        /// The part at fault: an edge, a node, the features.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A split leaves nothing to train, select or test on, or asks for what the graph lacks.
    #[error("split: {problem}")]
    Split {
        /// What is wrong with it.
        problem: String,
    },
    /// An operation was given shapes that don't fit.
    #[error("{operation}: {problem}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The shapes, and which would fit.
        problem: String,
    },
    /// A setting is outside its range.
    #[error("{setting}: {problem}")]
    Setting {
        /// Its name, as the user writes it.
        setting: String,
        /// The value and the range.
        problem: String,
    },
}

impl Error {
    /// For `map_err`: adds the file to what the system says.
    pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Whether the user's input is at fault (a file, a graph, a setting), not the library.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Error::Shape { .. })
    }
}

/// The result of the library's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
