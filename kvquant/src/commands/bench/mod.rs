//! `kvquant bench`

mod attention;

use clap::Subcommand;

/// Time attention, beside half precision and the limit of the memory
#[derive(Debug, clap::Args)]
pub struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Attention(attention::Attention),
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Attention(command) => command.run(),
        }
    }
}
