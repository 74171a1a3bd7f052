//! The one error type of the library. Its variants carry the operation and the path, field, shape or
//! position at fault, so that the message alone says what was wrong, where, and what to do.

use std::ops::Range;
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
    /// The text of a plan can't be parsed.
    #[error("no such cache plan:\n  {text}\n  {marks} expected {expected}", marks = marks(text, at))]
    PlanSyntax {
        /// The whole text.
        text: String,
        /// The bytes of the bad part.
        at: Range<usize>,
        /// What should stand there.
        expected: String,
    },
    /// A plan's file can't be parsed.
    #[error("{}: {problem}", path.display())]
    PlanFile {
        /// The file.
        path: PathBuf,
        /// The line and what is wrong with it.
        problem: String,
    },
    /// A plan can't be used with a model.
    #[error("plan {plan}: {problem}")]
    PlanDoesNotFit {
        /// The plan.
        plan: String,
        /// Which of its parts the model or the engine can't follow, and what would do.
        problem: String,
    },
    /// A text has not enough tokens for one window.
    #[error(
        "the text has {n_tokens} tokens, but a window takes {context} (and at least 2 to predict \
         one from the other): take a longer text or a smaller context"
    )]
    TextTooShort {
        /// Tokens in the text.
        n_tokens: usize,
        /// Tokens in a window.
        context: usize,
    },
    /// A text is longer than those that a model was trained on.
    #[error("{n_tokens} tokens are more than the model's context of {most}: take fewer")]
    ContextTooLong {
        /// Tokens of the text.
        n_tokens: usize,
        /// Tokens of the model's context.
        most: usize,
    },
    /// A data set for an evaluation is not what it should be.
    #[error("{0}")]
    DataSet(String),
    /// No plan is as small as was asked for.
    #[error(
        "no plan has {bits} bits for an element at {context} tokens: window, sinks and the fewest codes take \
         {least:.2}; allow more, or a longer context"
    )]
    BudgetTooSmall {
        /// Bits asked for.
        bits: f64,
        /// Tokens in the cache.
        context: usize,
        /// The fewest bits possible.
        least: f64,
    },
    /// A GPU, its driver or its compiler can't do what was asked.
    #[error("GPU: {0}")]
    Gpu(String),
    /// Numbers handed to the cache or to attention do not have the shape that was announced.
    #[error("{operation}: {what} has {got} numbers, expected {expected}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The argument.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that the shapes ask for, with its factors.
        expected: String,
    },
    /// A key or a value is not a number: the model that computed it is broken.
    #[error(
        "{side} of token {token}, head {head}, channel {channel} is {value}: \
         the model computed something that is not a number"
    )]
    NotANumber {
        /// "key" or "value".
        side: &'static str,
        /// Position in the sequence.
        token: usize,
        /// Index of the KV head.
        head: usize,
        /// Index of the channel in the head.
        channel: usize,
        /// What it is.
        value: f32,
    },
    /// A tensor operation failed in candle.
    #[error("tensor operation: {0}")]
    Candle(#[from] candle_core::Error),
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

impl Error {
    /// Whether the user's input is at fault (a file, a plan, a text), not the engine.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Error::Shape { .. } | Error::NotANumber { .. } | Error::Candle(_))
    }
}

/// Result of an operation of `kvquant`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Carets under the characters of `text[at]`, at least one.
fn marks(text: &str, at: &Range<usize>) -> String {
    let before = text[..at.start].chars().count();
    let under = text[at.clone()].chars().count().max(1);
    " ".repeat(before) + &"^".repeat(under)
}
