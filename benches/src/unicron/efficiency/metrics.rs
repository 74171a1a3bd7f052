//! What comes out of the experiment.

use super::sensitivities;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct EfficiencyMetrics {
    /// What each model achieves on so many GPUs, by model.
    pub curves: Vec<Curve>,
    pub allocations: Vec<AllocationRow>,
    /// WAF over time on the first seed, by trace.
    pub histories: Vec<History>,
    pub traces: Vec<TraceRows>,
    /// Unicron by other rules than ours, on the traces and on a large cluster.
    pub ablations: Vec<Ablation>,
    pub sensitivities: Vec<Sensitivity>,
}

/// T of a model of the paper on its cluster.
#[derive(Debug, Serialize, Deserialize)]
pub struct Curve {
    pub model: String,
    /// (GPUs, PFLOP/s); 0 where the model doesn't fit.
    pub points: Vec<(usize, f64)>,
}

/// WAF over time of some policies, as finely as it is drawn.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    pub trace: String,
    pub duration_s: f64,
    /// (Policy, (seconds, WAF from then on)).
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// A multi-task case shared out by a strategy, nothing failing.
#[derive(Debug, Serialize, Deserialize)]
pub struct AllocationRow {
    pub case: String,
    pub strategy: String,
    /// Weighted PFLOP/s.
    pub waf: f64,
    /// Tasks without workers, or with too few to run.
    pub starved: usize,
}

/// All policies on a trace.
#[derive(Debug, Serialize, Deserialize)]
pub struct TraceRows {
    pub trace: String,
    /// How rivals notice failures: torchrun's defaults, or as the paper tells.
    pub detection: String,
    pub rows: Vec<PolicyRow>,
}

/// A policy on a trace: means over seeds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyRow {
    pub policy: String,
    pub throughput: String,
    pub spares: usize,
    /// The best of its variants, chosen on other seeds.
    pub is_best_variant: bool,
    /// Accumulated WAF, in weighted EFLOP.
    pub waf: f64,
    /// By how much Unicron has achieved more, seed by seed, and half of the 95 % interval.
    pub ratio: Option<(f64, f64)>,
    /// Against the same policy without failures.
    pub efficiency: f64,
    /// Against the clairvoyant bound.
    pub of_bound: f64,
    /// Shares of the GPU time: useful, detecting, in transition, redone, idle.
    pub bins: [f64; 5],
    pub starved_mean: f64,
}

/// Unicron by another rule, against ours.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ablation {
    pub trace: String,
    pub rule: String,
    /// Accumulated WAF over that of ours, and half of the 95 % interval.
    pub ratio: (f64, f64),
    pub starved_mean: f64,
}

/// Unicron over Megatron's best variant while one assumption changes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sensitivity {
    pub trace: String,
    pub assumption: String,
    /// (Value, ratio, half of the 95 % interval).
    pub points: Vec<(f64, f64, f64)>,
}

impl EfficiencyMetrics {
    /// A rival at its published throughput, in its best variant, noticing as torchrun does.
    pub fn row(&self, trace: &str, policy: &str) -> Option<&PolicyRow> {
        let of_trace = |rows: &&TraceRows| rows.trace == trace && rows.detection == "torchrun";
        let rows = &self.traces.iter().find(of_trace)?.rows;
        rows.iter().find(|row| row.policy == policy && row.is_best_variant)
    }

    /// The mean repair time in hours at which the ratio to Megatron without spare nodes passes this one,
    /// between two that were simulated.
    pub fn repair_time_of(&self, ratio: f64) -> Option<f64> {
        let is_it = |sensitivity: &&Sensitivity| {
            sensitivity.assumption == sensitivities::REPAIR_WITHOUT_SPARES
        };
        let points = &self.sensitivities.iter().find(is_it)?.points;
        points.windows(2).find_map(|ends| {
            let [(short, low, _), (long, high, _)] = *ends else { return None };
            let part = (ratio - low) / (high - low);
            (0.0..=1.0).contains(&part).then(|| short * (long / short).powf(part))
        })
    }
}
