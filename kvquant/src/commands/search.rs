//! `kvquant search`

use super::options::ModelOptions;
use super::searching::{SEED, Searched, Source, TOKENS};
use crate::model::fingerprint;
use crate::search::{Budget, Found};
use clap::Args;
use common::command::{BadInput, print, print_json};
use serde_json::json;
use std::path::PathBuf;

/// Find a plan under a budget of bytes
///
/// Measures on a text how far the model's predictions move when one part of the cache has few bits, and
/// solves for the least sum of that under the budget. What has been measured is kept in the cache folder: an
/// interrupted search goes on from there, and one for another budget takes a minute.
#[derive(Debug, Args)]
#[command(mut_arg("weights", |weights| weights.default_value("f32")))]
#[command(after_help = "\
Example:
  kvquant search --budget-bits 2 --context 8192 -o plan.toml
  kvquant perplexity --kv plan.toml --context 8192 --windows 4")]
pub struct SearchCommand {
    #[command(flatten)]
    model: ModelOptions,
    /// Bits for an element of the cache, with all its metadata, window and sinks
    #[arg(long, value_name = "BITS")]
    budget_bits: f64,
    /// Tokens in the cache for which the budget holds
    #[arg(long, value_name = "TOKENS", default_value_t = 8192)]
    context: usize,
    /// The text to measure on; WikiText-2's validation set if absent. Report results on another
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens of the text that are used
    #[arg(long, value_name = "TOKENS", default_value_t = TOKENS)]
    tokens: usize,
    /// For the plans changed at random, on which the sums are checked
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// What the plan calls itself
    #[arg(long)]
    name: Option<String>,
    /// The plan's file
    #[arg(short, long, value_name = "PLAN.toml", default_value = "plan.toml")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl SearchCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if !self.budget_bits.is_finite() || self.context == 0 {
            anyhow::bail!(BadInput(
                "--budget-bits takes a number, --context at least 1".to_owned()
            ));
        }
        let (model, tokenizer) = self.model.load()?;
        let fingerprint = fingerprint(model.gguf())?;
        let source = Source {
            fingerprint: &fingerprint,
            weights: self.model.weights,
            text: self.text.as_deref(),
            tokens: self.tokens,
        };
        let mut searched = Searched::run(&model, &tokenizer, &source)?;
        let budget = Budget { bits: self.budget_bits, context: self.context };
        let found =
            searched.find(&budget, self.seed, self.name.clone(), &self.command(), &self.output)?;
        self.print(&found)
    }

    fn command(&self) -> String {
        let mut command =
            command(&self.model, self.budget_bits, self.context, self.tokens, self.seed);
        if let Some(text) = &self.text {
            command += &format!(" --text '{}'", text.display());
        }
        if let Some(name) = &self.name {
            command += &format!(" --name '{name}'");
        }
        command
    }

    fn print(&self, found: &Found) -> anyhow::Result<()> {
        if self.json {
            let mut json = serde_json::to_value(found)?;
            json["plan"] = json!(self.output.display().to_string());
            return print_json(&json);
        }
        let mut text = format!(
            "plan              {}\n\
             bits per element  {:.3} at {} tokens\n\
             divergence        {:.4} nats; the sum of its parts {:.4}\n",
            self.output.display(),
            found.bits,
            self.context,
            found.measured,
            found.expected,
        );
        if let Some(prefix) = &found.prefix {
            text += &format!(
                "best prefix plan  {:.4} nats with {}/{} layers at 2 bits, {:.3} bits\n",
                prefix.divergence, prefix.key_layers, prefix.value_layers, prefix.bits
            );
        }
        let random = found.random.iter().map(|(sum, whole)| format!("{sum:.3} {whole:.3}"));
        text += &format!("sums and wholes   {}\n", random.collect::<Vec<_>>().join(", "));
        print(&text)
    }
}

/// The command that finds a plan.
pub fn command(
    model: &ModelOptions,
    bits: f64,
    context: usize,
    tokens: usize,
    seed: u64,
) -> String {
    format!(
        "kvquant search --model {} --weights {} --budget-bits {bits} --context {context} --tokens {tokens} \
         --seed {seed}",
        model.model, model.weights
    )
}
