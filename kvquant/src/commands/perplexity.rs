//! `kvquant perplexity`

use super::gpu::{GpuOptions, OnGpu};
use super::options::{ModelOptions, PlanOptions, WindowOptions};
use crate::eval::{Evaluation, evaluate};
use crate::model::LanguageModel;
use crate::model::tokenizer::Tokenizer;
use crate::policy::Plan;
use clap::Args;
use common::command::{print, print_json};
use common::progress::{Progress, Unit};
use serde_json::json;
use std::time::Instant;

/// Measure the perplexity of a text with a quantized cache
///
/// Perplexity means decoding: the query at each position sees exactly the cache that decoding token
/// by token would have left.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kvquant perplexity --kv asymkv-30/0 --context 1024 --windows 4
  kvquant perplexity --kv q8_0/q4_0 --rule second-half --text book.txt --json
  kvquant perplexity --kv small --gpu 0")]
pub struct Perplexity {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
    #[command(flatten)]
    windows: WindowOptions,
    #[command(flatten)]
    gpu: GpuOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Perplexity {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.gpu.gpu {
            None => {
                let (model, tokenizer) = self.model.load()?;
                let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
                self.score(&model, &plan, &tokenizer, None)
            }
            Some(ordinal) => {
                let on_gpu = OnGpu::load(&self.model, ordinal, self.gpu.gpu_weights)?;
                let plan = on_gpu.plan(&self.plan, &self.model)?;
                self.score(&on_gpu.model, &plan, &on_gpu.tokenizer, Some(on_gpu.gpu.name()))
            }
        }
    }

    fn score(
        &self,
        model: &impl LanguageModel,
        plan: &Plan,
        tokenizer: &Tokenizer,
        gpu: Option<&str>,
    ) -> anyhow::Result<()> {
        let (name, tokens) = self.windows.tokens(tokenizer)?;
        let protocol = self.windows.protocol(tokenizer);
        let n_windows = protocol.windows(&tokens)?.len();
        let progress = Progress::stderr();
        let bar = progress.bar(&plan.to_string(), Some(n_windows as u64), Unit::Items("windows"));
        let start = Instant::now();
        let evaluation = evaluate(model, &tokens, plan, protocol, |window| {
            bar.advance(1);
            bar.message(format!("perplexity {:.3}", window.perplexity()));
        })?;
        bar.finish();
        let seconds = start.elapsed().as_secs_f64();
        self.print(&plan.to_string(), &name, &evaluation, seconds, gpu)
    }

    fn print(
        &self,
        plan: &str,
        text: &str,
        evaluation: &Evaluation,
        seconds: f64,
        gpu: Option<&str>,
    ) -> anyhow::Result<()> {
        let total = evaluation.total();
        let bytes = evaluation.cache_bytes;
        let n_windows = evaluation.windows.len();
        if self.json {
            let windows: Vec<f64> =
                evaluation.windows.iter().map(|window| window.perplexity()).collect();
            let mut report = json!({
                "model": self.model.model,
                "weights": self.model.weights.to_string(),
                "plan": plan,
                "text": text,
                "context": self.windows.context,
                "rule": self.windows.rule.to_string(),
                "perplexity": total.perplexity(),
                "nll": total.nll / total.n_tokens as f64,
                "tokens_scored": total.n_tokens,
                "window_perplexities": windows,
                "bits_per_element": evaluation.bits_per_element,
                "cache_bytes": bytes.total(),
                "k_bytes": bytes.keys,
                "v_bytes": bytes.values,
                "seconds": seconds,
            });
            if let Some(gpu) = gpu {
                report["gpu"] = gpu.into();
                report["weights"] = self.gpu.gpu_weights.to_string().into();
            }
            return print_json(&report);
        }
        print(&format!(
            "perplexity        {:.4}\n\
             tokens scored     {} in {n_windows} windows of {}\n\
             bits per element  {:.3}\n\
             cache             {} bytes at {} tokens (keys {}, values {})\n",
            total.perplexity(),
            total.n_tokens,
            self.windows.context,
            evaluation.bits_per_element,
            bytes.total(),
            self.windows.context,
            bytes.keys,
            bytes.values,
        ))?;
        let n_tokens = n_windows * self.windows.context;
        eprintln!("{:.0} tokens/s", n_tokens as f64 / seconds);
        Ok(())
    }
}
