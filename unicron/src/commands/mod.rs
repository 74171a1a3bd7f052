//! The commands: arguments in, one call into the library, results out.
//!
//! Data goes to stdout, everything for people to stderr. They are in the library, as a cluster on one machine
//! is processes of whatever program it runs in: `unicron` itself, a benchmark.

mod agent;
mod connection;
mod coordinator;
mod dashboard;
mod demo;
mod events;
mod guard;
mod logs;
mod nodes;
mod notices;
mod plan;
mod replan;
mod run;
mod simulate;
mod stop;
mod submit;
mod tasks;
#[cfg(test)]
mod tests;
mod trace;
mod train;

use clap::{CommandFactory, Parser, Subcommand};
use common::command::{mark_bad_input, run_main};
use std::process::ExitCode;

/// The whole program `unicron`.
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

/// Unicron: self-healing LLM training for a whole cluster.
#[derive(Debug, Parser)]
#[command(name = "unicron", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Coordinator(coordinator::Coordinator),
    Agent(agent::Agent),
    Run(run::Run),
    Submit(submit::Submit),
    Tasks(tasks::Tasks),
    Nodes(nodes::Nodes),
    Events(events::Events),
    Logs(logs::Logs),
    Dashboard(dashboard::Dashboard),
    Drain(nodes::Drain),
    Undrain(nodes::Undrain),
    Stop(stop::Stop),
    Replan(replan::Replan),
    Demo(demo::Demo),
    Plan(plan::Plan),
    Simulate(simulate::Simulate),
    Trace(trace::Trace),
    Train(train::Train),
    #[command(hide = true)]
    Guard(guard::Guard),
}

impl Cli {
    /// Runs the command.
    fn run(self) -> anyhow::Result<()> {
        let result = match self.command {
            Command::Coordinator(command) => command.run(),
            Command::Agent(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Submit(command) => command.run(),
            Command::Tasks(command) => command.run(),
            Command::Nodes(command) => command.run(),
            Command::Events(command) => command.run(),
            Command::Logs(command) => command.run(),
            Command::Dashboard(command) => command.run(),
            Command::Drain(command) => command.run(),
            Command::Undrain(command) => command.run(),
            Command::Stop(command) => command.run(),
            Command::Replan(command) => command.run(),
            Command::Demo(command) => command.run(),
            Command::Plan(command) => command.run(),
            Command::Simulate(command) => command.run(),
            Command::Trace(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Guard(command) => command.run(),
        };
        result.map_err(|error| mark_bad_input(error, crate::Error::is_bad_input))
    }
}
