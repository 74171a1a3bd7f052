//! The shared suite: `cargo reproduce` runs all three systems' main results and holds them
//! against the papers; `docs` keeps the generated parts of the documentation true to the records.

mod allocator;
mod check;
mod docs;
mod experiment;
mod goal;
mod kvquant;
mod longnn;
mod report;
mod reproduce;
mod unicron;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator::new();

/// Reproduce the papers' main results and hold them against the papers.
#[derive(Debug, Parser)]
#[command(name = "cargo reproduce", bin_name = "cargo reproduce", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  cargo reproduce                        all three systems, some minutes
  cargo reproduce --full --records DIR   all tables and figures, hours; started again, it goes on
  cargo reproduce check --against DIR    hold the newest run against an earlier one
  cargo reproduce docs                   write the generated parts of docs/ from the records")]
struct Cli {
    #[command(flatten)]
    reproduce: reproduce::Reproduce,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Docs(docs::Docs),
    /// What a process holds, for the experiment that starts it
    #[command(hide = true)]
    Resident(kvquant::ResidentProcess),
}

fn main() -> ExitCode {
    if unicron::program::is_meant() {
        return ::unicron::commands::main();
    }
    let cli = Cli::parse();
    common::command::run_main(|| match cli.command {
        Some(Command::Check(check)) => check.run(),
        Some(Command::Docs(docs)) => docs.run(),
        Some(Command::Resident(process)) => process.run(),
        None => cli.reproduce.run(),
    })
}
