//! Recipes of made up traces, spelled as `name:option=value,option=value`.
//!
//! The spelling names the trace: whoever finds it in a file can make the trace again.

use super::{DAY_S, Extent};
use crate::{Error, Result};
use std::fmt::{Display, Formatter};
use std::iter::repeat;
use std::str::FromStr;

/// What is made by name and options.
pub(super) trait Recipe {
    /// What comes before the colon.
    fn name(&self) -> &'static str;

    /// Every option and its value, which can be read and set.
    fn options(&mut self) -> Vec<(&'static str, &mut dyn Setting)>;

    /// Sets an option by a name and a value that a user wrote.
    fn take(&mut self, option: &str, value: &str) -> Result<()> {
        let mut options = self.options();
        let found = options.iter_mut().find(|(name, _)| *name == option);
        let problem = match found.map(|(_, setting)| setting.set(value)) {
            Some(true) => return Ok(()),
            Some(false) => format!("{option}: {value:?} is no number for it"),
            None => {
                let names: Vec<&str> = options.into_iter().map(|(name, _)| name).collect();
                format!("no option {option:?}; there are {}", names.join(", "))
            }
        };
        Err(Error::Setting { setting: self.name().to_owned(), problem })
    }

    /// Takes what follows the name in a spelling: nothing, or options behind a colon.
    fn configure(&mut self, rest: &str) -> Result<()> {
        if rest.is_empty() {
            return Ok(());
        }
        let example = self.options().pop();
        let example = example.map_or(String::new(), |(name, value)| format!("{name}={value}"));
        let wrong = |problem| Error::Setting { setting: self.name().to_owned(), problem };
        let options = rest
            .strip_prefix(':')
            .ok_or_else(|| wrong(format!("{rest:?}: options follow a colon, as :{example}")))?;
        let pairs: Result<Vec<(&str, &str)>> = options
            .split(',')
            .map(|option| {
                let pair = option.split_once('=');
                pair.ok_or_else(|| wrong(format!("{option:?} isn't OPTION=VALUE, as {example}")))
            })
            .collect();
        pairs?.into_iter().try_for_each(|(option, value)| self.take(option, value))
    }
}

/// The value of an option, whatever its type.
pub(super) trait Setting: Display {
    /// Sets it; whether `value` can be one for it.
    fn set(&mut self, value: &str) -> bool;
}

impl<T: Display + FromStr> Setting for T {
    fn set(&mut self, value: &str) -> bool {
        value.parse().map(|value| *self = value).is_ok()
    }
}

/// A setting outside its range.
pub(super) fn out_of_range(
    recipe: &impl Recipe,
    option: &str,
    value: impl Display,
    range: &str,
) -> Error {
    let setting = format!("{}: {option}", recipe.name());
    Error::Setting { setting, problem: format!("{value} isn't {range}") }
}

/// The extent of a recipe's trace.
pub(super) fn extent(
    recipe: &impl Recipe,
    nodes: usize,
    gpus_per_node: usize,
    days: f64,
) -> Result<Extent> {
    let extent = Extent { nodes, gpus_per_node, duration_s: days * DAY_S };
    let wrong = |problem| Error::Setting { setting: recipe.name().to_owned(), problem };
    extent.check().map(|()| extent).map_err(wrong)
}

/// The spelling of a recipe, without the options that are as in `default`.
pub(super) fn spell<R: Recipe + Clone>(
    recipe: &R,
    default: &R,
    f: &mut Formatter<'_>,
) -> std::fmt::Result {
    f.write_str(recipe.name())?;
    let spelled = |recipe: &R| -> Vec<String> {
        let mut recipe = recipe.clone();
        recipe.options().iter().map(|(option, value)| format!("{option}={value}")).collect()
    };
    let told = spelled(recipe).into_iter().zip(spelled(default));
    let told = told.filter(|(own, default)| own != default);
    for ((option, _), separator) in told.zip([':'].into_iter().chain(repeat(','))) {
        write!(f, "{separator}{option}")?;
    }
    Ok(())
}
