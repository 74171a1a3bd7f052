//! `kvquant generate`

use super::gpu::{GpuOptions, OnGpu};
use super::options::{ModelOptions, PlanOptions};
use crate::cache::bytes::planned_bytes;
use crate::cache::{CacheBytes, KvCache};
use crate::cuda::{CacheSize, Decoder};
use crate::model::chat::{ChatTemplate, Message};
use crate::model::gguf::Gguf;
use crate::model::sample::{Sampler, SamplerConfig};
use crate::model::tokenizer::Tokenizer;
use crate::model::{LanguageModel, Llama};
use anyhow::bail;
use clap::Args;
use common::command::{BadInput, InputContext, print, print_json};
use common::progress::{Progress, Unit};
use serde_json::json;
use std::time::{Duration, Instant};

/// Tokens of the prompt that go through the model at once.
const PREFILL_CHUNK: usize = 512;

/// Generate text with a quantized cache
///
/// The prompt is put into the model's chat template if it has one; --raw continues it as it is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kvquant generate --kv kivi-2 --prompt \"The capital of France?\"
  kvquant generate --model stories260k --kv asymkv-5/0 --raw --prompt \"Once upon a time\"
  kvquant generate --kv small --gpu 0 --prompt \"The capital of France?\"")]
pub struct Generate {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
    #[command(flatten)]
    gpu: GpuOptions,
    /// What to answer, or with --raw to continue
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// A system message before the prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Continue the prompt as it is, without the chat template
    #[arg(long)]
    raw: bool,
    /// Tokens generated at most
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Sample from the K likeliest tokens
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Seed of the sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object instead of the text as it comes
    #[arg(long)]
    json: bool,
}

impl Generate {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let mut sampler = Sampler::new(SamplerConfig {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        })?;
        let run = match self.gpu.gpu {
            None => self.on_cpu(&mut sampler)?,
            Some(ordinal) => self.on_gpu(&mut sampler, ordinal)?,
        };
        self.report(&run)
    }

    fn on_cpu(&self, sampler: &mut Sampler) -> anyhow::Result<Run> {
        let (model, tokenizer) = self.model.load()?;
        let prompt = self.prompt_tokens(&model, model.gguf(), &tokenizer)?;
        let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
        let mut cache = model.new_cache(&plan)?;
        let (logits, prefill_time) = prefill(&prompt, |tokens| next(&model, &mut cache, tokens))?;
        let room = self.room(&model, &prompt);
        let generated = self.continue_text(&tokenizer, sampler, logits, room, |token| {
            next(&model, &mut cache, &[token])
        })?;
        Ok(Run {
            plan: plan.to_string(),
            n_prompt: prompt.len(),
            prefill_time,
            cache_bytes: cache.bytes(),
            bits_per_element: cache.bits_per_element(),
            generated,
        })
    }

    /// The prompt is read in chunks, and each further token is one launch of a captured step.
    fn on_gpu(&self, sampler: &mut Sampler, ordinal: usize) -> anyhow::Result<Run> {
        let on_gpu = OnGpu::load(&self.model, ordinal, self.gpu.gpu_weights)?;
        let OnGpu { model, gguf, tokenizer, .. } = &on_gpu;
        let prompt = self.prompt_tokens(model, gguf, tokenizer)?;
        let plan = on_gpu.plan(&self.plan, &self.model)?;
        let room = self.room(model, &prompt);
        let most_new = PREFILL_CHUNK.min(prompt.len());
        let size = CacheSize { n_sequences: 1, capacity: prompt.len() + room.max(1), most_new };
        let mut cache = model.new_cache(&plan, size)?;
        let (logits, prefill_time) = prefill(&prompt, |tokens| {
            Ok(model.forward(&mut cache, tokens, tokens.len() - 1..tokens.len())?)
        })?;
        let mut decoder = Decoder::new(model, &mut cache)?;
        let generated = self
            .continue_text(tokenizer, sampler, logits, room, |token| Ok(decoder.step(&[token])?))?;
        let shape = model.config().cache_shape();
        let n_tokens = decoder.cache().lengths()[0];
        let cache_bytes = planned_bytes(shape, &plan, n_tokens)?;
        Ok(Run {
            plan: plan.to_string(),
            n_prompt: prompt.len(),
            prefill_time,
            cache_bytes,
            bits_per_element: cache_bytes.bits_per_element(shape, n_tokens),
            generated,
        })
    }

    /// Goes on from the logits after the prompt; `step` gives those after a token more.
    fn continue_text(
        &self,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
        mut logits: Vec<f32>,
        room: usize,
        mut step: impl FnMut(u32) -> anyhow::Result<Vec<f32>>,
    ) -> anyhow::Result<Generated> {
        let mut text = String::new();
        let mut stream = tokenizer.decode_stream();
        let mut n_tokens = 0;
        let start = Instant::now();
        while n_tokens < room {
            let token = sampler.sample(&logits)?;
            if tokenizer.ends_generation(token) {
                break;
            }
            n_tokens += 1;
            self.emit(&mut text, &stream.push(token)?)?;
            logits = step(token)?;
        }
        self.emit(&mut text, &stream.finish())?;
        Ok(Generated { text, n_tokens, time: start.elapsed() })
    }

    /// Tokens that may follow the prompt.
    fn room(&self, model: &impl LanguageModel, prompt: &[u32]) -> usize {
        self.max_tokens.min(model.config().context_len - prompt.len())
    }

    fn prompt_tokens(
        &self,
        model: &impl LanguageModel,
        gguf: &Gguf,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Vec<u32>> {
        let prompt = self.encode(gguf, tokenizer)?;
        let context_len = model.config().context_len;
        if prompt.is_empty() || prompt.len() >= context_len {
            bail!(BadInput(format!(
                "the prompt has {} tokens; it takes 1 to {} for a context of {context_len}",
                prompt.len(),
                context_len - 1
            )));
        }
        Ok(prompt)
    }

    fn encode(&self, gguf: &Gguf, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
        if self.raw {
            return Ok(tokenizer.encode(&self.prompt, tokenizer.adds_bos())?);
        }
        let template = ChatTemplate::from_gguf(gguf, tokenizer)
            .bad_input("use --raw to continue the prompt as it is")?;
        let mut messages = Vec::new();
        messages.extend(self.system.as_deref().map(|text| Message::new("system", text)));
        messages.push(Message::new("user", self.prompt.as_str()));
        Ok(template.encode(tokenizer, &messages, true)?)
    }

    fn emit(&self, text: &mut String, piece: &str) -> anyhow::Result<()> {
        text.push_str(piece);
        if !self.json {
            print(piece)?;
        }
        Ok(())
    }

    fn report(&self, run: &Run) -> anyhow::Result<()> {
        let bytes = run.cache_bytes;
        let per_second = |n: usize, time: Duration| n as f64 / time.as_secs_f64().max(1e-9);
        let prefill_speed = per_second(run.n_prompt, run.prefill_time);
        let decode_speed = per_second(run.generated.n_tokens, run.generated.time);
        if self.json {
            let weights = match self.gpu.gpu {
                None => self.model.weights.to_string(),
                Some(_) => self.gpu.gpu_weights.to_string(),
            };
            return print_json(&json!({
                "model": self.model.model,
                "weights": weights,
                "plan": run.plan,
                "text": run.generated.text,
                "prompt_tokens": run.n_prompt,
                "generated_tokens": run.generated.n_tokens,
                "prefill_tokens_per_second": prefill_speed,
                "decode_tokens_per_second": decode_speed,
                "cache_bytes": bytes.total(),
                "k_bytes": bytes.keys,
                "v_bytes": bytes.values,
                "bits_per_element": run.bits_per_element,
            }));
        }
        print("\n")?;
        eprintln!(
            "{} prompt tokens at {prefill_speed:.0}/s, {} generated at {decode_speed:.1}/s; \
             cache {}: {} bytes, {:.2} bits per element",
            run.n_prompt,
            run.generated.n_tokens,
            run.plan,
            bytes.total(),
            run.bits_per_element,
        );
        Ok(())
    }
}

struct Run {
    plan: String,
    n_prompt: usize,
    prefill_time: Duration,
    generated: Generated,
    cache_bytes: CacheBytes,
    bits_per_element: f64,
}

struct Generated {
    text: String,
    n_tokens: usize,
    time: Duration,
}

/// Reads the prompt in chunks, each by `read`; gives the logits after its last token, and what it took.
fn prefill(
    prompt: &[u32],
    mut read: impl FnMut(&[u32]) -> anyhow::Result<Vec<f32>>,
) -> anyhow::Result<(Vec<f32>, Duration)> {
    let progress = Progress::stderr();
    let bar = progress.bar("prompt", Some(prompt.len() as u64), Unit::Items("tokens"));
    let start = Instant::now();
    let mut logits = Vec::new();
    for tokens in prompt.chunks(PREFILL_CHUNK) {
        logits = read(tokens)?;
        bar.advance(tokens.len() as u64);
    }
    let time = start.elapsed();
    bar.finish();
    Ok((logits, time))
}

/// The logits after the last of `tokens`.
fn next(model: &Llama, cache: &mut KvCache, tokens: &[u32]) -> anyhow::Result<Vec<f32>> {
    Ok(model.read(cache, tokens, tokens.len() - 1..tokens.len())?)
}
