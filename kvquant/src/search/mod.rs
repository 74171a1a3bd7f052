//! Finding a plan under a budget of bytes.
//!
//! 1. The model runs over a text in half precision ([`calibration`]).
//! 2. Each part of the cache, the keys of a layer or the values of a head, gets few bits while all else is
//!    exact, and the layers from there on are run again: how far do the predictions move ([`sensitivity`])?
//!    The bits of a layer's keys are spread over its channels by what queries make of their errors
//!    ([`channels`]).
//! 3. The least sum of these under the budget is a knapsack with one choice for each part ([`knapsack`]).
//! 4. Whether the sum of the parts foretells the whole is measured on plans changed at random, and the plan is
//!    held against the best one of the paper's prefix rule at the same bytes ([`rules`]).

pub mod calibration;
pub mod channels;
pub mod knapsack;
pub mod rules;
pub mod sensitivity;

use crate::cache::CacheShape;
use crate::cache::bytes::planned_bytes;
use crate::model::Llama;
use crate::policy::{LayerFormat, Plan, Rule, SideFormat, Sides};
use crate::quant::levels::Levels;
use crate::{Error, Result};
use calibration::Calibration;
use channels::ChannelCosts;
use knapsack::Choice;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sensitivity::{Measurement, Part, Sensitivities};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Bits for an element of the cache, everything counted.
    pub bits: f64,
    /// Tokens in the cache for which that holds.
    pub context: usize,
}

/// Mean bits that a layer's keys may get.
const KEY_CHOICES: [f64; 24] = [
    0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.375, 1.5, 1.625, 1.75, 1.875, 2.0, 2.125, 2.25,
    2.375, 2.5, 2.625, 2.75, 3.0, 3.25, 3.5, 4.0, 4.5,
];
/// Bits that a head's values may get.
const VALUE_CHOICES: [f64; 4] = [1.0, 2.0, 3.0, 4.0];
/// Changes with whatever changes a measurement: levels, ranges, how channels share bits.
const FORMATS: &str = "int 1";
/// Bits of the other heads while one is measured: as good as exact.
const EXACT_BITS: u8 = 8;
/// Plans changed at random to see whether sums foretell.
const RANDOM_PLANS: usize = 6;
/// Prefix plans that are measured first.
const PREFIX_PLANS: usize = 6;

/// A search on a model.
#[derive(Debug)]
pub struct Search<'a> {
    model: &'a Llama,
    calibration: Calibration,
    channels: Vec<ChannelCosts>,
    base: Plan,
    /// What has been measured; a search that goes on where another ended has some from the start.
    pub sensitivities: Sensitivities,
}

/// A plan and what speaks for it.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The plan.
    #[serde(skip)]
    pub plan: Plan,
    /// Bits for an element, everything counted.
    pub bits: f64,
    /// The sum of the parts' divergences, in nats.
    pub expected: f64,
    /// The divergence of the plan as a whole.
    pub measured: f64,
    /// The plan with more and more of its bits changed at random: the sum of the parts, and the whole.
    pub random: Vec<(f64, f64)>,
    /// The best plan of the paper's prefix rule within the same bytes.
    pub prefix: Option<Prefix>,
}

/// The best choice for each part.
struct Solution {
    /// In the order of the parts.
    bits: Vec<f64>,
    expected: f64,
}

/// A plan of the prefix rule: 2 bits for the keys and values of the first layers, 1 for all others, in the
/// same formats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prefix {
    /// l_k.
    pub key_layers: usize,
    /// l_v.
    pub value_layers: usize,
    /// Bits for an element, everything counted.
    pub bits: f64,
    /// The divergence of the plan.
    pub divergence: f64,
}

/// What every searched plan has: a fused kernel can read its integers, the first tokens are exact, and
/// values are rotated where a head can be.
fn base(shape: CacheShape) -> Plan {
    Plan {
        window: 64,
        group: 64,
        sinks: 4,
        rotate: Sides { keys: false, values: shape.head_dim.is_power_of_two() },
        ..Plan::f16()
    }
}

impl<'a> Search<'a> {
    /// Runs the model over the calibration text in half precision.
    ///
    /// # Errors
    /// If the text is too short for a group to be packed, or the model fails.
    pub fn new(model: &'a Llama, tokens: &[u32]) -> Result<Search<'a>> {
        let shape = model.config().cache_shape();
        let base = base(shape);
        let least = 2 * (base.sinks + base.window + base.group);
        if tokens.len() < least {
            return Err(Error::TextTooShort { n_tokens: tokens.len(), context: least });
        }
        let calibration = Calibration::run(model, tokens)?;
        let layout = model.config().architecture.rope_layout();
        let measure = |layer| {
            ChannelCosts::measure(layer, layout, Levels::LeastSquares, base.group, base.sinks)
        };
        let channels = calibration.layers().iter().map(measure).collect();
        let sensitivities = Sensitivities::default();
        Ok(Search { model, calibration, channels, base, sensitivities })
    }

    /// What the measurements depend on beside model and text, in words: other formats need others.
    pub fn formats(&self) -> String {
        let Plan { window, group, sinks, .. } = self.base;
        format!("{FORMATS}: window {window}, group {group}, sinks {sinks}")
    }

    /// What has still to be measured.
    pub fn missing(&self) -> Vec<(Part, f64)> {
        let points =
            self.parts().flat_map(|part| part.points().iter().map(move |&bits| (part, bits)));
        points.filter(|&(part, bits)| !self.sensitivities.has(part, bits)).collect()
    }

    /// Measures one part at so many mean bits, for [`Search::sensitivities`].
    ///
    /// # Errors
    /// If the model fails.
    pub fn measure(&self, part: Part, bits: f64) -> Result<Measurement> {
        let exact = || LayerFormat::both(SideFormat::F16);
        let mut formats = vec![exact(); self.shape().n_layers];
        let format = &mut formats[part.layer()];
        match part {
            Part::Keys { layer } => format.keys = self.keys(layer, bits),
            Part::Values { head, .. } => {
                let mut heads = vec![EXACT_BITS; self.shape().n_kv_heads];
                heads[head] = bits as u8;
                format.values = SideFormat::IntHeads(heads.into());
            }
        }
        let divergence = self.divergence(part.layer(), &self.plan(formats))?;
        Ok(Measurement { part, bits, divergence })
    }

    /// Layers that run again for a measurement of this part.
    pub fn n_layers_from(&self, part: Part) -> usize {
        self.shape().n_layers - part.layer()
    }

    /// The plan with the least expected divergence within a budget, and what speaks for it. `keep` is given the name
    /// of each run of the whole model and what runs it, and gives its divergence: it may have it from an earlier run.
    ///
    /// # Errors
    /// [`Error::BudgetTooSmall`] if there is none; or if the model or `keep` fails.
    pub fn find<E: From<Error>>(
        &self,
        budget: &Budget,
        seed: u64,
        mut keep: impl FnMut(&str, &dyn Fn() -> Result<f64>) -> Result<f64, E>,
    ) -> Result<Found, E> {
        let solution = self.solve(budget)?;
        let plan = self.plan_of(&solution.bits);
        let held = planned_bytes(self.shape(), &plan, budget.context)?.total();
        let bits = bits_of(self.shape(), held, budget.context);
        let name = format!("{} bits at {} tokens", budget.bits, budget.context);
        let measured = keep(&name, &|| self.divergence(0, &plan))?;
        let mut random = Vec::new();
        for (at, bits) in self.random(&solution.bits, seed).into_iter().enumerate() {
            let name = format!("{name}, changed at random, seed {seed}, {at}");
            let plan = self.plan_of(&bits);
            random.push((self.expected(&bits), keep(&name, &|| self.divergence(0, &plan))?));
        }
        let prefix = self.best_prefix(budget, &mut keep)?;
        Ok(Found { plan, bits, expected: solution.expected, measured, random, prefix })
    }

    /// Bits for all parts.
    fn solve(&self, budget: &Budget) -> Result<Solution> {
        let bytes = bytes_of(self.shape(), budget.bits, budget.context);
        let parts: Vec<Part> = self.parts().collect();
        let items: Vec<Vec<Choice>> = parts
            .iter()
            .map(|&part| {
                let choice = |&bits: &f64| {
                    let cost = self.cost(part, bits, budget.context)?;
                    Ok(Choice { cost, loss: self.sensitivities.expected(part, bits) })
                };
                choices(part).iter().map(choice).collect()
            })
            .collect::<Result<_>>()?;
        let least = |choices: &Vec<Choice>| choices.iter().map(|choice| choice.cost).min();
        let Some(solution) = knapsack::solve(&items, bytes) else {
            let bytes: u64 = items.iter().filter_map(least).sum();
            let least = bits_of(self.shape(), bytes, budget.context);
            return Err(Error::BudgetTooSmall {
                bits: budget.bits,
                context: budget.context,
                least,
            });
        };
        let bits: Vec<f64> =
            solution.iter().zip(&parts).map(|(&at, &part)| choices(part)[at]).collect();
        Ok(Solution { expected: self.expected(&bits), bits })
    }

    /// The sum of the parts' divergences.
    fn expected(&self, bits: &[f64]) -> f64 {
        let parts = self.parts().zip(bits);
        parts.map(|(part, &bits)| self.sensitivities.expected(part, bits)).sum()
    }

    /// Bits of a solution, some of them, from few to all, replaced by others.
    fn random(&self, solution: &[f64], seed: u64) -> Vec<Vec<f64>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let one = |at: usize| {
            let replaced = (at + 1) as f64 / RANDOM_PLANS as f64;
            let bits = |(part, &bits): (Part, &f64)| {
                let other = choices(part)[rng.random_range(0..choices(part).len())];
                if rng.random_bool(replaced) { other } else { bits }
            };
            self.parts().zip(solution).map(bits).collect()
        };
        (0..RANDOM_PLANS).map(one).collect()
    }

    /// The best of the prefix plans that use the bytes best: of some evenly among them, and then of the neighbours of
    /// the best, as far as they get better.
    fn best_prefix<E: From<Error>>(
        &self,
        budget: &Budget,
        keep: &mut impl FnMut(&str, &dyn Fn() -> Result<f64>) -> Result<f64, E>,
    ) -> Result<Option<Prefix>, E> {
        let shape = self.shape();
        let bytes = bytes_of(shape, budget.bits, budget.context);
        let candidates = rules::prefixes_within(shape, bytes, budget.context)?;
        let mut measured = BTreeMap::new();
        let mut measure = |at: usize| -> Result<f64, E> {
            if let Some(&divergence) = measured.get(&at) {
                return Ok(divergence);
            }
            let (key_layers, value_layers) = candidates[at];
            let plan = rules::prefix(shape, key_layers, value_layers);
            let name = format!("prefix plan {key_layers}/{value_layers}");
            let divergence = keep(&name, &|| self.divergence(0, &plan))?;
            measured.insert(at, divergence);
            Ok(divergence)
        };
        let mut step = candidates.len().div_ceil(PREFIX_PLANS).max(1);
        let mut best: Option<(usize, f64)> = None;
        // Those with most for the keys included.
        for at in (0..candidates.len()).rev().step_by(step) {
            let divergence = measure(at)?;
            if best.is_none_or(|(_, least)| divergence < least) {
                best = Some((at, divergence));
            }
        }
        let Some((mut at, mut divergence)) = best else { return Ok(None) };
        while step > 1 {
            step = step.div_ceil(2);
            for neighbour in [at.checked_sub(step), Some(at + step)].into_iter().flatten() {
                if neighbour < candidates.len() && measure(neighbour)? < divergence {
                    (at, divergence) = (neighbour, measure(neighbour)?);
                }
            }
        }
        let (key_layers, value_layers) = candidates[at];
        let plan = rules::prefix(shape, key_layers, value_layers);
        let held = planned_bytes(shape, &plan, budget.context)?.total();
        let bits = bits_of(shape, held, budget.context);
        Ok(Some(Prefix { key_layers, value_layers, bits, divergence }))
    }

    /// How far the predictions move with a plan whose layers before `first` are exact.
    fn divergence(&self, first: usize, plan: &Plan) -> Result<f64> {
        let mut cache = self.model.new_cache(plan)?;
        self.calibration.divergence(self.model, first, &mut cache)
    }

    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        Part::all(self.shape().n_layers, self.shape().n_kv_heads)
    }

    fn shape(&self) -> CacheShape {
        self.model.config().cache_shape()
    }

    fn keys(&self, layer: usize, mean_bits: f64) -> SideFormat {
        SideFormat::IntChannels(self.channels[layer].spread(mean_bits).into())
    }

    /// The base plan with a format for each layer.
    fn plan(&self, formats: Vec<LayerFormat>) -> Plan {
        let ranges = formats.into_iter().enumerate().map(|(at, format)| (at..at + 1, format));
        let default = LayerFormat::both(SideFormat::F16);
        Plan { rule: Rule::Layers { default, ranges: ranges.collect() }, ..self.base.clone() }
    }

    /// The plan whose parts have these bits.
    fn plan_of(&self, bits: &[f64]) -> Plan {
        let shape = self.shape();
        let mut keys = vec![SideFormat::F16; shape.n_layers];
        let mut values = vec![vec![0; shape.n_kv_heads]; shape.n_layers];
        for (part, &bits) in self.parts().zip(bits) {
            match part {
                Part::Keys { layer } => keys[layer] = self.keys(layer, bits),
                Part::Values { layer, head } => values[layer][head] = bits as u8,
            }
        }
        let formats = keys.into_iter().zip(values);
        let formats = formats.map(|(keys, values)| LayerFormat {
            keys,
            values: SideFormat::IntHeads(values.into()),
        });
        self.plan(formats.collect())
    }

    /// Bytes of a part in a cache of so many tokens.
    fn cost(&self, part: Part, bits: f64, context: usize) -> Result<u64> {
        let one_layer = CacheShape { n_layers: 1, ..self.shape() };
        let of = |shape, keys, values| {
            let plan =
                Plan { rule: Rule::Uniform(LayerFormat { keys, values }), ..self.base.clone() };
            planned_bytes(shape, &plan, context)
        };
        match part {
            Part::Keys { layer } => {
                Ok(of(one_layer, self.keys(layer, bits), SideFormat::F16)?.keys)
            }
            Part::Values { .. } => {
                let one_head = CacheShape { n_kv_heads: 1, ..one_layer };
                Ok(of(one_head, SideFormat::F16, SideFormat::Int(bits as u8))?.values)
            }
        }
    }
}

fn bytes_of(shape: CacheShape, bits: f64, context: usize) -> u64 {
    (bits / 8.0 * shape.elements_per_token() as f64 * context as f64) as u64
}

fn bits_of(shape: CacheShape, bytes: u64, context: usize) -> f64 {
    8.0 * bytes as f64 / (shape.elements_per_token() as f64 * context as f64)
}

/// Mean bits that a part may get.
fn choices(part: Part) -> &'static [f64] {
    match part {
        Part::Keys { .. } => &KEY_CHOICES,
        Part::Values { .. } => &VALUE_CHOICES,
    }
}
