//! Where a trace comes from: a name, a recipe or a file.

use super::recipe::Recipe;
use super::{InfiniteHbd, Llama3, Preset, PresetKind, Synthetic, Trace, read};
use crate::{Error, Result};
use common::assets::{self, Store};
use common::progress::Progress;
use std::fmt::{Display, Formatter};
use std::path::PathBuf;

/// The registered file of the recorded trace.
const INFINITEHBD_ASSET: &str = "infinitehbd-fault-trace";

/// A trace that a user asks for, not yet made or read. Printed and parsed alike.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// `a` or `b`, the paper's traces.
    Preset(Preset),
    /// `llama3`, the interruptions of that run at some scale.
    Llama3(Llama3),
    /// `synthetic`, by published rates.
    Synthetic(Synthetic),
    /// `infinitehbd`, the recorded trace.
    InfiniteHbd(InfiniteHbd),
    /// A file that [`read`] reads.
    Path(PathBuf),
}

impl Source {
    /// The names that [`Source::parse`] knows.
    pub const NAMES: [&'static str; 5] = ["a", "b", "llama3", "synthetic", "infinitehbd"];

    /// What `spec` means: a name, `name:option=value,…`, or the path of a file. A name wins over a
    /// file of that name; a file's path has a dot or a slash.
    ///
    /// # Errors
    /// If it is neither a name nor a path, or an option is wrong.
    pub fn parse(spec: &str) -> Result<Self> {
        let (name, rest) = spec.split_at(spec.find(':').unwrap_or(spec.len()));
        match Self::named(name) {
            Some(mut source) => {
                source.recipe().map_or(Ok(()), |recipe| recipe.configure(rest))?;
                Ok(source)
            }
            None if spec.contains(['.', '/', '\\']) => Ok(Self::Path(PathBuf::from(spec))),
            None => {
                let names = Self::NAMES.join(", ");
                let problem = format!("{spec:?} is no name ({names}), nor a path as ./FILE");
                Err(Error::Setting { setting: "trace".to_owned(), problem })
            }
        }
    }

    /// The source of a name, with its defaults.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "a" => Self::Preset(Preset { kind: PresetKind::A, seed: 0 }),
            "b" => Self::Preset(Preset { kind: PresetKind::B, seed: 0 }),
            "llama3" => Self::Llama3(Llama3::default()),
            "synthetic" => Self::Synthetic(Synthetic::default()),
            "infinitehbd" => Self::InfiniteHbd(InfiniteHbd::default()),
            _ => return None,
        })
    }

    /// Sets an option by a name and a value that a user wrote, such as `seed` and `3`.
    ///
    /// # Errors
    /// If the source has no such option, or the value is none for it.
    pub fn set(&mut self, option: &str, value: &str) -> Result<()> {
        if let Self::Path(path) = self {
            let setting = path.display().to_string();
            let problem = format!("is read, not made up: it has no option {option:?}");
            return Err(Error::Setting { setting, problem });
        }
        self.recipe().map_or(Ok(()), |recipe| recipe.take(option, value))
    }

    /// Makes or reads the trace. Only the recorded one is looked for in the store.
    ///
    /// # Errors
    /// If an option is outside its range, or a file can't be had or is no trace.
    pub fn open(&self, store: &Store, progress: &Progress) -> Result<Trace> {
        match self {
            Self::Preset(preset) => preset.generate(),
            Self::Llama3(llama3) => llama3.generate(),
            Self::Synthetic(synthetic) => synthetic.generate(),
            Self::InfiniteHbd(recipe) => {
                let asset = assets::find(INFINITEHBD_ASSET).expect("a test holds it registered");
                recipe.read(&store.obtain(asset, progress)?)
            }
            Self::Path(path) => read(path),
        }
    }

    fn recipe(&mut self) -> Option<&mut dyn Recipe> {
        match self {
            Self::Preset(recipe) => Some(recipe),
            Self::Llama3(recipe) => Some(recipe),
            Self::Synthetic(recipe) => Some(recipe),
            Self::InfiniteHbd(recipe) => Some(recipe),
            Self::Path(_) => None,
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Preset(recipe) => recipe.fmt(f),
            Self::Llama3(recipe) => recipe.fmt(f),
            Self::Synthetic(recipe) => recipe.fmt(f),
            Self::InfiniteHbd(recipe) => recipe.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses() {
        for spec in [
            "a",
            "b:seed=3",
            "llama3:nodes=128,days=30",
            "synthetic:nodes=64,burstiness=1,seed=18446744073709551615",
            "infinitehbd:process-failures=3",
            "traces/mine.csv",
        ] {
            assert_eq!(Source::parse(spec).unwrap().to_string(), spec);
        }
        assert_eq!(Source::parse("a:seed=0").unwrap().to_string(), "a");
        assert!(Source::NAMES.iter().all(|name| Source::named(name).is_some()));
    }

    #[test]
    fn what_is_no_source_is_told() {
        for (spec, expected) in [
            ("c", "trace: \"c\" is no name (a, b, llama3, synthetic, infinitehbd), nor a path"),
            ("a:days=3", "a: no option \"days\"; there are seed"),
            ("a:seed=-1", "a: seed: \"-1\" is no number for it"),
            ("llama3:nodes", "llama3: \"nodes\" isn't OPTION=VALUE"),
        ] {
            let told = Source::parse(spec).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
        let told = Source::parse("./a").unwrap().set("seed", "1").unwrap_err().to_string();
        assert_eq!(told, "./a: is read, not made up: it has no option \"seed\"");
    }

    #[test]
    fn the_recorded_trace_is_registered() {
        let asset = assets::find(INFINITEHBD_ASSET).unwrap();
        assert_eq!(asset.kind, assets::Kind::Trace);
    }
}
