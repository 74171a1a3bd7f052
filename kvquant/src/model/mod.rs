//! Llama-family models from GGUF files.
