//! `kvquant eval divergence`

use crate::commands::options::{ModelOptions, PlanOptions, read_text};
use clap::Args;
use common::command::{print, print_json};
use common::journal::Journal;
use common::progress::{Progress, Unit};
use kvquant::cache::bytes::planned_bytes;
use kvquant::eval::divergence::{Comparison, compare_window};
use kvquant::eval::paired::loss;
use kvquant::eval::{Protocol, ScoringRule};
use serde_json::json;
use std::path::PathBuf;

/// How far a plan moves the predictions on a text: perplexity, divergence, same most probable token
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kvquant eval divergence --kv plan.toml --context 8192 --windows 4")]
pub struct DivergenceTask {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
    /// A text file; WikiText-2's raw test set if absent
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens in a window; windows don't overlap
    #[arg(long, value_name = "TOKENS", default_value_t = 1024)]
    context: usize,
    /// Windows left out at the start of the text
    #[arg(long, value_name = "WINDOWS", default_value_t = 0)]
    skip: usize,
    /// Windows taken after those; all of them if absent
    #[arg(long)]
    windows: Option<usize>,
    /// all predictions of a window, or those of its second-half
    #[arg(long, default_value_t)]
    rule: ScoringRule,
    /// Tokens that go through the model at once; changes speed and memory, not the result
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    chunk: usize,
    /// Keeps what is finished in this file
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl DivergenceTask {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (name, text) = read_text(self.text.as_deref(), "wikitext-2-raw-test")?;
        let (model, tokenizer) = self.model.load()?;
        let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
        let tokens = tokenizer.encode(&text, false)?;
        let protocol = Protocol {
            context: self.context,
            skipped_windows: self.skip,
            max_windows: self.windows.unwrap_or(usize::MAX),
            rule: self.rule,
            chunk: self.chunk,
            bos: tokenizer.bos().filter(|_| tokenizer.adds_bos()),
        };
        let run = json!({
            "eval": "divergence",
            "model": self.model.model,
            "weights": self.model.weights.to_string(),
            // As a whole: a file of this name may have changed.
            "plan": format!("{plan:?}"),
            "text": name,
            "context": self.context,
            "rule": self.rule.to_string(),
        });
        let mut journal = Journal::open(self.journal.as_deref(), &run)?;
        let windows = protocol.windows(&tokens)?;
        let shape = model.config().cache_shape();
        let bytes = planned_bytes(shape, &plan, self.context)?;
        let mut comparison = Comparison {
            windows: Vec::new(),
            bits_per_element: bytes.bits_per_element(shape, self.context),
        };
        let bar = Progress::stderr().bar(
            "divergence",
            Some(windows.len() as u64),
            Unit::Items("windows"),
        );
        for (at, window) in windows.iter().enumerate() {
            let part = format!("window {}", self.skip + at);
            let outcome =
                journal.outcome(&part, || Ok(compare_window(&model, window, &plan, protocol)?))?;
            comparison.windows.push(outcome);
            bar.advance(1);
            let total = comparison.total();
            bar.message(format!("{:.4} nats", total.divergence / total.n_tokens as f64));
        }
        bar.finish();
        self.print(&plan.to_string(), &name, &comparison)
    }

    fn print(&self, plan: &str, text: &str, comparison: &Comparison) -> anyhow::Result<()> {
        let total = comparison.total();
        let n = total.n_tokens as f64;
        let [exact, stored] = comparison.evaluations();
        let loss = loss(&exact, &stored);
        let (perplexity, exact) = (stored.total().perplexity(), exact.total().perplexity());
        let same_top = total.same_top as f64 / n;
        if self.json {
            return print_json(&json!({
                "model": self.model.model,
                "weights": self.model.weights.to_string(),
                "plan": plan,
                "text": text,
                "context": self.context,
                "skipped_windows": self.skip,
                "rule": self.rule.to_string(),
                "perplexity": perplexity,
                "perplexity_f16": exact,
                "loss": loss,
                "divergence": total.divergence / n,
                "same_top": same_top,
                "bits_per_element": comparison.bits_per_element,
                "windows": comparison.windows,
            }));
        }
        print(&format!(
            "perplexity        {perplexity:.4}, in half precision {exact:.4}\n\
             loss              {:+.2} % (95 %: {:+.2} to {:+.2})\n\
             divergence        {:.4} nats\n\
             same top token    {:.2} %\n\
             bits per element  {:.3} at {} tokens\n",
            100.0 * loss.relative,
            100.0 * loss.low,
            100.0 * loss.high,
            total.divergence / n,
            100.0 * same_top,
            comparison.bits_per_element,
            self.context,
        ))
    }
}
