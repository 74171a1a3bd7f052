//! Llama-family models from GGUF files.

pub mod gguf;
