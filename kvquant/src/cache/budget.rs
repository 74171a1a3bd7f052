//! What fits into a number of bytes.

use super::bytes::planned_bytes;
use super::{CacheShape, check_plan};
use crate::Result;
use crate::policy::Plan;

/// The most bytes that the cache of one sequence holds on its way to `n_tokens` tokens.
///
/// This can be more than it holds at the end: gathered keys are packed all at once, which makes the
/// cache smaller.
///
/// # Errors
/// If the plan does not fit the shape.
pub fn peak_bytes(shape: CacheShape, plan: &Plan, n_tokens: usize) -> Result<u64> {
    // From one packing of keys to the next the bytes grow, and a block later each of them is larger: the
    // peak lies at the end or just before a packing in the last block.
    let block = plan.window.max(plan.group).max(1);
    let group = plan.group.max(1);
    let after = |first: usize, every: usize| {
        let last = n_tokens.saturating_sub(first) / every;
        let earliest = last.saturating_sub(block / every);
        (earliest..=last).map(move |packing| (first + packing * every).saturating_sub(1))
    };
    let gathered = after(plan.sinks, block);
    let lagging = after(plan.sinks + plan.window, group);
    let before_packing = gathered.chain(lagging).filter(|&before| before <= n_tokens);
    before_packing
        .chain([n_tokens])
        .try_fold(0, |peak, n_tokens| Ok(planned_bytes(shape, plan, n_tokens)?.total().max(peak)))
}

/// The longest context that `batch` sequences can reach with `budget` bytes for their caches.
///
/// # Errors
/// If the plan does not fit the shape.
pub fn largest_context(shape: CacheShape, plan: &Plan, batch: usize, budget: u64) -> Result<usize> {
    let per_sequence = budget / batch.max(1) as u64;
    largest(|n_tokens| Ok(peak_bytes(shape, plan, n_tokens)? <= per_sequence), shape, plan)
}

/// The most sequences of `n_tokens` tokens whose caches fit into `budget` bytes.
///
/// # Errors
/// If the plan does not fit the shape.
pub fn largest_batch(shape: CacheShape, plan: &Plan, n_tokens: usize, budget: u64) -> Result<u64> {
    Ok(budget / peak_bytes(shape, plan, n_tokens)?.max(1))
}

/// The largest number below 2^32 that `fits`, given that all smaller ones do.
fn largest(fits: impl Fn(usize) -> Result<bool>, shape: CacheShape, plan: &Plan) -> Result<usize> {
    check_plan(shape, plan)?;
    let (mut fitting, mut too_large) = (0, u32::MAX as usize + 1);
    while too_large - fitting > 1 {
        let middle = fitting + (too_large - fitting) / 2;
        if fits(middle)? {
            fitting = middle;
        } else {
            too_large = middle;
        }
    }
    Ok(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: CacheShape = CacheShape { n_layers: 2, n_kv_heads: 3, head_dim: 64 };

    fn plans() -> Vec<Plan> {
        let window = "window=64,group=64,sinks=4";
        let int = format!("int2/int1:{window}");
        let old = ["f16", "kivi-2", "asymkv-1/0", "q8_0/q4_0", "rtn1/f16:window=0"];
        let plans = [&old[..], &["kivi-2:window=64", &int, "int1/rtn2:window=96,sinks=5"]].concat();
        plans.into_iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn peak_is_the_largest_on_the_way() {
        for plan in plans() {
            let mut largest = 0;
            for n_tokens in 0..700 {
                largest = largest.max(planned_bytes(SHAPE, &plan, n_tokens).unwrap().total());
                assert_eq!(
                    peak_bytes(SHAPE, &plan, n_tokens).unwrap(),
                    largest,
                    "{plan} {n_tokens}"
                );
            }
        }
    }

    #[test]
    fn one_more_token_or_sequence_does_not_fit() {
        let budget = 5_000_000;
        for plan in plans() {
            let context = largest_context(SHAPE, &plan, 3, budget).unwrap();
            assert!(3 * peak_bytes(SHAPE, &plan, context).unwrap() <= budget, "{plan}");
            assert!(3 * peak_bytes(SHAPE, &plan, context + 1).unwrap() > budget, "{plan}");
            let batch = largest_batch(SHAPE, &plan, 500, budget).unwrap();
            let each = peak_bytes(SHAPE, &plan, 500).unwrap();
            assert!(batch * each <= budget && (batch + 1) * each > budget, "{plan}");
        }
    }
}
