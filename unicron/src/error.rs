//! The one error type of the library. Its variants carry what was read or asked for and the part at
//! fault, so that the message alone says what was wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// What can go wrong in `unicron`.
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
    /// A line of a file is malformed, or says what can't be.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it, and what would be right.
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
    /// What tasks require is more than there is.
    #[error("task {task} can't be placed: {problem}")]
    Infeasible {
        /// The task.
        task: String,
        /// What it lacks, and what would make it feasible.
        problem: String,
    },
    /// A process of the cluster can't be reached.
    #[error("{what} can't be reached: {problem}")]
    Unreachable {
        /// Which.
        what: String,
        /// Why, for each address.
        problem: String,
    },
    /// A coordinator refuses a request.
    #[error("the coordinator refuses: {problem}")]
    Refused {
        /// Why.
        problem: String,
    },
    /// The coordinator's store can't be used, or does not answer.
    #[error("{store}: {problem}")]
    Store {
        /// Its file or its endpoints.
        store: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// What only a leader may do, by one whose leadership has ended.
    #[error("the leadership of term {term} is over: {reason}")]
    LeadershipOver {
        /// The term that it was.
        term: u64,
        /// Why it ended.
        reason: String,
    },
    /// A computation on tensors has failed.
    #[error("tensor: {0}")]
    Tensor(String),
    /// The network, or a peer on it.
    #[error("{what}: {problem}")]
    Network {
        /// What was tried.
        what: String,
        /// Why it didn't work.
        problem: String,
    },
    /// A registered data file can't be had.
    #[error(transparent)]
    Asset(#[from] common::assets::AssetError),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error.to_string())
    }
}

impl Error {
    /// For `map_err`: adds the file to what the system says.
    pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// A malformed line.
    pub(crate) fn line(path: &Path, line: usize, problem: impl Into<String>) -> Self {
        Self::Line { path: path.to_owned(), line, problem: problem.into() }
    }

    /// Whether the user's input is at fault (a file, a setting, a requirement), not the library.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Network { .. }
            | Self::Store { .. }
            | Self::LeadershipOver { .. }
            | Self::Tensor(_)
            | Self::Asset(_) => false,
            Self::Io { .. }
            | Self::Line { .. }
            | Self::Setting { .. }
            | Self::Infeasible { .. }
            | Self::Refused { .. } => true,
        }
    }
}

/// The result of the library's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;
