//! The command `longnn`.

mod commands;

use clap::Parser;
use std::process::ExitCode;

/// Keeps the matrices of an epoch for the next one instead of giving them back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    common::command::run_main(|| cli.run())
}
