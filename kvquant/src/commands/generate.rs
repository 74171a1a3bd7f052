//! `kvquant generate`

use super::options::{ModelOptions, PlanOptions};
use anyhow::bail;
use clap::Args;
use common::command::{BadInput, InputContext, print, print_json};
use common::progress::{Progress, Unit};
use kvquant::cache::KvCache;
use kvquant::model::chat::{ChatTemplate, Message};
use kvquant::model::sample::{Sampler, SamplerConfig};
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Chunk, Llama};
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
  kvquant generate --model stories260k --kv asymkv-5/0 --raw --prompt \"Once upon a time\"")]
pub struct Generate {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
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
        let (model, tokenizer) = self.model.load()?;
        let prompt = self.prompt_tokens(&model, &tokenizer)?;
        let context_len = model.config().context_len;
        if prompt.is_empty() || prompt.len() >= context_len {
            bail!(BadInput(format!(
                "the prompt has {} tokens; it takes 1 to {} for a context of {context_len}",
                prompt.len(),
                context_len - 1
            )));
        }
        let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
        let mut cache = model.new_cache(&plan)?;
        let start = Instant::now();
        let mut logits = prefill(&model, &mut cache, &prompt)?;
        let prefill_time = start.elapsed();

        let room = self.max_tokens.min(context_len - prompt.len());
        let mut text = String::new();
        let mut stream = tokenizer.decode_stream();
        let mut n_generated = 0;
        let start = Instant::now();
        while n_generated < room {
            let token = sampler.sample(&logits)?;
            if tokenizer.ends_generation(token) {
                break;
            }
            n_generated += 1;
            self.emit(&mut text, &stream.push(token)?)?;
            logits = forward_last(&model, &mut cache, &[token])?;
        }
        self.emit(&mut text, &stream.finish())?;
        let decode_time = start.elapsed();
        self.report(Run {
            plan: plan.to_string(),
            text,
            n_prompt: prompt.len(),
            n_generated,
            prefill_time,
            decode_time,
            cache: &cache,
        })
    }

    fn prompt_tokens(&self, model: &Llama, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
        if self.raw {
            return Ok(tokenizer.encode(&self.prompt, tokenizer.adds_bos())?);
        }
        let template = ChatTemplate::from_gguf(model.gguf(), tokenizer)
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

    fn report(&self, run: Run<'_>) -> anyhow::Result<()> {
        let bytes = run.cache.bytes();
        let per_second = |n: usize, time: Duration| n as f64 / time.as_secs_f64().max(1e-9);
        let prefill_speed = per_second(run.n_prompt, run.prefill_time);
        let decode_speed = per_second(run.n_generated, run.decode_time);
        if self.json {
            return print_json(&json!({
                "model": self.model.model,
                "weights": self.model.weights.to_string(),
                "plan": run.plan,
                "text": run.text,
                "prompt_tokens": run.n_prompt,
                "generated_tokens": run.n_generated,
                "prefill_tokens_per_second": prefill_speed,
                "decode_tokens_per_second": decode_speed,
                "cache_bytes": bytes.total(),
                "k_bytes": bytes.keys,
                "v_bytes": bytes.values,
                "bits_per_element": run.cache.bits_per_element(),
            }));
        }
        print("\n")?;
        eprintln!(
            "{} prompt tokens at {prefill_speed:.0}/s, {} generated at {decode_speed:.1}/s; \
             cache {}: {} bytes, {:.2} bits per element",
            run.n_prompt,
            run.n_generated,
            run.plan,
            bytes.total(),
            run.cache.bits_per_element(),
        );
        Ok(())
    }
}

struct Run<'a> {
    plan: String,
    text: String,
    n_prompt: usize,
    n_generated: usize,
    prefill_time: Duration,
    decode_time: Duration,
    cache: &'a KvCache,
}

/// Runs the prompt through the model; gives the logits after its last token.
fn prefill(model: &Llama, cache: &mut KvCache, prompt: &[u32]) -> anyhow::Result<Vec<f32>> {
    let progress = Progress::stderr();
    let bar = progress.bar("prompt", Some(prompt.len() as u64), Unit::Items("tokens"));
    let mut logits = Vec::new();
    for tokens in prompt.chunks(PREFILL_CHUNK) {
        logits = forward_last(model, cache, tokens)?;
        bar.advance(tokens.len() as u64);
    }
    bar.finish();
    Ok(logits)
}

/// The logits after the last of `tokens`.
fn forward_last(model: &Llama, cache: &mut KvCache, tokens: &[u32]) -> anyhow::Result<Vec<f32>> {
    let logits = tokens.len() - 1..tokens.len();
    let logits = model.forward(&mut [Chunk { cache, tokens, logits }])?.remove(0);
    Ok(logits.flatten_all()?.to_vec1()?)
}
