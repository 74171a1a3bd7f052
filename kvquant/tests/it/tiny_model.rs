//! A whole model of random weights, small enough to be written by each test that needs one.

use crate::gguf_writer::{Meta, Writer, Written, sentencepiece};
use kvquant::model::gguf::Gguf;
use kvquant::model::{Llama, WeightFormat};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const HIDDEN: u64 = 32;
pub const N_LAYERS: u32 = 2;
pub const N_HEADS: u64 = 4;
pub const N_KV_HEADS: u64 = 2;
pub const HEAD_DIM: u64 = 8;
pub const FFN: u64 = 48;
pub const VOCAB: u64 = 9;

const F32: u32 = 0;

/// The file of a model of this architecture; those of qwen2 have biases.
pub fn file(architecture: &str) -> Written {
    writer(architecture).write()
}

/// The same with another value of one key.
pub fn file_with(architecture: &str, key: &str, value: Meta) -> Written {
    writer(architecture).replace(key, value).write()
}

fn writer(architecture: &str) -> Writer {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut tensor = |n: u64, scale: f32| -> Vec<u8> {
        (0..n).flat_map(|_| (rng.random_range(-1.0..1.0) * scale).to_le_bytes()).collect()
    };
    let key = |part: &str| format!("{architecture}.{part}");
    let (q, kv) = (N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM);
    let mut writer = sentencepiece(3)
        .without_tensors()
        .replace("general.architecture", Meta::Str(architecture.to_owned()))
        .meta(&key("block_count"), Meta::U32(N_LAYERS))
        .meta(&key("context_length"), Meta::U32(256))
        .meta(&key("embedding_length"), Meta::U32(HIDDEN as u32))
        .meta(&key("attention.head_count"), Meta::U32(N_HEADS as u32))
        .meta(&key("attention.head_count_kv"), Meta::U32(N_KV_HEADS as u32))
        .meta(&key("attention.layer_norm_rms_epsilon"), Meta::F32(1e-5))
        .meta(&key("rope.freq_base"), Meta::F32(100.0))
        .tensor("token_embd.weight", &[HIDDEN, VOCAB], F32, &tensor(HIDDEN * VOCAB, 1.0))
        .tensor("output_norm.weight", &[HIDDEN], F32, &tensor(HIDDEN, 1.0));
    for layer in 0..N_LAYERS {
        let matrices = [
            ("attn_q", HIDDEN, q),
            ("attn_k", HIDDEN, kv),
            ("attn_v", HIDDEN, kv),
            ("attn_output", q, HIDDEN),
            ("ffn_gate", HIDDEN, FFN),
            ("ffn_up", HIDDEN, FFN),
            ("ffn_down", FFN, HIDDEN),
        ];
        for (name, inputs, outputs) in matrices {
            let data = tensor(inputs * outputs, 0.5);
            writer = writer.tensor(
                &format!("blk.{layer}.{name}.weight"),
                &[inputs, outputs],
                F32,
                &data,
            );
        }
        let mut vectors = vec![("attn_norm.weight", HIDDEN), ("ffn_norm.weight", HIDDEN)];
        if architecture == "qwen2" {
            vectors.extend([("attn_q.bias", q), ("attn_k.bias", kv), ("attn_v.bias", kv)]);
        }
        for (name, len) in vectors {
            writer = writer.tensor(&format!("blk.{layer}.{name}"), &[len], F32, &tensor(len, 1.0));
        }
    }
    writer
}

/// The same, loaded.
pub fn load(architecture: &str) -> Llama {
    let gguf = Gguf::parse("tiny.gguf", &file(architecture).bytes).unwrap();
    Llama::load(gguf, WeightFormat::F32).unwrap()
}
