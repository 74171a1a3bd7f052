//! `kvquant search`

use super::journal::Journal;
use super::options::{ModelOptions, read_text};
use clap::Args;
use common::command::{InputContext, print, print_json};
use common::files;
use common::progress::{Progress, Unit};
use kvquant::model::Llama;
use kvquant::search::{Budget, Found, Search};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Find a plan under a budget of bytes
///
/// Measures on a text how far the model's predictions move when one part of the cache has few bits, and
/// solves for the least sum of that under the budget. What has been measured is kept beside the plan's file
/// until the search is done: an interrupted search goes on from there.
#[derive(Debug, Args)]
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
    #[arg(long, value_name = "TOKENS", default_value_t = 1024)]
    tokens: usize,
    /// For the plans drawn at random, on which the sums are checked
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
        anyhow::ensure!(self.budget_bits.is_finite(), "--budget-bits is no number");
        let (name, text) = read_text(self.text.as_deref(), "wikitext-2-valid")?;
        let (model, tokenizer) = self.model.load()?;
        let mut tokens = tokenizer.encode(&text, false)?;
        if let Some(bos) = tokenizer.bos().filter(|_| tokenizer.adds_bos()) {
            tokens.insert(0, bos);
        }
        tokens.truncate(self.tokens);
        let start = Instant::now();
        let mut search = Search::new(&model, &tokens)?;
        let from = json!({
            "search": self.model.model,
            "weights": self.model.weights.to_string(),
            "text": name,
            "tokens": tokens.len(),
        });
        let path = self.output.with_added_extension("unfinished");
        let mut journal = Journal::open(Some(&path), &from)?;
        let missing = search.missing();
        let bar =
            Progress::stderr().bar("search", Some(missing.len() as u64), Unit::Items("parts"));
        for (part, bits) in missing {
            let measurement =
                journal.outcome(&format!("{part:?} {bits}"), || Ok(search.measure(part, bits)?))?;
            search.sensitivities.add(measurement);
            bar.advance(1);
        }
        bar.finish();
        let budget = Budget { bits: self.budget_bits, context: self.context };
        let found = search.find(&budget, self.seed)?;
        self.write(&found, &name, start.elapsed().as_secs_f64(), &model)?;
        journal.remove();
        self.print(&found)
    }

    fn write(&self, found: &Found, text: &str, seconds: f64, model: &Llama) -> anyhow::Result<()> {
        let mut evidence = toml::Table::try_from(found)?;
        evidence.extend([
            ("command".to_owned(), self.command().into()),
            ("model".to_owned(), self.model.model.clone().into()),
            ("text".to_owned(), text.into()),
            ("tokens".to_owned(), (self.tokens as i64).into()),
            ("seconds".to_owned(), seconds.round().into()),
        ]);
        let toml = found.plan.to_toml(model.config().n_layers, &evidence)?;
        write(&self.output, &toml)
    }

    fn command(&self) -> String {
        let mut command = format!(
            "kvquant search --model {} --weights {} --budget-bits {} --context {} --tokens {} --seed {}",
            self.model.model,
            self.model.weights,
            self.budget_bits,
            self.context,
            self.tokens,
            self.seed
        );
        if let Some(text) = self.text.as_deref().and_then(Path::file_name) {
            command += &format!(" --text {}", text.to_string_lossy());
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

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    files::replace(path, |file| file.write_all(text.as_bytes()))
        .bad_input(format!("{} can't be written", path.display()))
}
