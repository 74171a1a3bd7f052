//! Integration tests of `unicron`: the command line, as a user or a script meets it.
#![allow(clippy::unwrap_used)]

mod certificates;
mod deploy;
mod live;
mod plan;
mod pytorch;
mod run;
mod simulate;
mod store;
mod trace;
mod train;

use common::testing::Program;

const UNICRON: Program = Program(env!("CARGO_BIN_EXE_unicron"));
