//! The engine against values that others computed: a numpy forward pass for the model itself,
//! llama.cpp for its cache formats.

use super::SYSTEM;
use super::setting::{NamedPlan, PlanScore, SMOLLM2, Setting, Windows};
use crate::experiment::{Experiment, Size};
use common::progress::Progress;
use common::report::Claim;
use kvquant::eval::ScoringRule;
use kvquant::model::WeightFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Perplexities of the first four windows of 1024 tokens, all predictions scored, keys and values in
/// half precision: numpy in single precision over the dequantized weights.
const NUMPY: [f64; 4] = [13.822, 29.774, 24.291, 29.169];

/// The same with activations rounded to 8 bits in blocks of 32, as products of quantized weights round them.
const NUMPY_8_BITS: [f64; 4] = [13.870, 29.890, 24.414, 29.275];

/// llama.cpp, build 4748, flash attention, 12 windows of 1024 tokens, second half of each scored:
/// cache and perplexity.
const LLAMA_CPP: [(&str, f64); 4] =
    [("f16", 21.914), ("q8_0", 21.912), ("q8_0/q4_0", 22.190), ("q4_0", 25.854)];

/// How far a loss may be from llama.cpp's, in points of per cent: it rounds queries to 8 bits, too.
const POINTS: [f64; 4] = [0.5, 0.5, 0.5, 2.0];

/// The engine against values that others computed.
pub struct Anchors;

#[derive(Debug, Serialize, Deserialize)]
pub struct AnchorMetrics {
    pub windows: Vec<WindowAnchor>,
    /// Under llama.cpp's rule, f32 weights; empty in the quick form.
    pub formats: Vec<FormatAnchor>,
}

/// A window's perplexity.
#[derive(Debug, Serialize, Deserialize)]
pub struct WindowAnchor {
    pub weights: String,
    pub window: usize,
    pub reference: f64,
    pub here: f64,
}

/// A cache format of llama.cpp.
#[derive(Debug, Serialize, Deserialize)]
pub struct FormatAnchor {
    pub score: PlanScore,
    pub reference: f64,
    /// llama.cpp's loss against its own f16.
    pub reference_loss: f64,
    /// Agreement asked for, in points of per cent.
    pub tolerance_points: f64,
}

impl FormatAnchor {
    /// Whether the loss is as far from llama.cpp's as it may be, or nearer.
    pub fn holds(&self) -> bool {
        100.0 * (self.score.loss - self.reference_loss).abs() <= self.tolerance_points
    }
}

impl Experiment for Anchors {
    type Metrics = AnchorMetrics;

    fn name(&self) -> String {
        "kvquant-anchors".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(AnchorMetrics, Value)> {
        let f16 = [NamedPlan::parse("f16")?];
        let mut windows = Vec::new();
        let formats = match size {
            Size::Quick => vec![WeightFormat::F32],
            Size::Full => vec![WeightFormat::F32, WeightFormat::Auto],
        };
        for weights in formats {
            let setting = Setting::load(SMOLLM2, weights, progress)?;
            let n_windows = if size == Size::Full { NUMPY.len() } else { 1 };
            let first = Windows::short(n_windows, ScoringRule::All);
            let name = format!("{}-{weights}", Experiment::name(self));
            let score = setting.score(&name, &f16, first, progress)?.remove(0);
            let references = match weights {
                WeightFormat::F32 => NUMPY,
                WeightFormat::Auto | WeightFormat::File => NUMPY_8_BITS,
            };
            let by_window = score.window_nlls.iter().zip(references).enumerate();
            windows.extend(by_window.map(|(window, (nll, reference))| WindowAnchor {
                weights: weights.to_string(),
                window: window + 1,
                reference,
                here: nll.exp(),
            }));
        }
        let formats = if size == Size::Full { self.score_formats(progress)? } else { Vec::new() };
        let configuration = json!({
            "windows": "all predictions of the first windows of 1024 tokens",
            "formats": "second half of 12 windows of 1024 tokens, f32 weights",
        });
        Ok((AnchorMetrics { windows, formats }, configuration))
    }

    fn judged(&self, metrics: &AnchorMetrics) -> Vec<Claim> {
        let judged = |(claim, window): (Claim, &WindowAnchor)| {
            let is_close = (window.here / window.reference - 1.0).abs() < 0.001;
            claim.judged(format!("{:.3}", window.here), is_close)
        };
        self.claims().into_iter().zip(&metrics.windows).map(judged).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let numpy = format!("{:.3}, numpy", NUMPY[0]);
        vec![Claim::goal(
            SYSTEM,
            "engine: perplexity of SmolLM2, first window, within 0.1 %",
            numpy,
        )]
    }
}

impl Anchors {
    fn score_formats(&self, progress: &Progress) -> anyhow::Result<Vec<FormatAnchor>> {
        let plans: Vec<NamedPlan> =
            LLAMA_CPP.iter().map(|(plan, _)| NamedPlan::parse(plan)).collect::<Result<_, _>>()?;
        let setting = Setting::load(SMOLLM2, WeightFormat::F32, progress)?;
        let windows = Windows::short(12, ScoringRule::SecondHalf);
        let name = format!("{}-formats", Experiment::name(self));
        let scores = setting.score(&name, &plans, windows, progress)?;
        let anchors = scores.into_iter().zip(LLAMA_CPP).zip(POINTS);
        Ok(anchors
            .map(|((score, (_, reference)), tolerance_points)| FormatAnchor {
                score,
                reference,
                reference_loss: reference / LLAMA_CPP[0].1 - 1.0,
                tolerance_points,
            })
            .collect())
    }
}
