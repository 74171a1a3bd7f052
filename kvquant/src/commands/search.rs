//! `kvquant search`

use super::options::{ModelOptions, read_text};
use clap::Args;
use common::command::{InputContext, print, print_json};
use common::files;
use common::progress::{Progress, Unit};
use kvquant::search::sensitivity::Sensitivities;
use kvquant::search::{Budget, Found, Search};
use serde::{Deserialize, Serialize};
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

/// What has been measured so far, and on what.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unfinished {
    model: String,
    weights: String,
    text: String,
    tokens: usize,
    measurements: Sensitivities,
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
        let mut unfinished = Unfinished {
            model: self.model.model.clone(),
            weights: self.model.weights.to_string(),
            text: name,
            tokens: tokens.len(),
            measurements: Sensitivities::default(),
        };
        let path = self.output.with_added_extension("unfinished");
        search.sensitivities = unfinished.resumed(&path)?;
        let missing = search.missing();
        let bar =
            Progress::stderr().bar("search", Some(missing.len() as u64), Unit::Items("parts"));
        for (part, bits) in missing {
            search.measure(part, bits)?;
            unfinished.measurements = search.sensitivities.clone();
            write(&path, &serde_json::to_string(&unfinished)?)?;
            bar.advance(1);
        }
        bar.finish();
        let budget = Budget { bits: self.budget_bits, context: self.context };
        let found = search.find(&budget, self.seed)?;
        self.write(&found, &unfinished, start.elapsed().as_secs_f64(), model.config().n_layers)?;
        let _ = std::fs::remove_file(&path);
        self.print(&found)
    }

    fn write(
        &self,
        found: &Found,
        from: &Unfinished,
        seconds: f64,
        n_layers: usize,
    ) -> anyhow::Result<()> {
        let mut evidence = toml::Table::try_from(found)?;
        evidence.extend([
            ("command".to_owned(), self.command().into()),
            ("model".to_owned(), from.model.clone().into()),
            ("text".to_owned(), from.text.clone().into()),
            ("tokens".to_owned(), (from.tokens as i64).into()),
            ("seconds".to_owned(), seconds.round().into()),
        ]);
        let toml = found.plan.to_toml(n_layers, &evidence)?;
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

impl Unfinished {
    /// What an interrupted search has measured on the same.
    fn resumed(&self, path: &Path) -> anyhow::Result<Sensitivities> {
        let Ok(text) = std::fs::read_to_string(path) else { return Ok(Sensitivities::default()) };
        let advice = || format!("{} is no interrupted search; remove it", path.display());
        let mut found: Unfinished = serde_json::from_str(&text).bad_input(advice())?;
        let measurements = std::mem::take(&mut found.measurements);
        anyhow::ensure!(
            found == *self,
            "{} is of an interrupted search on another model or text; remove it, or choose another \
             file with --output",
            path.display()
        );
        Ok(measurements)
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    files::replace(path, |file| file.write_all(text.as_bytes()))
        .bad_input(format!("{} can't be written", path.display()))
}
