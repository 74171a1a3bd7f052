//! `unicron trace`

mod convert;
mod describe;
mod generate;

use clap::{Args, Subcommand};
use common::command::print;
use std::path::Path;

/// Make up, convert and describe traces of failures
#[derive(Debug, Args)]
#[command(after_help = "\
Traces are called by name, with options behind a colon, or by path:
  a, b                     the paper's two, 16 nodes of 8 GPUs: a:seed=3
  llama3                   the interruptions of that run, at any scale: llama3:nodes=128,days=30
  synthetic                by published rates: synthetic:nodes=64,burstiness=1
  infinitehbd              584 recorded faults, in $RESEARCH_DATA, ../shared/data or fetched
  FILE.csv                 written by generate or convert, or by hand: see generate --help

Examples:
  unicron trace generate --preset b --seed 3 --output b3.csv
  unicron trace convert fault_trace.json --add-process-failures 3 --output recorded.csv
  unicron trace describe infinitehbd --plot infinitehbd.svg")]
pub struct Trace {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(generate::Generate),
    Convert(convert::Convert),
    Describe(describe::Describe),
}

impl Trace {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Generate(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Describe(command) => command.run(),
        }
    }
}

/// Writes a trace to a file and says so, or to stdout.
fn deliver(trace: &crate::trace::Trace, output: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = output else { return print(&trace.to_string()) };
    trace.write(path)?;
    let (n_failures, extent) = (trace.failures().len(), trace.extent());
    let days = extent.duration_s / 86_400.0;
    print(&format!(
        "{}: {n_failures} failures on {} nodes in {days:.1} days\n",
        path.display(),
        extent.nodes
    ))
}
