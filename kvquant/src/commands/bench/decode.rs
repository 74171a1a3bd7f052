//! `kvquant bench decode`

use super::{parse_count, parse_tokens};
use crate::commands::gpu::OnGpu;
use crate::commands::options::{ModelOptions, PlanChoice};
use clap::Args;
use common::command::{BadInput, print, print_json};
use common::report::{Align, Table};
use kvquant::cuda::GpuWeights;
use kvquant::cuda::throughput::{DecodeCase, decode_times};
use kvquant::model::LanguageModel;
use serde::Serialize;

/// Time a whole model on a GPU: reading a context, then decoding a batch after it
///
/// Every sequence of a batch has the same context of random tokens. A step of decoding is one launch, and its
/// likeliest tokens feed the next. All formats of a row run interleaved; figures are of median times.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kvquant bench decode
  kvquant bench decode --contexts 0,1k,4k,8000 --kv f16,balanced,kivi-2 --batches 1,8 --json")]
pub struct Decode {
    /// A GGUF file, hf:OWNER/REPO/FILE, or smollm2, qwen2.5-coder-0.5b, fetched when needed
    #[arg(long, default_value = "smollm2")]
    model: String,
    /// The GPU, by its number in `kvquant devices`
    #[arg(long, value_name = "N", default_value_t = 0)]
    gpu: usize,
    /// Weights on the GPU: f16 or q8_0
    #[arg(long, value_name = "FORMAT", default_value_t)]
    gpu_weights: GpuWeights,
    /// The caches' plans; a preset that the model has no plan for has the same bits in all layers
    #[arg(long, value_name = "PLANS", value_delimiter = ',', default_value = "f16,balanced,small")]
    kv: Vec<String>,
    /// Tokens of a sequence before decoding; 4k is 4096
    #[arg(long, value_delimiter = ',', value_parser = parse_tokens, default_value = "0,4k")]
    contexts: Vec<usize>,
    /// Sequences
    #[arg(long, value_parser = parse_count, value_delimiter = ',', default_value = "1,8")]
    batches: Vec<usize>,
    /// Tokens decoded of each sequence
    #[arg(long, value_parser = parse_count, default_value_t = 64)]
    steps: usize,
    /// Rounds; times are their medians
    #[arg(long, value_parser = parse_count, default_value_t = 5)]
    repeats: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    gpu: String,
    model: String,
    weights: String,
    weights_bytes: usize,
    steps: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    kv: String,
    context: usize,
    batch: usize,
    tokens_per_s: f64,
    prefill_tokens_per_s: Option<f64>,
    cache_bytes: usize,
    weights_bytes: usize,
}

impl Decode {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let options = ModelOptions { model: self.model.clone(), weights: Default::default() };
        if self.steps == 0 || self.repeats == 0 || self.batches.contains(&0) {
            anyhow::bail!(BadInput("steps, repeats and batches are 1 at least".to_owned()));
        }
        let choices = self
            .kv
            .iter()
            .map(|text| text.parse::<PlanChoice>())
            .collect::<kvquant::Result<Vec<PlanChoice>>>()?;
        let on_gpu = OnGpu::load(&options, self.gpu, self.gpu_weights)?;
        let model = &on_gpu.model;
        let longest = self.contexts.iter().max().copied().unwrap_or(0);
        model.check_context(longest.saturating_add(self.steps))?;
        let shape = model.config().cache_shape();
        let plans = choices
            .iter()
            .map(|choice| choice.plan_of_shape(shape, Some(&on_gpu.gguf)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut report = Report {
            gpu: on_gpu.gpu.name().to_owned(),
            model: self.model.clone(),
            weights: self.gpu_weights.to_string(),
            weights_bytes: model.weights_bytes(),
            steps: self.steps,
            rows: Vec::new(),
        };
        for &context in &self.contexts {
            for &n_sequences in &self.batches {
                eprintln!("{context} tokens, batch {n_sequences}");
                let case = |plan| DecodeCase { plan, context, n_sequences };
                let cases: Vec<DecodeCase> = plans.iter().cloned().map(case).collect();
                let times = decode_times(model, &cases, self.steps, self.repeats)?;
                report.rows.extend(self.kv.iter().zip(times).map(|(kv, time)| Row {
                    kv: kv.clone(),
                    context,
                    batch: n_sequences,
                    tokens_per_s: n_sequences as f64 / time.step_seconds,
                    prefill_tokens_per_s: time.prefill_seconds.map(|s| context as f64 / s),
                    cache_bytes: time.cache_bytes,
                    weights_bytes: model.weights_bytes(),
                }));
            }
        }
        match self.json {
            true => print_json(&report),
            false => print(&text(&report)),
        }
    }
}

fn text(report: &Report) -> String {
    let numbers = ["context", "batch", "tokens/s", "prefill/s", "cache MiB"];
    let numbers = numbers.map(|name| (name, Align::Right));
    let columns = [[("cache", Align::Left)].as_slice(), &numbers].concat();
    let mut table = Table::new(&columns);
    let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
    for row in &report.rows {
        table.row([
            row.kv.clone(),
            row.context.to_string(),
            row.batch.to_string(),
            format!("{:.0}", row.tokens_per_s),
            row.prefill_tokens_per_s.map_or("-".to_owned(), |speed| format!("{speed:.0}")),
            format!("{:.1}", mib(row.cache_bytes)),
        ]);
    }
    format!(
        "{}: {}, weights {} of {:.1} MiB\n\n{}",
        report.gpu,
        report.model,
        report.weights,
        mib(report.weights_bytes),
        table.to_text()
    )
}
