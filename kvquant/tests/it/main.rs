//! Integration tests of `kvquant`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod chunks;
mod commands;
mod eval;
mod gguf_writer;
mod hostile_gguf;
mod models;
mod plain_forward;
mod search;
mod smollm2;
mod tiny_model;
