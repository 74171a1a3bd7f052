//! Options that several commands share.

use super::search::command;
use super::searching::{self, Searched, Source};
use crate::cache::CacheShape;
use crate::eval::{Protocol, ScoringRule};
use crate::model::config::Config;
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::model::{Llama, WeightFormat, fingerprint};
use crate::policy::Plan;
use crate::presets::Preset;
use anyhow::Context;
use clap::Args;
use common::assets::sha256;
use common::command::{BadInput, InputContext};
use common::progress::Progress;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which model, and in which form its weights are multiplied.
#[derive(Debug, Args)]
pub struct ModelOptions {
    /// A GGUF file, hf:OWNER/REPO/FILE, or smollm2, qwen2.5-coder-0.5b or stories260k, fetched when needed
    #[arg(long, default_value = "smollm2")]
    pub model: String,
    /// auto, file (exactly as stored) or f32 (dequantized)
    #[arg(long, default_value_t)]
    pub weights: WeightFormat,
}

impl ModelOptions {
    /// Opens the model's file, fetching it when needed.
    pub fn open(&self) -> anyhow::Result<Gguf> {
        open_model(&self.model)
    }

    /// Loads the model and its tokenizer.
    pub fn load(&self) -> anyhow::Result<(Llama, Tokenizer)> {
        let gguf = self.open()?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let model = Llama::load(gguf, self.weights)?;
        self.check_tokenizer(&tokenizer, model.vocab_size())?;
        Ok((model, tokenizer))
    }

    /// Checks that the model can embed every token.
    pub fn check_tokenizer(&self, tokenizer: &Tokenizer, vocab_size: usize) -> anyhow::Result<()> {
        if tokenizer.n_tokens() > vocab_size {
            anyhow::bail!(BadInput(format!(
                "{}: the tokenizer has {} tokens, the model's embedding {vocab_size}",
                self.model,
                tokenizer.n_tokens(),
            )));
        }
        Ok(())
    }
}

/// Opens the GGUF file that `spec` names, fetching it when needed.
pub fn open_model(spec: &str) -> anyhow::Result<Gguf> {
    let store = common::command::store(None);
    let path = store.model(spec, &Progress::stderr())?;
    Ok(Gguf::open(&path)?)
}

/// How the cache is stored.
#[derive(Debug, Args)]
pub struct PlanOptions {
    /// The cache's plan: exact, balanced, small, tiny, kivi-2, asymkv-16/0, q8_0/q4_0, PLAN.toml (see kvquant
    /// --help)
    #[arg(long, value_name = "PLAN")]
    kv: PlanChoice,
    /// Recent tokens kept in half precision, instead of the plan's own number
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
    /// For a preset of a model that it has no plan for: take the same bits in all layers instead of searching
    #[arg(long)]
    no_search: bool,
}

impl PlanOptions {
    /// The plan for a model; a preset's is searched for if it has to be.
    pub fn plan(
        &self,
        options: &ModelOptions,
        model: &Llama,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Plan> {
        self.plan_or_search(model.gguf(), |preset, fingerprint| {
            search(preset, options, model, tokenizer, fingerprint)
        })
    }

    /// The same for a model that is not loaded on the CPU; it is if a plan is searched for.
    pub fn plan_of_file(
        &self,
        options: &ModelOptions,
        gguf: &Gguf,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Plan> {
        self.plan_or_search(gguf, |preset, fingerprint| {
            let (model, _) = options.load()?;
            search(preset, options, &model, tokenizer, fingerprint)
        })
    }

    fn plan_or_search(
        &self,
        gguf: &Gguf,
        search: impl FnOnce(Preset, &str) -> anyhow::Result<Plan>,
    ) -> anyhow::Result<Plan> {
        Ok(self.with_window(match &self.kv {
            PlanChoice::Plan(plan) => (**plan).clone(),
            PlanChoice::Preset(preset) => {
                let fingerprint = fingerprint(gguf)?;
                match known(*preset, &fingerprint)? {
                    Some(plan) => plan,
                    None if self.no_search => {
                        preset.uniform(Config::from_gguf(gguf)?.cache_shape())?
                    }
                    None => search(*preset, &fingerprint)?,
                }
            }
        }))
    }

    /// The plan for a model of this shape, without a search.
    pub fn plan_of_shape(&self, shape: CacheShape, model: Option<&Gguf>) -> anyhow::Result<Plan> {
        Ok(self.with_window(self.kv.plan_of_shape(shape, model)?))
    }

    fn with_window(&self, plan: Plan) -> Plan {
        match self.window {
            Some(window) => plan.with_window(window),
            None => plan,
        }
    }
}

/// What `--kv` names.
#[derive(Debug, Clone)]
pub enum PlanChoice {
    /// A plan for any model.
    Plan(Box<Plan>),
    /// A name for a plan that each model has of its own.
    Preset(Preset),
}

impl PlanChoice {
    /// The plan for a model of this shape, without a search.
    pub fn plan_of_shape(&self, shape: CacheShape, model: Option<&Gguf>) -> anyhow::Result<Plan> {
        let preset = match self {
            PlanChoice::Plan(plan) => return Ok((**plan).clone()),
            PlanChoice::Preset(preset) => *preset,
        };
        if let Some(gguf) = model
            && let Some(plan) = known(preset, &fingerprint(gguf)?)?
        {
            return Ok(plan);
        }
        Ok(preset.uniform(shape)?)
    }
}

impl FromStr for PlanChoice {
    type Err = crate::Error;

    /// A preset, a plan's notation, or a file if the text ends in `.toml`.
    fn from_str(text: &str) -> crate::Result<PlanChoice> {
        if let Ok(preset) = text.parse() {
            return Ok(PlanChoice::Preset(preset));
        }
        let plan = match text.ends_with(".toml") {
            true => Plan::from_file(Path::new(text))?,
            false => text.parse().map_err(or_a_preset)?,
        };
        Ok(PlanChoice::Plan(Box::new(plan)))
    }
}

/// Where a text is no plan from its first letter on, a preset may have been meant.
fn or_a_preset(error: crate::Error) -> crate::Error {
    match error {
        crate::Error::PlanSyntax { text, at, expected } if at.start == 0 => {
            let presets = Preset::ALL.map(|preset| preset.to_string()).join(", ");
            let expected = format!("a preset ({presets}), {expected}");
            crate::Error::PlanSyntax { text, at, expected }
        }
        other => other,
    }
}

/// A preset's plan for a model if it is shipped or was found before.
fn known(preset: Preset, fingerprint: &str) -> anyhow::Result<Option<Plan>> {
    if preset.budget().is_none() {
        return Ok(Some(Plan { name: Some(preset.to_string()), ..Plan::f16() }));
    }
    if let Some(plan) = preset.shipped(fingerprint)? {
        return Ok(Some(plan));
    }
    let path = searching::folder(fingerprint).join(format!("{preset}.toml"));
    Ok(if path.is_file() { Some(Plan::from_file(&path)?) } else { None })
}

/// Searches a preset's plan for a model and keeps it in the cache folder.
fn search(
    preset: Preset,
    options: &ModelOptions,
    model: &Llama,
    tokenizer: &Tokenizer,
    fingerprint: &str,
) -> anyhow::Result<Plan> {
    let path = searching::folder(fingerprint).join(format!("{preset}.toml"));
    eprintln!(
        "{} has no plan for {preset} yet: searching, once, for {}; --no-search does without",
        options.model,
        path.display()
    );
    let (tokens, seed) = (searching::TOKENS, searching::SEED);
    let source = Source { fingerprint, weights: options.weights, text: None, tokens };
    let mut searched = Searched::run(model, tokenizer, &source)?;
    let budget = preset.budget().context("a preset that is searched has a budget")?;
    let command = command(options, budget.bits, budget.context, tokens, seed);
    let command = format!("{command} --name {preset}");
    let name = Some(preset.to_string());
    Ok(searched.find(&budget, seed, name, &command, &path)?.plan)
}

/// Which windows of which text are scored, and how.
#[derive(Debug, Args)]
pub struct WindowOptions {
    /// A text file; WikiText-2's raw test set if absent
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens in a window; windows don't overlap
    #[arg(long, value_name = "TOKENS", default_value_t = 1024)]
    pub context: usize,
    /// Windows left out at the start of the text
    #[arg(long, value_name = "WINDOWS", default_value_t = 0)]
    pub skip: usize,
    /// Windows taken after those; all of them if absent
    #[arg(long)]
    windows: Option<usize>,
    /// all predictions of a window, or those of its second-half as llama.cpp counts
    #[arg(long, default_value_t)]
    pub rule: ScoringRule,
    /// Tokens that go through the model at once; changes speed and memory, not the result
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    chunk: usize,
}

impl WindowOptions {
    /// The text's name, and its tokens.
    pub fn tokens(&self, tokenizer: &Tokenizer) -> anyhow::Result<(String, Vec<u32>)> {
        let (name, text) = read_text(self.text.as_deref(), "wikitext-2-raw-test")?;
        Ok((name, tokenizer.encode(&text, false)?))
    }

    /// How the text is cut up and scored.
    pub fn protocol(&self, tokenizer: &Tokenizer) -> Protocol {
        Protocol {
            context: self.context,
            skipped_windows: self.skip,
            max_windows: self.windows.unwrap_or(usize::MAX),
            rule: self.rule,
            chunk: self.chunk,
            bos: tokenizer.bos().filter(|_| tokenizer.adds_bos()),
        }
    }
}

/// The checksum of tokens: what tells texts apart, whatever their files are called.
pub fn digest(tokens: &[u32]) -> String {
    sha256(tokens.iter().map(bytemuck::bytes_of))
}

/// The text of a file, or of a data set where there is none, and what to call it.
pub fn read_text(file: Option<&Path>, data_set: &str) -> anyhow::Result<(String, String)> {
    let path = match file {
        Some(path) => path.to_owned(),
        None => {
            let asset = common::assets::find(data_set)
                .with_context(|| format!("the registry has no {data_set}"))?;
            common::command::store(None).obtain(asset, &Progress::stderr())?
        }
    };
    let text = std::fs::read_to_string(&path)
        .bad_input(format!("the text {} can't be read", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok((name, text))
}
