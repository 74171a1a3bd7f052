//! The throughput model against published runs: those that its constants are fitted on, each foretold
//! from the others, and those that no constant has seen.

use super::SYSTEM;
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::progress::Progress;
use common::report::Claim;
use common::statistics::Estimate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unicron::cluster::Hardware;
use unicron::throughput::calibration::{Row, checks, leave_one_out, rows, strong_scaling_model};
use unicron::throughput::{Constants, Throughput};

/// GPUs of the strong scaling; the first and the last are published.
const SCALING: [usize; 7] = [96, 192, 384, 768, 1536, 3072, 4608];
/// Utilisation that is published at the ends, in percent.
const PUBLISHED_ENDS: [f64; 2] = [47.0, 42.0];
/// Goals, in percent and in points of utilisation.
const MEAN_ERROR: f64 = 6.0;
const WORST_ERROR: f64 = 20.0;
const SCALING_ERROR: f64 = 2.0;

/// The throughput model against published runs.
pub struct Calibration;

#[derive(Debug, Serialize, Deserialize)]
pub struct CalibrationMetrics {
    /// What the constants are fitted on.
    pub fitted: Vec<RunError>,
    /// What they are not.
    pub checks: Vec<RunError>,
    /// 177B at a fixed batch on ever more GPUs.
    pub scaling: Vec<Scaling>,
}

/// A published run. Rates are the model's TFLOP/s for each GPU.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunError {
    pub model: String,
    pub source: String,
    pub gpus: usize,
    pub published: f64,
    pub predicted: f64,
    /// With constants that were fitted on the other runs, in percent.
    pub left_out_error: Option<f64>,
}

impl RunError {
    /// In percent of what is published.
    pub fn error(&self) -> f64 {
        100.0 * (self.predicted / self.published - 1.0)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Scaling {
    pub gpus: usize,
    /// In percent of the peak.
    pub utilisation: f64,
    pub shape: String,
}

impl Experiment for Calibration {
    type Metrics = CalibrationMetrics;

    fn name(&self) -> String {
        "unicron-calibration".to_owned()
    }

    fn run(&self, _: Size, _: &Progress) -> anyhow::Result<(CalibrationMetrics, Value)> {
        let constants = Constants::default();
        let left_out = leave_one_out(&rows());
        let run = |row: &Row, left_out: Option<f64>| RunError {
            model: row.model.name().to_owned(),
            source: row.source.to_owned(),
            gpus: row.tensor * row.pipeline * row.data,
            published: row.flops_per_gpu / 1e12,
            predicted: row.predicted(&constants).unwrap_or(0.0) / 1e12,
            left_out_error: left_out.map(|error| 100.0 * error),
        };
        let fitted =
            rows().iter().zip(left_out).map(|(row, error)| run(row, Some(error))).collect();
        let checks = checks().iter().map(|row| run(row, None)).collect();
        let metrics = CalibrationMetrics { fitted, checks, scaling: scaling(&constants)? };
        let configuration = json!({
            "matmul_efficiency": constants.matmul_efficiency,
            "attention_efficiency": constants.attention_efficiency,
            "activation_passes": constants.activation_passes,
            "hidden_communication": constants.hidden_communication,
            "pipeline_drag": constants.pipeline_drag,
        });
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &CalibrationMetrics) -> Vec<Claim> {
        let errors: Vec<f64> = metrics.fitted.iter().map(|run| run.error().abs()).collect();
        let mean = Estimate::of(&errors).mean;
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let ends = [metrics.scaling.first(), metrics.scaling.last()];
        let off = ends.into_iter().flatten().zip(PUBLISHED_ENDS);
        let off =
            off.map(|(end, published)| (end.utilisation - published).abs()).fold(0.0, f64::max);
        let ends: Vec<String> = [metrics.scaling.first(), metrics.scaling.last()]
            .into_iter()
            .flatten()
            .map(|end| format!("{:.1} %", end.utilisation))
            .collect();
        let [fit, scaling] = claims();
        let errors = format!("mean {mean:.1} %, worst {worst:.1} %");
        vec![
            fit.judged(errors, mean <= MEAN_ERROR && worst <= WORST_ERROR),
            scaling.judged(ends.join(" to "), off <= SCALING_ERROR),
        ]
    }

    fn claims(&self) -> Vec<Claim> {
        claims().to_vec()
    }
}

fn claims() -> [Claim; 2] {
    [
        ("throughput model, 19 runs of Megatron-LM", "mean 6 %, worst 20 %"),
        ("strong scaling of 177B, 96 to 4,608 H100, within 2 points", "Megatron-LM: 47 % to 42 %"),
    ]
    .map(|(claim, bound)| Claim::goal(SYSTEM, claim, bound))
}

fn scaling(constants: &Constants) -> anyhow::Result<Vec<Scaling>> {
    let hardware = Hardware::kind("h100-80gb")?;
    let model = strong_scaling_model();
    let most = SCALING.into_iter().max().unwrap_or(0);
    let throughput = Throughput::megatron(&model, &hardware, 8, most, constants);
    SCALING
        .into_iter()
        .map(|gpus| {
            let step = throughput.step_at(gpus).context("177B fits in 96 H100")?;
            let peak = hardware.peak_flops * gpus as f64;
            let utilisation = 100.0 * step.flops / peak;
            let shape = step.shape.map_or(String::new(), |shape| shape.to_string());
            Ok(Scaling { gpus, utilisation, shape })
        })
        .collect()
}
