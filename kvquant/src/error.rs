//! The one error type of the library. Its variants carry the operation and the path, field, shape or
//! position at fault, so that the message alone says what was wrong, where, and what to do.

use std::path::PathBuf;

/// What can go wrong in `kvquant`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A GGUF file is truncated, inconsistent or asks for something absurd.
    #[error("{}: {field}: {problem}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The part of the file at fault: a header field, a metadata key or a tensor name.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file is sound, but the model in it is not one that this engine runs.
    #[error("{}: {problem}", path.display())]
    UnsupportedModel {
        /// The file.
        path: PathBuf,
        /// Which part is not supported, by name, and what is.
        problem: String,
    },
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Text could not be turned into tokens, or tokens into text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template of a model could not be rendered.
    #[error("chat template: {0}")]
    Template(String),
    /// A token could not be chosen: a setting or the logits make no sense.
    #[error("sampling: {0}")]
    Sampling(String),
}

/// Result of an operation of `kvquant`.
pub type Result<T> = std::result::Result<T, Error>;
