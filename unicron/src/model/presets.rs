//! The GPT-3 family of the paper's evaluation.
//!
//! The paper names the sizes of parameters only. Layers, widths and heads are those of the GPT-3
//! paper (Brown et al. 2020, table 2.1) where it has the model, and of Megatron-LM's scripts for
//! 70B, which it lacks; sequence and vocabulary are Megatron-LM's. Batches are our choice, in the
//! range that Megatron-LM's tables use.

use super::{LanguageModel, Sizes};
use crate::{Error, Result};

/// Name, layers, hidden, heads, batch.
const PRESETS: [(&str, usize, usize, usize, usize); 5] = [
    ("gpt3-1.3b", 24, 2048, 16, 512),
    ("gpt3-7b", 32, 4096, 32, 512),
    ("gpt3-13b", 40, 5120, 40, 1024),
    ("gpt3-70b", 80, 8192, 64, 1536),
    ("gpt3-175b", 96, 12_288, 96, 1536),
];

/// Tokens of a sequence where a model doesn't say.
pub(crate) const SEQUENCE: usize = 2048;

/// GPT-2's 50,257 words padded for tensor parallelism, where a model doesn't say.
pub(crate) const VOCABULARY: usize = 51_200;

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.0)
}

pub(super) fn find(name: &str) -> Result<LanguageModel> {
    let Some(&(name, layers, hidden, heads, batch)) =
        PRESETS.iter().find(|preset| preset.0 == name)
    else {
        let known: Vec<&str> = names().collect();
        let problem = format!("`{name}` is no preset; there are {}", known.join(", "));
        return Err(Error::Setting { setting: "model".into(), problem });
    };
    let sizes = Sizes { layers, hidden, heads, sequence: SEQUENCE, vocabulary: VOCABULARY, batch };
    LanguageModel::new(name, sizes)
}
