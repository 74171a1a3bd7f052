//! A whole model on the CPU: how fast it reads and decodes, against what it was and against llama.cpp, and the memory
//! that it holds.

use super::SYSTEM;
use super::setting::{NamedPlan, SMOLLM2};
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::command::{store, text_variable};
use common::progress::{Progress, Unit};
use common::report::{Claim, Verdict};
use kvquant::measure::llama_cpp::{LlamaCpp, PeerTime, medians};
use kvquant::measure::memory::resident_bytes;
use kvquant::measure::{DecodeCase, DecodeTime, decode_times, read_bandwidth};
use kvquant::model::gguf::Gguf;
use kvquant::model::{LanguageModel, Llama, WeightFormat, fingerprint};
use kvquant::policy::Plan;
use kvquant::presets::{Preset, measured_perplexity};
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
/// Contexts whose memory is compared, in tokens.
const SHORT: usize = 1024;
const LONG: usize = 8000;

/// Speed and memory of SmolLM2.
pub struct Decode;

#[derive(Debug, Serialize, Deserialize)]
pub struct DecodeMetrics {
    pub threads: usize,
    /// Measured in this run.
    pub read_bytes_per_s: f64,
    pub file_bytes: u64,
    pub weights_bytes: usize,
    /// Forms of the weights; the first is the default.
    pub weights: Vec<WeightsRow>,
    pub rows: Vec<SpeedRow>,
    /// llama.cpp's, if it was there.
    pub peers: Vec<PeerRow>,
    pub memory: Option<Memory>,
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
    pub perplexity: Option<f64>,
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

/// Bytes that the process holds, with `balanced`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Before the model is loaded.
    pub before: u64,
    pub loaded: u64,
    pub short: Held,
    pub long: Held,
}

/// Bytes after a context.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Held {
    pub context: usize,
    pub by_process: u64,
    /// What the plan has for that many tokens.
    pub planned: u64,
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

impl Memory {
    /// What loading took over the bytes of the file.
    fn of_weights(&self, file_bytes: u64) -> f64 {
        self.loaded.saturating_sub(self.before) as f64 / file_bytes as f64
    }

    /// Growth from the short to the long context over what was planned.
    fn growth(&self) -> f64 {
        let Memory { short, long, .. } = self;
        let grown = long.by_process.saturating_sub(short.by_process);
        grown as f64 / long.planned.saturating_sub(short.planned) as f64
    }

    /// MiB that are neither weights nor cache, in the long context.
    fn rest_mib(&self) -> f64 {
        let rest = self.long.by_process.saturating_sub(self.loaded) as f64;
        (rest - self.long.planned as f64 + self.before as f64) / f64::from(1 << 20)
    }
}

impl Experiment for Decode {
    type Metrics = DecodeMetrics;

    fn name(&self) -> String {
        "kvquant-decode".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(DecodeMetrics, Value)> {
        let path = store(None).model(SMOLLM2, progress)?;
        let peer = match text_variable(PEER_VARIABLE) {
            Some(folder) => Some(LlamaCpp::find(&PathBuf::from(folder)).context(PEER_VARIABLE)?),
            None => None,
        };
        let (contexts, steps, repeats) = match size {
            Size::Full => (vec![0, SHORT, 4096, LONG], STEPS, 3),
            Size::Quick => (vec![0, SHORT], 16, 1),
        };
        let before = resident_bytes();
        let model = Llama::load(Gguf::open(&path)?, WeightFormat::Auto)?;
        let loaded = resident_bytes();
        let plans = plans(&model)?;
        let memory = match (size, before.zip(loaded)) {
            (Size::Full, Some((before, loaded))) => {
                let held = held(&model, &plans[1].plan)?;
                held.map(|[short, long]| Memory { before, loaded, short, long })
            }
            _ => None,
        };
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
            file_bytes: path.metadata()?.len(),
            weights_bytes: model.weights_bytes(),
            weights,
            rows,
            peers,
            memory,
        };
        Ok((metrics, configuration))
    }

    fn claims(&self, metrics: &DecodeMetrics) -> Vec<Claim> {
        let memory = metrics.memory.as_ref();
        let peak = metrics.peer("f16", LONG).and_then(|peer| peer.peak_resident_bytes);
        let values = [
            metrics.against_peer("f16", 0),
            metrics.against_peer("balanced", 4096),
            metrics.against_peer("balanced", LONG),
            metrics.reading_against_peer("balanced", 4096),
            metrics.against_f16(),
            memory.map(|memory| memory.of_weights(metrics.file_bytes)),
            memory.map(Memory::rest_mib),
            memory.map(Memory::growth),
            memory.zip(peak).map(|(memory, peak)| memory.long.by_process as f64 / peak as f64),
        ];
        let mut claims = self.open_claims("not in this run");
        for ((claim, goal), value) in claims.iter_mut().zip(&GOALS).zip(values) {
            if let Some(value) = value {
                claim.here = format!("{value:.2}{}", goal.unit);
                claim.verdict = Verdict::judged(goal.holds(value));
            }
        }
        claims
    }

    fn open_claims(&self, reason: &str) -> Vec<Claim> {
        let claim = |goal: &Goal| Claim {
            system: SYSTEM.to_owned(),
            claim: format!("{} (not the paper's: our goal)", goal.what),
            paper: goal.bound(),
            here: String::new(),
            verdict: Verdict::NotReproduced(reason.to_owned()),
        };
        GOALS.iter().map(claim).collect()
    }
}

struct Goal {
    what: &'static str,
    least: f64,
    most: f64,
    unit: &'static str,
}

const GOALS: [Goal; 9] = [
    Goal::at_least("CPU decoding near empty over llama.cpp's", 0.85),
    Goal::at_least("CPU decoding after 4k, balanced over llama.cpp's f16", 1.5),
    Goal::at_least("CPU decoding after 8,000 tokens, balanced over llama.cpp's f16", 2.0),
    Goal::at_least("CPU reading of 4k, balanced over llama.cpp's f16", 1.0),
    Goal::at_least("CPU decoding, balanced over our own f16, from 1k on", 1.0),
    Goal::at_most("memory of loaded weights over their file", 1.6, "x"),
    Goal::at_most("memory that is neither weights nor cache", 64.0, " MiB"),
    Goal {
        least: 0.95,
        ..Goal::at_most(
            "growth of memory from 1k to 8,000 tokens of balanced over the plan",
            1.05,
            "x",
        )
    },
    Goal::at_most("memory after 8,000 tokens, balanced over llama.cpp's f16", 1.0, "x"),
];

impl Goal {
    const fn at_least(what: &'static str, least: f64) -> Goal {
        Goal { what, least, most: f64::INFINITY, unit: "x" }
    }

    const fn at_most(what: &'static str, most: f64, unit: &'static str) -> Goal {
        Goal { what, least: f64::NEG_INFINITY, most, unit }
    }

    fn holds(&self, value: f64) -> bool {
        (self.least..=self.most).contains(&value)
    }

    fn bound(&self) -> String {
        let Goal { least, most, unit, .. } = *self;
        match (least.is_finite(), most.is_finite()) {
            (true, true) => format!("{least:.2}{unit} to {most:.2}{unit}"),
            (true, false) => format!("≥ {least:.2}{unit}"),
            (false, _) => format!("≤ {most:.2}{unit}"),
        }
    }
}

/// f16, the presets, and the paper's base line.
fn plans(model: &Llama) -> anyhow::Result<Vec<NamedPlan>> {
    let fingerprint = fingerprint(model.gguf())?;
    let mut plans = vec![NamedPlan::parse("f16")?];
    for preset in Preset::SEARCHED {
        let plan = preset.shipped(&fingerprint)?.context("SmolLM2 has no such preset")?;
        plans.push(NamedPlan::new(&preset.to_string(), plan));
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
        perplexity: measured_perplexity(SMOLLM2, plan),
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

/// What the process holds after a short and a long context.
fn held(model: &Llama, plan: &Plan) -> anyhow::Result<Option<[Held; 2]>> {
    const CHUNK: usize = 512;
    let mut cache = model.new_cache(plan)?;
    let mut after = [None; 2];
    for (context, after) in [SHORT, LONG].into_iter().zip(&mut after) {
        while cache.n_tokens() < context {
            let n = CHUNK.min(context - cache.n_tokens());
            let tokens: Vec<u32> = (0..n).map(|at| (at * 7919 % 40_000) as u32).collect();
            model.read(&mut cache, &tokens, n - 1..n)?;
        }
        let planned = cache.bytes().total();
        *after = resident_bytes().map(|by_process| Held { context, by_process, planned });
    }
    Ok(after[0].zip(after[1]).map(|(short, long)| [short, long]))
}
