//! Integration tests of `kvquant`.
#![allow(clippy::unwrap_used)]

mod gguf_writer;
mod hostile_gguf;
