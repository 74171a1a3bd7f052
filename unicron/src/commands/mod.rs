//! The commands: arguments in, one call into the library, results out.
//!
//! Data goes to stdout, everything for people to stderr.

mod plan;
mod simulate;
mod trace;

use clap::{Parser, Subcommand};
use common::command::mark_bad_input;

/// Unicron: self-healing LLM training for a whole cluster.
#[derive(Debug, Parser)]
#[command(name = "unicron", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::Plan),
    Simulate(simulate::Simulate),
    Trace(trace::Trace),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let result = match self.command {
            Command::Plan(command) => command.run(),
            Command::Simulate(command) => command.run(),
            Command::Trace(command) => command.run(),
        };
        result.map_err(|error| mark_bad_input(error, unicron::Error::is_bad_input))
    }
}
