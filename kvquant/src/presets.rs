//! Plans under names that say what they are for.
//!
//! [`Preset::Exact`] is half precision. The others are budgets; their plans are found by
//! [`search`](crate::search) for each model. Those of some models are shipped with the program, in
//! `kvquant/presets`; for any other, a search is made once.

use crate::cache::CacheShape;
use crate::policy::Plan;
use crate::search::{Budget, rules};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Tokens in the cache for which the bits of presets hold.
const CONTEXT: usize = 8192;

/// A plan by its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Half precision.
    Exact,
    /// As good as half precision for most purposes.
    Balanced,
    /// A little worse, in an eighth of the memory.
    Small,
    /// As small as still works.
    Tiny,
}

/// The shipped plans: the model's fingerprint, the model, and its plans in the order of [`Preset::SEARCHED`].
const SHIPPED: [(&str, &str, [&str; 3]); 2] = [
    (
        "98aff3b9d040705869dfca86f7f5593311bbb77090bcde9dff3b7d5f9d933d7b",
        "smollm2",
        [
            include_str!("../presets/smollm2/balanced.toml"),
            include_str!("../presets/smollm2/small.toml"),
            include_str!("../presets/smollm2/tiny.toml"),
        ],
    ),
    (
        "b6e705846eb27bf683eee7d5ec511da5fd1c3078e80228b68040f7b967badfc8",
        "qwen2.5-coder-0.5b",
        [
            include_str!("../presets/qwen2.5-coder-0.5b/balanced.toml"),
            include_str!("../presets/qwen2.5-coder-0.5b/small.toml"),
            include_str!("../presets/qwen2.5-coder-0.5b/tiny.toml"),
        ],
    ),
];

impl Preset {
    /// All of them, the largest first.
    pub const ALL: [Preset; 4] = [Preset::Exact, Preset::Balanced, Preset::Small, Preset::Tiny];
    /// Those whose plans are searched.
    pub const SEARCHED: [Preset; 3] = [Preset::Balanced, Preset::Small, Preset::Tiny];

    /// What its plan may take; nothing for half precision.
    pub fn budget(self) -> Option<Budget> {
        let bits = match self {
            Preset::Exact => return None,
            Preset::Balanced => 2.5,
            Preset::Small => 2.0,
            Preset::Tiny => 1.75,
        };
        Some(Budget { bits, context: CONTEXT })
    }

    /// The plan that is shipped for the model with this [fingerprint](fn@crate::model::fingerprint).
    ///
    /// # Errors
    /// If the plan's text can't be read, which the tests rule out.
    pub fn shipped(self, fingerprint: &str) -> Result<Option<Plan>> {
        let of_model = SHIPPED.iter().find(|(of, ..)| *of == fingerprint);
        let at = Preset::SEARCHED.iter().position(|&preset| preset == self);
        let (Some((_, model, plans)), Some(at)) = (of_model, at) else { return Ok(None) };
        let plan = Plan::from_toml(plans[at]).map_err(|problem| Error::PlanFile {
            path: format!("kvquant/presets/{model}/{self}.toml").into(),
            problem,
        })?;
        Ok(Some(plan))
    }

    /// The models that have shipped plans, with their fingerprints.
    pub fn models() -> impl Iterator<Item = (&'static str, &'static str)> {
        SHIPPED.iter().map(|&(fingerprint, model, _)| (model, fingerprint))
    }

    /// The plan that nothing was measured for: the same bits in all layers, as many as the budget allows.
    ///
    /// # Errors
    /// If no such plan fits the budget.
    pub fn uniform(self, shape: CacheShape) -> Result<Plan> {
        let Some(budget) = self.budget() else { return Ok(Plan::f16()) };
        rules::uniform(shape, &budget)
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preset::Exact => "exact",
            Preset::Balanced => "balanced",
            Preset::Small => "small",
            Preset::Tiny => "tiny",
        })
    }
}

impl FromStr for Preset {
    type Err = ();

    fn from_str(text: &str) -> Result<Preset, ()> {
        Preset::ALL.into_iter().find(|preset| preset.to_string() == text).ok_or(())
    }
}

/// Perplexities of plans in the committed records, by model: written by `cargo reproduce docs`.
const PERPLEXITIES: &str = include_str!("../presets/perplexities.toml");

/// The perplexity of a plan on a registered model in the committed records (WikiText-2's raw test set, windows of 8,192
/// tokens), if they have it.
pub fn measured_perplexity(model: &str, plan: &str) -> Option<f64> {
    let table: toml::Table = PERPLEXITIES.parse().ok()?;
    let plan = if plan == "exact" { "f16" } else { plan };
    table.get(model)?.get(plan)?.as_float()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::bytes::planned_bytes;

    /// The models' that have shipped plans first.
    const SHAPES: [CacheShape; 3] = [
        CacheShape { n_layers: 30, n_kv_heads: 3, head_dim: 64 },
        CacheShape { n_layers: 24, n_kv_heads: 2, head_dim: 64 },
        CacheShape { n_layers: 32, n_kv_heads: 32, head_dim: 128 },
    ];

    #[test]
    fn names_are_read_as_they_are_written() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
        }
        assert_eq!("huge".parse::<Preset>(), Err(()));
    }

    #[test]
    fn uniform_plans_use_their_budget() {
        for shape in SHAPES {
            let mut fewer = f64::INFINITY;
            for preset in Preset::SEARCHED {
                let budget = preset.budget().unwrap();
                let plan = preset.uniform(shape).unwrap();
                let bytes = planned_bytes(shape, &plan, budget.context).unwrap();
                let bits = bytes.bits_per_element(shape, budget.context);
                assert!(bits <= budget.bits && bits > budget.bits - 0.6, "{preset}: {bits}");
                assert!(bytes.keys >= bytes.values / 2, "keys are the sensitive side: {bytes:?}");
                assert!(bits <= fewer, "{preset}: {bits} after {fewer}");
                fewer = bits;
            }
        }
    }

    /// 2 bits on each side before 3 and 1, which take as many.
    #[test]
    fn uniform_plans_spread_their_bits() {
        let names = Preset::SEARCHED.map(|preset| preset.uniform(SHAPES[0]).unwrap().to_string());
        let expected = ["int2/int2", "int2/int1", "int1/int1"];
        for (name, expected) in names.iter().zip(expected) {
            assert!(name.starts_with(expected), "{names:?}");
        }
    }

    /// The shipped plans are plans of their models and within their budgets.
    #[test]
    fn shipped_plans_keep_their_budgets() {
        for ((model, fingerprint), shape) in Preset::models().zip(SHAPES) {
            for preset in Preset::SEARCHED {
                let budget = preset.budget().unwrap();
                let plan = preset.shipped(fingerprint).unwrap().unwrap();
                assert_eq!(plan.to_string(), preset.to_string());
                let bytes = planned_bytes(shape, &plan, budget.context).unwrap();
                let bits = bytes.bits_per_element(shape, budget.context);
                assert!(bits <= budget.bits, "{model}: {preset}: {bits}");
            }
        }
        assert_eq!(Preset::Small.shipped("another").unwrap(), None);
    }
}
