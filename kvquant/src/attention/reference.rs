//! The plain loops that every other form is tested against.

use super::Heads;
use crate::Result;
use crate::cache::{Appended, layer::SideCache};

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
    let rows = queries.chunks_exact(heads.row_len()).zip(output.chunks_exact_mut(heads.row_len()));
    for (position, (queries, output)) in appended.positions().zip(rows) {
        let by_head =
            queries.chunks_exact(heads.head_dim).zip(output.chunks_exact_mut(heads.head_dim));
        for (head_idx, (query, output)) in by_head.enumerate() {
            attend_one(appended, head_idx / heads.group_size(), position, query, output);
        }
    }
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
    let mut row = vec![0.0; query.len()];
    let logits: Vec<f64> = (0..=position)
        .map(|token| {
            read_row(appended.keys(), kv_head_idx, position, token, &mut row);
            let dot: f64 = query.iter().zip(&row).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
            dot * scale
        })
        .collect();
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut sums = vec![0.0; query.len()];
    for (token, weight) in weights.iter().enumerate() {
        read_row(appended.values(), kv_head_idx, position, token, &mut row);
        for (sum, &value) in sums.iter_mut().zip(&row) {
            *sum += weight / total * f64::from(value);
        }
    }
    for (output, sum) in output.iter_mut().zip(sums) {
        *output = sum as f32;
    }
}

/// The row of `token` as the query at `position` sees it.
fn read_row(side: &SideCache, head_idx: usize, position: usize, token: usize, row: &mut [f32]) {
    if token < side.packed_for_query(position) {
        side.decode_packed(head_idx, token..token + 1, row);
    } else {
        side.decode_recent(head_idx, token..token + 1, row);
    }
}
