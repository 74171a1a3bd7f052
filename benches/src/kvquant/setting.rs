//! Model and text of the experiments, and a plan's score on them.

use anyhow::Context;
use common::assets::{find, sha256};
use common::command::{provenance, store, workspace_root};
use common::journal::Journal;
use common::progress::{Progress, Unit};
use kvquant::cache::CacheBytes;
use kvquant::eval::paired::loss;
use kvquant::eval::perplexity::WindowScore;
use kvquant::eval::{Evaluation, Protocol, ScoringRule, evaluate};
use kvquant::model::gguf::Gguf;
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{LanguageModel, Llama, WeightFormat, fingerprint};
use kvquant::policy::Plan;
use kvquant::presets::Preset;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// The model of most experiments.
pub const SMOLLM2: &str = "smollm2";
/// The second model: of the family whose key biases break low-bit caches.
pub const QWEN: &str = "qwen2.5-coder-0.5b";
const TEXT: &str = "wikitext-2-raw-test";
const CHUNK: usize = 512;

/// A model, and WikiText-2's raw test set in its tokens.
pub struct Setting {
    pub model_name: &'static str,
    pub model: Llama,
    pub tokenizer: Tokenizer,
    tokens: Vec<u32>,
    weights: WeightFormat,
}

/// Which windows of the text are scored, and how.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// Tokens of a window.
    pub context: usize,
    /// Windows left out at the start of the text.
    pub skipped: usize,
    pub n: usize,
    pub rule: ScoringRule,
}

impl Windows {
    /// The first `n` windows of 1024 tokens.
    pub fn short(n: usize, rule: ScoringRule) -> Windows {
        Windows { context: 1024, skipped: 0, n, rule }
    }
}

/// A plan under the name that a table gives it.
#[derive(Debug, Clone)]
pub struct NamedPlan {
    pub name: String,
    pub plan: Plan,
    /// Whether it is scored on all windows or, as what it is compared with differs by more than they do, on the first
    /// half of them.
    pub on_all_windows: bool,
}

impl NamedPlan {
    /// One by its notation.
    pub fn parse(notation: &str) -> anyhow::Result<NamedPlan> {
        Ok(NamedPlan::new(notation, notation.parse()?))
    }

    /// A preset's plan for a model.
    pub fn shipped(
        preset: Preset,
        model_name: &str,
        fingerprint: &str,
    ) -> anyhow::Result<NamedPlan> {
        let plan = preset.shipped(fingerprint)?;
        let plan = plan.with_context(|| format!("{model_name} has no {preset}"))?;
        Ok(NamedPlan::new(&preset.to_string(), plan))
    }

    /// One under a name, scored on all windows.
    pub fn new(name: &str, plan: Plan) -> NamedPlan {
        NamedPlan { name: name.to_owned(), plan, on_all_windows: true }
    }

    /// The same, scored on half of the windows.
    pub fn on_half_of_the_windows(self) -> NamedPlan {
        NamedPlan { on_all_windows: false, ..self }
    }

    fn n_windows(&self, windows: Windows) -> usize {
        if self.on_all_windows { windows.n } else { windows.n.div_ceil(2) }
    }
}

/// How a plan did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanScore {
    pub plan: String,
    pub perplexity: f64,
    /// Mean negative log-likelihood of each window, in nats.
    pub window_nlls: Vec<f64>,
    pub k_bytes: u64,
    pub v_bytes: u64,
    /// Metadata and half-precision window included, at the end of a window.
    pub bits_per_element: f64,
    /// Perplexity over f16's, minus 1, with the paired 95 % confidence interval.
    pub loss: f64,
    /// Of a single window the interval is infinite, which JSON has no number for.
    #[serde(deserialize_with = "or_minus_infinity")]
    pub loss_low: f64,
    #[serde(deserialize_with = "or_infinity")]
    pub loss_high: f64,
    pub tokens_per_second: f64,
}

fn or_infinity<'de, D: Deserializer<'de>>(number: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(number)?.unwrap_or(f64::INFINITY))
}

fn or_minus_infinity<'de, D: Deserializer<'de>>(number: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(number)?.unwrap_or(f64::NEG_INFINITY))
}

/// What a window left in the journal.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Outcome {
    nll: f64,
    n_tokens: usize,
    k_bytes: u64,
    v_bytes: u64,
    bits_per_element: f64,
    seconds: f64,
}

impl Setting {
    /// Loads model and text, fetching what is missing.
    pub fn load(
        model_name: &'static str,
        weights: WeightFormat,
        progress: &Progress,
    ) -> anyhow::Result<Setting> {
        let store = store(None);
        let gguf = Gguf::open(&store.model(model_name, progress)?)?;
        let text = read_text(TEXT, progress)?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let tokens = tokenizer.encode(&text, false)?;
        let model = Llama::load(gguf, weights)?;
        Ok(Setting { model_name, model, tokenizer, tokens, weights })
    }

    /// Layers of the model, which the plans of the experiments name.
    pub fn n_layers(&self) -> usize {
        self.model.config().n_layers
    }

    /// The shipped plan of a preset.
    pub fn preset(&self, preset: Preset) -> anyhow::Result<NamedPlan> {
        NamedPlan::shipped(preset, self.model_name, &fingerprint(self.model.gguf())?)
    }

    /// What a record says of the setting.
    pub fn configuration(&self, windows: Windows) -> Value {
        json!({
            "model": self.model_name,
            "weights": self.weights.to_string(),
            "text": TEXT,
            "context": windows.context,
            "skipped_windows": windows.skipped,
            "windows": windows.n,
            "rule": windows.rule.to_string(),
            "chunk": CHUNK,
        })
    }

    /// The journal of an experiment on this model, so that a run of hours that is interrupted goes on; to be removed
    /// when its record is made. Another commit, configuration or machine begins another.
    pub fn journal(&self, experiment: &str, configuration: &Value) -> anyhow::Result<Journal> {
        let provenance = provenance("");
        let folder =
            workspace_root().context("run this inside the workspace")?.join("runs/kvquant");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let run = json!({
            "experiment": experiment,
            "configuration": configuration,
            "commit": provenance.commit,
            "dirty": provenance.dirty,
            "host": provenance.host,
        });
        let of_run = sha256([run.to_string().as_bytes()]);
        let path: PathBuf = folder.join(format!("{experiment}-{}.jsonl", &of_run[..12]));
        if provenance.dirty {
            // Nobody knows whether it is the same source.
            let _ = std::fs::remove_file(&path);
        }
        Journal::open(Some(&path), &run)
    }

    /// Scores `plans`, losses against the first of them.
    pub fn score(
        &self,
        experiment: &str,
        plans: &[NamedPlan],
        windows: Windows,
        progress: &Progress,
    ) -> anyhow::Result<Vec<PlanScore>> {
        let mut journal = self.journal(experiment, &self.configuration(windows))?;
        let total = plans.iter().map(|plan| plan.n_windows(windows) as u64).sum();
        let bar = progress.bar("perplexity", Some(total), Unit::Items("windows"));
        let mut baseline: Option<Evaluation> = None;
        let mut scores = Vec::new();
        for named in plans {
            let NamedPlan { name, plan, .. } = named;
            bar.message(name.clone());
            let mut outcomes = Vec::new();
            for at in 0..named.n_windows(windows) {
                let part = format!("{name}, window {at}");
                outcomes.push(journal.outcome(&part, || self.window(plan, windows, at))?);
                bar.advance(1);
            }
            let evaluation = evaluation(&outcomes);
            let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
            let speed = (outcomes.len() * windows.context) as f64 / seconds;
            let baseline = baseline.get_or_insert_with(|| evaluation.clone());
            scores.push(plan_score(name, &evaluation, baseline, speed));
        }
        bar.finish();
        journal.remove();
        Ok(scores)
    }

    /// The perplexity of windows together, by a form of the model that runs elsewhere or otherwise.
    pub fn perplexity(
        &self,
        model: &impl LanguageModel,
        plan: &Plan,
        windows: Windows,
    ) -> anyhow::Result<f64> {
        let evaluation = evaluate(model, &self.tokens, plan, self.protocol(windows), |_| ())?;
        Ok(evaluation.total().perplexity())
    }

    fn protocol(&self, windows: Windows) -> Protocol {
        Protocol {
            context: windows.context,
            skipped_windows: windows.skipped,
            max_windows: windows.n,
            rule: windows.rule,
            chunk: CHUNK,
            bos: self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos()),
        }
    }

    fn window(&self, plan: &Plan, windows: Windows, at: usize) -> anyhow::Result<Outcome> {
        let skipped = windows.skipped + at;
        let protocol = self.protocol(Windows { skipped, n: 1, ..windows });
        let clock = Instant::now();
        let Evaluation { windows, cache_bytes, bits_per_element } =
            evaluate(&self.model, &self.tokens, plan, protocol, |_| ())?;
        Ok(Outcome {
            nll: windows[0].nll,
            n_tokens: windows[0].n_tokens,
            k_bytes: cache_bytes.keys,
            v_bytes: cache_bytes.values,
            bits_per_element,
            seconds: clock.elapsed().as_secs_f64(),
        })
    }
}

/// The text of a registered data set.
pub fn read_text(data_set: &str, progress: &Progress) -> anyhow::Result<String> {
    let asset = find(data_set).with_context(|| format!("the registry has no {data_set}"))?;
    let path = store(None).obtain(asset, progress)?;
    std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))
}

/// All windows of a plan together.
fn evaluation(outcomes: &[Outcome]) -> Evaluation {
    let score = |outcome: &Outcome| WindowScore { nll: outcome.nll, n_tokens: outcome.n_tokens };
    let last = outcomes.last();
    Evaluation {
        windows: outcomes.iter().map(score).collect(),
        cache_bytes: last.map_or_else(CacheBytes::default, |outcome| CacheBytes {
            keys: outcome.k_bytes,
            values: outcome.v_bytes,
        }),
        bits_per_element: last.map_or(0.0, |outcome| outcome.bits_per_element),
    }
}

fn plan_score(
    name: &str,
    evaluation: &Evaluation,
    baseline: &Evaluation,
    tokens_per_second: f64,
) -> PlanScore {
    let loss = loss(baseline, evaluation);
    let windows = &evaluation.windows;
    PlanScore {
        plan: name.to_owned(),
        perplexity: evaluation.total().perplexity(),
        window_nlls: windows.iter().map(|window| window.nll / window.n_tokens as f64).collect(),
        k_bytes: evaluation.cache_bytes.keys,
        v_bytes: evaluation.cache_bytes.values,
        bits_per_element: evaluation.bits_per_element,
        loss: loss.relative,
        loss_low: loss.low,
        loss_high: loss.high,
        tokens_per_second,
    }
}
