//! A model on a GPU against the same on the CPU, and each of its kernels against a plain loop.

// Errors are of interest below their bounds, too.
#![allow(clippy::print_stdout)]

use super::cache::CacheSize;
use super::linear::{FEW_ROWS, Linear, Products};
use super::matrix::{GpuWeights, Matrix, quantize};
use super::nvrtc::Nvrtc;
use super::ops::{self, SplitHeads};
use super::throughput::decode_times;
use super::{Decoder, Gpu, GpuCache, GpuLlama};
use crate::Error;
use crate::attention::Heads;
use crate::cache::CacheShape;
use crate::eval::{Protocol, ScoringRule, evaluate};
use crate::measure::DecodeCase;
use crate::model::config::RopeLayout;
use crate::model::gguf::Gguf;
use crate::model::gguf_writer::{Meta, Writer};
use crate::model::tokenizer::Tokenizer;
use crate::model::{LanguageModel, Llama, WeightFormat, fingerprint};
use crate::policy::Plan;
use crate::presets::Preset;
use common::tensor::nmse;
use common::testing::{self, assert_nmse, model};
use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::sync::Arc;

/// Sums in single against double precision.
const MAX_PRODUCT_NMSE: f64 = 1e-9;
/// A rounding to half precision.
const MAX_HALF_NMSE: f64 = 1e-6;
/// Weights and activations in half precision against single.
const MAX_F16_NMSE: f64 = 1e-4;
/// The same where a few keys and values, rounded a little differently, get other codes.
const MAX_PACKED_NMSE: f64 = 1e-2;
/// `Q8_0` weights against single precision.
const MAX_Q8_0_NMSE: f64 = 1e-2;
/// Those and codes: keys that are a little other ones get other codes (1.1e-2 seen).
const MAX_PACKED_Q8_0_NMSE: f64 = 5e-2;
/// The same sums in another order.
const MAX_ORDER_NMSE: f64 = 1e-6;

const FORMATS: [GpuWeights; 2] = [GpuWeights::F16, GpuWeights::Q8_0];

fn gpu() -> Option<Arc<Gpu>> {
    let found = testing::gpu()?;
    Some(Gpu::open(found.index, None).unwrap())
}

fn numbers(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn to_halves(numbers: &[f32]) -> Vec<u16> {
    numbers.iter().map(|&number| f16::from_f32(number).to_bits()).collect()
}

fn to_singles(halves: &[u16]) -> Vec<f32> {
    halves.iter().map(|&half| f16::from_bits(half).to_f32()).collect()
}

/// What the GPU keeps of a row of weights.
fn as_kept(format: GpuWeights, row: &[f32]) -> Vec<f32> {
    match format {
        GpuWeights::F16 => to_singles(&to_halves(row)),
        GpuWeights::Q8_0 => {
            let (mut codes, mut scales) = (vec![0; row.len()], vec![0; row.len() / 32]);
            quantize(row, &mut codes, &mut scales);
            let weight = |(at, &code): (usize, &i8)| {
                let scale = f16::from_bits(scales[at / 32]).to_f32();
                f16::from_f32(f32::from(code) * scale).to_f32()
            };
            codes.iter().enumerate().map(weight).collect()
        }
    }
}

#[test]
fn model_kernels_compile_for_every_architecture() {
    let compiler = match Nvrtc::load() {
        Ok(compiler) => compiler,
        Err(why) => return testing::skip("REQUIRE_NVRTC", &why),
    };
    let (text, options) = ops::kernels().for_compiler();
    for architecture in ["sm_80", "sm_90", "sm_100"] {
        compiler.compile(&text, architecture, &options).unwrap();
    }
}

#[test]
fn bytes_are_half_a_step_off_at_most() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut row = numbers(&mut rng, 96);
    row[32..64].fill(0.0);
    let kept = as_kept(GpuWeights::Q8_0, &row);
    for (block, kept) in row.chunks(32).zip(kept.chunks(32)) {
        let largest = block.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
        // The scale and the product are rounded, too.
        let most = largest * (0.5 / 127.0 + 1.0 / 1024.0);
        assert!(block.iter().zip(kept).all(|(weight, kept)| (weight - kept).abs() <= most));
    }
}

#[test]
fn formats_are_read_as_they_are_written() {
    for format in FORMATS {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert!("q4_0".parse::<GpuWeights>().unwrap_err().contains("q8_0"));
}

/// One matrix, and products of it with some numbers of rows.
fn check_products(
    gpu: &Arc<Gpu>,
    format: GpuWeights,
    [n_outputs, n_inputs]: [usize; 2],
    rows: &[usize],
) {
    let stream = gpu.stream();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let weights = numbers(&mut rng, n_outputs * n_inputs);
    let bias = numbers(&mut rng, n_outputs);
    let row = |output: usize| &weights[output * n_inputs..(output + 1) * n_inputs];
    let matrix =
        Matrix::new(gpu, format, [n_outputs, n_inputs], |output| Ok(row(output).to_vec())).unwrap();
    let kept: Vec<Vec<f32>> =
        (0..n_outputs).into_par_iter().map(|output| as_kept(format, row(output))).collect();
    let matrix = Arc::new(matrix);
    let plain = Linear::new(Arc::clone(&matrix), None);
    let biased = Linear::new(matrix, Some(stream.clone_htod(&bias).unwrap()));
    let products = Products::new(gpu, format).unwrap();
    for &n_rows in rows {
        let inputs = to_halves(&numbers(&mut rng, n_rows * n_inputs));
        let before = numbers(&mut rng, n_rows * n_outputs);
        let device_inputs = stream.clone_htod(&inputs).unwrap();
        let inputs = to_singles(&inputs);
        for (linear, is_added) in [(&plain, true), (&biased, false)] {
            let expected: Vec<f32> = (0..n_rows * n_outputs)
                .into_par_iter()
                .map(|at| {
                    let (row, output) = (at / n_outputs, at % n_outputs);
                    let inputs = &inputs[row * n_inputs..(row + 1) * n_inputs];
                    let products =
                        kept[output].iter().zip(inputs).map(|(&w, &x)| f64::from(w) * f64::from(x));
                    let sum: f64 = products.sum();
                    (sum + f64::from(if is_added { before[at] } else { bias[output] })) as f32
                })
                .collect();
            let mut outputs = stream.clone_htod(&before).unwrap();
            products.linear(linear, &device_inputs, n_rows, &mut outputs, is_added).unwrap();
            let outputs = stream.clone_dtoh(&outputs).unwrap();
            let label = format!("{format} [{n_outputs}][{n_inputs}], {n_rows} rows, {is_added}");
            assert_nmse(&expected, &outputs, MAX_PRODUCT_NMSE, &label);
        }
    }
}

#[test]
fn products_of_few_rows_are_sums() {
    let Some(gpu) = gpu() else { return };
    for format in FORMATS {
        for shape in [[576, 1536], [1536, 576], [333, 96], [5, 32], [49152, 576], [64, 4864]] {
            check_products(&gpu, format, shape, &[1, 3, 8, 9, FEW_ROWS]);
        }
    }
}

/// By cuBLAS. The last matrix is expanded in two parts.
#[test]
fn products_of_many_rows_are_sums() {
    let Some(gpu) = gpu() else { return };
    for format in FORMATS {
        for shape in [[576, 1536], [333, 96], [60_001, 576]] {
            check_products(&gpu, format, shape, &[FEW_ROWS + 1, 100]);
        }
    }
}

#[test]
fn rows_of_odd_lengths_are_refused() {
    let Some(gpu) = gpu() else { return };
    let matrix = Matrix::new(&gpu, GpuWeights::F16, [4, 48], |_| Ok(vec![0.0; 48]));
    assert!(matches!(matrix, Err(Error::Shape { got: 48, .. })));
}

#[test]
fn embeddings_are_rows() {
    let Some(gpu) = gpu() else { return };
    let stream = gpu.stream();
    let (n_tokens, len) = (70, 576);
    let table = numbers(&mut ChaCha8Rng::seed_from_u64(2), n_tokens * len);
    let row = |token: usize| &table[token * len..(token + 1) * len];
    let tokens = [69u32, 0, 13, 13, 1];
    for format in FORMATS {
        let matrix =
            Matrix::new(&gpu, format, [n_tokens, len], |token| Ok(row(token).to_vec())).unwrap();
        let mut hidden = stream.alloc_zeros(tokens.len() * len).unwrap();
        let device_tokens = stream.clone_htod(&tokens).unwrap();
        matrix.embed(&gpu, &device_tokens, tokens.len(), &mut hidden).unwrap();
        let expected: Vec<f32> =
            tokens.iter().flat_map(|&token| as_kept(format, row(token as usize))).collect();
        assert_eq!(stream.clone_dtoh(&hidden).unwrap(), expected, "{format}");
    }
}

#[test]
fn rms_norm_is_that_of_the_paper() {
    let Some(gpu) = gpu() else { return };
    let stream = gpu.stream();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (n_rows, len) in [(1, 576), (3, 4096), (7, 32)] {
        let (rows, weight) = (numbers(&mut rng, n_rows * len), numbers(&mut rng, len));
        let expected: Vec<f32> = rows
            .chunks(len)
            .flat_map(|row| {
                let square: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                let root = (square / len as f64 + 1e-5).sqrt();
                row.iter()
                    .zip(&weight)
                    .map(move |(&x, &w)| (f64::from(x) / root * f64::from(w)) as f32)
            })
            .collect();
        let device_rows = stream.clone_htod(&rows).unwrap();
        let device_weight = stream.clone_htod(&weight).unwrap();
        let mut normed = stream.alloc_zeros(n_rows * len).unwrap();
        let view = device_rows.as_view();
        ops::rms_norm(&gpu, &view, &device_weight, 1e-5, n_rows, &mut normed).unwrap();
        let normed = to_singles(&stream.clone_dtoh(&normed).unwrap());
        assert_nmse(&expected, &normed, MAX_HALF_NMSE, &format!("{n_rows} rows of {len}"));
    }
}

#[test]
fn heads_are_split_and_turned() {
    let Some(gpu) = gpu() else { return };
    let stream = gpu.stream();
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let heads = Heads { n_heads: 9, n_kv_heads: 3, head_dim: 64 };
    let row_len = 64 * 15;
    for layout in [RopeLayout::Interleaved, RopeLayout::Halves] {
        for (n_pairs, lengths, n_new) in
            [(32, vec![5u32, 70_000], 1), (32, vec![9], 4), (20, vec![130], 3)]
        {
            let frequencies: Vec<f64> =
                (0..n_pairs).map(|pair| 10_000f64.powf(-(pair as f64) / n_pairs as f64)).collect();
            let n_rows = lengths.len() * n_new;
            let projected = numbers(&mut rng, n_rows * row_len);
            let mut expected = projected.clone();
            for (row, channels) in expected.chunks_mut(row_len).enumerate() {
                let position = lengths[row / n_new] as usize + row % n_new;
                for head in channels.chunks_mut(64).take(12) {
                    for (pair, frequency) in frequencies.iter().enumerate() {
                        let (sin, cos) = (position as f64 * frequency).sin_cos();
                        let (i, j) = match layout {
                            RopeLayout::Interleaved => (2 * pair, 2 * pair + 1),
                            RopeLayout::Halves => (pair, pair + n_pairs),
                        };
                        let (x, y) = (f64::from(head[i]), f64::from(head[j]));
                        head[i] = (x * cos - y * sin) as f32;
                        head[j] = (x * sin + y * cos) as f32;
                    }
                }
            }
            let device_frequencies = stream.clone_htod(&frequencies).unwrap();
            let device_lengths = stream.clone_htod(&lengths).unwrap();
            let device_projected = stream.clone_htod(&projected).unwrap();
            let mut turns = stream.alloc_zeros(2 * n_rows * n_pairs).unwrap();
            ops::turns(&gpu, &device_frequencies, &device_lengths, n_new, &mut turns).unwrap();
            let [mut queries, mut keys, mut values] =
                [9, 3, 3].map(|n_heads| stream.alloc_zeros(n_rows * n_heads * 64).unwrap());
            let mut to = SplitHeads { queries: &mut queries, keys: &mut keys, values: &mut values };
            let turns = (&turns, n_pairs, layout);
            ops::split_heads(&gpu, heads, &device_projected, turns, n_rows, &mut to).unwrap();
            let part = |range: std::ops::Range<usize>| -> Vec<f32> {
                expected.chunks(row_len).flat_map(|row| row[range.clone()].to_vec()).collect()
            };
            for (name, device, range) in [
                ("queries", queries, 0..9 * 64),
                ("keys", keys, 9 * 64..12 * 64),
                ("values", values, 12 * 64..15 * 64),
            ] {
                let label = format!("{name}, {layout:?}, {n_pairs} pairs, {lengths:?}");
                let device = stream.clone_dtoh(&device).unwrap();
                assert_nmse(&part(range), &device, MAX_PRODUCT_NMSE, &label);
            }
        }
    }
}

#[test]
fn gates_multiply_and_stay_in_range() {
    let Some(gpu) = gpu() else { return };
    let stream = gpu.stream();
    let (n_rows, len) = (3, 1504);
    let mut input = numbers(&mut ChaCha8Rng::seed_from_u64(6), 2 * n_rows * len);
    input.iter_mut().for_each(|x| *x *= 8.0);
    (input[0], input[len]) = (1e4, -1e4);
    let expected: Vec<f32> = input
        .chunks(2 * len)
        .flat_map(|row| {
            let (gates, ups) = row.split_at(len);
            let activated = |(&gate, &up): (&f32, &f32)| {
                let silu = f64::from(gate) / (1.0 + (-f64::from(gate)).exp());
                ((silu * f64::from(up)) as f32).clamp(-65504.0, 65504.0)
            };
            gates.iter().zip(ups).map(activated).collect::<Vec<f32>>()
        })
        .collect();
    let mut activated = stream.alloc_zeros(n_rows * len).unwrap();
    let device_input = stream.clone_htod(&input).unwrap();
    ops::gate(&gpu, &device_input, len, n_rows, &mut activated).unwrap();
    let activated = to_singles(&stream.clone_dtoh(&activated).unwrap());
    assert_eq!(activated[0], -65504.0);
    assert_nmse(&expected[1..], &activated[1..], MAX_HALF_NMSE, "gates");
}

#[test]
fn the_likeliest_token_is_the_first_of_equals() {
    let Some(gpu) = gpu() else { return };
    let stream = gpu.stream();
    for vocab_size in [7, 1000, 49_153] {
        let lengths = [3u32, 0, 2];
        let mut logits = numbers(&mut ChaCha8Rng::seed_from_u64(1), 3 * vocab_size);
        for at in [2, 5, vocab_size - 1] {
            logits[vocab_size + at] = 2.0;
        }
        logits[2 * vocab_size..].fill(f32::NAN);
        let likeliest = (0..vocab_size).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let expected = [likeliest.unwrap() as u32, 2, 0];
        let device_lengths = stream.clone_htod(&lengths).unwrap();
        let device_logits = stream.clone_htod(&logits).unwrap();
        let mut tokens = stream.alloc_zeros(3).unwrap();
        let mut history = stream.clone_htod(&[99u32; 3 * 4]).unwrap();
        ops::argmax(&gpu, &device_logits, &device_lengths, &mut tokens, &mut history, vocab_size)
            .unwrap();
        assert_eq!(stream.clone_dtoh(&tokens).unwrap(), expected);
        let [a, b, c] = expected;
        let history = stream.clone_dtoh(&history).unwrap();
        assert_eq!(history, [99, 99, 99, a, b, 99, 99, 99, 99, 99, c, 99]);
    }
}

const HIDDEN: usize = 256;
const HEADS: Heads = Heads { n_heads: 6, n_kv_heads: 2, head_dim: 64 };
const FFN: usize = 352;
const VOCAB: usize = 333;
const N_LAYERS: usize = 3;

/// A model of random weights. Llama's has factors of its frequencies and reuses its embedding; Qwen2's has biases and
/// an output matrix.
fn random_model(architecture: &str) -> Gguf {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut bytes = |n: usize, from: f32, to: f32| -> Vec<u8> {
        (0..n).flat_map(|_| rng.random_range(from..to).to_le_bytes()).collect()
    };
    let (q, kv) = (HEADS.row_len(), HEADS.n_kv_heads * HEADS.head_dim);
    let key = |part: &str| format!("{architecture}.{part}");
    let mut writer = Writer::new(3)
        .meta("general.architecture", Meta::Str(architecture.to_owned()))
        .meta(&key("block_count"), Meta::U32(N_LAYERS as u32))
        .meta(&key("context_length"), Meta::U32(1024))
        .meta(&key("embedding_length"), Meta::U32(HIDDEN as u32))
        .meta(&key("attention.head_count"), Meta::U32(HEADS.n_heads as u32))
        .meta(&key("attention.head_count_kv"), Meta::U32(HEADS.n_kv_heads as u32))
        .meta(&key("attention.key_length"), Meta::U32(HEADS.head_dim as u32))
        .meta(&key("attention.layer_norm_rms_epsilon"), Meta::F32(1e-5));
    let mut vector = |writer: Writer, name: &str, len: usize, from: f32, to: f32| {
        writer.tensor(name, &[len as u64], 0, &bytes(len, from, to))
    };
    writer = vector(writer, "output_norm.weight", HIDDEN, 0.5, 1.5);
    for layer in 0..N_LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}");
        for norm in ["attn_norm.weight", "ffn_norm.weight"] {
            writer = vector(writer, &name(norm), HIDDEN, 0.5, 1.5);
        }
        if architecture == "qwen2" {
            for (bias, len) in [("attn_q.bias", q), ("attn_k.bias", kv), ("attn_v.bias", kv)] {
                writer = vector(writer, &name(bias), len, -1.0, 1.0);
            }
        }
    }
    if architecture == "llama" {
        writer = vector(writer, "rope_freqs.weight", HEADS.head_dim / 2, 1.0, 8.0);
    }
    // Rows of unit length on the average.
    let mut matrix = |writer: Writer, name: &str, outputs: usize, inputs: usize| {
        let most = (3.0 / inputs as f32).sqrt();
        let data = bytes(outputs * inputs, -most, most);
        writer.tensor(name, &[inputs as u64, outputs as u64], 0, &data)
    };
    writer = matrix(writer, "token_embd.weight", VOCAB, HIDDEN);
    if architecture == "qwen2" {
        writer = matrix(writer, "output.weight", VOCAB, HIDDEN);
    }
    for layer in 0..N_LAYERS {
        for (part, outputs, inputs) in [
            ("attn_q", q, HIDDEN),
            ("attn_k", kv, HIDDEN),
            ("attn_v", kv, HIDDEN),
            ("attn_output", HIDDEN, q),
            ("ffn_gate", FFN, HIDDEN),
            ("ffn_up", FFN, HIDDEN),
            ("ffn_down", HIDDEN, FFN),
        ] {
            writer = matrix(writer, &format!("blk.{layer}.{part}.weight"), outputs, inputs);
        }
    }
    Gguf::parse("random.gguf", &writer.write().bytes).unwrap()
}

fn random_tokens(seed: u64, n: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(0..VOCAB as u32)).collect()
}

fn plans(shape: CacheShape) -> Vec<Plan> {
    let named = ["f16", "kivi-2", "int4/int4:window=64,group=64,sinks=4,rotate=values"];
    let presets = [Preset::Balanced, Preset::Small].map(|preset| preset.uniform(shape).unwrap());
    named.iter().map(|plan| plan.parse().unwrap()).chain(presets).collect()
}

/// Logits after the tokens, all but the first few, read in these chunks.
fn chunked<Model: LanguageModel>(
    model: &Model,
    plan: &Plan,
    tokens: &[u32],
    chunks: &[usize],
) -> Vec<f32> {
    let most = *chunks.iter().max().unwrap();
    let mut cache = model.cache_for(plan, tokens.len(), most).unwrap();
    let mut logits = Vec::new();
    let mut left = tokens;
    for &n in chunks {
        let (now, later) = left.split_at(n);
        logits.extend(model.read(&mut cache, now, n.min(3) - 1..n).unwrap());
        left = later;
    }
    assert!(left.is_empty());
    logits
}

/// Where there is no GPU: the tests below have what they need.
#[test]
fn random_models_run_on_the_cpu_and_their_plans_have_kernels() {
    for architecture in ["llama", "qwen2"] {
        let cpu = Llama::load(random_model(architecture), WeightFormat::F32).unwrap();
        let shape = cpu.config().cache_shape();
        for plan in plans(shape) {
            let size = CacheSize { n_sequences: 1, capacity: 300, most_new: 64 };
            assert!(GpuCache::planned_bytes(shape, &plan, size).unwrap() > 0);
            let logits = chunked(&cpu, &plan, &random_tokens(1, 150), &[149, 1]);
            assert!(logits.iter().all(|logit| logit.is_finite()), "{plan}");
        }
    }
}

/// Reads the same tokens on both, in chunks and one by one.
fn check_model(label: &str, cpu: &Llama, gpu: &GpuLlama, tokens: &[u32], plan: &Plan, bound: f64) {
    // Of few rows, of many, and of more rows of logits than are on the GPU at once.
    let rest = tokens.len() - 150 - 1 - 7 - 1;
    let chunks = [150, 1, 7, rest, 1];
    let expected = chunked(cpu, plan, tokens, &chunks);
    let logits = chunked(gpu, plan, tokens, &chunks);
    println!("{label}, {plan}: {:e}", nmse(&expected, &logits));
    assert_nmse(&expected, &logits, bound, &format!("{label}, {plan}"));
}

#[test]
fn models_of_random_weights_compute_what_the_cpu_computes() {
    let Some(gpu) = gpu() else { return };
    let tokens = random_tokens(1, 420);
    for architecture in ["llama", "qwen2"] {
        let cpu = Llama::load(random_model(architecture), WeightFormat::F32).unwrap();
        for format in FORMATS {
            let device = GpuLlama::load(&gpu, cpu.gguf(), format).unwrap();
            for plan in plans(cpu.config().cache_shape()) {
                let bound = match (format, plan == Plan::f16()) {
                    (GpuWeights::F16, true) => MAX_F16_NMSE,
                    (GpuWeights::F16, false) => MAX_PACKED_NMSE,
                    (GpuWeights::Q8_0, true) => MAX_Q8_0_NMSE,
                    (GpuWeights::Q8_0, false) => MAX_PACKED_Q8_0_NMSE,
                };
                let label = format!("{architecture}, {format}");
                check_model(&label, &cpu, &device, &tokens, &plan, bound);
            }
        }
    }
}

/// The text is this module's neighbour: any English would do.
#[test]
fn smollm2_computes_what_the_cpu_computes() {
    let Some(gpu) = gpu() else { return };
    let Some(path) = model("smollm2") else { return };
    let gguf = Gguf::open(&path).unwrap();
    let text = include_str!("../eval/perplexity.rs");
    let mut tokens = Tokenizer::from_gguf(&gguf).unwrap().encode(text, false).unwrap();
    tokens.truncate(420);
    let preset = Preset::Balanced.shipped(&fingerprint(&gguf).unwrap()).unwrap().unwrap();
    let cpu = Llama::load(gguf, WeightFormat::F32).unwrap();
    let device = GpuLlama::load(&gpu, cpu.gguf(), GpuWeights::F16).unwrap();
    check_model("smollm2", &cpu, &device, &tokens, &Plan::f16(), MAX_F16_NMSE);
    check_model("smollm2", &cpu, &device, &tokens, &"kivi-2".parse().unwrap(), MAX_PACKED_NMSE);
    check_model("smollm2", &cpu, &device, &tokens, &preset, MAX_PACKED_NMSE);
}

#[test]
fn a_text_scores_as_on_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let cpu = Llama::load(random_model("llama"), WeightFormat::F32).unwrap();
    let device = GpuLlama::load(&gpu, cpu.gguf(), GpuWeights::F16).unwrap();
    let tokens = random_tokens(5, 620);
    let rule = ScoringRule::SecondHalf;
    let protocol =
        Protocol { context: 300, skipped_windows: 0, max_windows: 2, rule, chunk: 128, bos: None };
    let plan = Plan::f16();
    let expected = evaluate(&cpu, &tokens, &plan, protocol, |_| ()).unwrap();
    let scored = evaluate(&device, &tokens, &plan, protocol, |_| ()).unwrap();
    assert_eq!(scored.cache_bytes, expected.cache_bytes);
    let (scored, expected) = (scored.total(), expected.total());
    assert_eq!(scored.n_tokens, expected.n_tokens);
    assert!((scored.nll / expected.nll - 1.0).abs() < 1e-3, "{scored:?} {expected:?}");
}

#[test]
fn chunks_give_what_decoding_gives() {
    let Some(gpu) = gpu() else { return };
    let device = GpuLlama::load(&gpu, &random_model("llama"), GpuWeights::F16).unwrap();
    let tokens = random_tokens(2, 220);
    for plan in plans(device.config().cache_shape()) {
        let bound = if plan == Plan::f16() { MAX_ORDER_NMSE } else { MAX_PACKED_NMSE };
        let mut cache = device.cache_for(&plan, tokens.len(), 1).unwrap();
        let decoded: Vec<f32> = tokens
            .iter()
            .flat_map(|token| device.read(&mut cache, &[*token], 0..1).unwrap())
            .collect();
        for chunk in [7, 64, 220] {
            let mut cache = device.cache_for(&plan, tokens.len(), chunk).unwrap();
            let read: Vec<f32> = tokens
                .chunks(chunk)
                .flat_map(|tokens| device.read(&mut cache, tokens, 0..tokens.len()).unwrap())
                .collect();
            assert_nmse(&decoded, &read, bound, &format!("{plan}, chunks of {chunk}"));
        }
    }
}

/// Decodes a batch by its graph and, one after the other, its sequences without one.
fn check_graph(device: &GpuLlama, plan: &Plan, n_sequences: usize, bound: f64) {
    const N_STEPS: usize = 140;
    let texts: Vec<Vec<u32>> =
        (0..n_sequences).map(|sequence| random_tokens(sequence as u64, N_STEPS)).collect();
    let size = CacheSize { n_sequences, capacity: N_STEPS + 5, most_new: 1 };
    let mut batch = device.new_cache(plan, size).unwrap();
    let mut decoder = Decoder::new(device, &mut batch).unwrap();
    assert_eq!(decoder.cache().lengths(), vec![0; n_sequences]);
    let mut by_graph = vec![Vec::new(); n_sequences];
    for step in 0..N_STEPS {
        let tokens: Vec<u32> = texts.iter().map(|text| text[step]).collect();
        let logits = decoder.step(&tokens).unwrap();
        for (logits, by_graph) in logits.chunks(VOCAB).zip(&mut by_graph) {
            by_graph.extend_from_slice(logits);
        }
    }
    for (text, by_graph) in texts.iter().zip(&by_graph) {
        let mut cache = device.cache_for(plan, size.capacity, 1).unwrap();
        let alone: Vec<f32> = text
            .iter()
            .flat_map(|token| device.read(&mut cache, &[*token], 0..1).unwrap())
            .collect();
        assert_nmse(&alone, by_graph, bound, &format!("{plan}, {n_sequences} sequences"));
    }
}

#[test]
fn a_graph_computes_what_single_launches_compute() {
    let Some(gpu) = gpu() else { return };
    let device = GpuLlama::load(&gpu, &random_model("qwen2"), GpuWeights::F16).unwrap();
    for plan in plans(device.config().cache_shape()) {
        let bound = if plan == Plan::f16() { MAX_ORDER_NMSE } else { MAX_PACKED_NMSE };
        for n_sequences in [1, 3, 11] {
            check_graph(&device, &plan, n_sequences, bound);
        }
    }
}

/// So many that products are cuBLAS's, which is captured, too.
#[test]
fn a_graph_takes_many_sequences() {
    let Some(gpu) = gpu() else { return };
    for format in FORMATS {
        let device = GpuLlama::load(&gpu, &random_model("llama"), format).unwrap();
        check_graph(&device, &Plan::f16(), FEW_ROWS + 4, MAX_ORDER_NMSE);
    }
}

#[test]
fn a_run_takes_the_likeliest_tokens() {
    let Some(gpu) = gpu() else { return };
    let device = GpuLlama::load(&gpu, &random_model("llama"), GpuWeights::F16).unwrap();
    let size = CacheSize { n_sequences: 2, capacity: 40, most_new: 1 };
    let plan = "kivi-2".parse().unwrap();
    let mut caches = [0; 2].map(|_| device.new_cache(&plan, size).unwrap());
    let [stepped, run] = &mut caches;
    let (mut stepped, mut run) =
        (Decoder::new(&device, stepped).unwrap(), Decoder::new(&device, run).unwrap());
    let mut tokens = vec![3, 200];
    let mut expected = vec![Vec::new(); 2];
    for _ in 0..30 {
        let logits = stepped.step(&tokens).unwrap();
        for (sequence, logits) in logits.chunks(VOCAB).enumerate() {
            let likeliest = (0..VOCAB).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            tokens[sequence] = likeliest.unwrap() as u32;
            expected[sequence].push(tokens[sequence]);
        }
    }
    let mut first = run.run(&[3, 200], 10).unwrap();
    let next: Vec<u32> = first.iter().map(|tokens| tokens[9]).collect();
    for (first, then) in first.iter_mut().zip(run.run(&next, 20).unwrap()) {
        first.extend(then);
    }
    assert_eq!(first, expected);
    assert_eq!(run.cache().lengths(), [30, 30]);
    assert!(matches!(run.run(&[0, 0], 11), Err(Error::Shape { .. })));
    assert_eq!(run.cache().lengths(), [30, 30]);
    assert!(run.step(&[0]).is_err() && run.step(&[0, VOCAB as u32]).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let device = GpuLlama::load(&gpu, &random_model("llama"), GpuWeights::F16).unwrap();
    let mut cache = device.cache_for(&Plan::f16(), 8, 8).unwrap();
    for (tokens, logits) in
        [(vec![], 0..0), (vec![0; 9], 0..1), (vec![0; 2], 0..3), (vec![VOCAB as u32], 0..1)]
    {
        assert!(device.read(&mut cache, &tokens, logits).is_err());
    }
    assert_eq!(device.read(&mut cache, &[0; 8], 7..8).unwrap().len(), VOCAB);
}

#[test]
fn batches_are_timed() {
    let Some(gpu) = gpu() else { return };
    let device = GpuLlama::load(&gpu, &random_model("llama"), GpuWeights::Q8_0).unwrap();
    let case = |plan: &str, context, n_sequences| DecodeCase {
        plan: plan.parse().unwrap(),
        context,
        n_sequences,
    };
    let cases = [case("f16", 0, 1), case("f16", 300, 3), case("kivi-2", 300, 3)];
    let times = decode_times(&device, &cases, 8, 3).unwrap();
    assert_eq!(times[0].prefill_seconds, None);
    assert!(times.iter().all(|time| time.step_seconds > 0.0));
    assert!(times[1..].iter().all(|time| time.prefill_seconds > Some(0.0)));
    assert!(times[2].cache_bytes < times[1].cache_bytes);
}
