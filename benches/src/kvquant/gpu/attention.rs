//! Decode attention on a GPU: bits against half precision, and PyTorch beside it in the same run.

use super::open_gpu;
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use crate::kvquant::SYSTEM;
use common::progress::{Progress, Unit};
use common::report::Claim;
use kvquant::attention::Heads;
use kvquant::cuda::measure::{AttentionCase, attention_times, read_bandwidth};
use kvquant::measure::integer_plan;
use kvquant::policy::Plan;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

const KV_HEADS: usize = 8;
/// 16 is half precision.
const BITS: [u8; 5] = [16, 8, 4, 2, 1];
/// Tokens of a group of keys.
const KEY_GROUP: usize = 128;
/// Times PyTorch's attention of the cases on its standard input.
const SDPA: &str = include_str!("sdpa.py");
/// Smaller caches measure a launch, not the memory: they are shown, but no claim is judged by them.
const LEAST_F16_BYTES: usize = 256 << 20;

/// Attention on a GPU.
pub struct GpuAttention;

#[derive(Debug, Serialize, Deserialize)]
pub struct GpuAttentionMetrics {
    pub gpu: String,
    /// Measured in this run.
    pub read_bytes_per_s: f64,
    /// PyTorch's version, where it is installed.
    pub pytorch: Option<String>,
    pub rows: Vec<AttentionRow>,
}

/// A shape in all formats.
#[derive(Debug, Serialize, Deserialize)]
pub struct AttentionRow {
    pub head_dim: usize,
    /// Query heads of a KV head.
    pub group_size: usize,
    pub kv_heads: usize,
    pub context: usize,
    pub batch: usize,
    /// Half precision first.
    pub formats: Vec<FormatTime>,
    /// PyTorch in half precision.
    pub pytorch: Option<PyTorchTime>,
}

/// A format's time.
#[derive(Debug, Serialize, Deserialize)]
pub struct FormatTime {
    pub bits: u8,
    /// Metadata and window included.
    pub bits_per_element: f64,
    pub bytes: usize,
    pub seconds: f64,
    /// Caches that the launches went over in turn.
    pub caches: usize,
}

/// PyTorch's time, and the fastest of its kernels.
#[derive(Debug, Serialize, Deserialize)]
pub struct PyTorchTime {
    pub seconds: f64,
    pub kernel: String,
}

impl AttentionRow {
    /// A format's time over that of half precision, the other way round.
    pub fn against_f16(&self, bits: u8) -> Option<f64> {
        let seconds = |bits| self.format(bits).map(|format| format.seconds);
        Some(seconds(16)? / seconds(bits)?)
    }

    pub fn format(&self, bits: u8) -> Option<&FormatTime> {
        self.formats.iter().find(|format| format.bits == bits)
    }

    /// Whether the goals speak of this shape.
    pub fn is_judged(&self) -> bool {
        let long = self.context >= 32 << 10 && self.group_size == 4 && self.head_dim == 128;
        long && self.format(16).is_some_and(|format| format.bytes >= LEAST_F16_BYTES)
    }
}

impl Experiment for GpuAttention {
    type Metrics = GpuAttentionMetrics;

    fn name(&self) -> String {
        "kvquant-gpu-attention".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(Self::Metrics, Value)> {
        let gpu = open_gpu()?;
        let read_bytes_per_s = read_bandwidth(&gpu)?;
        let (head_dims, group_sizes, contexts, batches, repeats) = match size {
            Size::Full => (
                vec![64, 128],
                vec![1, 4, 8],
                vec![4 << 10, 32 << 10, 128 << 10],
                vec![1, 8, 32],
                15,
            ),
            Size::Quick => (vec![128], vec![4], vec![32 << 10], vec![8], 5),
        };
        let mut rows = Vec::new();
        for &head_dim in &head_dims {
            for &group_size in &group_sizes {
                for &context in &contexts {
                    for &batch in &batches {
                        rows.push(AttentionRow {
                            head_dim,
                            group_size,
                            kv_heads: KV_HEADS,
                            context,
                            batch,
                            formats: Vec::new(),
                            pytorch: None,
                        });
                    }
                }
            }
        }
        let bar = progress.bar("attention", Some(rows.len() as u64), Unit::Items("shapes"));
        for row in &mut rows {
            let cases: Vec<AttentionCase> = BITS.iter().map(|&bits| row.case(bits)).collect();
            let times = attention_times(&gpu, &cases, repeats, &mut |_| ())?;
            let elements = 2 * row.context * row.batch * row.kv_heads * row.head_dim;
            row.formats = BITS
                .into_iter()
                .zip(times)
                .map(|(bits, time)| FormatTime {
                    bits,
                    bits_per_element: 8.0 * time.bytes as f64 / elements as f64,
                    bytes: time.bytes,
                    seconds: time.seconds,
                    caches: time.n_caches,
                })
                .collect();
            bar.advance(1);
        }
        bar.finish();
        let pytorch = pytorch(&mut rows, repeats);
        let configuration = json!({
            "head_dims": head_dims,
            "group_sizes": group_sizes,
            "kv_heads": KV_HEADS,
            "contexts": contexts,
            "batches": batches,
            "bits": BITS,
            "key_group": KEY_GROUP,
            "repeats": repeats,
        });
        let gpu = gpu.name().to_owned();
        Ok((GpuAttentionMetrics { gpu, read_bytes_per_s, pytorch, rows }, configuration))
    }

    fn judged(&self, metrics: &Self::Metrics) -> Vec<Claim> {
        let judged: Vec<&AttentionRow> =
            metrics.rows.iter().filter(|row| row.is_judged()).collect();
        let share = |row: &&AttentionRow| {
            let half = row.format(16)?;
            Some(100.0 * half.bytes as f64 / half.seconds / metrics.read_bytes_per_s)
        };
        let measured: [Vec<f64>; 3] = [
            judged.iter().filter_map(|row| row.against_f16(2)).collect(),
            judged.iter().filter_map(|row| row.against_f16(1)).collect(),
            judged.iter().filter_map(share).collect(),
        ];
        let goals = GOALS.iter().zip(measured);
        goals.map(|(goal, values)| goal.judged_by_all(&values, &metrics.gpu)).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        GOALS.iter().map(Goal::claim).collect()
    }
}

const GOALS: [Goal; 3] = [
    Goal::at_least(
        SYSTEM,
        "GPU attention in 2 bits over half precision, 4 queries, 32k and 128k tokens",
        3.0,
        "x",
    ),
    Goal::at_least(SYSTEM, "the same in 1 bit", 4.0, "x"),
    Goal::at_least(
        SYSTEM,
        "half precision there, of the bandwidth measured in the run",
        80.0,
        " %",
    )
    .with_decimals(0),
];

impl AttentionRow {
    fn case(&self, bits: u8) -> AttentionCase {
        let n_heads = self.kv_heads * self.group_size;
        let heads = Heads { n_heads, n_kv_heads: self.kv_heads, head_dim: self.head_dim };
        let plan = match bits {
            16 => Plan::f16(),
            bits => integer_plan(heads, bits, KEY_GROUP),
        };
        AttentionCase { heads, plan, context: self.context, n_sequences: self.batch }
    }
}

#[derive(Debug, Deserialize)]
struct PyTorchReport {
    version: String,
    results: Vec<Option<PyTorchTime>>,
}

/// Adds PyTorch's times; gives its version, or nothing where it isn't installed or sees no GPU.
fn pytorch(rows: &mut [AttentionRow], repeats: usize) -> Option<String> {
    let request = json!({ "cases": rows, "repeats": repeats }).to_string();
    let mut python = Command::new("python3")
        .args(["-c", SDPA])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    python.stdin.take()?.write_all(request.as_bytes()).ok()?;
    let output = python.wait_with_output().ok()?;
    let report: PyTorchReport = serde_json::from_slice(&output.stdout).ok()?;
    for (row, time) in rows.iter_mut().zip(report.results) {
        row.pytorch = time;
    }
    Some(report.version)
}
