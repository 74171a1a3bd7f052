//! `kvquant bench decode`

use super::{parse_count, parse_tokens};
use crate::commands::gpu::{GpuOptions, OnGpu};
use crate::commands::options::{ModelOptions, PlanChoice};
use crate::cuda::{measure as cuda_measure, throughput};
use crate::measure::llama_cpp::{LlamaCpp, PeerTime, medians};
use crate::measure::{DecodeCase, DecodeTime, decode_times, read_bandwidth};
use crate::model::LanguageModel;
use crate::model::gguf::Gguf;
use crate::policy::Plan;
use crate::presets::measured_perplexity;
use clap::Args;
use common::command::{InputContext, print, print_json};
use common::report::{Align, Table};
use serde::Serialize;
use std::path::PathBuf;

/// Time a whole model: reading a context, then decoding after it
///
/// Every sequence of a batch has the same context of random tokens. All formats take turns, and llama.cpp with them;
/// figures are medians. A plan's perplexity is that of the committed records (docs/kvquant/reproduce.md).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kvquant bench decode
  kvquant bench decode --contexts 0,1k,4k,8000 --kv f16,balanced,small --peer llama.cpp/build/bin
  kvquant bench decode --gpu 0 --contexts 4k --kv f16,balanced,kivi-2 --batches 1,8 --json")]
pub struct Decode {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    gpu: GpuOptions,
    /// The caches' plans; a preset that the model has no plan for has the same bits in all layers
    #[arg(long, value_name = "PLANS", value_delimiter = ',', default_value = "f16,balanced,small")]
    kv: Vec<String>,
    /// Tokens of a sequence before decoding; 4k is 4096
    #[arg(long, value_delimiter = ',', value_parser = parse_tokens, default_value = "0,4k")]
    contexts: Vec<usize>,
    /// Sequences
    #[arg(long, value_parser = parse_count, value_delimiter = ',', default_value = "1")]
    batches: Vec<usize>,
    /// Tokens decoded of each sequence
    #[arg(long, value_parser = parse_count, default_value_t = 64)]
    steps: usize,
    /// Rounds; figures are of their medians
    #[arg(long, value_parser = parse_count, default_value_t = 3)]
    repeats: usize,
    /// A folder with llama.cpp's programs: its llama-batched-bench takes turns with our plans, on the CPU and with
    /// batches of 1
    #[arg(long, value_name = "DIR", conflicts_with = "gpu")]
    peer: Option<PathBuf>,
    /// llama.cpp's caches, by its names; keys/values if they differ
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "f16")]
    peer_kv: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    device: String,
    threads: usize,
    model: String,
    weights: String,
    weights_bytes: usize,
    steps: usize,
    /// What memory was measured at in this run.
    read_bytes_per_s: f64,
    rows: Vec<Row>,
    peer: Vec<PeerRow>,
}

#[derive(Debug, Serialize)]
struct Row {
    kv: String,
    context: usize,
    batch: usize,
    tokens_per_s: f64,
    prefill_tokens_per_s: Option<f64>,
    cache_bytes: usize,
    /// Weights, shared by the batch, and one sequence's cache.
    bytes_read_per_token: f64,
    bandwidth_share: f64,
    perplexity: Option<f64>,
}

#[derive(Debug, Serialize)]
struct PeerRow {
    kv: String,
    context: usize,
    tokens_per_s: f64,
    prefill_tokens_per_s: f64,
    peak_resident_bytes: Option<u64>,
}

impl Decode {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let choices = self
            .kv
            .iter()
            .map(|text| text.parse::<PlanChoice>())
            .collect::<crate::Result<Vec<PlanChoice>>>()?;
        let report = match self.gpu.gpu {
            Some(ordinal) => self.on_gpu(ordinal, &choices)?,
            None => self.on_cpu(&choices)?,
        };
        match self.json {
            true => print_json(&report),
            false => print(&text(&report)),
        }
    }

    fn on_gpu(&self, ordinal: usize, choices: &[PlanChoice]) -> anyhow::Result<Report> {
        let on_gpu = OnGpu::load(&self.model, ordinal, self.gpu.gpu_weights)?;
        let model = &on_gpu.model;
        let plans = self.plans(model, &on_gpu.gguf, choices)?;
        let mut report = Report {
            device: on_gpu.gpu.name().to_owned(),
            weights: self.gpu.gpu_weights.to_string(),
            read_bytes_per_s: cuda_measure::read_bandwidth(&on_gpu.gpu)?,
            ..self.report(model.weights_bytes())
        };
        for cases in self.cases(&plans) {
            let times = throughput::decode_times(model, &cases, self.steps, self.repeats)?;
            self.add(&mut report, &cases, &times);
        }
        Ok(report)
    }

    fn on_cpu(&self, choices: &[PlanChoice]) -> anyhow::Result<Report> {
        let peer = self.peer.as_deref().map(LlamaCpp::find).transpose();
        let peer = peer.bad_input("--peer")?;
        let (model, _) = self.model.load()?;
        let plans = self.plans(&model, model.gguf(), choices)?;
        let mut report =
            Report { read_bytes_per_s: read_bandwidth(), ..self.report(model.weights_bytes()) };
        for cases in self.cases(&plans) {
            let DecodeCase { context, n_sequences, .. } = cases[0];
            let mut peers = vec![Vec::<PeerTime>::new(); self.peer_kv.len()];
            let beside = |_| -> anyhow::Result<()> {
                if let Some(peer) = peer.as_ref().filter(|_| n_sequences == 1) {
                    for (kv, times) in self.peer_kv.iter().zip(&mut peers) {
                        let file = model.gguf().path();
                        let time = peer.time(file, kv, context, self.steps, report.threads);
                        times.push(time.bad_input("--peer")?);
                    }
                }
                Ok(())
            };
            let times = decode_times(&model, &cases, self.steps, self.repeats, beside)?;
            self.add(&mut report, &cases, &times);
            report.peer.extend(self.peer_kv.iter().zip(&peers).filter_map(|(kv, times)| {
                let PeerTime { tokens_per_s, prefill_tokens_per_s, peak_resident_bytes } =
                    medians(times)?;
                let kv = kv.clone();
                Some(PeerRow {
                    kv,
                    context,
                    tokens_per_s,
                    prefill_tokens_per_s,
                    peak_resident_bytes,
                })
            }));
        }
        Ok(report)
    }

    fn plans(
        &self,
        model: &impl LanguageModel,
        gguf: &Gguf,
        choices: &[PlanChoice],
    ) -> anyhow::Result<Vec<Plan>> {
        let longest = self.contexts.iter().max().copied().unwrap_or(0);
        // A step more warms up.
        model.check_context(longest.saturating_add(self.steps).saturating_add(1))?;
        let shape = model.config().cache_shape();
        choices.iter().map(|choice| choice.plan_of_shape(shape, Some(gguf))).collect()
    }

    /// Those that take turns, for each context and batch.
    fn cases(&self, plans: &[Plan]) -> impl Iterator<Item = Vec<DecodeCase>> {
        self.contexts.iter().flat_map(move |&context| {
            self.batches.iter().map(move |&n_sequences| {
                eprintln!("{context} tokens, batch {n_sequences}");
                let case = |plan| DecodeCase { plan, context, n_sequences };
                plans.iter().cloned().map(case).collect()
            })
        })
    }

    /// Without rows, of a run on the CPU.
    fn report(&self, weights_bytes: usize) -> Report {
        Report {
            device: common::device::discover().cpu.model,
            threads: rayon::current_num_threads(),
            model: self.model.model.clone(),
            weights: self.model.weights.to_string(),
            weights_bytes,
            steps: self.steps,
            read_bytes_per_s: f64::NAN,
            rows: Vec::new(),
            peer: Vec::new(),
        }
    }

    fn add(&self, report: &mut Report, cases: &[DecodeCase], times: &[DecodeTime]) {
        for ((kv, case), time) in self.kv.iter().zip(cases).zip(times) {
            let batch = case.n_sequences as f64;
            let read = report.weights_bytes + time.cache_bytes;
            let bytes_per_s = read as f64 / time.step_seconds;
            report.rows.push(Row {
                kv: kv.clone(),
                context: case.context,
                batch: case.n_sequences,
                tokens_per_s: batch / time.step_seconds,
                prefill_tokens_per_s: time.prefill_seconds.map(|s| case.context as f64 / s),
                cache_bytes: time.cache_bytes,
                bytes_read_per_token: read as f64 / batch,
                bandwidth_share: bytes_per_s / report.read_bytes_per_s,
                perplexity: measured_perplexity(&report.model, kv),
            });
        }
    }
}

fn text(report: &Report) -> String {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let numbers = [
        "context",
        "batch",
        "tokens/s",
        "prefill/s",
        "MiB read/token",
        "of the bandwidth",
        "perplexity",
    ];
    let numbers = numbers.map(|name| (name, Align::Right));
    let mut table = Table::new(&[[("cache", Align::Left)].as_slice(), &numbers].concat());
    let none = || "-".to_owned();
    for row in &report.rows {
        table.row([
            row.kv.clone(),
            row.context.to_string(),
            row.batch.to_string(),
            format!("{:.1}", row.tokens_per_s),
            row.prefill_tokens_per_s.map_or_else(none, |speed| format!("{speed:.0}")),
            format!("{:.1}", mib(row.bytes_read_per_token)),
            format!("{:.0} %", 100.0 * row.bandwidth_share),
            row.perplexity.map_or_else(none, |perplexity| format!("{perplexity:.2}")),
        ]);
    }
    for row in &report.peer {
        table.row([
            format!("llama.cpp {}", row.kv),
            row.context.to_string(),
            "1".to_owned(),
            format!("{:.1}", row.tokens_per_s),
            format!("{:.0}", row.prefill_tokens_per_s),
            none(),
            none(),
            none(),
        ]);
    }
    format!(
        "{}, {} threads, reads at {:.1} GB/s: {}, weights {} of {:.1} MiB\n\n{}",
        report.device,
        report.threads,
        report.read_bytes_per_s / 1e9,
        report.model,
        report.weights,
        mib(report.weights_bytes as f64),
        table.to_text()
    )
}
