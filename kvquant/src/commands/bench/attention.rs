//! `kvquant bench attention`

use super::{parse_count, parse_tokens};
use crate::attention::Heads;
use crate::commands::gpu::open_gpu;
use crate::cuda::measure as cuda_measure;
use crate::isa::Isa;
use crate::measure::{self, AttentionTime, integer_plan};
use crate::policy::Plan;
use clap::Args;
use common::command::{InputContext, print, print_json};
use common::report::{Align, Table};
use serde::Serialize;

/// Time decode attention in half precision and in 8 to 1 bits
///
/// One token of each sequence attends over its whole history, merging of the history's parts included. Caches are
/// changed in turn, so that nothing comes from a processor's own cache. All formats of a row run interleaved; times
/// are medians.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kvquant bench attention
  kvquant bench attention --head-dims 64 --groups 3 --plans \"kivi-2;kivi-1\" --threads 2
  kvquant bench attention --gpu 0 --groups 1,4,8 --contexts 4k,32k,128k --batches 1,8,32 --json")]
pub struct Attention {
    /// Run on this NVIDIA GPU, by its number in `kvquant devices`
    #[arg(long, value_name = "N")]
    gpu: Option<usize>,
    /// Threads on the CPU
    #[arg(long, value_parser = parse_count, default_value_t = 1, conflicts_with = "gpu")]
    threads: usize,
    /// Channels of a head: 64, 128
    #[arg(long, value_delimiter = ',', value_parser = parse_count, default_value = "128")]
    head_dims: Vec<usize>,
    /// Query heads that share a KV head
    #[arg(long, value_parser = parse_count, value_delimiter = ',', default_value = "1,4")]
    groups: Vec<usize>,
    /// KV heads
    #[arg(long, value_parser = parse_count, default_value_t = 8)]
    kv_heads: usize,
    /// Tokens of a sequence; 4k is 4096
    #[arg(long, value_delimiter = ',', value_parser = parse_context, default_value = "32k")]
    contexts: Vec<usize>,
    /// Sequences, on a GPU [default: 2]
    #[arg(long, value_parser = parse_count, value_delimiter = ',', requires = "gpu")]
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
    device: String,
    read_bytes_per_s: f64,
    rows: Vec<Row>,
}

/// What all formats of a row have in common.
#[derive(Debug, Clone, Copy)]
struct Shape {
    heads: Heads,
    context: usize,
    n_sequences: usize,
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
        let report = match self.gpu {
            Some(ordinal) => self.on_gpu(ordinal)?,
            None => self.on_cpu()?,
        };
        match self.json {
            true => print_json(&report),
            false => print(&text(&report)),
        }
    }

    fn on_gpu(&self, ordinal: usize) -> anyhow::Result<Report> {
        let gpu = open_gpu(ordinal)?;
        let bandwidth = cuda_measure::read_bandwidth(&gpu)?;
        let device = gpu.name().to_owned();
        self.report(device, bandwidth, |Shape { heads, context, n_sequences }, plans, progress| {
            let case = |plan: &Plan| {
                let plan = plan.clone();
                cuda_measure::AttentionCase { heads, plan, context, n_sequences }
            };
            let cases: Vec<_> = plans.iter().map(case).collect();
            Ok(cuda_measure::attention_times(&gpu, &cases, self.repeats, progress)?)
        })
    }

    fn on_cpu(&self) -> anyhow::Result<Report> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()
            .bad_input(format!("--threads {}", self.threads))?;
        let cpu = common::device::discover().cpu.model;
        let device = format!("{cpu}, {} threads, {}", self.threads, Isa::current());
        let bandwidth = pool.install(measure::read_bandwidth);
        self.report(device, bandwidth, |Shape { heads, context, .. }, plans, progress| {
            let case = |plan: &Plan| {
                let plan = plan.clone();
                measure::AttentionCase { heads, plan, n_layers: 1, context }
            };
            let cases: Vec<_> = plans.iter().map(case).collect();
            Ok(measure::attention_times(&pool, &cases, self.repeats, progress)?)
        })
    }

    /// Times all shapes.
    fn report(
        &self,
        device: String,
        bandwidth: f64,
        times: impl Fn(Shape, &[Plan], &mut dyn FnMut(usize)) -> anyhow::Result<Vec<AttentionTime>>,
    ) -> anyhow::Result<Report> {
        let mut report = Report { device, read_bytes_per_s: bandwidth, rows: Vec::new() };
        for shape in self.shapes() {
            let Shape { heads, context, n_sequences } = shape;
            let (names, plans): (Vec<String>, Vec<Plan>) = self.plans(heads).into_iter().unzip();
            let times = times(shape, &plans, &mut |done| {
                eprintln!(
                    "head {}, {} queries, {context} tokens, batch {n_sequences}: {}",
                    heads.head_dim,
                    heads.group_size(),
                    names[done]
                );
            })?;
            report.rows.extend(rows(shape, &names, &times, bandwidth));
        }
        Ok(report)
    }

    fn shapes(&self) -> Vec<Shape> {
        let batches = match (self.gpu, &self.batches[..]) {
            (None, _) => &[1],
            (Some(_), []) => &[2],
            (Some(_), batches) => batches,
        };
        let mut shapes = Vec::new();
        for &head_dim in &self.head_dims {
            for &group_size in &self.groups {
                let n_kv_heads = self.kv_heads;
                let heads = Heads { n_heads: n_kv_heads * group_size, n_kv_heads, head_dim };
                for &context in &self.contexts {
                    let shape = |&n_sequences| Shape { heads, context, n_sequences };
                    shapes.extend(batches.iter().map(shape));
                }
            }
        }
        shapes
    }

    fn plans(&self, heads: Heads) -> Vec<(String, Plan)> {
        let bits = self.bits.iter().map(|&bits| match bits {
            16 => ("f16".to_owned(), Plan::f16()),
            bits => (format!("{bits} bits"), integer_plan(heads, bits, self.key_group)),
        });
        let plans = self.plans.iter().map(|plan| (plan.to_string(), plan.clone()));
        bits.chain(plans).collect()
    }
}

fn rows<'a>(
    Shape { heads, context, n_sequences }: Shape,
    names: &'a [String],
    times: &'a [AttentionTime],
    bandwidth: f64,
) -> impl Iterator<Item = Row> + 'a {
    let half = names.iter().position(|name| name == "f16").map(|at| times[at].seconds);
    names.iter().zip(times).map(move |(name, time)| {
        let Heads { n_kv_heads, head_dim, .. } = heads;
        let elements = 2 * context * n_sequences * n_kv_heads * head_dim;
        Row {
            head_dim,
            group_size: heads.group_size(),
            n_kv_heads,
            context,
            batch: n_sequences,
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
        report.device,
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
