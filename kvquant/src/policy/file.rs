//! Plans as TOML files.
//!
//! ```toml
//! window = 128        # optional, the paper's 128 if absent
//! group = 32          # optional, the paper's 32 if absent
//! keys = "rtn2"       # the format of layers that no entry below names
//! values = "rtn1"
//!
//! [[layers]]
//! range = "0-3"       # layers 0 to 3; or one layer: "7"
//! keys = "f16"        # either side may be left out: it keeps what it had
//! values = "rtn2"
//! ```

use super::format::SideFormat;
use super::plan::{LayerFormat, Plan, Rule};
use crate::{Error, Result};
use serde::Deserialize;
use std::ops::Range;
use std::path::Path;

/// Far above any model's number of layers; keeps a hostile file from asking for a huge table.
const MAX_LAYERS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    #[serde(default = "default_window")]
    window: usize,
    #[serde(default = "default_group")]
    group: usize,
    keys: RawFormat,
    values: RawFormat,
    #[serde(default)]
    layers: Vec<RawLayers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLayers {
    range: LayerRange,
    keys: Option<RawFormat>,
    values: Option<RawFormat>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(try_from = "String")]
struct RawFormat(SideFormat);

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
        for RawLayers { range: LayerRange(range), keys, values } in raw.layers {
            by_layer.resize(by_layer.len().max(range.end), default);
            for layer in range {
                let format = &mut by_layer[layer];
                format.keys = keys.map_or(format.keys, |keys| keys.0);
                format.values = values.map_or(format.values, |values| values.0);
                push_layer(&mut ranges, layer, *format);
            }
        }
        let rule = match ranges.is_empty() {
            true => Rule::Uniform(default),
            false => Rule::Layers { default, ranges },
        };
        Ok(Plan { rule, window: raw.window, group: raw.group })
    }
}

/// Appends `layer` to the last range if it continues it.
fn push_layer(ranges: &mut Vec<(Range<usize>, LayerFormat)>, layer: usize, format: LayerFormat) {
    match ranges.last_mut() {
        Some((range, last)) if range.end == layer && *last == format => range.end += 1,
        _ => ranges.push((layer..layer + 1, format)),
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
    }
}
