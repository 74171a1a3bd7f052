//! Plans by a rule and without measurements, in the formats of searched plans: what a search has to beat.

use super::{Budget, base, bits_of, bytes_of};
use crate::cache::CacheShape;
use crate::cache::bytes::planned_bytes;
use crate::policy::{LayerFormat, Plan, Rule, SideFormat};
use crate::{Error, Result};

/// Bits of a side of [`uniform`] plans at most.
const MOST: u8 = 4;

/// The paper's prefix rule: 2 bits for the keys of the first `key_layers` and the values of the first
/// `value_layers` layers, 1 for all others.
pub fn prefix(shape: CacheShape, key_layers: usize, value_layers: usize) -> Plan {
    let bits = |is_high| SideFormat::Int(if is_high { 2 } else { 1 });
    let layer =
        |layer| LayerFormat { keys: bits(layer < key_layers), values: bits(layer < value_layers) };
    let ranges = (0..shape.n_layers).map(|at| (at..at + 1, layer(at))).collect();
    let default = LayerFormat::both(SideFormat::F16);
    Plan { rule: Rule::Layers { default, ranges }, ..base(shape) }
}

/// The prefix plans that use so many bytes best: for each number of layers with 2 bits for their keys, as
/// many with 2 bits for their values as fit.
///
/// # Errors
/// If the formats don't fit the shape.
pub fn prefixes_within(
    shape: CacheShape,
    bytes: u64,
    context: usize,
) -> Result<Vec<(usize, usize)>> {
    let mut within = Vec::new();
    for key_layers in 0..=shape.n_layers {
        let mut most = None;
        for value_layers in 0..=shape.n_layers {
            let plan = prefix(shape, key_layers, value_layers);
            if planned_bytes(shape, &plan, context)?.total() <= bytes {
                most = Some((key_layers, value_layers));
            }
        }
        within.extend(most);
    }
    Ok(within)
}

/// The same bits in all layers: as many as fit, of equal sums those that are nearest to each other, as the last bit of
/// a side is worth least, and never fewer for keys than for values.
///
/// # Errors
/// [`Error::BudgetTooSmall`] if 1 bit for each side is too much.
pub fn uniform(shape: CacheShape, budget: &Budget) -> Result<Plan> {
    let allowed = bytes_of(shape, budget.bits, budget.context);
    let mut least = u64::MAX;
    let mut best: Option<((u8, u8), Plan)> = None;
    for keys in 1..=MOST {
        for values in 1..=keys {
            let format =
                LayerFormat { keys: SideFormat::Int(keys), values: SideFormat::Int(values) };
            let plan = Plan { rule: Rule::Uniform(format), ..base(shape) };
            let bytes = planned_bytes(shape, &plan, budget.context)?.total();
            least = least.min(bytes);
            let rank = (keys + values, values);
            if bytes <= allowed && best.as_ref().is_none_or(|(best, _)| rank > *best) {
                best = Some((rank, plan));
            }
        }
    }
    let uniform = |((keys, values), plan): ((u8, u8), Plan)| {
        let keys = keys - values;
        Plan { name: Some(format!("int{keys}/int{values}, not searched")), ..plan }
    };
    best.map(uniform).ok_or_else(|| Error::BudgetTooSmall {
        bits: budget.bits,
        context: budget.context,
        least: bits_of(shape, least, budget.context),
    })
}
