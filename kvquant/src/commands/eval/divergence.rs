//! `kvquant eval divergence`

use crate::cache::bytes::planned_bytes;
use crate::commands::options::{ModelOptions, PlanOptions, WindowOptions, digest};
use crate::eval::divergence::{Comparison, compare_window};
use crate::eval::paired::loss;
use crate::model::fingerprint;
use clap::Args;
use common::command::{print, print_json};
use common::journal::Journal;
use common::progress::{Progress, Unit};
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
    #[command(flatten)]
    windows: WindowOptions,
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
        let (model, tokenizer) = self.model.load()?;
        let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
        let (name, tokens) = self.windows.tokens(&tokenizer)?;
        let protocol = self.windows.protocol(&tokenizer);
        let run = json!({
            "eval": "divergence",
            "model": fingerprint(model.gguf())?,
            "weights": self.model.weights.to_string(),
            // As a whole: a file of this name may have changed.
            "plan": format!("{plan:?}"),
            "text": digest(&tokens),
            "context": self.windows.context,
            "rule": self.windows.rule.to_string(),
        });
        let mut journal = Journal::open(self.journal.as_deref(), &run)?;
        let windows = protocol.windows(&tokens)?;
        let shape = model.config().cache_shape();
        let bytes = planned_bytes(shape, &plan, self.windows.context)?;
        let mut comparison = Comparison {
            windows: Vec::new(),
            bits_per_element: bytes.bits_per_element(shape, self.windows.context),
        };
        let bar = Progress::stderr().bar(
            "divergence",
            Some(windows.len() as u64),
            Unit::Items("windows"),
        );
        for (at, window) in windows.iter().enumerate() {
            let part = format!("window {}", self.windows.skip + at);
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
                "context": self.windows.context,
                "skipped_windows": self.windows.skip,
                "rule": self.windows.rule.to_string(),
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
            self.windows.context,
        ))
    }
}
