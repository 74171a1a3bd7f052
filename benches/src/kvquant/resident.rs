//! Memory that a process with a model on the CPU holds, beside llama.cpp's.

use super::SYSTEM;
use super::decode::llama_cpp;
use super::setting::{NamedPlan, SMOLLM2};
use crate::allocator;
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use anyhow::Context;
use common::command::{print, store};
use common::progress::Progress;
use common::report::Claim;
use kvquant::measure::memory::resident_bytes;
use kvquant::model::gguf::Gguf;
use kvquant::model::{LanguageModel, Llama, WeightFormat, fingerprint};
use kvquant::policy::Plan;
use kvquant::presets::Preset;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Contexts that are compared, in tokens.
const SHORT: usize = 1024;
const LONG: usize = 8000;
const MIB: f64 = (1 << 20) as f64;

/// Memory of SmolLM2 under `balanced`.
pub struct Resident;

/// Bytes that the process holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResidentMetrics {
    pub file_bytes: u64,
    pub weights_bytes: usize,
    /// Before the model is loaded.
    pub before: u64,
    pub loaded: u64,
    pub short: Held,
    pub long: Held,
    /// The most that llama.cpp held with the long context in half precision, if it was there.
    pub llama_cpp: Option<u64>,
}

/// Bytes after a context.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Held {
    pub context: usize,
    pub by_process: u64,
    /// What the plan has for that many tokens.
    pub planned: u64,
}

impl ResidentMetrics {
    /// What loading took over the bytes of the file.
    fn of_weights(&self) -> f64 {
        self.loaded.saturating_sub(self.before) as f64 / self.file_bytes as f64
    }

    /// MiB that are neither weights nor cache, in the long context.
    fn rest_mib(&self) -> f64 {
        let known = self.weights_bytes as u64 + self.long.planned;
        self.long.by_process.saturating_sub(known) as f64 / MIB
    }

    /// Growth from the short to the long context over what was planned.
    fn growth(&self) -> f64 {
        let ResidentMetrics { short, long, .. } = self;
        let grown = long.by_process.saturating_sub(short.by_process);
        grown as f64 / long.planned.saturating_sub(short.planned) as f64
    }
}

const GOALS: [Goal; 4] = [
    Goal::at_most(SYSTEM, "memory of loaded weights over their file", 1.6, "x").with_decimals(2),
    Goal::at_most(SYSTEM, "memory that is neither weights nor cache, 8,000 tokens", 64.0, " MiB")
        .with_decimals(2),
    Goal::at_most(SYSTEM, "growth of memory from 1k to 8,000 tokens over the plan's", 1.05, "x")
        .with_decimals(2)
        .and_at_least(0.95),
    Goal::at_most(SYSTEM, "memory after 8,000 tokens, balanced over llama.cpp's f16", 1.0, "x")
        .with_decimals(2),
];

impl Experiment for Resident {
    type Metrics = ResidentMetrics;

    fn name(&self) -> String {
        "kvquant-resident".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(ResidentMetrics, Value)> {
        let path = store(None).model(SMOLLM2, progress)?;
        let long = if size == Size::Full { LONG } else { 2 * SHORT };
        let mut metrics = of_another_process(&path, long)?;
        if let (Size::Full, Some(peer)) = (size, llama_cpp()?) {
            let threads = rayon::current_num_threads();
            metrics.llama_cpp = peer.time(&path, "f16", LONG, 1, threads)?.peak_resident_bytes;
        }
        let configuration = json!({
            "model": SMOLLM2,
            "plan": Preset::Balanced.to_string(),
            "allocator": "the system's, as kvquant has it",
        });
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &ResidentMetrics) -> Vec<Claim> {
        // A shorter context is not what the goals are about.
        let is_long = metrics.long.context == LONG;
        let if_long = |value: f64| is_long.then_some(value);
        let peer = metrics.llama_cpp.map(|peer| metrics.long.by_process as f64 / peer as f64);
        let values = [
            Some(metrics.of_weights()),
            if_long(metrics.rest_mib()),
            if_long(metrics.growth()),
            peer,
        ];
        GOALS.iter().zip(values).map(|(goal, value)| goal.judged(value)).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        GOALS.iter().map(Goal::claim).collect()
    }
}

/// What a process of this program holds that allocates as `kvquant` does.
fn of_another_process(model: &Path, long: usize) -> anyhow::Result<ResidentMetrics> {
    let output = Command::new(std::env::current_exe().context("this program can't be found")?)
        .arg("resident")
        .args(["--tokens", &long.to_string()])
        .arg("--model")
        .arg(model)
        .env(allocator::VARIABLE.to_str()?, "1")
        .stderr(Stdio::inherit())
        .output()
        .context("this program can't be started again")?;
    anyhow::ensure!(output.status.success(), "the process with the model: {}", output.status);
    serde_json::from_slice(&output.stdout).context("what it holds")
}

/// Such a process.
#[derive(Debug, clap::Args)]
pub struct ResidentProcess {
    /// SmolLM2's file
    #[arg(long)]
    model: PathBuf,
    /// The longer of two contexts
    #[arg(long)]
    tokens: usize,
}

impl ResidentProcess {
    /// Loads the model, reads both contexts, and prints what the process held.
    pub fn run(self) -> anyhow::Result<()> {
        const UNKNOWN: &str = "this system doesn't say what a process holds";
        let before = resident_bytes().context(UNKNOWN)?;
        let model = Llama::load(Gguf::open(&self.model)?, WeightFormat::Auto)?;
        let loaded = resident_bytes().context(UNKNOWN)?;
        let fingerprint = fingerprint(model.gguf())?;
        let plan = NamedPlan::shipped(Preset::Balanced, SMOLLM2, &fingerprint)?.plan;
        let [short, long] = held(&model, &plan, [SHORT, self.tokens])?;
        let metrics = ResidentMetrics {
            file_bytes: self.model.metadata()?.len(),
            weights_bytes: model.weights_bytes(),
            before,
            loaded,
            short,
            long,
            llama_cpp: None,
        };
        print(&serde_json::to_string(&metrics)?)
    }
}

/// What the process holds after each context.
fn held(model: &Llama, plan: &Plan, contexts: [usize; 2]) -> anyhow::Result<[Held; 2]> {
    const CHUNK: usize = 512;
    let mut cache = model.new_cache(plan)?;
    let mut read = |context: usize| -> anyhow::Result<Held> {
        while cache.n_tokens() < context {
            let n = CHUNK.min(context - cache.n_tokens());
            let tokens: Vec<u32> = (0..n).map(|at| (at * 7919 % 40_000) as u32).collect();
            model.read(&mut cache, &tokens, n - 1..n)?;
        }
        let by_process = resident_bytes().context("memory was known a moment ago")?;
        Ok(Held { context, by_process, planned: cache.bytes().total() })
    };
    Ok([read(contexts[0])?, read(contexts[1])?])
}
