//! A whole model on the CPU: how fast it reads and decodes, against candle's products and against llama.cpp.

use super::SYSTEM;
use super::setting::{NamedPlan, SMOLLM2};
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use anyhow::Context;
use common::command::{store, text_variable};
use common::progress::{Progress, Unit};
use common::report::Claim;
use kvquant::measure::llama_cpp::{LlamaCpp, PeerTime, medians};
use kvquant::measure::{DecodeCase, DecodeTime, decode_times, read_bandwidth};
use kvquant::model::gguf::Gguf;
use kvquant::model::{Llama, WeightFormat, fingerprint};
use kvquant::policy::Plan;
use kvquant::presets::Preset;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A folder with llama.cpp's programs, which take turns with ours.
const PEER_VARIABLE: &str = "KVQUANT_LLAMA_CPP";
/// Its caches; the second is left out of the longest context, which would take it minutes.
const PEER_KV: [&str; 2] = ["f16", "q4_0"];
/// Tokens decoded after a context.
const STEPS: usize = 64;
/// Tokens of a prompt by which forms of weights are compared.
const PROMPT: usize = 512;
const SHORT: usize = 1024;
const LONG: usize = 8000;

/// Speed of SmolLM2.
pub struct Decode;

#[derive(Debug, Serialize, Deserialize)]
pub struct DecodeMetrics {
    pub threads: usize,
    /// Measured in this run.
    pub read_bytes_per_s: f64,
    pub weights_bytes: usize,
    /// Forms of the weights; the first is the default.
    pub weights: Vec<WeightsRow>,
    pub rows: Vec<SpeedRow>,
    /// llama.cpp's, if it was there.
    pub peers: Vec<PeerRow>,
}

/// A form of the weights, with a cache in half precision.
#[derive(Debug, Serialize, Deserialize)]
pub struct WeightsRow {
    pub weights: String,
    pub tokens_per_s: f64,
    pub prefill_tokens_per_s: f64,
}

/// A plan after a context.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpeedRow {
    pub plan: String,
    pub context: usize,
    pub tokens_per_s: f64,
    pub prefill_tokens_per_s: Option<f64>,
    pub cache_bytes: usize,
}

/// llama.cpp after a context.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerRow {
    pub kv: String,
    pub context: usize,
    pub tokens_per_s: f64,
    pub prefill_tokens_per_s: f64,
    pub peak_resident_bytes: Option<u64>,
}

impl DecodeMetrics {
    fn row(&self, plan: &str, context: usize) -> Option<&SpeedRow> {
        self.rows.iter().find(|row| (row.plan.as_str(), row.context) == (plan, context))
    }

    fn peer(&self, kv: &str, context: usize) -> Option<&PeerRow> {
        self.peers.iter().find(|row| (row.kv.as_str(), row.context) == (kv, context))
    }

    /// A plan's tokens per second over those of llama.cpp in half precision.
    fn against_peer(&self, plan: &str, context: usize) -> Option<f64> {
        Some(self.row(plan, context)?.tokens_per_s / self.peer("f16", context)?.tokens_per_s)
    }

    /// The same for reading the context.
    fn reading_against_peer(&self, plan: &str, context: usize) -> Option<f64> {
        let ours = self.row(plan, context)?.prefill_tokens_per_s?;
        Some(ours / self.peer("f16", context)?.prefill_tokens_per_s)
    }

    /// The least of `balanced` over our own half precision from 1k on.
    fn against_f16(&self) -> Option<f64> {
        let long = self.rows.iter().filter(|row| row.plan == "balanced" && row.context >= SHORT);
        let ratios = long
            .filter_map(|row| Some(row.tokens_per_s / self.row("f16", row.context)?.tokens_per_s));
        ratios.reduce(f64::min)
    }
}

impl Experiment for Decode {
    type Metrics = DecodeMetrics;

    fn name(&self) -> String {
        "kvquant-decode".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(DecodeMetrics, Value)> {
        let path = store(None).model(SMOLLM2, progress)?;
        let peer = llama_cpp()?;
        let (contexts, steps, repeats) = match size {
            Size::Full => (vec![0, SHORT, 4096, LONG], STEPS, 3),
            Size::Quick => (vec![0, SHORT], 16, 1),
        };
        let model = Llama::load(Gguf::open(&path)?, WeightFormat::Auto)?;
        let plans = plans(&model)?;
        let weights = weights(&model, &path, steps, repeats)?;
        let bar = progress.bar("decoding", Some(contexts.len() as u64), Unit::Items("contexts"));
        let (mut rows, mut peers) = (Vec::new(), Vec::new());
        for &context in &contexts {
            bar.message(format!("{context} tokens"));
            let case = |named: &NamedPlan| DecodeCase {
                plan: named.plan.clone(),
                context,
                n_sequences: 1,
            };
            let cases: Vec<DecodeCase> = plans.iter().map(case).collect();
            let of_peer = if context < LONG { &PEER_KV[..] } else { &PEER_KV[..1] };
            let mut peer_times = vec![Vec::new(); of_peer.len()];
            let threads = rayon::current_num_threads();
            let beside = |_| -> anyhow::Result<()> {
                let Some(peer) = &peer else { return Ok(()) };
                for (kv, times) in of_peer.iter().zip(&mut peer_times) {
                    times.push(peer.time(&path, kv, context, steps, threads)?);
                }
                Ok(())
            };
            let times = decode_times(&model, &cases, steps, repeats, beside)?;
            let of_plans = plans.iter().zip(times);
            rows.extend(of_plans.map(|(named, time)| row(&named.name, context, &time)));
            let peer_row = |(kv, times): (&&str, &Vec<PeerTime>)| {
                medians(times).map(|time| PeerRow {
                    kv: (*kv).to_owned(),
                    context,
                    tokens_per_s: time.tokens_per_s,
                    prefill_tokens_per_s: time.prefill_tokens_per_s,
                    peak_resident_bytes: time.peak_resident_bytes,
                })
            };
            peers.extend(of_peer.iter().zip(&peer_times).filter_map(peer_row));
            bar.advance(1);
        }
        bar.finish();
        let configuration = json!({
            "model": SMOLLM2,
            "contexts": contexts,
            "steps": steps,
            "repeats": repeats,
            "peer": peer.is_some(),
            "peer_kv": PEER_KV,
        });
        let metrics = DecodeMetrics {
            threads: rayon::current_num_threads(),
            read_bytes_per_s: read_bandwidth(),
            weights_bytes: model.weights_bytes(),
            weights,
            rows,
            peers,
        };
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &DecodeMetrics) -> Vec<Claim> {
        let values = [
            metrics.against_peer("f16", 0),
            metrics.against_peer("balanced", 4096),
            metrics.against_peer("balanced", LONG),
            metrics.reading_against_peer("balanced", 4096),
            metrics.against_f16(),
        ];
        GOALS.iter().zip(values).map(|(goal, value)| goal.judged(value)).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        GOALS.iter().map(Goal::claim).collect()
    }
}

const GOALS: [Goal; 5] = [
    Goal::at_least(SYSTEM, "CPU decoding near empty over llama.cpp's", 0.85, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU decoding after 4k, balanced over llama.cpp's f16", 1.5, "x")
        .with_decimals(2),
    Goal::at_least(
        SYSTEM,
        "CPU decoding after 8,000 tokens, balanced over llama.cpp's f16",
        2.0,
        "x",
    )
    .with_decimals(2),
    Goal::at_least(SYSTEM, "CPU reading of 4k, balanced over llama.cpp's f16", 1.0, "x")
        .with_decimals(2),
    Goal::at_least(SYSTEM, "CPU decoding, balanced over our own f16, from 1k on", 1.0, "x")
        .with_decimals(2),
];

/// llama.cpp's programs, if a variable names them.
pub fn llama_cpp() -> anyhow::Result<Option<LlamaCpp>> {
    let folder = text_variable(PEER_VARIABLE);
    folder.map(|folder| LlamaCpp::find(&PathBuf::from(folder)).context(PEER_VARIABLE)).transpose()
}

/// f16, the presets, and the paper's base line.
fn plans(model: &Llama) -> anyhow::Result<Vec<NamedPlan>> {
    let fingerprint = fingerprint(model.gguf())?;
    let mut plans = vec![NamedPlan::parse("f16")?];
    for preset in Preset::SEARCHED {
        plans.push(NamedPlan::shipped(preset, SMOLLM2, &fingerprint)?);
    }
    plans.push(NamedPlan::parse("kivi-2")?);
    Ok(plans)
}

fn row(plan: &str, context: usize, time: &DecodeTime) -> SpeedRow {
    SpeedRow {
        plan: plan.to_owned(),
        context,
        tokens_per_s: 1.0 / time.step_seconds,
        prefill_tokens_per_s: time.prefill_seconds.map(|seconds| context as f64 / seconds),
        cache_bytes: time.cache_bytes,
    }
}

/// Every form of the weights, one after the other: together they would hold six times the file.
fn weights(
    model: &Llama,
    path: &Path,
    steps: usize,
    repeats: usize,
) -> anyhow::Result<Vec<WeightsRow>> {
    let case = DecodeCase { plan: Plan::f16(), context: PROMPT, n_sequences: 1 };
    let time = |model: &Llama, weights: WeightFormat| -> anyhow::Result<WeightsRow> {
        let cases = [case.clone()];
        let time = decode_times(model, &cases, steps, repeats, |_| Ok::<_, kvquant::Error>(()))?[0];
        Ok(WeightsRow {
            weights: weights.to_string(),
            tokens_per_s: 1.0 / time.step_seconds,
            prefill_tokens_per_s: time.prefill_seconds.map_or(f64::NAN, |s| PROMPT as f64 / s),
        })
    };
    let mut rows = vec![time(model, WeightFormat::Auto)?];
    for weights in [WeightFormat::File, WeightFormat::F32] {
        rows.push(time(&Llama::load(Gguf::open(path)?, weights)?, weights)?);
    }
    Ok(rows)
}
