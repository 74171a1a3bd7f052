//! `kvquant memory`

use super::options::{PlanChoice, PlanOptions, open_model};
use crate::cache::CacheShape;
use crate::cache::budget::{largest_batch, largest_context, peak_bytes};
use crate::cache::bytes::planned_bytes;
use crate::model::config::Config;
use crate::model::gguf::Gguf;
use crate::model::shapes::{PUBLISHED, published_shape};
use crate::policy::Plan;
use anyhow::{Context, bail};
use clap::Args;
use common::command::InputContext;
use serde_json::json;

const GIB: f64 = (1u64 << 30) as f64;

/// Show the exact bytes of a plan, and what fits into a budget
///
/// Needs no model file for published shapes: llama-2-7b, llama-2-13b, llama-3.1-8b, qwen2.5-7b and
/// others.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kvquant memory --model llama-2-7b --kv asymkv-16/0 --context 8192 --batch 48 --against kivi-2
  kvquant memory --model llama-3.1-8b --kv kivi-2 --context 32768 --budget 16GiB")]
pub struct Memory {
    /// A published shape, a GGUF file, hf:OWNER/REPO/FILE, smollm2, qwen2.5-coder-0.5b or stories260k
    #[arg(long, default_value = "smollm2-135m")]
    model: String,
    #[command(flatten)]
    plan: PlanOptions,
    /// Tokens of each sequence
    #[arg(long, value_name = "TOKENS", default_value_t = 4096)]
    context: u32,
    /// Sequences
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Also show the largest context and batch that fit into this many bytes, as 8GiB or 500MB
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    budget: Option<u64>,
    /// Also show what is saved against this plan, with the same window
    #[arg(long, value_name = "PLAN")]
    against: Option<PlanChoice>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Memory {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (shape, file) = self.model()?;
        let file = file.as_ref();
        let plan = self.plan.plan_of_shape(shape, file)?;
        let against = self.against.as_ref().map(|against| against.plan_of_shape(shape, file));
        let against = against.transpose()?.map(|against| against.with_window(plan.window));
        let n_tokens = self.context as usize;
        let each = planned_bytes(shape, &plan, n_tokens)?;
        let report = Report {
            plan: plan.to_string(),
            k_bytes: self.batched(each.keys)?,
            v_bytes: self.batched(each.values)?,
            cache_bytes: self.batched(each.total())?,
            peak_bytes: self.batched(peak_bytes(shape, &plan, n_tokens)?)?,
            f16_bytes: self.batched(planned_bytes(shape, &Plan::f16(), n_tokens)?.total())?,
            bits_per_element: each.bits_per_element(shape, n_tokens),
            against: against.map(|against| self.held(shape, &against)).transpose()?,
            fits: self.fits(shape, &plan)?,
        };
        match self.json {
            true => self.print_json(&report),
            false => common::command::print(&self.text(&report)),
        }
    }

    /// The cache's shape, and the model's file where there is one.
    fn model(&self) -> anyhow::Result<(CacheShape, Option<Gguf>)> {
        if let Some(shape) = published_shape(&self.model) {
            return Ok((shape, None));
        }
        let gguf = open_model(&self.model).with_context(|| {
            let names: Vec<&str> = PUBLISHED.iter().map(|model| model.name).collect();
            format!("published shapes are {}", names.join(", "))
        })?;
        let config = Config::from_gguf(&gguf)?;
        Ok((config.cache_shape(), Some(gguf)))
    }

    fn batched(&self, bytes: u64) -> anyhow::Result<u64> {
        bytes
            .checked_mul(u64::from(self.batch))
            .bad_input("context times batch is beyond 2^64 bytes")
    }

    fn held(&self, shape: CacheShape, plan: &Plan) -> anyhow::Result<Against> {
        let bytes = planned_bytes(shape, plan, self.context as usize)?.total();
        Ok(Against { plan: plan.to_string(), cache_bytes: self.batched(bytes)? })
    }

    fn fits(&self, shape: CacheShape, plan: &Plan) -> anyhow::Result<Option<Fits>> {
        let Some(budget) = self.budget else { return Ok(None) };
        Ok(Some(Fits {
            budget,
            context: largest_context(shape, plan, self.batch as usize, budget)?,
            batch: largest_batch(shape, plan, self.context as usize, budget)?,
        }))
    }

    fn print_json(&self, report: &Report) -> anyhow::Result<()> {
        let mut object = json!({
            "model": self.model,
            "plan": report.plan,
            "context": self.context,
            "batch": self.batch,
            "cache_bytes": report.cache_bytes,
            "k_bytes": report.k_bytes,
            "v_bytes": report.v_bytes,
            "bits_per_element": report.bits_per_element,
            "peak_bytes": report.peak_bytes,
            "f16_bytes": report.f16_bytes,
        });
        if let Some(against) = &report.against {
            object["against"] = json!({
                "plan": against.plan,
                "cache_bytes": against.cache_bytes,
                "saved_gib": against.saved_gib(report),
            });
        }
        if let Some(fits) = &report.fits {
            object["budget"] = json!({
                "bytes": fits.budget,
                "largest_context": fits.context,
                "largest_batch": fits.batch,
            });
        }
        common::command::print_json(&object)
    }

    fn text(&self, report: &Report) -> String {
        let Memory { model, context, batch, .. } = self;
        let mut lines = vec![format!("{model}, {}: {batch} x {context} tokens", report.plan)];
        let mut rows = vec![
            ("keys", report.k_bytes),
            ("values", report.v_bytes),
            ("cache", report.cache_bytes),
            ("as f16", report.f16_bytes),
        ];
        if report.peak_bytes != report.cache_bytes {
            rows.push(("on the way", report.peak_bytes));
        }
        lines.extend(rows.into_iter().map(|(name, bytes)| {
            format!("{name:<10} {bytes:>18} bytes {:>10.3} GiB", bytes as f64 / GIB)
        }));
        let bits = report.bits_per_element;
        lines.push(format!("{bits:.3} bits per element, metadata and window included"));
        if let Some(against) = &report.against {
            let saved = against.saved_gib(report);
            lines.push(format!("saves {saved:.2} GiB against {}", against.plan));
        }
        if let Some(Fits { budget, context: longest, batch: most }) = report.fits {
            let budget = budget as f64 / GIB;
            lines.push(format!("{budget:.2} GiB hold {batch} x up to {longest} tokens"));
            lines.push(format!("{budget:.2} GiB hold up to {most} x {context} tokens"));
        }
        lines.join("\n") + "\n"
    }
}

struct Report {
    plan: String,
    k_bytes: u64,
    v_bytes: u64,
    cache_bytes: u64,
    peak_bytes: u64,
    f16_bytes: u64,
    bits_per_element: f64,
    against: Option<Against>,
    fits: Option<Fits>,
}

struct Against {
    plan: String,
    cache_bytes: u64,
}

impl Against {
    fn saved_gib(&self, report: &Report) -> f64 {
        (self.cache_bytes as f64 - report.cache_bytes as f64) / GIB
    }
}

struct Fits {
    budget: u64,
    context: usize,
    batch: u64,
}

/// A number of bytes with a unit of 1000s (kB, MB, GB, TB) or of 1024s (KiB, MiB, GiB, TiB).
fn parse_bytes(text: &str) -> anyhow::Result<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
        ("", 1),
    ];
    for (unit, factor) in UNITS {
        let number = text.strip_suffix(unit).map(str::trim).and_then(|text| text.parse().ok());
        if let Some(number) = number {
            let bytes: f64 = number;
            if !(bytes * factor as f64 >= 0.0 && bytes * (factor as f64) < u64::MAX as f64) {
                break;
            }
            return Ok((bytes * factor as f64) as u64);
        }
    }
    bail!("`{text}` is no number of bytes; write 8GiB, 500MB or 1048576")
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn bytes_with_and_without_units() {
        assert_eq!(parse_bytes("8GiB").unwrap(), 8 << 30);
        assert_eq!(parse_bytes("1.5 MB").unwrap(), 1_500_000);
        assert_eq!(parse_bytes("42").unwrap(), 42);
        for bad in ["", "GiB", "-1", "nan", "1e30TiB", "8 gib"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
