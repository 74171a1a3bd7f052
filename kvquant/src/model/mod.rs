//! Llama-family models from GGUF files.
//!
//! | file | what |
//! |---|---|
//! | [`gguf`] | the file, checked before anything is used |
//! | [`config`] | sizes and constants |
//! | [`mod@fingerprint`] | which model it is, by what fills its cache |
//! | `ops` | what a layer does between products |
//! | [`weights`] | weight matrices: repacked, as stored, or in single precision |
//! | [`product`] | products of repacked weights, in vector instructions |
//! | [`rope`] | rotary position embedding |
//! | [`llama`] | the forward pass over a quantized cache |
//! | [`language_model`] | what an evaluation asks of a model, whatever runs it |
//! | [`by_reference`] | the forward pass with the plain loops of attention |
//! | [`tokenizer`] | text to tokens and back, from the file's own vocabulary |
//! | [`chat`] | conversations as the text that the model was trained on |
//! | [`sample`] | the next token from logits |
//! | [`shapes`] | shapes of published models |

pub mod by_reference;
pub mod chat;
pub mod config;
pub mod fingerprint;
pub mod gguf;
pub mod language_model;
pub mod llama;
mod ops;
pub mod product;
pub mod rope;
pub mod sample;
pub mod shapes;
pub mod tokenizer;
pub mod weights;

pub use by_reference::ByReference;
pub use fingerprint::fingerprint;
pub use language_model::LanguageModel;
pub use llama::{AttentionInputs, Chunk, Llama};
pub use weights::WeightFormat;

/// Writes small GGUF files: shared with the integration tests.
#[cfg(test)]
#[path = "../../tests/it/gguf_writer.rs"]
pub(crate) mod gguf_writer;
