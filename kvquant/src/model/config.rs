//! What a GGUF file says about its model, checked.

use super::gguf::Gguf;
use super::weights::checked;
use crate::attention::Heads;
use crate::cache::CacheShape;
use crate::{Error, Result};

/// Architectures that this engine runs, by their name in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and what follows it: SmolLM2, TinyLlama, Mistral.
    Llama,
    /// Qwen2 and Qwen2.5: biases on queries, keys and values.
    Qwen2,
}

impl Architecture {
    fn from_name(name: &str) -> Option<Architecture> {
        match name {
            "llama" => Some(Architecture::Llama),
            "qwen2" => Some(Architecture::Qwen2),
            _ => None,
        }
    }

    /// Which channels of a head turn together; the rows of the weights are in this order.
    pub fn rope_layout(self) -> RopeLayout {
        match self {
            // llama.cpp's converter permutes the rows of these weights.
            Architecture::Llama => RopeLayout::Interleaved,
            Architecture::Qwen2 => RopeLayout::Halves,
        }
    }
}

/// The pairs of channels that rotary embedding turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Channels 2i and 2i + 1.
    Interleaved,
    /// Channels i and i + d/2 of the d turned channels.
    Halves,
}

/// Sizes and constants of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The architecture.
    pub architecture: Architecture,
    /// Decoder layers.
    pub n_layers: usize,
    /// Length of a token's hidden vector.
    pub hidden_len: usize,
    /// Query heads, KV heads and channels of a head.
    pub heads: Heads,
    /// Tokens that the model was trained to attend over.
    pub context_len: usize,
    /// Channels of a head that rotary embedding turns; the others stay.
    pub rope_len: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f32,
    /// Positions are divided by this (linear context extension); 1 for most models.
    pub rope_position_scale: f32,
    /// Added to the mean square before the root in RMSNorm.
    pub rms_norm_epsilon: f32,
}

impl Config {
    /// Reads the sizes of the model in `gguf`.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] if it is of another architecture or uses a part that this engine
    /// lacks; [`Error::Gguf`] if a size is missing or makes no sense.
    pub fn from_gguf(gguf: &Gguf) -> Result<Config> {
        let name = gguf.str("general.architecture")?;
        let Some(architecture) = Architecture::from_name(name) else {
            return Err(unsupported(
                gguf,
                format!("architecture `{name}` is not supported; llama and qwen2 are"),
            ));
        };
        let key = |part: &str| format!("{name}.{part}");
        let size = |part: &str| positive(gguf, &key(part));
        if gguf.opt_u32(&key("expert_count"))?.unwrap_or(0) > 0 {
            return Err(unsupported(gguf, "mixture-of-experts models are not supported"));
        }
        let hidden_len = size("embedding_length")?;
        let n_heads = size("attention.head_count")?;
        let n_kv_heads = match gguf.get(&key("attention.head_count_kv")) {
            Some(_) => size("attention.head_count_kv")?,
            None => n_heads,
        };
        let head_dim = match gguf.get(&key("attention.key_length")) {
            Some(_) => size("attention.key_length")?,
            None => hidden_len / n_heads,
        };
        let heads = Heads { n_heads, n_kv_heads, head_dim };
        check_heads(gguf, &key("attention.head_count"), heads)?;
        let n_layers = size("block_count")?;
        check_against_tensors(gguf, n_layers, heads, hidden_len)?;
        if let Some(value_len) = gguf.opt_u32(&key("attention.value_length"))?
            && value_len as usize != head_dim
        {
            return Err(unsupported(gguf, "heads of values longer than those of keys"));
        }
        let rope_len = match gguf.get(&key("rope.dimension_count")) {
            Some(_) => size("rope.dimension_count")?,
            None => head_dim,
        };
        if rope_len > head_dim || !rope_len.is_multiple_of(2) {
            let problem = format!(
                "is {rope_len}; rotary embedding turns pairs of a head's {head_dim} channels"
            );
            return Err(gguf.fault(&key("rope.dimension_count"), problem));
        }
        Ok(Config {
            architecture,
            n_layers,
            hidden_len,
            heads,
            context_len: size("context_length")?,
            rope_len,
            rope_base: gguf.opt_f32(&key("rope.freq_base"))?.unwrap_or(10_000.0),
            rope_position_scale: rope_position_scale(gguf, name)?,
            rms_norm_epsilon: gguf.f32(&key("attention.layer_norm_rms_epsilon"))?,
        })
    }

    /// The shape of the model's cache.
    pub fn cache_shape(&self) -> CacheShape {
        CacheShape {
            n_layers: self.n_layers,
            n_kv_heads: self.heads.n_kv_heads,
            head_dim: self.heads.head_dim,
        }
    }
}

fn positive(gguf: &Gguf, key: &str) -> Result<usize> {
    match gguf.u32(key)? {
        0 => Err(gguf.fault(key, "is 0")),
        size => Ok(size as usize),
    }
}

fn check_heads(gguf: &Gguf, key: &str, heads: Heads) -> Result<()> {
    if heads.head_dim == 0 {
        return Err(gguf.fault(key, format!("{} heads leave no channel to each", heads.n_heads)));
    }
    if !heads.n_heads.is_multiple_of(heads.n_kv_heads) {
        let problem = format!(
            "{} query heads can't share {} KV heads evenly",
            heads.n_heads, heads.n_kv_heads
        );
        return Err(gguf.fault(key, problem));
    }
    Ok(())
}

/// Holds the sizes against tensors that a model of these sizes must have, so that no size is larger
/// than the file can back.
fn check_against_tensors(
    gguf: &Gguf,
    n_layers: usize,
    heads: Heads,
    hidden_len: usize,
) -> Result<()> {
    let last = format!("blk.{}.attn_k.weight", n_layers - 1);
    checked(gguf, &last, &[heads.n_kv_heads * heads.head_dim, hidden_len])?;
    let last = format!("blk.{}.attn_q.weight", n_layers - 1);
    checked(gguf, &last, &[heads.row_len(), hidden_len])?;
    Ok(())
}

/// The divisor of positions; scalings other than the linear one are refused, not ignored.
fn rope_position_scale(gguf: &Gguf, name: &str) -> Result<f32> {
    let kind = gguf.opt_str(&format!("{name}.rope.scaling.type"))?.unwrap_or("none");
    match kind {
        "none" => Ok(1.0),
        "linear" => gguf.f32(&format!("{name}.rope.scaling.factor")),
        other => Err(unsupported(
            gguf,
            format!("rotary scaling `{other}` is not supported; `linear` and none are"),
        )),
    }
}

fn unsupported(gguf: &Gguf, problem: impl Into<String>) -> Error {
    Error::UnsupportedModel { path: gguf.path().to_owned(), problem: problem.into() }
}
