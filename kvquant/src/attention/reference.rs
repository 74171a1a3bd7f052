//! The plain loops that every other form is tested against.

use super::Heads;
use crate::Result;
use crate::cache::Appended;
use crate::cache::layer::SideCache;
use crate::quant::hadamard;
use rayon::prelude::*;

/// Attention of the appended tokens: `queries` and `output` are `[tokens][heads][head_dim]`.
///
/// softmax(q K^T / sqrt(head_dim)) V over all tokens up to the query's own (AsymKV section 2.1),
/// with the keys and values that the query sees in the cache.
///
/// # Errors
/// If the lengths do not match the shapes.
pub fn attend(
    appended: &Appended<'_>,
    heads: Heads,
    queries: &[f32],
    output: &mut [f32],
) -> Result<()> {
    heads.check(appended, queries, output)?;
    let rows = queries
        .par_chunks_exact(heads.row_len())
        .zip(output.par_chunks_exact_mut(heads.row_len()))
        .zip(appended.positions());
    rows.for_each(|((queries, output), position)| {
        let by_head =
            queries.chunks_exact(heads.head_dim).zip(output.chunks_exact_mut(heads.head_dim));
        for (head_idx, (query, output)) in by_head.enumerate() {
            attend_one(appended, head_idx / heads.group_size(), position, query, output);
        }
    });
    Ok(())
}

fn attend_one(
    appended: &Appended<'_>,
    kv_head_idx: usize,
    position: usize,
    query: &[f32],
    output: &mut [f32],
) {
    let scale = 1.0 / (query.len() as f64).sqrt();
    let keys = appended.keys().read(kv_head_idx, position);
    let corrections = corrections(appended.keys(), kv_head_idx, position, query);
    let logits: Vec<f64> = keys
        .chunks_exact(query.len())
        .zip(corrections)
        .map(|(key, correction)| {
            let dot: f64 = query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
            dot * scale + correction
        })
        .collect();
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut sums = vec![0.0; query.len()];
    let values = appended.values().read(kv_head_idx, position);
    for (value, weight) in values.chunks_exact(query.len()).zip(&weights) {
        for (sum, &element) in sums.iter_mut().zip(value) {
            *sum += weight / total * f64::from(element);
        }
    }
    for (output, sum) in output.iter_mut().zip(sums) {
        *output = sum as f32;
    }
}

/// For each token, half the variance that the noise of a packed key gives its logit, where that is asked for.
fn corrections(keys: &SideCache, head_idx: usize, position: usize, query: &[f32]) -> Vec<f64> {
    let mut corrections = vec![0.0; position + 1];
    let packed = keys.seen(position).packed;
    if !keys.is_corrected() || packed.is_empty() {
        return corrections;
    }
    // The noise is known in the space in which keys are held.
    let mut query = query.to_vec();
    if keys.is_rotated() {
        hadamard::rotate(&mut query);
    }
    let mut variances = vec![0.0; packed.len() * query.len()];
    keys.noise(head_idx, packed.clone(), &mut variances);
    for (token, variances) in packed.zip(variances.chunks_exact(query.len())) {
        let channels = query.iter().zip(variances);
        let variance: f64 = channels.map(|(&q, &noise)| f64::from(q * q) * f64::from(noise)).sum();
        corrections[token] = variance / query.len() as f64 / 2.0;
    }
    corrections
}
