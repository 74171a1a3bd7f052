//! Plans as TOML files.
//!
//! ```toml
#![doc = include_str!("../../examples/plan.toml")]
//! ```

use super::format::{KeyChannels, SideFormat};
use super::notation::{parse_rotated, rotated_name};
use super::plan::{LayerFormat, Plan, Rule, Sides};
use crate::quant::levels::Levels;
use crate::{Error, Result};
use serde::Deserialize;
use std::ops::Range;
use std::path::Path;

/// Far above any model's number of layers; keeps a hostile file from asking for a huge table.
const MAX_LAYERS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    name: Option<String>,
    #[serde(default = "default_window")]
    window: usize,
    #[serde(default = "default_group")]
    group: usize,
    #[serde(default)]
    sinks: usize,
    rotate: Option<RawRotated>,
    #[serde(default)]
    pre_rope: bool,
    #[serde(default)]
    jensen: bool,
    key_levels: Option<RawLevels>,
    value_levels: Option<RawLevels>,
    keys: RawFormat,
    values: RawFormat,
    #[serde(default)]
    layers: Vec<RawLayers>,
    #[serde(rename = "evidence")]
    _evidence: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLayers {
    range: LayerRange,
    keys: Option<RawFormat>,
    key_bits: Option<Vec<Digits>>,
    key_ranges: Option<Vec<Vec<i16>>>,
    values: Option<RawFormat>,
    value_bits: Option<Vec<u8>>,
}

#[derive(Deserialize, Clone)]
#[serde(try_from = "String")]
struct RawFormat(SideFormat);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawLevels(Levels);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawRotated(Sides<bool>);

/// A digit for each channel.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Digits(Vec<u8>);

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct LayerRange(Range<usize>);

fn default_window() -> usize {
    Plan::DEFAULT_WINDOW
}

fn default_group() -> usize {
    Plan::DEFAULT_GROUP
}

impl TryFrom<String> for RawFormat {
    type Error = String;

    fn try_from(text: String) -> Result<RawFormat, String> {
        text.parse().map(RawFormat).map_err(|error: super::format::UnknownFormat| error.to_string())
    }
}

impl TryFrom<String> for RawLevels {
    type Error = String;

    fn try_from(text: String) -> Result<RawLevels, String> {
        let unknown = || format!("`{text}` is no rule for levels; there are {}", Levels::NAMES);
        text.parse().map(RawLevels).map_err(|()| unknown())
    }
}

impl TryFrom<String> for RawRotated {
    type Error = String;

    fn try_from(text: String) -> Result<RawRotated, String> {
        let unknown = || format!("`{text}` can't be rotated; keys, values or both can");
        parse_rotated(&text).map(RawRotated).ok_or_else(unknown)
    }
}

impl TryFrom<String> for Digits {
    type Error = String;

    fn try_from(text: String) -> Result<Digits, String> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(10).map(|bits| bits as u8)).collect();
        let bad = || format!("`{text}` is not a digit for each channel, its bits");
        digits.filter(|digits| !digits.is_empty()).map(Digits).ok_or_else(bad)
    }
}

impl TryFrom<String> for LayerRange {
    type Error = String;

    fn try_from(text: String) -> Result<LayerRange, String> {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last < MAX_LAYERS => {
                Ok(LayerRange(first..last + 1))
            }
            _ => Err(format!("`{text}` is no range of layers; write \"3\" or \"0-3\"")),
        }
    }
}

impl Plan {
    /// Reads a plan from a TOML file.
    ///
    /// # Errors
    /// If the file can't be read, or is no plan: the message names the line and the bad part.
    pub fn from_file(path: &Path) -> Result<Plan> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Plan::from_toml(&text).map_err(|problem| Error::PlanFile { path: path.to_owned(), problem })
    }

    /// Reads a plan from the text of a TOML file.
    ///
    /// # Errors
    /// A message that names the line and the bad part.
    pub fn from_toml(text: &str) -> Result<Plan, String> {
        let raw: RawPlan = toml::from_str(text).map_err(|error| error.to_string())?;
        let default = LayerFormat { keys: raw.keys.0, values: raw.values.0 };
        let mut by_layer: Vec<LayerFormat> = Vec::new();
        let mut ranges = Vec::new();
        for mut layers in raw.layers {
            let keys = layers.key_format()?;
            let values = layers.value_format()?;
            let LayerRange(range) = layers.range;
            by_layer.resize(by_layer.len().max(range.end), default.clone());
            for layer in range {
                let format = &mut by_layer[layer];
                if let Some(keys) = &keys {
                    format.keys.clone_from(keys);
                }
                if let Some(values) = &values {
                    format.values.clone_from(values);
                }
                push_layer(&mut ranges, layer, format);
            }
        }
        let rule = match ranges.is_empty() {
            true => Rule::Uniform(default),
            false => Rule::Layers { default, ranges },
        };
        let levels = |levels: Option<RawLevels>| levels.map(|RawLevels(levels)| levels);
        Ok(Plan {
            name: raw.name,
            rule,
            window: raw.window,
            group: raw.group,
            sinks: raw.sinks,
            levels: Sides { keys: levels(raw.key_levels), values: levels(raw.value_levels) },
            rotate: raw.rotate.map_or_else(Sides::default, |RawRotated(sides)| sides),
            pre_rope: raw.pre_rope,
            jensen: raw.jensen,
        })
    }
}

impl Plan {
    /// The plan as the text of a TOML file, with where it comes from as its evidence.
    ///
    /// # Errors
    /// If it names layers that a model of `n_layers` does not have.
    pub fn to_toml(&self, n_layers: usize, evidence: &toml::Table) -> Result<String> {
        let mut head = toml::Table::new();
        let mut put = |key: &str, value: Option<toml::Value>| {
            head.extend(value.map(|value| (key.to_owned(), value)));
        };
        let number = |n: usize| Some(toml::Value::Integer(n as i64));
        let text = |text: &dyn ToString| Some(toml::Value::String(text.to_string()));
        put("name", self.name.as_ref().and_then(|name| text(name)));
        put("window", number(self.window));
        put("group", number(self.group));
        put("sinks", number(self.sinks));
        put("rotate", rotated_name(self.rotate).and_then(|name| text(&name)));
        put("pre_rope", self.pre_rope.then_some(toml::Value::Boolean(true)));
        put("jensen", self.jensen.then_some(toml::Value::Boolean(true)));
        put("key_levels", self.levels.keys.and_then(|levels| text(&levels)));
        put("value_levels", self.levels.values.and_then(|levels| text(&levels)));
        put("keys", text(&SideFormat::F16));
        put("values", text(&SideFormat::F16));
        let mut toml = head.to_string();
        for (layer, format) in self.layer_formats(n_layers)?.into_iter().enumerate() {
            toml += &format!("\n[[layers]]\nrange = \"{layer}\"\n");
            toml += &match &format.keys {
                SideFormat::IntChannels(heads) => key_lines(heads),
                named => format!("keys = \"{named}\"\n"),
            };
            toml += &match &format.values {
                SideFormat::IntHeads(bits) => format!("value_bits = {bits:?}\n"),
                named => format!("values = \"{named}\"\n"),
            };
        }
        if !evidence.is_empty() {
            let all = toml::Table::from_iter([("evidence".to_owned(), evidence.clone().into())]);
            toml += &format!("\n{all}");
        }
        Ok(toml)
    }
}

fn key_lines(heads: &[KeyChannels]) -> String {
    let bits: Vec<String> =
        heads.iter().map(|head| head.bits.iter().map(u8::to_string).collect::<String>()).collect();
    let mut lines = format!("key_bits = {bits:?}\n");
    if heads.iter().any(|head| !head.range_octaves.is_empty()) {
        lines += "key_ranges = [\n";
        for head in heads {
            lines += &format!("    {:?},\n", head.range_octaves);
        }
        lines += "]\n";
    }
    lines
}

impl RawLayers {
    fn key_format(&mut self) -> Result<Option<SideFormat>, String> {
        let ranges = self.key_ranges.take();
        match (self.keys.take(), self.key_bits.take()) {
            (Some(_), Some(_)) => Err("a layer has either keys or key_bits".to_owned()),
            (_, None) if ranges.is_some() => Err("key_ranges belong to key_bits".to_owned()),
            (keys, None) => Ok(keys.map(|keys| keys.0)),
            (None, Some(bits)) => {
                let ranges = ranges.unwrap_or_else(|| vec![Vec::new(); bits.len()]);
                if ranges.len() != bits.len() {
                    let (ranges, bits) = (ranges.len(), bits.len());
                    return Err(format!("key_ranges for {ranges} KV heads, key_bits for {bits}"));
                }
                let heads = bits.into_iter().zip(ranges);
                let heads = heads.map(|(Digits(bits), ranges)| KeyChannels::new(bits, ranges));
                Ok(Some(SideFormat::IntChannels(heads.collect())))
            }
        }
    }

    fn value_format(&mut self) -> Result<Option<SideFormat>, String> {
        match (self.values.take(), self.value_bits.take()) {
            (Some(_), Some(_)) => Err("a layer has either values or value_bits".to_owned()),
            (values, None) => Ok(values.map(|values| values.0)),
            (None, Some(bits)) => Ok(Some(SideFormat::IntHeads(bits.into()))),
        }
    }
}

/// Appends `layer` to the last range if it continues it.
fn push_layer(ranges: &mut Vec<(Range<usize>, LayerFormat)>, layer: usize, format: &LayerFormat) {
    match ranges.last_mut() {
        Some((range, last)) if range.end == layer && last == format => range.end += 1,
        _ => ranges.push((layer..layer + 1, format.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(text: &str, n_layers: usize) -> Vec<String> {
        let plan = Plan::from_toml(text).unwrap();
        plan.layer_formats(n_layers).unwrap().iter().map(LayerFormat::to_string).collect()
    }

    #[test]
    fn the_example_is_read_and_says_every_key() {
        let text = include_str!("../../examples/plan.toml");
        let formats = formats(text, 6);
        assert_eq!((&*formats[0], &*formats[5]), ("f16/int1", "rtn2/int1"));
        let all = "keys = \"f16\"\nvalues = \"f16\"\n";
        for unknown in ["no_key = 1".to_owned(), format!("{all}[[layers]]\nno_key = 1")] {
            let message = Plan::from_toml(&unknown).unwrap_err();
            common::testing::assert_says_expected_keys(text, &message);
        }
    }

    #[test]
    fn layers_override_the_default_a_side_at_a_time() {
        let text = r#"
            window = 64
            keys = "rtn2"
            values = "rtn1"
            [[layers]]
            range = "0-1"
            keys = "f16"
            [[layers]]
            range = "1"
            values = "q4_0"
        "#;
        assert_eq!(formats(text, 4), ["f16/rtn1", "f16/q4_0", "rtn2/rtn1", "rtn2/rtn1"]);
        let plan = Plan::from_toml(text).unwrap();
        assert_eq!((plan.window, plan.group), (64, 32));
        assert_eq!(plan.to_string(), "layers(rtn2/rtn1 0-1=f16/rtn1 1-1=f16/q4_0):window=64");
    }

    #[test]
    fn no_layers_is_the_uniform_plan() {
        let plan = Plan::from_toml("keys = \"rtn2\"\nvalues = \"rtn2\"").unwrap();
        assert_eq!(plan, "kivi-2".parse().unwrap());
    }

    #[test]
    fn bits_by_channel_and_by_head() {
        let text = r#"
            name = "mine"
            sinks = 4
            rotate = "values"
            key_levels = "centroid"
            keys = "int2"
            values = "int1"
            [[layers]]
            range = "1"
            key_bits = ["4420", "1111"]
            key_ranges = [[8, 8, 0, 0], [-8, -8, 0, 0]]
            value_bits = [2, 1]
            [evidence]
            divergence = 0.01
        "#;
        let plan = Plan::from_toml(text).unwrap();
        assert_eq!(plan.to_string(), "mine");
        assert_eq!((plan.sinks, plan.rotate), (4, Sides { keys: false, values: true }));
        assert_eq!(plan.levels, Sides { keys: Some(Levels::Centroid), values: None });
        assert_eq!(formats(text, 2), ["int2/int1", "int~1.75/int2,1"]);
        let SideFormat::IntChannels(heads) = &plan.layer_formats(2).unwrap()[1].keys else {
            panic!("bits by channel");
        };
        assert_eq!(
            (heads[0].bits(2), heads[0].range(1), heads[1].range(0)),
            (2, Some(2.0), Some(0.5))
        );
    }

    /// What is written is read as the same formats.
    #[test]
    fn written_plans_are_read() {
        let channels = vec![
            KeyChannels::new(vec![3, 3, 0, 0], vec![8, 8, -3, -3]),
            KeyChannels::new(vec![1, 1, 2, 2], vec![0, 0, 1, 1]),
        ];
        let searched = LayerFormat {
            keys: SideFormat::IntChannels(channels.into()),
            values: SideFormat::IntHeads(vec![1, 2].into()),
        };
        let default = LayerFormat::both(SideFormat::F16);
        let rule = Rule::Layers { default, ranges: vec![(1..2, searched)] };
        let mut plan = Plan { name: Some("mine".into()), sinks: 4, ..Plan::new(rule) };
        plan.levels.keys = Some(Levels::Centroid);
        plan.rotate.values = true;
        plan.jensen = true;
        let evidence = toml::Table::from_iter([("divergence".to_owned(), 0.5.into())]);
        let text = plan.to_toml(3, &evidence).unwrap();
        let read = Plan::from_toml(&text).unwrap();
        assert_eq!(read.layer_formats(3).unwrap(), plan.layer_formats(3).unwrap(), "{text}");
        assert_eq!(Plan { rule: plan.rule.clone(), ..read }, plan, "{text}");
        assert!(text.ends_with("[evidence]\ndivergence = 0.5\n"), "{text}");
        let paper = Plan::asymkv(2, 1);
        let read = Plan::from_toml(&paper.to_toml(3, &toml::Table::new()).unwrap()).unwrap();
        assert_eq!(read.layer_formats(3).unwrap(), paper.layer_formats(3).unwrap());
    }

    fn check_error(text: &str, expected: &str) {
        let message = Plan::from_toml(text).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn errors_name_the_line_and_the_part() {
        check_error(
            "keys = \"rtn3\"\nvalues = \"f16\"",
            "`rtn3` is no cache format; there are f16",
        );
        check_error("keys = \"f16\"\nvaleus = \"f16\"", "valeus");
        check_error("keys = \"f16\"", "missing field `values`");
        let range = |range: &str| {
            format!("keys = \"f16\"\nvalues = \"f16\"\n[[layers]]\nrange = \"{range}\"")
        };
        check_error(&range("3-1"), "line 4");
        check_error(&range("3-1"), "`3-1` is no range of layers");
        check_error(&range("0-99999999999"), "is no range of layers");
        let layer = |more: &str| format!("{}\n{more}", range("0"));
        check_error(&layer("key_bits = [\"2x\"]"), "`2x` is not a digit for each channel");
        check_error(&layer("key_bits = [\"2\"]\nkeys = \"f16\""), "either keys or key_bits");
        check_error(&layer("value_bits = [2]\nvalues = \"f16\""), "either values or value_bits");
        check_error(&layer("key_ranges = [[1]]"), "key_ranges belong to key_bits");
        check_error(&layer("key_bits = [\"2\", \"2\"]\nkey_ranges = [[1]]"), "1 KV heads");
        check_error("keys = \"f16\"\nvalues = \"f16\"\nrotate = \"all\"", "line 3");
    }
}
