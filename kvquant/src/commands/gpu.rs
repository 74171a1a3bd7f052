//! Models on a GPU, for the commands that can run there.

use super::options::{ModelOptions, PlanOptions};
use crate::cuda::{Gpu, GpuLlama, GpuWeights};
use crate::model::LanguageModel;
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::policy::Plan;
use clap::Args;
use std::sync::Arc;

/// Whether the model runs on a GPU.
#[derive(Debug, Args)]
pub struct GpuOptions {
    /// Run on this NVIDIA GPU, by its number in `kvquant devices`
    #[arg(long, value_name = "N")]
    pub gpu: Option<usize>,
    /// Weights on the GPU: f16 or q8_0 (--weights is for the CPU)
    #[arg(long, value_name = "FORMAT", default_value_t)]
    pub gpu_weights: GpuWeights,
}

/// A model that is on a GPU, and what of its file goes on being needed.
#[derive(Debug)]
pub struct OnGpu {
    pub gpu: Arc<Gpu>,
    pub model: GpuLlama,
    pub gguf: Gguf,
    pub tokenizer: Tokenizer,
}

impl OnGpu {
    /// Loads the model and its tokenizer. The GPU is asked for first: it fails sooner than a model is fetched.
    pub fn load(
        options: &ModelOptions,
        ordinal: usize,
        weights: GpuWeights,
    ) -> anyhow::Result<OnGpu> {
        let gpu = open_gpu(ordinal)?;
        let gguf = options.open()?;
        let tokenizer = Tokenizer::from_gguf(&gguf)?;
        let model = GpuLlama::load(&gpu, &gguf, weights)?;
        options.check_tokenizer(&tokenizer, model.vocab_size())?;
        Ok(OnGpu { gpu, model, gguf, tokenizer })
    }

    /// The plan for the model; a preset's is searched for on the CPU if it has to be.
    pub fn plan(&self, plan: &PlanOptions, options: &ModelOptions) -> anyhow::Result<Plan> {
        plan.plan_of_file(options, &self.gguf, &self.tokenizer)
    }
}

/// Opens a GPU; the kernels that are compiled for it are kept in the cache folder.
pub fn open_gpu(ordinal: usize) -> anyhow::Result<Arc<Gpu>> {
    let store = common::command::store(None);
    Ok(Gpu::open(ordinal, Some(store.search_path().cache.join("kernels")))?)
}
