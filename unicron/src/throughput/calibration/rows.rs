//! The published runs.

use crate::cluster::Hardware;
use crate::model::{LanguageModel, Sizes};
use crate::throughput::{Recompute, Software};

/// A published run: how it was spread and what it achieved.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it was published.
    pub source: &'static str,
    /// The model; its name is the one published.
    pub model: LanguageModel,
    /// What it ran on, in nodes of 8.
    pub hardware: Hardware,
    /// What it ran with.
    pub software: Software,
    /// Tensor-parallel GPUs.
    pub tensor: usize,
    /// Pipeline stages.
    pub pipeline: usize,
    /// Replicas.
    pub data: usize,
    /// What was computed again.
    pub recompute: Recompute,
    /// Whether replicas shared the optimizer's state.
    pub sharded_optimizer: bool,
    /// FLOP/s of each GPU, recomputed FLOPs left out.
    pub flops_per_gpu: f64,
}

const A100_SOURCE: &str =
    "Megatron-LM, README of April 2021; sizes in Narayanan et al. 2021, table 1";
const H100_SOURCE: &str = "Megatron-LM, README for Megatron-Core 0.8, model table";
const KORTHIKANTI_SOURCE: &str = "Korthikanti et al. 2022, table 5";
const GPT3_SOURCE: &str = "Megatron-LM, README of April 2021, 175B on 1,024 GPUs";

/// Parameters (name), hidden, layers, heads, tensor, pipeline, replicas, batch, TFLOP/s for each
/// GPU. The TFLOP/s count the recomputed forward pass.
type PublishedRow = (&'static str, [usize; 3], [usize; 3], usize, f64);

/// Selene: A100 with 80 GB, 8 x 200 Gb/s. Vocabulary 51,200, sequence 2,048, full recomputation.
const A100_ROWS: [PublishedRow; 10] = [
    ("1.7B", [2304, 24, 24], [1, 1, 32], 512, 137.0),
    ("3.6B", [3072, 30, 32], [2, 1, 32], 512, 138.0),
    ("7.5B", [4096, 36, 32], [4, 1, 32], 512, 142.0),
    ("18.4B", [6144, 40, 48], [8, 1, 32], 1024, 135.0),
    ("39.1B", [8192, 48, 64], [8, 2, 32], 1536, 138.0),
    ("76.1B", [10_240, 60, 80], [8, 4, 32], 1792, 140.0),
    ("145.6B", [12_288, 80, 96], [8, 8, 24], 2304, 148.0),
    ("310.1B", [16_384, 96, 128], [8, 16, 15], 2160, 155.0),
    ("529.6B", [20_480, 105, 128], [8, 35, 9], 2520, 163.0),
    ("1008B", [25_600, 128, 160], [8, 64, 6], 3072, 163.0),
];

/// Eos: H100 with 80 GB, 8 x 400 Gb/s. Vocabulary 131,072, sequence 4,096; the TFLOP/s are the
/// model's. The table gives no recomputation: a fused kernel's own is what its memory allows.
const H100_ROWS: [PublishedRow; 9] = [
    ("1.7B", [2048, 24, 16], [1, 1, 48], 192, 408.8),
    ("7.1B", [4096, 30, 32], [2, 1, 48], 192, 465.9),
    ("16B", [6144, 32, 48], [4, 1, 48], 192, 489.1),
    ("32B", [7168, 48, 56], [8, 1, 48], 192, 459.6),
    ("70B", [8192, 84, 64], [8, 2, 48], 384, 419.7),
    ("119B", [10_240, 92, 80], [8, 4, 48], 768, 420.5),
    ("177B", [12_288, 96, 96], [8, 6, 48], 1152, 432.8),
    ("314B", [16_384, 96, 128], [8, 8, 48], 1536, 474.4),
    ("462B", [18_432, 112, 144], [8, 16, 48], 3072, 459.9),
];

/// One replica on A100, sequences split, attention recomputed; utilisation by the model's FLOPs in
/// percent of 312 TFLOP/s (field notes 6.1). Batches as remembered.
const KORTHIKANTI_ROWS: [PublishedRow; 4] = [
    ("22B", [6144, 48, 64], [8, 1, 1], 4, 41.5),
    ("175B", [12_288, 96, 96], [8, 8, 1], 64, 51.4),
    ("530B", [20_480, 105, 128], [8, 35, 1], 280, 56.0),
    ("1T", [25_600, 128, 160], [8, 64, 1], 512, 56.3),
];

/// What the constants are fitted on.
#[must_use]
pub fn rows() -> Vec<Row> {
    let a100 = A100_ROWS.iter().map(|published| megatron_2021(A100_SOURCE, published));
    let h100 = H100_ROWS.iter().map(|&(name, sizes, split, batch, teraflops)| Row {
        source: H100_SOURCE,
        model: model(name, sizes, 4096, 131_072, batch),
        hardware: hardware("h100-80gb"),
        software: Software::CURRENT,
        tensor: split[0],
        pipeline: split[1],
        data: split[2],
        recompute: Recompute::Selective,
        sharded_optimizer: true,
        flops_per_gpu: teraflops * 1e12,
    });
    a100.chain(h100).collect()
}

/// What the constants are checked on beside [`rows`], and not fitted.
#[must_use]
pub fn checks() -> Vec<Row> {
    let gpt3 = megatron_2021(GPT3_SOURCE, &("175B", [12_288, 96, 96], [8, 16, 8], 1536, 138.0));
    let one_replica = KORTHIKANTI_ROWS.iter().map(|&(name, sizes, split, batch, percent)| Row {
        source: KORTHIKANTI_SOURCE,
        model: model(name, sizes, 2048, 51_200, batch),
        hardware: hardware("a100-80gb"),
        software: Software::MEGATRON_2022,
        tensor: split[0],
        pipeline: split[1],
        data: split[2],
        recompute: Recompute::Selective,
        sharded_optimizer: false,
        flops_per_gpu: percent / 100.0 * 312e12,
    });
    std::iter::once(gpt3).chain(one_replica).collect()
}

/// The 177B model of the strong scaling from 96 to 4,608 H100, batch 1,152: 47 % of the peak to
/// 42 % (Megatron-LM's README for Megatron-Core 0.8).
#[must_use]
pub fn strong_scaling_model() -> LanguageModel {
    let (name, sizes, _, batch, _) = H100_ROWS[6];
    model(name, sizes, 4096, 131_072, batch)
}

fn megatron_2021(source: &'static str, published: &PublishedRow) -> Row {
    let &(name, sizes, split, batch, teraflops) = published;
    let model = model(name, sizes, 2048, 51_200, batch);
    let progress = model.iteration_flops() / recomputed_flops(&model);
    Row {
        source,
        model,
        hardware: hardware("a100-80gb"),
        software: Software::MEGATRON_2021,
        tensor: split[0],
        pipeline: split[1],
        data: split[2],
        recompute: Recompute::Full,
        sharded_optimizer: false,
        flops_per_gpu: teraflops * 1e12 * progress,
    }
}

/// FLOPs of an iteration that computes its layers' forward pass twice:
/// `96 B s l h² (1 + s / 6h + V / 16lh)` (Narayanan et al. 2021, equation 3).
fn recomputed_flops(model: &LanguageModel) -> f64 {
    let sizes = model.sizes();
    let output = 6.0 * model.iteration_tokens() * sizes.hidden as f64 * sizes.vocabulary as f64;
    (model.iteration_flops() - output) * 4.0 / 3.0 + output
}

fn model(
    name: &str,
    [hidden, layers, heads]: [usize; 3],
    sequence: usize,
    vocabulary: usize,
    batch: usize,
) -> LanguageModel {
    let sizes = Sizes { layers, hidden, heads, sequence, vocabulary, batch };
    LanguageModel::new(name, sizes).expect("the sizes of published models are sound")
}

fn hardware(kind: &str) -> Hardware {
    Hardware::kind(kind).expect("the kinds of published runs are known")
}
