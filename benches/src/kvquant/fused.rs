//! The fused kernels against the plain loops, by perplexity.

use super::SYSTEM;
use super::setting::{NamedPlan, SMOLLM2, Setting, Windows};
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use common::progress::{Progress, Unit};
use common::report::Claim;
use kvquant::eval::ScoringRule;
use kvquant::model::{ByReference, WeightFormat};
use kvquant::presets::Preset;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A text under each plan, through both forms of attention.
///
/// The weights' products are in single precision: with activations rounded to bytes, half precision alone differs by
/// 0.05 %. A code of one or two bits that falls to the other side of a threshold moves a window by half a percent either
/// way, so there are many windows.
pub struct Fused;

#[derive(Debug, Serialize, Deserialize)]
pub struct FusedMetrics {
    pub context: usize,
    pub windows: usize,
    pub plans: Vec<FusedRow>,
}

/// Perplexities of a plan.
#[derive(Debug, Serialize, Deserialize)]
pub struct FusedRow {
    pub plan: String,
    pub by_reference: f64,
    pub fused: f64,
}

impl FusedRow {
    /// How far the fused form's is from the other, in percent.
    pub fn difference(&self) -> f64 {
        100.0 * (self.fused / self.by_reference - 1.0)
    }
}

const GOAL: Goal = Goal::at_most(
    SYSTEM,
    "perplexity of fused kernels, largest difference from the plain loops",
    0.1,
    " %",
)
.with_decimals(2);

impl Experiment for Fused {
    type Metrics = FusedMetrics;

    fn name(&self) -> String {
        "kvquant-fused".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(FusedMetrics, Value)> {
        let setting = Setting::load(SMOLLM2, WeightFormat::F32, progress)?;
        // The plain loops decode the whole history for each query: twice the tokens are four times the work.
        let (context, n, plans) = match size {
            Size::Full => (512, 24, &Preset::SEARCHED[..]),
            Size::Quick => (192, 1, &Preset::SEARCHED[..1]),
        };
        let windows = Windows { context, skipped: 0, n, rule: ScoringRule::All };
        let mut named = vec![NamedPlan::parse("f16")?, NamedPlan::parse("kivi-2")?];
        for preset in plans {
            named.push(setting.preset(*preset)?);
        }
        let bar = progress.bar("plain loops", Some(named.len() as u64), Unit::Items("plans"));
        let mut rows = Vec::new();
        for NamedPlan { name, plan, .. } in named {
            bar.message(name.clone());
            rows.push(FusedRow {
                fused: setting.perplexity(&setting.model, &plan, windows)?,
                by_reference: setting.perplexity(&ByReference(&setting.model), &plan, windows)?,
                plan: name,
            });
            bar.advance(1);
        }
        bar.finish();
        Ok((FusedMetrics { context, windows: n, plans: rows }, setting.configuration(windows)))
    }

    fn judged(&self, metrics: &FusedMetrics) -> Vec<Claim> {
        // What one window says is mostly noise.
        let differences = metrics.plans.iter().map(|row| row.difference().abs());
        let greatest = differences.reduce(f64::max).filter(|_| metrics.windows > 1);
        vec![GOAL.judged(greatest)]
    }

    fn claims(&self) -> Vec<Claim> {
        vec![GOAL.claim()]
    }
}
