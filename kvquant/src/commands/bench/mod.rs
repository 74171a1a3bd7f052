//! `kvquant bench`

mod attention;
mod decode;

use clap::Subcommand;

/// Time attention and whole models, beside half precision
#[derive(Debug, clap::Args)]
pub struct Bench {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Attention(attention::Attention),
    Decode(decode::Decode),
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Attention(command) => command.run(),
            Command::Decode(command) => command.run(),
        }
    }
}

/// Tokens as `4096` or `4k`.
fn parse_tokens(text: &str) -> Result<usize, String> {
    let (number, factor) = match text.strip_suffix('k') {
        Some(number) => (number, 1024),
        None => (text, 1),
    };
    let tokens = number.parse::<usize>().ok().and_then(|number| number.checked_mul(factor));
    tokens.ok_or_else(|| format!("`{text}` is no number of tokens; write 4096 or 4k"))
}

/// A number of things of which there has to be one.
fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|&count: &usize| count > 0);
    count.ok_or_else(|| format!("`{text}` is no count; write a whole number, 1 or more"))
}
