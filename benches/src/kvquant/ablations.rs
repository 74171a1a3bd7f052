//! What each part of a plan is worth, keys and values apart: one side has few bits, the other is exact.

use super::SYSTEM;
use super::setting::{NamedPlan, PlanScore, SMOLLM2, Setting, Windows};
use crate::experiment::{Experiment, Size};
use common::progress::Progress;
use common::report::{Claim, Verdict};
use kvquant::eval::ScoringRule;
use kvquant::model::WeightFormat;
use kvquant::policy::{KeyChannels, LayerFormat, Plan, Rule, SideFormat};
use kvquant::presets::Preset;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The parts, the paper's form first. Group, window and 16-bit metadata stay the paper's, so that a row takes as
/// many bytes as the first of its bits, but for sinks.
const KEYS: [&str; 8] = [
    "",
    "sinks=4",
    "key-levels=centroid",
    "key-levels=unbiased",
    "key-levels=least-squares",
    "rotate=keys",
    "pre-rope",
    "jensen",
];
const KEYS_TOGETHER: [&str; 5] = [
    "sinks=4,key-levels=centroid",
    "sinks=4,key-levels=least-squares",
    "sinks=4,key-levels=least-squares,rotate=keys",
    "sinks=4,key-levels=least-squares,pre-rope",
    "sinks=4,key-levels=least-squares,jensen",
];
const VALUES: [&str; 6] = [
    "",
    "sinks=4",
    "value-levels=centroid",
    "value-levels=unbiased",
    "value-levels=least-squares",
    "rotate=values",
];
const VALUES_TOGETHER: [&str; 4] = [
    "sinks=4,rotate=values",
    "sinks=4,rotate=values,value-levels=centroid",
    "sinks=4,rotate=values,value-levels=least-squares",
    "sinks=4,rotate=values,value-levels=unbiased",
];

/// Our 1-bit form of each side, as simulated on other texts: it takes the paper's bytes and four sinks.
const OURS: [(&str, &str); 2] = [
    ("f16/rtn1", "sinks=4,rotate=values,value-levels=unbiased"),
    ("rtn1/f16", "sinks=4,key-levels=centroid"),
];

/// How much of the rise of log-perplexity the best 1-bit form has to take away, at least.
const CUT: f64 = 3.0;

/// The parts of a plan, one by one.
pub struct Ablations;

#[derive(Debug, Serialize, Deserialize)]
pub struct AblationMetrics {
    pub n_windows: usize,
    /// f16 first, against which losses are.
    pub scores: Vec<PlanScore>,
    /// Plans of which all windows of 1024 tokens take the same bytes: the searched one, and its bits spread evenly.
    pub mixed: Vec<PlanScore>,
}

impl AblationMetrics {
    /// The rows of a side at so many bits: what is added to the paper's form, and how it did.
    pub fn rows(&self, side: &str) -> Vec<(&str, &PlanScore)> {
        let of_side = |score: &'_ PlanScore| {
            let (formats, options) = score.plan.split_once(':').unwrap_or((&score.plan, ""));
            (formats == side).then_some(options.len())
        };
        let rows = self.scores.iter().filter_map(|score| Some((of_side(score)?, score)));
        rows.map(|(len, score)| (&score.plan[score.plan.len() - len..], score)).collect()
    }

    /// The paper's rise of log-perplexity over that of our 1-bit form, which was chosen before.
    fn cut(&self, side: &str, ours: &str) -> Option<(f64, &PlanScore)> {
        let paper = self.rows(side).first()?.1;
        let ours = self.scores.iter().find(|score| score.plan == format!("{side}:{ours}"))?;
        let rise = ours.loss.ln_1p();
        // What costs nothing cuts all.
        Some((if rise > 0.0 { paper.loss.ln_1p() / rise } else { f64::INFINITY }, ours))
    }
}

impl Experiment for Ablations {
    type Metrics = AblationMetrics;

    fn name(&self) -> String {
        "kvquant-ablations".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(AblationMetrics, Value)> {
        let setting = Setting::load(SMOLLM2, WeightFormat::F32, progress)?;
        let n_windows = if size == Size::Full { 4 } else { 1 };
        let windows = Windows { skipped: 40, ..Windows::short(n_windows, ScoringRule::All) };
        let mut plans = vec![NamedPlan::parse("f16")?];
        for (side, options) in sides(size) {
            let plan = match options {
                "" => side.to_owned(),
                options => format!("{side}:{options}"),
            };
            plans.push(NamedPlan::parse(&plan)?);
        }
        let n_sides = plans.len();
        if size == Size::Full {
            let NamedPlan { plan, .. } = setting.preset(Preset::Small)?;
            plans.extend(mixtures(&plan, setting.n_layers())?);
            plans.extend(metadata(&plan, setting.n_layers())?);
        }
        let name = Experiment::name(self);
        let mut scores = setting.score(&name, &plans, windows, progress)?;
        let mixed = scores.split_off(n_sides);
        Ok((AblationMetrics { n_windows, scores, mixed }, setting.configuration(windows)))
    }

    fn judged(&self, metrics: &AblationMetrics) -> Vec<Claim> {
        let mut claims = self.claims();
        for (claim, (side, ours)) in claims.iter_mut().zip(OURS) {
            if let Some((cut, best)) = metrics.cut(side, ours) {
                claim.here = format!("{cut:.1} x, {}", best.plan);
                claim.verdict = Verdict::judged(cut >= CUT);
            }
        }
        claims
    }

    fn claims(&self) -> Vec<Claim> {
        let claim = |side: &str| {
            let claim =
                format!("1-bit {side} with other levels cut the paper's rise of log-perplexity");
            Claim::goal(SYSTEM, claim, format!("≥ {CUT:.0} x"))
        };
        vec![claim("values"), claim("keys")]
    }
}

/// Formats, and what is added to them.
fn sides(size: Size) -> Vec<(&'static str, &'static str)> {
    let mut sides = Vec::new();
    for (formats, alone, together) in [
        (["rtn1/f16", "rtn2/f16"], &KEYS[..], &KEYS_TOGETHER[..]),
        (["f16/rtn1", "f16/rtn2"], &VALUES[..], &VALUES_TOGETHER[..]),
    ] {
        match size {
            Size::Full => {
                for side in formats {
                    sides.extend(alone.iter().chain(together).map(|&options| (side, options)));
                }
            }
            Size::Quick => {
                sides.push((formats[0], alone[0]));
                sides.extend(together.last().map(|&options| (formats[0], options)));
            }
        }
    }
    sides
}

/// A searched plan, and the same with its bits spread evenly over channels, over heads, and over layers too.
fn mixtures(plan: &Plan, n_layers: usize) -> anyhow::Result<Vec<NamedPlan>> {
    let formats = plan.layer_formats(n_layers)?;
    let named = |name: &str, formats: Vec<LayerFormat>| {
        let ranges = formats.into_iter().enumerate().map(|(at, format)| (at..at + 1, format));
        let default = LayerFormat::both(SideFormat::F16);
        let rule = Rule::Layers { default, ranges: ranges.collect() };
        NamedPlan::new(name, Plan { name: None, rule, ..plan.clone() })
    };
    let even_channels: Vec<LayerFormat> = formats
        .iter()
        .map(|format| LayerFormat { keys: evenly(&[&format.keys])[0].clone(), ..format.clone() })
        .collect();
    let even_heads = even_channels
        .iter()
        .map(|format| LayerFormat {
            values: evenly(&[&format.values])[0].clone(),
            ..format.clone()
        })
        .collect();
    let keys: Vec<&SideFormat> = formats.iter().map(|format| &format.keys).collect();
    let values: Vec<&SideFormat> = formats.iter().map(|format| &format.values).collect();
    let even_layers = evenly(&keys)
        .into_iter()
        .zip(evenly(&values))
        .map(|(keys, values)| LayerFormat { keys, values })
        .collect();
    Ok(vec![
        named("as searched", formats.clone()),
        named("the same bits for all channels of a layer's keys", even_channels),
        named("and for all heads of a layer's values", even_heads),
        named("and for all layers", even_layers),
    ])
}

/// 2 bits for all keys in the ranges of a searched plan, values exact: scales and centres in bytes, and in half
/// precision.
fn metadata(plan: &Plan, n_layers: usize) -> anyhow::Result<Vec<NamedPlan>> {
    let formats = plan.layer_formats(n_layers)?;
    let named = |name: &str, of: fn(&KeyChannels) -> KeyChannels| {
        let keys = |format: &LayerFormat| match &format.keys {
            SideFormat::IntChannels(heads) => {
                SideFormat::IntChannels(heads.iter().map(of).collect())
            }
            other => other.clone(),
        };
        let formats = formats.iter().map(keys).enumerate();
        let ranges = formats
            .map(|(at, keys)| (at..at + 1, LayerFormat { keys, values: SideFormat::F16 }))
            .collect();
        let default = LayerFormat::both(SideFormat::F16);
        let rule = Rule::Layers { default, ranges };
        NamedPlan::new(name, Plan { name: None, rule, ..plan.clone() })
    };
    Ok(vec![
        named("keys of 2 bits, scales and centres in bytes", |head| {
            head.with_bits(vec![2; head.all_bits().len()])
        }),
        named("keys of 2 bits, scales and centres of 16 bits", |head| {
            KeyChannels::new(vec![2; head.all_bits().len()], Vec::new())
        }),
    ])
}

/// The same sides with all their bits together spread evenly, over pairs of channels that rotary embedding turns
/// (neighbours, in this architecture) or over heads.
fn evenly(sides: &[&SideFormat]) -> Vec<SideFormat> {
    let mut bits: Vec<u32> = Vec::new();
    for side in sides {
        match side {
            SideFormat::IntChannels(heads) => {
                let pairs = heads.iter().flat_map(|head| head.all_bits().chunks(2));
                bits.extend(pairs.map(|pair| u32::from(pair[0])));
            }
            SideFormat::IntHeads(heads) => bits.extend(heads.iter().map(|&bits| u32::from(bits))),
            _ => {}
        }
    }
    let (total, n) = (bits.iter().sum::<u32>(), bits.len().max(1) as u32);
    let mut given = (0..n).map(|at| ((at + 1) * total / n - at * total / n) as u8);
    let mut next = || given.next().unwrap_or_default();
    let mut spread = |side: &&SideFormat| match side {
        SideFormat::IntChannels(heads) => {
            let mut head = |head: &KeyChannels| {
                let pairs = head.all_bits().chunks(2);
                head.with_bits(pairs.flat_map(|pair| vec![next(); pair.len()]).collect())
            };
            SideFormat::IntChannels(heads.iter().map(&mut head).collect())
        }
        SideFormat::IntHeads(heads) => SideFormat::IntHeads(heads.iter().map(|_| next()).collect()),
        other => (*other).clone(),
    };
    sides.iter().map(&mut spread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_spread_without_loss() {
        let keys = |bits: &[u8]| {
            SideFormat::IntChannels(vec![KeyChannels::new(bits.to_vec(), Vec::new())].into())
        };
        let (first, second) = (keys(&[4, 4, 0, 0]), keys(&[1, 1, 0, 0]));
        assert_eq!(evenly(&[&first]), [keys(&[2, 2, 2, 2])]);
        // What is left over is spread, too, and pairs stay pairs.
        assert_eq!(evenly(&[&first, &second]), [keys(&[1, 1, 1, 1]), keys(&[1, 1, 2, 2])]);
        let values = SideFormat::IntHeads(vec![4, 1, 1].into());
        assert_eq!(evenly(&[&values]), [SideFormat::IntHeads(vec![2, 2, 2].into())]);
    }
}
