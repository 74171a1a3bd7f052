//! The commands: arguments in, one call into the library, results out.
//!
//! Data goes to stdout, everything for people to stderr.

// Data goes out through `common::command::print`; words for people are printed to stderr here.
#![allow(clippy::print_stderr)]

mod analyze;
mod bench;
mod devices;
mod eval;
mod generate;
mod gpu;
mod memory;
mod options;
mod perplexity;
mod search;
mod searching;

use clap::{Parser, Subcommand};
use common::command::{BadInput, mark_bad_input, text_variable};
use kvquant::isa::Isa;

/// Forces a form of the kernels.
const ISA_VARIABLE: &str = "KVQUANT_ISA";

/// AsymKV: run LLMs with a key-value cache of 1 and 2 bits.
#[derive(Debug, Parser)]
#[command(name = "kvquant", version, max_term_width = 100)]
#[command(after_help = concat!(
    "\
Presets (--kv): a searched plan for each model, shipped for smollm2 and qwen2.5-coder-0.5b; for
another it is found once, or see --no-search
",
    include_str!("../../presets/measured.txt"),
    "\
Plans (--kv):
  f16              everything in half precision
  kivi-2           keys and values of every layer in 2 bits (1, 2, 4 or 8)
  asymkv-16/0      AsymKV-16/0: keys of the first 16 layers in 2 bits, all else in 1
  asymkv-4/1-16/0  the same with 4 and 1 bits
  q8_0/q4_0        keys/values in any of f16, q8_0, q4_0, rtn8 to rtn1 (the paper's), int8 to int1
  PLAN.toml        a format for any range of layers, bits by head and by channel
Options follow a colon: kivi-2:window=512,group=64,sinks=4
  window=TOKENS    recent tokens in half precision; sinks=TOKENS: the first ones
  group=ELEMENTS   tokens of a channel of keys, channels of a token of values
  key-levels=RULE, value-levels=RULE
                   where levels lie: minmax (the paper), centroid, least-squares, unbiased
  rotate=SIDES     a Hadamard rotation of keys, values or both
  pre-rope         keys before rotary embedding, without their bias
  jensen           logits corrected for the noise of packed keys

Environment:
  KVQUANT_ISA      vector instructions of the kernels: scalar, avx2, avx512, neon or neon-dot; the
                   best if absent

Example:
  kvquant generate --kv small --prompt \"The capital of France?\""
))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Analyze(analyze::Analyze),
    Bench(bench::Bench),
    Devices(devices::DevicesCommand),
    Eval(eval::Eval),
    Generate(generate::Generate),
    Perplexity(perplexity::Perplexity),
    Memory(memory::Memory),
    Search(search::SearchCommand),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(name) = text_variable(ISA_VARIABLE) {
            let force = Isa::force(&name);
            force.map_err(|problem| BadInput(format!("{ISA_VARIABLE}: {problem}")))?;
        }
        let result = match self.command {
            Command::Analyze(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Devices(command) => command.run(),
            Command::Eval(command) => command.run(),
            Command::Generate(command) => command.run(),
            Command::Perplexity(command) => command.run(),
            Command::Memory(command) => command.run(),
            Command::Search(command) => command.run(),
        };
        result.map_err(|error| mark_bad_input(error, kvquant::Error::is_bad_input))
    }
}
