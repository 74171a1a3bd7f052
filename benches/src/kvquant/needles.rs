//! Needles in essays, by the length of the text and their depth: what perplexity doesn't show.

use super::SYSTEM;
use super::setting::{NamedPlan, SMOLLM2, Setting};
use crate::experiment::{Experiment, Size};
use common::command::store;
use common::progress::{Progress, Unit};
use common::report::{Claim, Verdict};
use kvquant::eval::needle::{ESSAYS, Haystack, Needle};
use kvquant::model::WeightFormat;
use kvquant::presets::Preset;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Needles in a text.
const NEEDLES: usize = 5;
/// What `balanced` finds of what f16 finds, at least.
const GOAL: f64 = 0.95;

/// The retrieval of needles under plans.
pub struct Needles;

#[derive(Debug, Serialize, Deserialize)]
pub struct NeedleMetrics {
    pub lengths: Vec<usize>,
    pub depths: Vec<f64>,
    /// Texts of each length.
    pub texts: usize,
    /// f16 first.
    pub plans: Vec<Retrieval>,
}

/// What was found under a plan.
#[derive(Debug, Serialize, Deserialize)]
pub struct Retrieval {
    pub plan: String,
    /// Needles found, `[lengths][depths]`, of as many as there are texts.
    pub found: Vec<Vec<usize>>,
}

impl Retrieval {
    /// All of them.
    pub fn total(&self) -> usize {
        self.found.iter().flatten().sum()
    }
}

impl Experiment for Needles {
    type Metrics = NeedleMetrics;

    fn name(&self) -> String {
        "kvquant-needles".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(NeedleMetrics, Value)> {
        let setting = Setting::load(SMOLLM2, WeightFormat::Auto, progress)?;
        let (lengths, texts) = match size {
            Size::Full => (vec![1024, 2048, 4096, 8192], 12),
            Size::Quick => (vec![1024], 1),
        };
        let mut plans = vec![NamedPlan::parse("f16")?, setting.preset(Preset::Balanced)?];
        if size == Size::Full {
            plans.push(setting.preset(Preset::Small)?);
        }
        let essays = store(None).texts_below(ESSAYS, progress)?;
        let essays = setting.tokenizer.encode(&essays, setting.tokenizer.adds_bos())?;
        let configuration = json!({
            "model": SMOLLM2,
            "weights": WeightFormat::Auto.to_string(),
            "text": "Paul Graham's essays, in the order of their names",
            "lengths": lengths,
            "texts": texts,
            "needles": NEEDLES,
        });
        let mut journal = setting.journal(&Experiment::name(self), &configuration)?;
        let total = (plans.len() * lengths.len() * texts) as u64;
        let bar = progress.bar("needles", Some(total), Unit::Items("texts"));
        let mut retrievals = Vec::new();
        for NamedPlan { name, plan, .. } in plans {
            bar.message(name.clone());
            let mut found = vec![vec![0; NEEDLES]; lengths.len()];
            for (&length, found) in lengths.iter().zip(&mut found) {
                for text in 0..texts {
                    let needles = Needle::from_seed(text as u64, NEEDLES);
                    let haystack =
                        Haystack::new(&setting.tokenizer, &essays, text, length, &needles)?;
                    let outcome: Vec<bool> = journal
                        .outcome(&format!("{name}, {length} tokens, text {text}"), || {
                            Ok(haystack.ask(&setting.model, &plan)?)
                        })?;
                    for (found, is_found) in found.iter_mut().zip(outcome) {
                        *found += usize::from(is_found);
                    }
                    bar.advance(1);
                }
            }
            retrievals.push(Retrieval { plan: name, found });
        }
        bar.finish();
        journal.remove();
        let depths = Haystack::depths(NEEDLES).collect();
        Ok((NeedleMetrics { lengths, depths, texts, plans: retrievals }, configuration))
    }

    fn judged(&self, metrics: &NeedleMetrics) -> Vec<Claim> {
        let mut claims = self.claims();
        if let [exact, balanced, ..] = &metrics.plans[..] {
            let (all, found) = (exact.total(), balanced.total());
            let prompts = metrics.lengths.len() * metrics.depths.len() * metrics.texts;
            claims[0].here = format!("{found} against {all} of {prompts}");
            claims[0].verdict = Verdict::judged(found as f64 >= GOAL * all as f64);
        }
        claims
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::goal(
            SYSTEM,
            "needles that balanced finds, 1k to 8k tokens",
            format!("≥ {:.0} % of f16's", 100.0 * GOAL),
        )]
    }
}
