//! Plans as people type them.
//!
//! ```text
//! f16             everything in half precision
//! kivi-2          KIVI: keys and values of every layer in 2 bits (1, 2, 4 or 8)
//! asymkv-16/0     AsymKV-16/0 of the paper: keys of the first 16 layers in 2 bits, all else in 1
//! asymkv-4/1-16/0 the same with 4 bits for the high width and 1 for the low one
//! q8_0/q4_0       keys / values in any two formats: f16, q8_0, q4_0, rtn8 to rtn1, int8 to int1
//! q8_0            both in that format
//! ```
//!
//! Options follow a colon: `kivi-2:window=512,group=64`. [`Plan`] prints the same notation, options
//! only where they differ from the paper's.
//!
//! | option | what |
//! |---|---|
//! | `window=128` | recent tokens in half precision |
//! | `group=32` | elements of a group |
//! | `sinks=4` | first tokens in half precision |
//! | `key-levels=centroid`, `value-levels=unbiased` | where levels lie: minmax, centroid, least-squares, unbiased |
//! | `rotate=values` | which sides are rotated: keys, values, both |
//! | `pre-rope` | keys are stored before rotary embedding, without their bias |
//! | `jensen` | logits are corrected for the noise of packed keys |

use super::format::SideFormat;
use super::plan::{LayerFormat, Plan, Rule, Sides};
use crate::quant::bits::BitWidth;
use crate::quant::levels::Levels;
use crate::{Error, Result};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

const WIDTHS: &str = "1, 2, 4 or 8 bits";

const WINDOW: &str = "window";
const GROUP: &str = "group";
const SINKS: &str = "sinks";
const KEY_LEVELS: &str = "key-levels";
const VALUE_LEVELS: &str = "value-levels";
const ROTATE: &str = "rotate";
const PRE_ROPE: &str = "pre-rope";
const JENSEN: &str = "jensen";

/// For messages.
const OPTIONS: &str = "window, group, sinks, key-levels, value-levels, rotate, pre-rope or jensen";
const ROTATED: &str = "keys, values or both";

impl FromStr for Plan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Plan> {
        let whole = Part { text, range: 0..text.len() };
        let (formats, options) = match whole.split_once(':') {
            Some((formats, options)) => (formats, Some(options)),
            None => (whole.clone(), None),
        };
        let mut plan = Plan::new(parse_rule(&formats)?);
        if let Some(options) = options {
            parse_options(&options, &mut plan)?;
        }
        Ok(plan)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            return f.write_str(name);
        }
        write!(f, "{}", self.rule)?;
        let number = |value: usize, usual: usize| (value != usual).then(|| value.to_string());
        let options = [
            (WINDOW, number(self.window, Plan::DEFAULT_WINDOW)),
            (GROUP, number(self.group, Plan::DEFAULT_GROUP)),
            (SINKS, number(self.sinks, 0)),
            (KEY_LEVELS, self.levels.keys.map(|levels| levels.to_string())),
            (VALUE_LEVELS, self.levels.values.map(|levels| levels.to_string())),
            (ROTATE, rotated_name(self.rotate).map(str::to_owned)),
        ];
        let mut separator = ':';
        for (name, value) in options {
            if let Some(value) = value {
                write!(f, "{separator}{name}={value}")?;
                separator = ',';
            }
        }
        for (name, is_on) in [(PRE_ROPE, self.pre_rope), (JENSEN, self.jensen)] {
            if is_on {
                write!(f, "{separator}{name}")?;
                separator = ',';
            }
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Uniform(LayerFormat { keys: SideFormat::F16, values: SideFormat::F16 }) => {
                f.write_str("f16")
            }
            Rule::Uniform(LayerFormat { keys: SideFormat::Rtn(k), values: SideFormat::Rtn(v) })
                if k == v =>
            {
                write!(f, "kivi-{k}")
            }
            Rule::Uniform(format) => write!(f, "{format}"),
            Rule::Prefix { high, low, key_layers, value_layers } => {
                f.write_str("asymkv-")?;
                if (*high, *low) != (BitWidth::Two, BitWidth::One) {
                    write!(f, "{high}/{low}-")?;
                }
                write!(f, "{key_layers}/{value_layers}")
            }
            // No notation of one line says as much; the file that holds it has a name.
            Rule::Layers { default, ranges } => {
                write!(f, "layers({default}")?;
                for (range, format) in ranges {
                    write!(f, " {}-{}={format}", range.start, range.end.saturating_sub(1))?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for LayerFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys == self.values {
            write!(f, "{}", self.keys)
        } else {
            write!(f, "{}/{}", self.keys, self.values)
        }
    }
}

/// A part of the text that remembers where it stands, so that an error can point at it.
#[derive(Debug, Clone)]
struct Part<'a> {
    text: &'a str,
    range: Range<usize>,
}

impl<'a> Part<'a> {
    fn str(&self) -> &'a str {
        &self.text[self.range.clone()]
    }

    fn split_once(&self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        let at = self.range.start + self.str().find(separator)?;
        let after = at + separator.len_utf8();
        Some((self.slice(self.range.start..at), self.slice(after..self.range.end)))
    }

    fn strip_prefix(&self, prefix: &str) -> Option<Part<'a>> {
        self.str()
            .starts_with(prefix)
            .then(|| self.slice(self.range.start + prefix.len()..self.range.end))
    }

    fn slice(&self, range: Range<usize>) -> Part<'a> {
        Part { text: self.text, range }
    }

    fn error(&self, expected: impl Into<String>) -> Error {
        Error::PlanSyntax {
            text: self.text.to_owned(),
            at: self.range.clone(),
            expected: expected.into(),
        }
    }
}

fn parse_rule(part: &Part<'_>) -> Result<Rule> {
    if let Some(bits) = part.strip_prefix("kivi-") {
        let format = SideFormat::Rtn(parse_width(&bits)?);
        return Ok(Rule::Uniform(LayerFormat::both(format)));
    }
    if let Some(rest) = part.strip_prefix("asymkv-") {
        return parse_asymkv(&rest);
    }
    let (keys, values) = part.split_once('/').unwrap_or((part.clone(), part.clone()));
    Ok(Rule::Uniform(LayerFormat { keys: parse_format(&keys)?, values: parse_format(&values)? }))
}

/// `16/0` or `4/1-16/0`.
fn parse_asymkv(part: &Part<'_>) -> Result<Rule> {
    let (widths, layers) = match part.split_once('-') {
        Some((widths, layers)) => (Some(widths), layers),
        None => (None, part.clone()),
    };
    let (high, low) = match widths {
        Some(widths) => {
            let (high, low) = split_pair(&widths, "two widths, such as 2/1")?;
            (parse_width(&high)?, parse_width(&low)?)
        }
        None => (BitWidth::Two, BitWidth::One),
    };
    let (key_layers, value_layers) =
        split_pair(&layers, "two numbers of layers, keys/values, such as 16/0")?;
    Ok(Rule::Prefix {
        high,
        low,
        key_layers: parse_number(&key_layers, "a number of layers")?,
        value_layers: parse_number(&value_layers, "a number of layers")?,
    })
}

fn parse_options(part: &Part<'_>, plan: &mut Plan) -> Result<()> {
    let mut rest = Some(part.clone());
    while let Some(options) = rest {
        let option = match options.split_once(',') {
            Some((option, others)) => {
                rest = Some(others);
                option
            }
            None => {
                rest = None;
                options
            }
        };
        match option.str() {
            PRE_ROPE => {
                plan.pre_rope = true;
                continue;
            }
            JENSEN => {
                plan.jensen = true;
                continue;
            }
            _ => {}
        }
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| option.error(format!("NAME=VALUE of {OPTIONS}")))?;
        match name.str() {
            WINDOW => plan.window = parse_number(&value, "a number of tokens")?,
            GROUP => plan.group = parse_number(&value, "a number of elements")?,
            SINKS => plan.sinks = parse_number(&value, "a number of tokens")?,
            KEY_LEVELS => plan.levels.keys = Some(parse_levels(&value)?),
            VALUE_LEVELS => plan.levels.values = Some(parse_levels(&value)?),
            ROTATE => {
                plan.rotate = parse_rotated(value.str()).ok_or_else(|| value.error(ROTATED))?
            }
            _ => return Err(name.error(OPTIONS)),
        }
    }
    Ok(())
}

fn parse_levels(part: &Part<'_>) -> Result<Levels> {
    part.str().parse().map_err(|()| part.error(Levels::NAMES))
}

const SIDES: [(&str, Sides<bool>); 3] = [
    ("keys", Sides { keys: true, values: false }),
    ("values", Sides { keys: false, values: true }),
    ("both", Sides { keys: true, values: true }),
];

/// `keys`, `values` or `both`.
pub(super) fn parse_rotated(text: &str) -> Option<Sides<bool>> {
    SIDES.into_iter().find(|(name, _)| *name == text).map(|(_, sides)| sides)
}

/// The name of the sides, if there are any.
pub(super) fn rotated_name(rotated: Sides<bool>) -> Option<&'static str> {
    SIDES.into_iter().find(|(_, sides)| *sides == rotated).map(|(name, _)| name)
}

fn split_pair<'a>(part: &Part<'a>, expected: &str) -> Result<(Part<'a>, Part<'a>)> {
    part.split_once('/').ok_or_else(|| part.error(expected))
}

fn parse_width(part: &Part<'_>) -> Result<BitWidth> {
    part.str().parse().ok().and_then(BitWidth::from_bits).ok_or_else(|| part.error(WIDTHS))
}

fn parse_format(part: &Part<'_>) -> Result<SideFormat> {
    part.str().parse().map_err(|_| {
        part.error(format!("kivi-BITS, asymkv-LK/LV, or one of {}", SideFormat::NAMES))
    })
}

fn parse_number(part: &Part<'_>, expected: &str) -> Result<usize> {
    // `usize::from_str` takes a plus sign, which no plan needs.
    let digits = part.str().bytes().all(|byte| byte.is_ascii_digit());
    part.str().parse().ok().filter(|_| digits).ok_or_else(|| part.error(expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Plan) {
        let plan: Plan = text.parse().unwrap();
        assert_eq!(plan, expected, "{text}");
        assert_eq!(plan.to_string(), text, "printed");
    }

    #[test]
    fn every_form_of_the_notation() {
        let rtn = |bits| SideFormat::Rtn(BitWidth::from_bits(bits).unwrap());
        check("f16", Plan::f16());
        check("kivi-2", Plan::uniform(rtn(2), rtn(2)));
        check("kivi-4", Plan::uniform(rtn(4), rtn(4)));
        check("asymkv-16/0", Plan::asymkv(16, 0));
        check("q8_0/q4_0", Plan::uniform(SideFormat::Q8_0, SideFormat::Q4_0));
        check("q8_0", Plan::uniform(SideFormat::Q8_0, SideFormat::Q8_0));
        check("rtn1/f16", Plan::uniform(rtn(1), SideFormat::F16));
        check("kivi-2:window=512", Plan::uniform(rtn(2), rtn(2)).with_window(512));
        let mut fine = Plan::uniform(SideFormat::Int(2), SideFormat::Int(1)).with_window(64);
        fine.sinks = 4;
        fine.levels = Sides { keys: Some(Levels::Centroid), values: Some(Levels::Unbiased) };
        fine.rotate.values = true;
        let options = "window=64,sinks=4,key-levels=centroid,value-levels=unbiased,rotate=values";
        check(&format!("int2/int1:{options}"), fine);
        let mut wide = Plan::asymkv(16, 0);
        wide.rule = Rule::Prefix {
            high: BitWidth::Four,
            low: BitWidth::One,
            key_layers: 16,
            value_layers: 0,
        };
        wide.window = 0;
        wide.group = 64;
        check("asymkv-4/1-16/0:window=0,group=64", wide);
    }

    #[test]
    fn long_and_short_form_are_one_plan() {
        let short: Plan = "asymkv-16/0".parse().unwrap();
        assert_eq!("asymkv-2/1-16/0".parse::<Plan>().unwrap(), short);
        assert_eq!("rtn2/rtn2".parse::<Plan>().unwrap().to_string(), "kivi-2");
    }

    /// The text and, under it, marks below the bad part.
    fn check_error(text: &str, marks: &str, expected: &str) {
        let message = text.parse::<Plan>().unwrap_err().to_string();
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines[1], format!("  {text}"), "{message}");
        assert_eq!(lines[2], format!("  {marks} expected {expected}"), "{message}");
    }

    #[test]
    fn errors_point_at_the_bad_part() {
        check_error("kivi-3", "     ^", WIDTHS);
        check_error("asymkv-4/x-16/0", "         ^", WIDTHS);
        check_error("asymkv-16", "       ^^", "two numbers of layers, keys/values, such as 16/0");
        check_error("asymkv-16/z", "          ^", "a number of layers");
        check_error("asymkv-+1/0", "       ^^", "a number of layers");
        check_error("kivi-2:window=no", "              ^^", "a number of tokens");
        check_error("kivi-2:windo=1", "       ^^^^^", OPTIONS);
        check_error("kivi-2:window", "       ^^^^^^", &format!("NAME=VALUE of {OPTIONS}"));
        check_error("kivi-2:key-levels=max", "                  ^^^", Levels::NAMES);
        check_error("kivi-2:rotate=all", "              ^^^", ROTATED);
        let formats = format!("kivi-BITS, asymkv-LK/LV, or one of {}", SideFormat::NAMES);
        check_error("q8_0/q5_0", "     ^^^^", &formats);
        check_error("", "^", &formats);
        check_error("f16/", "    ^", &formats);
    }

    proptest! {
        /// What is printed is parsed back, and no text makes the parser panic.
        #[test]
        fn printed_plans_parse(
            high in 0usize..4, low in 0usize..4, k in 0usize..99, v in 0usize..99,
            window in 0usize..1000, group in 1usize..300, sinks in 0usize..9, levels in 0usize..4,
        ) {
            let rule = Rule::Prefix {
                high: BitWidth::ALL[high], low: BitWidth::ALL[low],
                key_layers: k, value_layers: v,
            };
            let mut plan = Plan { window, group, sinks, ..Plan::new(rule) };
            plan.levels.values = Some(Levels::ALL[levels]);
            plan.rotate.keys = levels == 0;
            plan.pre_rope = levels == 1;
            plan.jensen = sinks == 2;
            prop_assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,40}") {
            if let Err(error) = text.parse::<Plan>() {
                prop_assert!(error.to_string().contains("expected"));
            }
        }

        #[test]
        fn near_misses_are_answered(text in "(kivi-|asymkv-|q8_0|rtn)[0-9/:=a-z,é-]{0,20}") {
            let _ = text.parse::<Plan>();
        }
    }
}
