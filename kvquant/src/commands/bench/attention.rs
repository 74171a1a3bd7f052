//! `kvquant bench attention`

use super::{parse_count, parse_tokens};
use crate::commands::gpu::open_gpu;
use clap::Args;
use common::command::{print, print_json};
use common::report::{Align, Table};
use kvquant::attention::Heads;
use kvquant::cuda::measure::{
    AttentionCase, AttentionTime, attention_times, integer_plan, read_bandwidth,
};
use kvquant::policy::Plan;
use serde::Serialize;

/// Time decode attention on a GPU in half precision and in 8 to 1 bits
///
/// One token of each sequence attends over its whole history, merging of the history's parts included. Caches are
/// changed in turn, so that nothing comes from the second-level cache. All formats of a row run interleaved; times
/// are medians.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kvquant bench attention
  kvquant bench attention --head-dims 128 --groups 1,4,8 --contexts 4k,32k,128k --batches 1,8,32 --json")]
pub struct Attention {
    /// The GPU, by its number in `kvquant devices`
    #[arg(long, value_name = "N", default_value_t = 0)]
    gpu: usize,
    /// Channels of a head: 64, 128
    #[arg(long, value_delimiter = ',', default_value = "128")]
    head_dims: Vec<usize>,
    /// Query heads that share a KV head
    #[arg(long, value_parser = parse_count, value_delimiter = ',', default_value = "4")]
    groups: Vec<usize>,
    /// KV heads
    #[arg(long, value_parser = parse_count, default_value_t = 8)]
    kv_heads: usize,
    /// Tokens of a sequence; 4k is 4096
    #[arg(long, value_delimiter = ',', value_parser = parse_context, default_value = "32k")]
    contexts: Vec<usize>,
    /// Sequences
    #[arg(long, value_parser = parse_count, value_delimiter = ',', default_value = "2")]
    batches: Vec<usize>,
    /// Bits of keys and values with 8-bit parameters; 16 is half precision, which the others are compared with
    #[arg(long, value_delimiter = ',', value_parser = parse_bits, default_value = "16,8,4,2,1")]
    bits: Vec<u8>,
    /// Tokens of a group of keys
    #[arg(long, value_parser = parse_count, default_value_t = 128)]
    key_group: usize,
    /// Other plans to time beside them
    #[arg(long, value_delimiter = ';', value_name = "PLANS")]
    plans: Vec<Plan>,
    /// Rounds; times are their medians
    #[arg(long, value_parser = parse_count, default_value_t = 15)]
    repeats: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    gpu: String,
    read_bytes_per_s: f64,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    head_dim: usize,
    group_size: usize,
    n_kv_heads: usize,
    context: usize,
    batch: usize,
    plan: String,
    bits_per_element: f64,
    seconds: f64,
    bytes_read: usize,
    bandwidth_share: f64,
    against_f16: Option<f64>,
    n_caches: usize,
}

impl Attention {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let gpu = open_gpu(self.gpu)?;
        let bandwidth = read_bandwidth(&gpu)?;
        let mut report =
            Report { gpu: gpu.name().to_owned(), read_bytes_per_s: bandwidth, rows: Vec::new() };
        for &head_dim in &self.head_dims {
            for &group_size in &self.groups {
                for &context in &self.contexts {
                    for &n_sequences in &self.batches {
                        let n_kv_heads = self.kv_heads;
                        let heads =
                            Heads { n_heads: n_kv_heads * group_size, n_kv_heads, head_dim };
                        let cases = self.cases(heads, context, n_sequences);
                        let formats: Vec<AttentionCase> =
                            cases.iter().map(|(_, case)| case.clone()).collect();
                        let times = attention_times(&gpu, &formats, self.repeats, &mut |done| {
                            eprintln!(
                                "head {head_dim}, {group_size} queries, {context} tokens, batch \
                                 {n_sequences}: {}",
                                cases[done].0
                            );
                        })?;
                        report.rows.extend(rows(&cases, &times, bandwidth));
                    }
                }
            }
        }
        match self.json {
            true => print_json(&report),
            false => print(&text(&report)),
        }
    }

    fn cases(
        &self,
        heads: Heads,
        context: usize,
        n_sequences: usize,
    ) -> Vec<(String, AttentionCase)> {
        let bits = self.bits.iter().map(|&bits| match bits {
            16 => ("f16".to_owned(), Plan::f16()),
            bits => (format!("{bits} bits"), integer_plan(heads, bits, self.key_group)),
        });
        let plans = self.plans.iter().map(|plan| (plan.to_string(), plan.clone()));
        bits.chain(plans)
            .map(|(name, plan)| (name, AttentionCase { heads, plan, context, n_sequences }))
            .collect()
    }
}

fn rows<'a>(
    cases: &'a [(String, AttentionCase)],
    times: &'a [AttentionTime],
    bandwidth: f64,
) -> impl Iterator<Item = Row> + 'a {
    let half = cases.iter().position(|(name, _)| name == "f16").map(|at| times[at].seconds);
    cases.iter().zip(times).map(move |((name, case), time)| {
        let Heads { n_kv_heads, head_dim, .. } = case.heads;
        let elements = 2 * case.context * case.n_sequences * n_kv_heads * head_dim;
        Row {
            head_dim,
            group_size: case.heads.group_size(),
            n_kv_heads,
            context: case.context,
            batch: case.n_sequences,
            plan: name.clone(),
            bits_per_element: 8.0 * time.bytes as f64 / elements as f64,
            seconds: time.seconds,
            bytes_read: time.bytes,
            bandwidth_share: time.bytes as f64 / time.seconds / bandwidth,
            against_f16: half.map(|half| half / time.seconds),
            n_caches: time.n_caches,
        }
    })
}

fn text(report: &Report) -> String {
    let numbers = ["bits", "us", "GB/s", "of read", "times f16"].map(|name| (name, Align::Right));
    let shape = ["head", "queries", "context", "batch"].map(|name| (name, Align::Right));
    let columns = [shape.as_slice(), &[("cache", Align::Left)], &numbers].concat();
    let mut table = Table::new(&columns);
    for row in &report.rows {
        table.row([
            row.head_dim.to_string(),
            row.group_size.to_string(),
            row.context.to_string(),
            row.batch.to_string(),
            row.plan.clone(),
            format!("{:.2}", row.bits_per_element),
            format!("{:.1}", row.seconds * 1e6),
            format!("{:.0}", row.bytes_read as f64 / row.seconds / 1e9),
            format!("{:.0} %", 100.0 * row.bandwidth_share),
            row.against_f16.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    format!(
        "{}: memory reads at {:.0} GB/s\n\n{}",
        report.gpu,
        report.read_bytes_per_s / 1e9,
        table.to_text()
    )
}

/// Attention is over a token at least.
fn parse_context(text: &str) -> Result<usize, String> {
    match parse_tokens(text)? {
        0 => Err("attention takes 1 token at least".to_owned()),
        tokens => Ok(tokens),
    }
}

/// Bits that there is a format of.
fn parse_bits(text: &str) -> Result<u8, String> {
    let bits = text.parse().ok().filter(|bits| matches!(bits, 1..=8 | 16));
    bits.ok_or_else(|| format!("`{text}` are no bits of a cache; there are 1 to 8, and 16"))
}
