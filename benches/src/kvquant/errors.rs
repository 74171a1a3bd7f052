//! What becomes of errors in keys and in values: figures 1 and 2, theorem 1.

use super::SYSTEM;
use super::setting::{SMOLLM2, Setting, read_text};
use crate::experiment::{Experiment, Size};
use common::progress::{Progress, Unit};
use common::report::{Claim, Verdict};
use kvquant::analysis::figures::mean;
use kvquant::analysis::{HeadAnalysis, HeadErrors, analyze};
use kvquant::model::WeightFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The paper's figures are of 2 bits.
const PLAN: &str = "kivi-2";
/// As far as theorem 1 may be from what is computed, in parts of an output's largest element.
const THEOREM: f64 = 1e-5;

/// The errors of every head.
pub struct Errors;

#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorMetrics {
    pub n_layers: usize,
    pub heads: Vec<HeadAnalysis>,
}

impl ErrorMetrics {
    /// An error's mean over layers and heads.
    pub fn mean(&self, error: fn(&HeadErrors) -> f64) -> f64 {
        let layers = (0..self.n_layers).map(|layer| mean(&self.heads, layer, error));
        layers.sum::<f64>() / self.n_layers as f64
    }

    /// In how many layers keys' errors reach the output larger than values' do.
    fn layers_where_keys_matter_more(&self) -> usize {
        let matters = |&layer: &usize| {
            let of = |error| mean(&self.heads, layer, error);
            of(|errors| errors.output_by_keys) > of(|errors| errors.output_by_values)
        };
        (0..self.n_layers).filter(matters).count()
    }
}

impl Experiment for Errors {
    type Metrics = ErrorMetrics;

    fn name(&self) -> String {
        "kvquant-errors".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(ErrorMetrics, Value)> {
        let setting = Setting::load(SMOLLM2, WeightFormat::F32, progress)?;
        let n_tokens = if size == Size::Full { 2048 } else { 512 };
        let text = read_text("wikitext-2-valid", progress)?;
        let mut tokens = setting.tokenizer.encode(&text, setting.tokenizer.adds_bos())?;
        tokens.truncate(n_tokens);
        let n_layers = setting.n_layers();
        let bar = progress.bar("errors", Some(n_layers as u64), Unit::Items("layers"));
        let heads = analyze(&setting.model, &tokens, &PLAN.parse()?, |_| bar.advance(1))?;
        bar.finish();
        let configuration = json!({ "model": SMOLLM2, "plan": PLAN, "text": "wikitext-2-valid", "tokens": n_tokens });
        Ok((ErrorMetrics { n_layers, heads }, configuration))
    }

    fn judged(&self, metrics: &ErrorMetrics) -> Vec<Claim> {
        let mut claims = self.claims();
        let by_keys = metrics.mean(|errors| errors.output_by_keys);
        let by_values = metrics.mean(|errors| errors.output_by_values);
        let stored = metrics.mean(|errors| errors.keys) / metrics.mean(|errors| errors.values);
        claims[0].here = format!(
            "{:.1} x of the output ({stored:.1} x as stored), in {} of {} layers",
            by_keys / by_values,
            metrics.layers_where_keys_matter_more(),
            metrics.n_layers
        );
        claims[0].verdict = Verdict::judged(by_keys > by_values && by_keys / by_values > stored);
        let theorem = metrics.heads.iter().map(|head| head.errors.theorem).fold(0.0, f64::max);
        claims[1].here = format!("{theorem:.0e}");
        claims[1].verdict = Verdict::judged(theorem <= THEOREM);
        claims
    }

    fn claims(&self) -> Vec<Claim> {
        let theorem = format!("≤ {THEOREM:.0e}");
        vec![
            Claim::of_paper(
                SYSTEM,
                "2-bit keys' squared error over values' grows on its way to the output (fig. 1)",
                "it does",
            ),
            Claim::of_paper(SYSTEM, "theorem 1, largest difference of all heads", theorem),
        ]
    }
}
