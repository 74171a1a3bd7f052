//! Options that several commands share.

use anyhow::Context;
use clap::Args;
use common::command::InputContext;
use common::progress::Progress;
use kvquant::model::gguf::Gguf;
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Llama, WeightFormat};
use kvquant::policy::Plan;
use std::path::Path;

/// Which model, and in which form its weights are multiplied.
#[derive(Debug, Args)]
pub struct ModelOptions {
    /// A GGUF file, hf:OWNER/REPO/FILE, or smollm2 or stories260k, fetched when needed
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
        Ok((Llama::load(gguf, self.weights)?, tokenizer))
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
    /// The cache's plan: f16, kivi-2, asymkv-16/0, q8_0/q4_0, PLAN.toml (see kvquant --help)
    #[arg(long, value_name = "PLAN", value_parser = parse_plan)]
    kv: Plan,
    /// Recent tokens kept in half precision, instead of the plan's own number
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
}

impl PlanOptions {
    /// The plan.
    pub fn plan(&self) -> Plan {
        match self.window {
            Some(window) => self.kv.clone().with_window(window),
            None => self.kv.clone(),
        }
    }
}

/// A plan from its notation, or from a file if the text ends in `.toml`.
pub fn parse_plan(text: &str) -> kvquant::Result<Plan> {
    match text.ends_with(".toml") {
        true => Plan::from_file(Path::new(text)),
        false => text.parse(),
    }
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
