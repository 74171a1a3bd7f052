//! A whole model on a GPU: the same perplexity as on the CPU, and how fast it decodes.

use super::open_gpu;
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use crate::kvquant::SYSTEM;
use crate::kvquant::setting::{NamedPlan, SMOLLM2, Setting, Windows};
use common::progress::{Progress, Unit};
use common::report::Claim;
use kvquant::cuda::throughput::decode_times;
use kvquant::cuda::{GpuLlama, GpuWeights};
use kvquant::eval::ScoringRule;
use kvquant::measure::DecodeCase;
use kvquant::model::WeightFormat;
use kvquant::presets::Preset;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Perplexities on GPU and CPU differ by less.
const GOAL: Goal =
    Goal::at_most(SYSTEM, "perplexity on a GPU against the CPU's, every preset", 0.1, " %")
        .with_decimals(3);
/// Tokens decoded of each sequence.
const STEPS: usize = 64;

/// SmolLM2 on a GPU.
pub struct GpuModel;

#[derive(Debug, Serialize, Deserialize)]
pub struct GpuModelMetrics {
    pub gpu: String,
    pub model: String,
    pub weights: String,
    pub weights_bytes: usize,
    pub perplexities: Vec<Perplexities>,
    pub rows: Vec<DecodeRow>,
}

/// A plan's perplexity of the same text.
#[derive(Debug, Serialize, Deserialize)]
pub struct Perplexities {
    pub plan: String,
    /// Weights in half precision.
    pub gpu: f64,
    /// Weights in single precision.
    pub cpu: f64,
}

/// Decoding a batch after a context.
#[derive(Debug, Serialize, Deserialize)]
pub struct DecodeRow {
    pub plan: String,
    pub context: usize,
    pub batch: usize,
    pub tokens_per_s: f64,
    pub prefill_tokens_per_s: Option<f64>,
    /// Of device memory.
    pub cache_bytes: usize,
}

impl GpuModelMetrics {
    /// The differences between GPU and CPU, in percent.
    fn differences(&self) -> Vec<f64> {
        self.perplexities.iter().map(|one| 100.0 * (one.gpu / one.cpu - 1.0).abs()).collect()
    }
}

impl Experiment for GpuModel {
    type Metrics = GpuModelMetrics;

    fn name(&self) -> String {
        "kvquant-gpu-model".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(Self::Metrics, Value)> {
        let gpu = open_gpu()?;
        let setting = Setting::load(SMOLLM2, WeightFormat::F32, progress)?;
        let model = GpuLlama::load(&gpu, setting.model.gguf(), GpuWeights::F16)?;
        let mut plans = vec![NamedPlan::parse("f16")?, NamedPlan::parse("kivi-2")?];
        for preset in Preset::SEARCHED {
            plans.push(setting.preset(preset)?);
        }
        let (n_windows, contexts, batches, repeats) = match size {
            Size::Full => (4, vec![0, 1024, 4096, 8000], vec![1, 8, 32], 3),
            Size::Quick => (1, vec![1024], vec![1], 1),
        };
        let windows = Windows { context: 2048, skipped: 0, n: n_windows, rule: ScoringRule::All };
        let bar = progress.bar("perplexity", Some(2 * plans.len() as u64), Unit::Items("plans"));
        let mut perplexities = Vec::new();
        for NamedPlan { name, plan, .. } in &plans {
            bar.message(name.clone());
            let on_gpu = setting.perplexity(&model, plan, windows)?;
            bar.advance(1);
            let on_cpu = setting.perplexity(&setting.model, plan, windows)?;
            bar.advance(1);
            perplexities.push(Perplexities { plan: name.clone(), gpu: on_gpu, cpu: on_cpu });
        }
        bar.finish();
        let shapes = contexts.len() * batches.len();
        let bar = progress.bar("decoding", Some(shapes as u64), Unit::Items("shapes"));
        let mut rows = Vec::new();
        for &context in &contexts {
            for &batch in &batches {
                let case = |named: &NamedPlan| DecodeCase {
                    plan: named.plan.clone(),
                    context,
                    n_sequences: batch,
                };
                let cases: Vec<DecodeCase> = plans.iter().map(case).collect();
                let times = decode_times(&model, &cases, STEPS, repeats)?;
                rows.extend(plans.iter().zip(times).map(|(named, time)| DecodeRow {
                    plan: named.name.clone(),
                    context,
                    batch,
                    tokens_per_s: batch as f64 / time.step_seconds,
                    prefill_tokens_per_s: time.prefill_seconds.map(|s| context as f64 / s),
                    cache_bytes: time.cache_bytes,
                }));
                bar.advance(1);
            }
        }
        bar.finish();
        let mut configuration = setting.configuration(windows);
        configuration["decoding"] = json!({
            "contexts": contexts, "batches": batches, "steps": STEPS, "repeats": repeats,
        });
        let metrics = GpuModelMetrics {
            gpu: gpu.name().to_owned(),
            model: SMOLLM2.to_owned(),
            weights: GpuWeights::F16.to_string(),
            weights_bytes: model.weights_bytes(),
            perplexities,
            rows,
        };
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &Self::Metrics) -> Vec<Claim> {
        vec![GOAL.judged_by_all(&metrics.differences(), &metrics.gpu)]
    }

    fn claims(&self) -> Vec<Claim> {
        vec![GOAL.claim()]
    }
}
