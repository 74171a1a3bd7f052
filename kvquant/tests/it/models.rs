//! Whole models: loading, batches, refusals.

use crate::gguf_writer::Meta;
use crate::tiny_model;
use common::testing::shared_data;
use kvquant::cache::KvCache;
use kvquant::model::gguf::Gguf;
use kvquant::model::sample::{Sampler, SamplerConfig};
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Chunk, Llama, WeightFormat};
use kvquant::policy::Plan;

fn cache(model: &Llama, plan: &str) -> KvCache {
    KvCache::new(model.config().cache_shape(), &plan.parse().unwrap()).unwrap()
}

/// Logits after the last of `tokens`.
fn next(model: &Llama, cache: &mut KvCache, tokens: &[u32]) -> Vec<f32> {
    let logits = tokens.len() - 1..tokens.len();
    model.forward(&mut [Chunk { cache, tokens, logits }]).unwrap().remove(0)
}

/// Sequences of different lengths in one batch need no padding and don't touch each other.
#[test]
fn a_ragged_batch_equals_its_sequences_alone() {
    let model = tiny_model::load("llama");
    let long: Vec<u32> = (0..70).map(|i| i * 5 % 9).collect();
    let (short, one) = ([4, 1, 8], [7]);
    let sequences: [&[u32]; 3] = [&long, &short, &one];
    let plan = "kivi-2:window=32";
    let alone: Vec<Vec<f32>> =
        sequences.iter().map(|tokens| next(&model, &mut cache(&model, plan), tokens)).collect();

    let mut caches: Vec<KvCache> = sequences.iter().map(|_| cache(&model, plan)).collect();
    let mut chunks: Vec<Chunk<'_>> = caches
        .iter_mut()
        .zip(sequences)
        .map(|(cache, tokens)| Chunk { cache, tokens, logits: tokens.len() - 1..tokens.len() })
        .collect();
    let together = model.forward(&mut chunks).unwrap();
    for (alone, together) in alone.iter().zip(together) {
        common::testing::assert_nmse(alone, &together, 1e-9, "a sequence of the batch");
    }
    let lengths: Vec<usize> = caches.iter().map(KvCache::n_tokens).collect();
    assert_eq!(lengths, [70, 3, 1]);
}

/// Keys that are held before rotary embedding and without their bias, and rotated sides, are those that
/// attention sees but for half precision.
#[test]
fn what_is_taken_off_is_put_back() {
    let tokens: Vec<u32> = (0..90).map(|i| i * 5 % 9).collect();
    for architecture in ["llama", "qwen2"] {
        let model = tiny_model::load(architecture);
        let expected = next(&model, &mut cache(&model, "f16"), &tokens);
        for plan in ["f16:pre-rope", "f16:rotate=both", "int8:window=16,group=16,pre-rope"] {
            let mut cache = model.new_cache(&plan.parse().unwrap()).unwrap();
            let found = next(&model, &mut cache, &tokens);
            let bound = if plan.starts_with("f16") { 1e-5 } else { 1e-3 };
            let label = format!("{architecture}, {plan}");
            common::testing::assert_nmse(&expected, &found, bound, &label);
        }
    }
    let model = tiny_model::load("llama");
    let plan: Plan = "f16:pre-rope".parse().unwrap();
    let message = KvCache::new(model.config().cache_shape(), &plan).unwrap_err().to_string();
    assert!(message.contains("need a model's cache"), "{message}");
    let plan: Plan = "f16:pre-rope,rotate=keys".parse().unwrap();
    let message = model.new_cache(&plan).unwrap_err().to_string();
    assert!(message.contains("can't be rotated, too"), "{message}");
}

#[test]
fn a_refused_chunk_changes_nothing() {
    let model = tiny_model::load("llama");
    let mut cache = cache(&model, "kivi-2:window=32");
    let expected = next(&model, &mut cache, &[1, 2, 3]);
    cache.truncate(2);
    let mut refuse = |tokens: &[u32], logits, part: &str| {
        let message = model.forward(&mut [Chunk { cache: &mut cache, tokens, logits }]);
        let message = message.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert_eq!(cache.n_tokens(), 2);
    };
    refuse(&[3, 9], 0..1, "token 9 is not in the vocabulary of 9");
    refuse(&[], 0..0, "a chunk of tokens has 0 numbers");
    refuse(&[3], 0..2, "range of logits");
    assert_eq!(next(&model, &mut cache, &[3]), expected);
}

/// Changes one key of a sound file; loading it must fail with this message.
fn refused(architecture: &str, key: &str, value: Meta, expected: &str) {
    let file = tiny_model::file_with(architecture, key, value);
    let gguf = Gguf::parse("tiny.gguf", &file.bytes).unwrap();
    let message = Llama::load(gguf, WeightFormat::Auto).unwrap_err().to_string();
    assert!(message.starts_with("tiny.gguf: ") && message.contains(expected), "{message}");
}

#[test]
fn models_that_do_not_fit_are_refused_by_name() {
    let u32 = Meta::U32;
    refused("gemma3", "x", u32(0), "architecture `gemma3` is not supported; llama and qwen2 are");
    refused("llama", "llama.expert_count", u32(8), "mixture-of-experts");
    refused("llama", "llama.rope.scaling.type", Meta::Str("yarn".into()), "rotary scaling `yarn`");
    refused("llama", "llama.block_count", u32(3), "blk.2.attn_k.weight: the file has no tensor");
    refused("llama", "llama.block_count", u32(u32::MAX), "blk.4294967294.attn_k.weight");
    refused("llama", "llama.block_count", u32(0), "llama.block_count: is 0");
    refused("llama", "llama.embedding_length", u32(64), "the model needs [32, 64]");
    refused("llama", "llama.attention.head_count", u32(3), "3 query heads can't share 2 KV heads");
    refused(
        "llama",
        "llama.attention.key_length",
        u32(1 << 31),
        "the model needs [4294967296, 32]",
    );
    refused("llama", "llama.rope.dimension_count", u32(7), "is 7; rotary embedding turns pairs");
}

/// The real tiny model: GGUF version 1, SentencePiece, heads of 8 channels, far below the group.
#[test]
fn stories260k_tells_a_story() {
    let Some(path) = shared_data("models/stories260k-f32.gguf") else { return };
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.version(), 1);
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let model = Llama::load(gguf, WeightFormat::Auto).unwrap();
    assert_eq!(model.config().heads.head_dim, 8);
    let tell = |plan: &str| {
        let mut cache = cache(&model, plan);
        let mut sampler = Sampler::new(SamplerConfig::default()).unwrap();
        let prompt = tokenizer.encode("Once upon a time", true).unwrap();
        let mut tokens = Vec::new();
        let mut logits = next(&model, &mut cache, &prompt);
        for _ in 0..60 {
            tokens.push(sampler.sample(&logits).unwrap());
            logits = next(&model, &mut cache, &tokens[tokens.len() - 1..]);
        }
        assert_eq!(cache.n_tokens(), prompt.len() + 60);
        tokenizer.decode(&tokens).unwrap()
    };
    let story = tell("f16");
    assert!(story.starts_with(", there was a little girl named Lily."), "{story}");
    // What is still in the window is told alike; then 2 bits go their own way, but not astray.
    let quantized = tell("kivi-2:window=32");
    assert!(quantized.starts_with(", there was a little girl named Lily."), "{quantized}");
    assert_eq!(tell("kivi-2:window=128"), story);
}

#[test]
fn plans_of_llama_cpp_need_heads_of_whole_blocks() {
    let model = tiny_model::load("llama");
    let plan: Plan = "q8_0".parse().unwrap();
    let message = KvCache::new(model.config().cache_shape(), &plan).unwrap_err().to_string();
    assert!(message.contains("blocks of 32 channels, but a head has 8"), "{message}");
}
