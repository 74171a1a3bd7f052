//! Llama-family models from GGUF files.

pub mod chat;
pub mod gguf;
pub mod sample;
pub mod tokenizer;

/// Writes small GGUF files: shared with the integration tests.
#[cfg(test)]
#[path = "../../tests/it/gguf_writer.rs"]
mod gguf_writer;
