//! The paper's section 3 on any model: what becomes of an error in the keys, and of one in the values, on its
//! way through attention.
//!
//! An error of values reaches the output averaged by the attention's weights (proposition 2). An error of keys
//! is summed over the channels of the head by the product with the query, and then stands in an exponent
//! (theorem 1). Both are measured here step by step: after quantization, in the logits, in the weights after
//! softmax, in the output.

pub mod figures;
mod head;

pub use head::{HeadErrors, Spread, TokenView};

use crate::Result;
use crate::cache::KvCache;
use crate::model::{AttentionInputs, LanguageModel, Llama};
use crate::policy::Plan;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A layer's query head under a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadAnalysis {
    /// The layer.
    pub layer: usize,
    /// The query head.
    pub head: usize,
    /// Its errors.
    pub errors: HeadErrors,
}

/// Queries of the last tokens that are looked at.
const QUERIES: usize = 32;

/// Runs the model over `tokens` in half precision, and each layer's attention with the keys, and with the
/// values, as `plan` stores them. `on_layer` hears of each layer that is done.
///
/// # Errors
/// If the plan does not fit the model, the text is longer than its context, or the model fails.
pub fn analyze(
    model: &Llama,
    tokens: &[u32],
    plan: &Plan,
    mut on_layer: impl FnMut(usize),
) -> Result<Vec<HeadAnalysis>> {
    model.check_context(tokens.len())?;
    let mut exact = model.new_cache(&Plan::f16())?;
    let mut stored = model.new_cache(plan)?;
    let mut hidden = model.embed(tokens)?;
    let mut analyses = Vec::new();
    for layer in 0..model.config().n_layers {
        let mut of_layer = Ok(Vec::new());
        model.step(layer, &mut hidden, exact.layer_mut(layer), |inputs| {
            of_layer = analyze_layer(model, layer, inputs, &mut stored);
        })?;
        analyses.extend(of_layer?);
        on_layer(layer);
    }
    Ok(analyses)
}

fn analyze_layer(
    model: &Llama,
    layer: usize,
    inputs: &AttentionInputs,
    stored: &mut KvCache,
) -> Result<Vec<HeadAnalysis>> {
    let heads = model.config().heads;
    let n_tokens = inputs.queries.len() / heads.row_len();
    let appended = stored.layer_mut(layer).append(&inputs.keys, &inputs.values)?;
    let rows_of = |rows: &[f32], n_heads: usize, head: usize| -> Vec<f32> {
        let rows = rows.chunks_exact(heads.head_dim).skip(head).step_by(n_heads);
        rows.flatten().copied().collect()
    };
    let analyses = (0..heads.n_heads).into_par_iter().map(|head| {
        let kv_head = head / heads.group_size();
        let view = TokenView {
            head_dim: heads.head_dim,
            keys: &rows_of(&inputs.keys, heads.n_kv_heads, kv_head),
            values: &rows_of(&inputs.values, heads.n_kv_heads, kv_head),
            stored_keys: &appended.keys().read(kv_head, n_tokens - 1),
            stored_values: &appended.values().read(kv_head, n_tokens - 1),
        };
        let queries = rows_of(&inputs.queries, heads.n_heads, head);
        let first = n_tokens.saturating_sub(QUERIES);
        let errors = HeadErrors::measure(&view, &queries[first * heads.head_dim..], first);
        HeadAnalysis { layer, head, errors }
    });
    Ok(analyses.collect())
}
