//! A plan and its binding to a model.

use super::format::SideFormat;
use crate::quant::bits::BitWidth;
use crate::quant::levels::Levels;
use crate::{Error, Result};
use std::ops::Range;

/// How the cache of a model is stored, for a model of any number of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What people call it, where it is more than its notation says.
    pub name: Option<String>,
    /// The formats of the layers.
    pub rule: Rule,
    /// Tokens of the recent window R that stay in half precision behind the round-to-nearest
    /// formats. Values keep exactly the last R; keys gather up to R and are then packed all at once,
    /// as in KIVI. 0 keeps only what a group of keys still lacks.
    pub window: usize,
    /// Elements in a group of the round-to-nearest formats: tokens of a channel for keys, channels
    /// of a token for values (never more than the head has). Integer values have one group a head.
    pub group: usize,
    /// The first tokens of a sequence, which many heads attend to whatever comes: they stay in half
    /// precision and in no group, on both sides. The paper has none.
    pub sinks: usize,
    /// Where the levels of a group lie; each format has a rule of its own if absent.
    pub levels: Sides<Option<Levels>>,
    /// Which sides are stored after a Hadamard rotation along the head. Queries are rotated with the keys,
    /// and the output is rotated back: but for rounding, nothing changes.
    pub rotate: Sides<bool>,
    /// Whether keys are stored as they were before rotary embedding and without their bias, which have to be
    /// applied again whenever they are read.
    pub pre_rope: bool,
    /// Whether logits of packed keys are corrected for the noise of their quantization: half the variance
    /// that it gives them is added, as the mean of an exponential grows with its exponent's variance
    /// (Jensen's inequality).
    pub jensen: bool,
}

/// Something that keys and values have each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sides<T> {
    /// The keys'.
    pub keys: T,
    /// The values'.
    pub values: T,
}

impl<T> Sides<T> {
    /// The same of both.
    pub fn both(of: T) -> Sides<T>
    where
        T: Clone,
    {
        Sides { keys: of.clone(), values: of }
    }
}

/// The formats of keys and values of one layer.
pub type LayerFormat = Sides<SideFormat>;

/// The formats of the layers of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Every layer alike.
    Uniform(LayerFormat),
    /// AsymKV-l_k/l_v (section 4): the keys of the first `key_layers` and the values of the first
    /// `value_layers` layers get the high width, all others the low one.
    Prefix {
        /// Bits of the early layers.
        high: BitWidth,
        /// Bits of the late layers.
        low: BitWidth,
        /// l_k, how many layers keep their keys in the high width.
        key_layers: usize,
        /// l_v, likewise for values.
        value_layers: usize,
    },
    /// Formats by ranges of layers; a layer in several ranges takes the last one.
    Layers {
        /// The format of layers in no range.
        default: LayerFormat,
        /// Ranges of layers and their format.
        ranges: Vec<(Range<usize>, LayerFormat)>,
    },
}

impl Plan {
    /// The paper's window for contexts of normal length; 512 for long ones.
    pub const DEFAULT_WINDOW: usize = 128;
    /// The paper's group.
    pub const DEFAULT_GROUP: usize = 32;

    /// A plan with the paper's window and group.
    pub fn new(rule: Rule) -> Plan {
        Plan {
            name: None,
            rule,
            window: Plan::DEFAULT_WINDOW,
            group: Plan::DEFAULT_GROUP,
            sinks: 0,
            levels: Sides::default(),
            rotate: Sides::default(),
            pre_rope: false,
            jensen: false,
        }
    }

    /// Everything in half precision.
    pub fn f16() -> Plan {
        Plan::uniform(SideFormat::F16, SideFormat::F16)
    }

    /// The same formats in every layer.
    pub fn uniform(keys: SideFormat, values: SideFormat) -> Plan {
        Plan::new(Rule::Uniform(LayerFormat { keys, values }))
    }

    /// The paper's AsymKV-`key_layers`/`value_layers` with 2 and 1 bits.
    pub fn asymkv(key_layers: usize, value_layers: usize) -> Plan {
        Plan::new(Rule::Prefix {
            high: BitWidth::Two,
            low: BitWidth::One,
            key_layers,
            value_layers,
        })
    }

    /// The same plan with another window.
    pub fn with_window(mut self, window: usize) -> Plan {
        self.window = window;
        self
    }

    /// The format of each of `n_layers` layers.
    ///
    /// # Errors
    /// If the plan names layers that a model of `n_layers` does not have.
    pub fn layer_formats(&self, n_layers: usize) -> Result<Vec<LayerFormat>> {
        match &self.rule {
            Rule::Uniform(format) => Ok(vec![format.clone(); n_layers]),
            Rule::Prefix { high, low, key_layers, value_layers } => {
                self.check_layers("keys of the first", *key_layers, n_layers)?;
                self.check_layers("values of the first", *value_layers, n_layers)?;
                let width = |is_high| SideFormat::Rtn(if is_high { *high } else { *low });
                Ok((0..n_layers)
                    .map(|layer| LayerFormat {
                        keys: width(layer < *key_layers),
                        values: width(layer < *value_layers),
                    })
                    .collect())
            }
            Rule::Layers { default, ranges } => {
                let mut formats = vec![default.clone(); n_layers];
                for (range, format) in ranges {
                    self.check_layers("layers up to", range.end, n_layers)?;
                    formats[range.clone()].fill(format.clone());
                }
                Ok(formats)
            }
        }
    }

    fn check_layers(&self, what: &str, wanted: usize, n_layers: usize) -> Result<()> {
        if wanted <= n_layers {
            return Ok(());
        }
        Err(Error::PlanDoesNotFit {
            plan: self.to_string(),
            problem: format!(
                "it names the {what} {wanted} layers, but the model has {n_layers} layers"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K2V1: LayerFormat = LayerFormat {
        keys: SideFormat::Rtn(BitWidth::Two),
        values: SideFormat::Rtn(BitWidth::One),
    };

    #[test]
    fn prefix_rule_follows_the_paper() {
        let formats = Plan::asymkv(2, 1).layer_formats(4).unwrap();
        let bits: Vec<_> = formats.iter().map(|f| format!("{}/{}", f.keys, f.values)).collect();
        assert_eq!(bits, ["rtn2/rtn2", "rtn2/rtn1", "rtn1/rtn1", "rtn1/rtn1"]);
    }

    /// Section 4: KIVI with 2 bits is AsymKV-L/L.
    #[test]
    fn kivi_is_the_full_prefix() {
        let kivi: Plan = "kivi-2".parse().unwrap();
        assert_eq!(
            kivi.layer_formats(30).unwrap(),
            Plan::asymkv(30, 30).layer_formats(30).unwrap()
        );
    }

    #[test]
    fn later_ranges_win() {
        let f16 = || LayerFormat::both(SideFormat::F16);
        let ranges = vec![(0..3, K2V1), (2..4, f16())];
        let plan = Plan::new(Rule::Layers { default: f16(), ranges });
        assert_eq!(plan.layer_formats(4).unwrap(), [K2V1, K2V1, f16(), f16()]);
    }

    #[test]
    fn too_many_layers_are_named() {
        let message = Plan::asymkv(16, 0).layer_formats(12).unwrap_err().to_string();
        assert_eq!(
            message,
            "plan asymkv-16/0: it names the keys of the first 16 layers, \
             but the model has 12 layers"
        );
    }
}
