//! Model and text of the experiments, and a plan's score on them.

use anyhow::Context;
use common::assets::find;
use common::command::store;
use common::progress::{Bar, Progress, Unit};
use kvquant::eval::paired::loss;
use kvquant::eval::{Evaluation, Protocol, ScoringRule, evaluate};
use kvquant::model::gguf::Gguf;
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Llama, WeightFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;

const MODEL: &str = "smollm2";
const TEXT: &str = "wikitext-2-raw-test";
/// Tokens in a window of the text.
pub const CONTEXT: usize = 1024;
const CHUNK: usize = 512;

/// SmolLM2-135M on WikiText-2's raw test set.
pub struct Setting {
    model: Llama,
    tokens: Vec<u32>,
    pub weights: WeightFormat,
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
    pub loss_low: f64,
    pub loss_high: f64,
    pub tokens_per_second: f64,
}

impl Setting {
    /// Loads model and text, fetching what is missing.
    pub fn load(weights: WeightFormat, progress: &Progress) -> anyhow::Result<Setting> {
        let store = store(None);
        let gguf = Gguf::open(&store.model(MODEL, progress)?)?;
        let text = find(TEXT).context("WikiText-2 is registered")?;
        let text = store.obtain(text, progress)?;
        let text = std::fs::read_to_string(&text)
            .with_context(|| format!("{} can't be read", text.display()))?;
        let tokens = Tokenizer::from_gguf(&gguf)?.encode(&text, false)?;
        Ok(Setting { model: Llama::load(gguf, weights)?, tokens, weights })
    }

    /// Layers of the model, which the plans of the experiments name.
    pub fn n_layers(&self) -> usize {
        self.model.config().n_layers
    }

    /// What a record says of the setting.
    pub fn configuration(&self, rule: ScoringRule, n_windows: usize) -> Value {
        json!({
            "model": MODEL,
            "weights": self.weights.to_string(),
            "text": TEXT,
            "context": CONTEXT,
            "windows": n_windows,
            "rule": rule.to_string(),
            "chunk": CHUNK,
        })
    }

    /// Scores `plans` over the first windows of the text, losses against the first of them.
    pub fn score(
        &self,
        plans: &[String],
        rule: ScoringRule,
        n_windows: usize,
        progress: &Progress,
    ) -> anyhow::Result<Vec<PlanScore>> {
        let total = (plans.len() * n_windows) as u64;
        let bar = progress.bar("perplexity", Some(total), Unit::Items("windows"));
        let mut baseline: Option<Evaluation> = None;
        let mut scores = Vec::new();
        for plan in plans {
            bar.message(plan.clone());
            let clock = Instant::now();
            let evaluation = self.evaluate(plan, rule, n_windows, &bar)?;
            let seconds = clock.elapsed().as_secs_f64();
            let baseline = baseline.get_or_insert_with(|| evaluation.clone());
            scores.push(plan_score(plan, &evaluation, baseline, seconds));
        }
        bar.finish();
        Ok(scores)
    }

    fn evaluate(
        &self,
        plan: &str,
        rule: ScoringRule,
        max_windows: usize,
        bar: &Bar,
    ) -> anyhow::Result<Evaluation> {
        let protocol = Protocol {
            context: CONTEXT,
            skipped_windows: 0,
            max_windows,
            rule,
            chunk: CHUNK,
            bos: None,
        };
        Ok(evaluate(&self.model, &self.tokens, &plan.parse()?, protocol, |_| bar.advance(1))?)
    }
}

fn plan_score(
    plan: &str,
    evaluation: &Evaluation,
    baseline: &Evaluation,
    seconds: f64,
) -> PlanScore {
    let loss = loss(baseline, evaluation);
    let windows = &evaluation.windows;
    PlanScore {
        plan: plan.to_owned(),
        perplexity: evaluation.total().perplexity(),
        window_nlls: windows.iter().map(|window| window.nll / window.n_tokens as f64).collect(),
        k_bytes: evaluation.cache_bytes.keys,
        v_bytes: evaluation.cache_bytes.values,
        bits_per_element: evaluation.bits_per_element,
        loss: loss.relative,
        loss_low: loss.low,
        loss_high: loss.high,
        tokens_per_second: (windows.len() * CONTEXT) as f64 / seconds,
    }
}
