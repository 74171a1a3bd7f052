//! Plans as people type them.
//!
//! ```text
//! f16             everything in half precision
//! kivi-2          KIVI: keys and values of every layer in 2 bits (1, 2, 4 or 8)
//! asymkv-16/0     AsymKV-16/0 of the paper: keys of the first 16 layers in 2 bits, all else in 1
//! asymkv-4/1-16/0 the same with 4 bits for the high width and 1 for the low one
//! q8_0/q4_0       keys / values in any two formats: f16, q8_0, q4_0, rtn8, rtn4, rtn2, rtn1
//! q8_0            both in that format
//! ```
//!
//! Options follow a colon: `kivi-2:window=512,group=64`. [`Plan`] prints the same notation, options
//! only where they differ from the paper's.

use super::format::SideFormat;
use super::plan::{LayerFormat, Plan, Rule};
use crate::quant::bits::BitWidth;
use crate::{Error, Result};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

const WIDTHS: &str = "1, 2, 4 or 8 bits";

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
        write!(f, "{}", self.rule)?;
        let mut separator = ':';
        for (name, value, default) in [
            ("window", self.window, Plan::DEFAULT_WINDOW),
            ("group", self.group, Plan::DEFAULT_GROUP),
        ] {
            if value != default {
                write!(f, "{separator}{name}={value}")?;
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
        return Ok(Rule::Uniform(LayerFormat { keys: format, values: format }));
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
        let (name, value) =
            option.split_once('=').ok_or_else(|| option.error("window=TOKENS or group=TOKENS"))?;
        match name.str() {
            "window" => plan.window = parse_number(&value, "a number of tokens")?,
            "group" => plan.group = parse_number(&value, "a number of elements")?,
            _ => return Err(name.error("window or group")),
        }
    }
    Ok(())
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
        check_error("kivi-2:windo=1", "       ^^^^^", "window or group");
        check_error("kivi-2:window", "       ^^^^^^", "window=TOKENS or group=TOKENS");
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
            window in 0usize..1000, group in 1usize..300,
        ) {
            let plan = Plan {
                rule: Rule::Prefix {
                    high: BitWidth::ALL[high], low: BitWidth::ALL[low],
                    key_layers: k, value_layers: v,
                },
                window,
                group,
            };
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
