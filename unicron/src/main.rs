//! The command `unicron`.

mod commands;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    common::command::run_main(|| cli.run())
}
