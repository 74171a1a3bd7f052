//! The commands: arguments in, one call into the library, results out.
//!
//! Data goes to stdout, everything for people to stderr. They are in the library so that the documentation
//! can be held against them.

mod compare;
mod datasets;
mod fit_filters;
mod options;
mod plot;
mod search;
mod source;
mod train;

use clap::{CommandFactory, Parser, Subcommand};
use common::command::{mark_bad_input, run_main};
use std::process::ExitCode;

/// The whole program `longnn`.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    run_main(|| cli.run())
}

/// Its commands and their options, from which the documentation is generated and checked.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// LON-GNN: spectral graph neural networks over learnable orthonormal bases.
#[derive(Debug, Parser)]
#[command(name = "longnn", version, max_term_width = 100)]
#[command(after_help = "\
Graphs are called by name (see longnn datasets), or by path:
  cora                  in $RESEARCH_DATA, ../shared/data or the cache folder
  csbm:n=1000,phi=-0.5  made up: two communities; options n, f, d, phi, epsilon, seed
  FILE.npz              as the known graphs
  FOLDER                your own: edges.csv (two ids a line) and nodes.csv (a header with label;
                        id, split and features as you like), or Planetoid's ind.NAME.*

Examples:
  longnn datasets cora texas
  longnn train cora --model lon --seeds 10
  longnn compare --datasets cora,texas --models lon,gcn
  longnn plot runs/longnn/cora-lon
  longnn fit-filters")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Datasets(datasets::Datasets),
    Train(train::Train),
    Compare(compare::Compare),
    FitFilters(fit_filters::FitFilters),
    Plot(plot::Plot),
    Search(search::Search),
}

impl Cli {
    /// Runs the command.
    fn run(self) -> anyhow::Result<()> {
        let result = match self.command {
            Command::Datasets(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Compare(command) => command.run(),
            Command::FitFilters(command) => command.run(),
            Command::Plot(command) => command.run(),
            Command::Search(command) => command.run(),
        };
        result.map_err(|error| mark_bad_input(error, crate::Error::is_bad_input))
    }
}
