//! Attention alone on the CPU: bits against our own half precision, and the memory's bandwidth in the same run.

use super::SYSTEM;
use super::setting::{NamedPlan, SMOLLM2};
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use common::command::store;
use common::progress::{Progress, Unit};
use common::report::Claim;
use kvquant::attention::Heads;
use kvquant::isa::Isa;
use kvquant::measure::{AttentionCase, attention_times, integer_plan, read_bandwidth};
use kvquant::model::config::Config;
use kvquant::model::fingerprint;
use kvquant::model::gguf::Gguf;
use kvquant::policy::Plan;
use kvquant::presets::Preset;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const KV_HEADS: usize = 8;
/// Tokens of a group of keys.
const KEY_GROUP: usize = 128;
/// 16 is half precision.
const BITS: [u8; 5] = [16, 8, 4, 2, 1];
/// The paper's formats.
const PAPER: [&str; 2] = ["kivi-2", "kivi-1"];

/// Attention on the CPU.
pub struct Attention;

#[derive(Debug, Serialize, Deserialize)]
pub struct AttentionMetrics {
    pub instructions: String,
    /// By one thread, measured in this run.
    pub read_bytes_per_s: f64,
    pub rows: Vec<Row>,
}

/// A shape in all formats.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub head_dim: usize,
    /// Query heads of a KV head.
    pub group_size: usize,
    pub context: usize,
    pub threads: usize,
    /// Half precision first.
    pub formats: Vec<Format>,
}

/// A format's time for a layer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Format {
    pub name: String,
    pub seconds: f64,
    pub bytes: usize,
}

impl Row {
    /// Half precision's time over a format's.
    pub fn against_f16(&self, name: &str) -> Option<f64> {
        Some(self.format("f16")?.seconds / self.format(name)?.seconds)
    }

    pub fn format(&self, name: &str) -> Option<&Format> {
        self.formats.iter().find(|format| format.name == name)
    }
}

impl AttentionMetrics {
    /// The row of a shape, on one thread.
    fn row(&self, head_dim: usize, group_size: usize) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| (row.head_dim, row.group_size, row.threads) == (head_dim, group_size, 1))
    }

    /// The least of both head lengths.
    fn least(&self, group_size: usize, name: &str) -> Option<f64> {
        let ratios = [64, 128].map(|head_dim| self.row(head_dim, group_size)?.against_f16(name));
        Some(ratios[0]?.min(ratios[1]?))
    }

    /// Half precision with one query, of the bandwidth: the least of both head lengths.
    fn share(&self) -> Option<f64> {
        let shares = [64, 128].map(|head_dim| {
            let half = self.row(head_dim, 1)?.format("f16")?;
            Some(half.bytes as f64 / half.seconds / self.read_bytes_per_s)
        });
        Some(shares[0]?.min(shares[1]?))
    }

    /// What a second thread gains in 2 bits.
    fn scaling(&self) -> Option<f64> {
        let two = self.rows.iter().find(|row| row.threads == 2)?;
        let one = self.row(two.head_dim, two.group_size)?;
        Some(one.format("2 bits")?.seconds / two.format("2 bits")?.seconds)
    }
}

impl Experiment for Attention {
    type Metrics = AttentionMetrics;

    fn name(&self) -> String {
        "kvquant-attention".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(AttentionMetrics, Value)> {
        let (shapes, context, repeats) = match size {
            Size::Full => (vec![(64, 1), (64, 4), (128, 1), (128, 4)], 32 << 10, 9),
            Size::Quick => (vec![(128, 4)], 4 << 10, 3),
        };
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let (one, two) = (pool(1)?, pool(2)?);
        let read_bytes_per_s = one.install(read_bandwidth);
        let bar = progress.bar("attention", Some(shapes.len() as u64 + 2), Unit::Items("shapes"));
        let mut rows = Vec::new();
        let mut time = |threads: usize, heads: Heads, named: Vec<(String, Plan)>, n_layers| {
            let case = |(_, plan): &(String, Plan)| AttentionCase {
                heads,
                plan: plan.clone(),
                n_layers,
                context,
            };
            let cases: Vec<AttentionCase> = named.iter().map(case).collect();
            let pool = if threads == 1 { &one } else { &two };
            let times = attention_times(pool, &cases, repeats, &mut |_| ())?;
            let formats = named.into_iter().zip(times).map(|((name, _), time)| Format {
                name,
                seconds: time.seconds,
                bytes: time.bytes,
            });
            let (head_dim, group_size) = (heads.head_dim, heads.group_size());
            let formats = formats.collect();
            rows.push(Row { head_dim, group_size, context, threads, formats });
            bar.advance(1);
            anyhow::Ok(())
        };
        let heads = |(head_dim, group_size)| Heads {
            n_heads: KV_HEADS * group_size,
            n_kv_heads: KV_HEADS,
            head_dim,
        };
        for &shape in &shapes {
            time(1, heads(shape), formats(heads(shape))?, 1)?;
        }
        let shape = (128, 4);
        time(2, heads(shape), formats(heads(shape))?, 1)?;
        if size == Size::Full {
            let (heads, named, n_layers) = presets(progress)?;
            time(1, heads, named, n_layers)?;
        }
        bar.finish();
        let configuration = json!({
            "kv_heads": KV_HEADS,
            "shapes": shapes,
            "context": context,
            "key_group": KEY_GROUP,
            "presets_of": SMOLLM2,
            "repeats": repeats,
        });
        let instructions = Isa::current().to_string();
        Ok((AttentionMetrics { instructions, read_bytes_per_s, rows }, configuration))
    }

    fn judged(&self, metrics: &AttentionMetrics) -> Vec<Claim> {
        let preset = |name| metrics.row(64, 3)?.against_f16(name);
        let values = [
            metrics.share(),
            metrics.least(1, "2 bits"),
            metrics.least(4, "2 bits"),
            metrics.least(1, "1 bits"),
            metrics.least(4, "1 bits"),
            metrics.least(1, PAPER[0]),
            metrics.least(1, PAPER[1]),
            preset("balanced"),
            preset("small"),
            preset("tiny"),
            metrics.scaling(),
        ];
        GOALS.iter().zip(values).map(|(goal, value)| goal.judged(value)).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        GOALS.iter().map(Goal::claim).collect()
    }
}

/// All at 32k tokens and on one thread, the lesser of heads of 64 and 128 channels.
const GOALS: [Goal; 11] = [
    Goal::at_least(
        SYSTEM,
        "CPU attention, half precision, one query, of the measured bandwidth",
        0.8,
        "x",
    )
    .with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, 2 bits over half precision, one query", 4.0, "x")
        .with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, 2 bits, four queries", 3.0, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, 1 bit, one query", 7.0, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, 1 bit, four queries", 5.0, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, kivi-2, one query", 3.0, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, kivi-1, one query", 4.5, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, balanced, SmolLM2's heads", 3.0, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, small, SmolLM2's heads", 3.5, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, tiny, SmolLM2's heads", 4.0, "x").with_decimals(2),
    Goal::at_least(SYSTEM, "CPU attention, a second thread, 2 bits, four queries", 1.7, "x")
        .with_decimals(2),
];

/// Names and plans.
type Formats = Vec<(String, Plan)>;

fn formats(heads: Heads) -> anyhow::Result<Formats> {
    let mut formats: Formats = BITS
        .into_iter()
        .map(|bits| match bits {
            16 => ("f16".to_owned(), Plan::f16()),
            bits => (format!("{bits} bits"), integer_plan(heads, bits, KEY_GROUP)),
        })
        .collect();
    for plan in PAPER {
        formats.push((plan.to_owned(), plan.parse()?));
    }
    Ok(formats)
}

/// SmolLM2's heads, its plans, and its layers.
fn presets(progress: &Progress) -> anyhow::Result<(Heads, Formats, usize)> {
    let gguf = Gguf::open(&store(None).model(SMOLLM2, progress)?)?;
    let config = Config::from_gguf(&gguf)?;
    let fingerprint = fingerprint(&gguf)?;
    let mut named = vec![NamedPlan::parse("f16")?];
    for preset in Preset::SEARCHED {
        named.push(NamedPlan::shipped(preset, SMOLLM2, &fingerprint)?);
    }
    let named = named.into_iter().map(|named| (named.name, named.plan)).collect();
    Ok((config.heads, named, config.n_layers))
}
