//! High bits on keys against high bits on values: tables 1 and 2 of the paper, and figure 1's point
//! that keys are the sensitive side.

use super::SYSTEM;
use super::setting::{NamedPlan, PlanScore, QWEN, SMOLLM2, Setting, Windows};
use crate::experiment::{Experiment, Size};
use common::progress::Progress;
use common::report::{Claim, Verdict};
use kvquant::eval::ScoringRule;
use kvquant::model::WeightFormat;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Layers in the high width, for l/0 and 0/l, of 30 and of 24.
const LAYERS: [&[usize]; 2] = [&[0, 1, 5, 10, 15, 20, 25, 30], &[0, 6, 12, 18, 24]];
/// A side's perplexity beyond this many times f16's says nothing but that the model is gone.
pub const COLLAPSED: f64 = 10.0;

/// The sweep of l/0 against 0/l on a model.
pub struct Asymmetry {
    pub model: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct AsymmetryMetrics {
    pub n_layers: usize,
    pub n_windows: usize,
    /// f16 first, against which losses are.
    pub scores: Vec<PlanScore>,
}

impl AsymmetryMetrics {
    /// The score of a plan, if it was run.
    pub fn score(&self, plan: &str) -> Option<&PlanScore> {
        self.scores.iter().find(|score| score.plan == plan)
    }

    /// Whether a model with this perplexity still works.
    pub fn works(&self, score: &PlanScore) -> bool {
        score.perplexity < COLLAPSED * self.scores[0].perplexity
    }

    /// The scores of l/0 and of 0/l.
    pub fn pair(&self, l: usize) -> Option<(&PlanScore, &PlanScore)> {
        Some((self.score(&keys_plan(l))?, self.score(&values_plan(l))?))
    }
}

fn keys_plan(l: usize) -> String {
    format!("asymkv-{l}/0")
}

fn values_plan(l: usize) -> String {
    format!("asymkv-0/{l}")
}

impl Asymmetry {
    /// SmolLM2's; the second model is 491 MB, which the quick form does without.
    pub fn of(size: Size) -> Vec<Asymmetry> {
        match size {
            Size::Quick => vec![Asymmetry { model: SMOLLM2 }],
            Size::Full => vec![Asymmetry { model: SMOLLM2 }, Asymmetry { model: QWEN }],
        }
    }
}

impl Experiment for Asymmetry {
    type Metrics = AsymmetryMetrics;

    fn name(&self) -> String {
        match self.model {
            SMOLLM2 => "kvquant-asymmetry".to_owned(),
            other => format!("kvquant-asymmetry-{other}"),
        }
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(AsymmetryMetrics, Value)> {
        let setting = Setting::load(self.model, WeightFormat::F32, progress)?;
        let n_layers = setting.n_layers();
        let (layers, n_windows) = match (size, self.model) {
            (Size::Quick, _) => (vec![n_layers / 2, n_layers], 2),
            (Size::Full, SMOLLM2) => (LAYERS[0].to_vec(), 12),
            (Size::Full, _) => (LAYERS[1].to_vec(), 4),
        };
        let mut plans: Vec<String> =
            ["f16", "kivi-2", "rtn1/f16", "f16/rtn1"].map(str::to_owned).to_vec();
        for l in layers {
            for plan in [keys_plan(l), values_plan(l)] {
                // 0/0 is both.
                if !plans.contains(&plan) {
                    plans.push(plan);
                }
            }
        }
        let plans: Vec<NamedPlan> =
            plans.iter().map(|plan| NamedPlan::parse(plan)).collect::<Result<_, _>>()?;
        let windows = Windows::short(n_windows, ScoringRule::All);
        let scores = setting.score(&Experiment::name(self), &plans, windows, progress)?;
        let configuration = setting.configuration(windows);
        Ok((AsymmetryMetrics { n_layers, n_windows, scores }, configuration))
    }

    fn judged(&self, metrics: &AsymmetryMetrics) -> Vec<Claim> {
        let l = metrics.n_layers;
        let mut claims = self.claims();
        let mut judge = |row: usize, here: String, holds: bool| {
            claims[row].here = here;
            claims[row].verdict = Verdict::judged(holds);
        };
        let f16 = metrics.scores[0].perplexity;
        if let Some((keys, values)) = metrics.pair(l) {
            let here = format!("ppl {:.0} against {:.0}", keys.perplexity, values.perplexity);
            let judged = metrics.works(keys) || metrics.works(values);
            judge(0, here, judged && keys.loss_high < values.loss_low);
        }
        if let (Some(keys), Some(values)) = (metrics.score("rtn1/f16"), metrics.score("f16/rtn1")) {
            let here = format!("ppl {:.1} against {:.1}", values.perplexity, keys.perplexity);
            judge(1, here, values.perplexity < keys.perplexity);
        }
        if let Some(kivi) = metrics.score("kivi-2") {
            judge(2, format!("ppl {:+.0} %", 100.0 * kivi.loss), kivi.loss < 0.02);
        }
        if let Some((half, _)) = metrics.pair(l / 2) {
            let here = format!("ppl {:.0}, f16 {f16:.1}", half.perplexity);
            judge(3, here, half.loss < 0.1);
        }
        claims
    }

    fn claims(&self) -> Vec<Claim> {
        let on = if self.model == SMOLLM2 { String::new() } else { format!("{}: ", self.model) };
        [
            ("2-bit keys, 1-bit values beat the reverse (table 2, TriviaQA)", "85.3 against 11.6"),
            ("1-bit values hurt less than 1-bit keys (fig. 1)", "smaller error"),
            ("KIVI-2 is near float (table 1, CoQA)", "63.1 of 63.9"),
            ("l/0 with l half the layers is near float (table 1, CoQA)", "58.1 of 63.9"),
        ]
        .map(|(claim, paper)| Claim::of_paper(SYSTEM, format!("{on}{claim}"), paper))
        .to_vec()
    }
}
