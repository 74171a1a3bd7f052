//! The quantized key-value cache of one sequence.
//!
//! Each layer has two sides, keys and values; each side holds, for every KV head, its older tokens
//! packed and its recent ones in half precision. No side ever holds a dequantized copy of its
//! history: attention computes on the codes as they lie.
//!
//! | file | what |
//! |---|---|
//! | [`retention`] | which tokens are packed when: what a query at a position sees |
//! | `packed` | the packed formats |
//! | `pre_rope` | keys before rotary embedding |
//! | `exact` | the half-precision tokens: the first and the recent ones |
//! | [`layer`] | one layer: append, what the appended queries see, settle, truncate |
//! | [`bytes`] | the exact bytes of a plan, by arithmetic |
//! | [`budget`] | the largest context and batch that fit into a number of bytes |
//!
//! ```
//! use kvquant::attention::{attend, Heads};
//! use kvquant::cache::{CacheShape, KvCache};
//!
//! let shape = CacheShape { n_layers: 1, n_kv_heads: 2, head_dim: 64 };
//! let heads = Heads { n_heads: 4, n_kv_heads: 2, head_dim: 64 };
//! let mut cache = KvCache::new(shape, &"kivi-2:window=32".parse()?)?;
//! // One chunk of 100 tokens: keys and values [tokens][KV heads][head dim], queries likewise.
//! let (k, v) = (vec![0.5; 100 * 2 * 64], vec![0.25; 100 * 2 * 64]);
//! let q = vec![1.0; 100 * 4 * 64];
//! let mut out = vec![0.0; q.len()];
//! let appended = cache.layer_mut(0).append(&k, &v)?;
//! attend(&appended, heads, &q, &mut out)?;
//! drop(appended); // the tokens that left the window are now held in 2 bits only
//! assert_eq!(cache.n_tokens(), 100);
//! assert!(cache.bytes().total() < 100 * 2 * 2 * 64 * 2);
//! # Ok::<(), kvquant::Error>(())
//! ```

pub mod budget;
pub mod bytes;
pub(crate) mod exact;
pub mod layer;
pub(crate) mod packed;
mod pre_rope;
pub mod retention;

pub use bytes::CacheBytes;
pub use layer::{Appended, LayerCache};
pub use pre_rope::PreRope;

use crate::policy::{LayerFormat, Plan, SideFormat};
use crate::quant::tiles::{ColumnTiles, LANES, is_group};
use crate::{Error, Result};
use std::sync::Arc;

/// The most that a plan may have of anything that is counted in tokens.
const MOST_TOKENS: usize = u32::MAX as usize;

/// Elements in a block of llama.cpp's cache formats.
pub(crate) const GGML_BLOCK: usize = 32;

/// The part of a model's shape that its cache depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Decoder layers.
    pub n_layers: usize,
    /// KV heads of a layer; several query heads may share one.
    pub n_kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl CacheShape {
    /// Elements, keys and values of all layers together, that one token adds.
    pub fn elements_per_token(&self) -> usize {
        2 * self.n_layers * self.n_kv_heads * self.head_dim
    }
}

/// The keys and values of one sequence, in the formats of a plan.
#[derive(Debug, Clone)]
pub struct KvCache {
    shape: CacheShape,
    layers: Vec<LayerCache>,
}

impl KvCache {
    /// An empty cache.
    ///
    /// # Errors
    /// If the plan does not fit the shape; see [`check_plan`]. A plan that holds keys before rotary embedding
    /// needs to know the model: [`Llama::new_cache`](crate::model::Llama::new_cache).
    pub fn new(shape: CacheShape, plan: &Plan) -> Result<KvCache> {
        KvCache::with_pre_rope(shape, plan, &[])
    }

    /// The same; `pre_rope` has for each layer what is taken off its keys, if the plan asks for that.
    ///
    /// # Errors
    /// As [`KvCache::new`].
    pub fn with_pre_rope(
        shape: CacheShape,
        plan: &Plan,
        pre_rope: &[Arc<PreRope>],
    ) -> Result<KvCache> {
        let formats = check_plan(shape, plan)?;
        if plan.pre_rope && pre_rope.len() != shape.n_layers {
            let problem = "keys before rotary embedding need a model's cache".to_owned();
            return Err(Error::PlanDoesNotFit { plan: plan.to_string(), problem });
        }
        let taken_off = |layer: usize| pre_rope.get(layer).filter(|_| plan.pre_rope).cloned();
        let layers = formats.into_iter().enumerate();
        let layers = layers
            .map(|(layer, format)| LayerCache::new(shape, format, plan, taken_off(layer)))
            .collect();
        Ok(KvCache { shape, layers })
    }

    /// The shape that the cache was made for.
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Tokens held by every layer. While a forward pass is under way, the layers that it has not
    /// reached yet hold fewer; then this is their number.
    pub fn n_tokens(&self) -> usize {
        self.layers.iter().map(LayerCache::n_tokens).min().unwrap_or(0)
    }

    /// The cache of one layer.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn layer_mut(&mut self, layer_idx: usize) -> &mut LayerCache {
        &mut self.layers[layer_idx]
    }

    /// All layers' caches.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut LayerCache> {
        self.layers.iter_mut()
    }

    /// The exact bytes of codes, scales, zeros and half-precision elements held now.
    pub fn bytes(&self) -> CacheBytes {
        self.layers.iter().map(LayerCache::bytes).sum()
    }

    /// Bits for an element of the cache, everything counted; 0 for an empty cache.
    pub fn bits_per_element(&self) -> f64 {
        self.bytes().bits_per_element(self.shape, self.n_tokens())
    }

    /// Forgets every token from position `n_tokens` on; does nothing if there are no more.
    ///
    /// Where the cut falls into a packed group of keys, the rest of that group stays, at the levels
    /// that it was quantized to, in the half-precision window until the window is packed again. A
    /// window that was packed does not come back: after a deep cut the cache holds less in half
    /// precision than one that decoded to the same position.
    pub fn truncate(&mut self, n_tokens: usize) {
        for layer in &mut self.layers {
            layer.truncate(n_tokens);
        }
    }
}

/// Checks that `plan` can store a cache of this shape; gives the format of each layer.
///
/// # Errors
/// If the plan names layers that the model does not have, if its window is no multiple of its group
/// (keys are packed in whole groups), or if a head is no multiple of llama.cpp's block.
pub fn check_plan(shape: CacheShape, plan: &Plan) -> Result<Vec<LayerFormat>> {
    let formats = plan.layer_formats(shape.n_layers)?;
    let refuse = |problem: String| Err(Error::PlanDoesNotFit { plan: plan.to_string(), problem });
    for (what, number) in [("window", plan.window), ("group", plan.group), ("sinks", plan.sinks)] {
        if number > MOST_TOKENS {
            return refuse(format!("a {what} of {number} is more than any text; take less"));
        }
    }
    if plan.group == 0 {
        return refuse("a group of 0 elements can't be quantized; the paper's is 32".into());
    }
    let has = |format: fn(&SideFormat) -> bool| {
        formats.iter().any(|layer| format(&layer.keys) || format(&layer.values))
    };
    if has(|side| matches!(side, SideFormat::Rtn(_))) && !plan.window.is_multiple_of(plan.group) {
        let below = plan.window / plan.group * plan.group;
        return refuse(format!(
            "keys are packed in whole groups, but a window of {} tokens is no multiple of the \
             group of {}; take {below} or {}",
            plan.window,
            plan.group,
            below + plan.group
        ));
    }
    let packs = has(|side| !matches!(side, SideFormat::F16 | SideFormat::Q8_0 | SideFormat::Q4_0));
    if packs && !is_group(plan.group) {
        return refuse(format!(
            "kernels read groups of 16, 32 or a multiple of {LANES} elements, not of {}",
            plan.group
        ));
    }
    let head_dim = shape.head_dim;
    if packs && head_dim > ColumnTiles::MAX_CHANNELS {
        return refuse(format!(
            "kernels read heads of up to {} channels, not of {head_dim}",
            ColumnTiles::MAX_CHANNELS
        ));
    }
    if (plan.rotate.keys || plan.rotate.values) && !shape.head_dim.is_power_of_two() {
        return refuse(format!(
            "a head of {} channels can't be rotated: that takes a power of two",
            shape.head_dim
        ));
    }
    if plan.pre_rope && plan.rotate.keys {
        return refuse("keys before rotary embedding can't be rotated, too".into());
    }
    for (layer, format) in formats.iter().enumerate() {
        if let Some(problem) = problem(shape, format) {
            return refuse(format!("layer {layer}: {problem}"));
        }
    }
    if has(|side| matches!(side, SideFormat::Q8_0 | SideFormat::Q4_0))
        && !shape.head_dim.is_multiple_of(GGML_BLOCK)
    {
        return refuse(format!(
            "q8_0 and q4_0 store blocks of {GGML_BLOCK} channels, but a head has {}",
            shape.head_dim
        ));
    }
    Ok(formats)
}

/// Why a format of a layer can't store heads of this shape, if it can't.
fn problem(shape: CacheShape, format: &LayerFormat) -> Option<String> {
    let heads = |side: &str, n: usize| {
        let has = shape.n_kv_heads;
        (n != has).then(|| format!("{side} for {n} KV heads, but the model has {has}"))
    };
    let keys = match &format.keys {
        SideFormat::IntHeads(_) => {
            Some("keys have bits for each channel, not each head".to_owned())
        }
        SideFormat::IntChannels(channels) => heads("key_bits", channels.len())
            .or_else(|| channels.iter().find_map(|head| head.problem(shape.head_dim))),
        _ => None,
    };
    let values = match &format.values {
        SideFormat::IntChannels(_) => {
            Some("values have bits for each head, not each channel".to_owned())
        }
        SideFormat::IntHeads(bits) => heads("value_bits", bits.len()).or_else(|| {
            let bad = bits.iter().find(|bits| !(1..=8).contains(*bits));
            bad.map(|bits| format!("values of {bits} bits; 1 to 8 are possible"))
        }),
        _ => None,
    };
    keys.or(values)
}

#[cfg(test)]
mod tests;
