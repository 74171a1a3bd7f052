//! Integration tests of `longnn`.
#![allow(clippy::unwrap_used)]

mod commands;
mod compare;
mod search;
mod train;
