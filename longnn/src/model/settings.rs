//! The settings of one model on one data set, as its TOML file gives them.
//!
//! One file a data set, one table a model (`configs/cora.toml`, `[lon]`); what a table leaves out
//! takes the default below. An unknown name is an error, so that a typing error can't pass for a
//! default.
//!
//! ```toml
#![doc = include_str!("../../examples/settings.toml")]
//! ```

use super::Architecture;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Learning rate and weight decay of a group of parameters (Adam with coupled L2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSettings {
    /// Learning rate.
    pub learning_rate: f64,
    /// Weight decay.
    #[serde(default)]
    pub weight_decay: f64,
}

/// How a, b of a learnable Jacobi basis are kept above -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reparametrization {
    /// As they are; the basis is evaluated no closer than 1e-3 to the pole.
    #[default]
    Free,
    /// Clamped to the official image code's [-1 + 1e-5, 10].
    Clamp,
    /// `-1 + softplus`.
    Softplus,
}

/// All that a model needs to know beside the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Degree K of the filter.
    pub degree: usize,
    /// Dropout of the features.
    pub feature_dropout: f64,
    /// Dropout of the hidden layer.
    pub hidden_dropout: f64,
    /// Dropout before propagation.
    pub propagation_dropout: f64,
    /// Scale of PCD's tanh (LON-GNN, JacobiConv), or the teleport probability (APPNP, GPRGNN).
    pub alpha: f64,
    /// First exponent of the Jacobi weight `(1-x)^a (1+x)^b`, or where it starts if it is learned.
    pub a: f64,
    /// Second exponent, likewise.
    pub b: f64,
    /// How a and b are kept in their range where they are learned.
    pub reparametrization: Reparametrization,
    /// Strength λ of the penalty on the squared filter norm, λ Σ θ² (the paper's theorem).
    pub filter_norm: f64,
    /// The encoder's weights, and all that has no group of its own.
    pub encoder: GroupSettings,
    /// The filter's coefficients: η of PCD, γ of GPRGNN, θ of BernNet, ChebNetII's values.
    pub coefficients: GroupSettings,
    /// The coefficients for each channel, m of LON-GNN and JacobiConv.
    pub mixing: GroupSettings,
    /// a and b of a learnable basis; the recurrence of FavardGNN.
    pub basis: GroupSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let group = GroupSettings { learning_rate: 0.01, weight_decay: 5e-4 };
        let without_decay = GroupSettings { weight_decay: 0.0, ..group };
        Self {
            hidden: 64,
            degree: 10,
            feature_dropout: 0.5,
            hidden_dropout: 0.5,
            propagation_dropout: 0.0,
            alpha: 1.0,
            a: 1.0,
            b: 1.0,
            reparametrization: Reparametrization::Free,
            filter_norm: 0.0,
            encoder: group,
            coefficients: without_decay,
            mixing: without_decay,
            basis: without_decay,
        }
    }
}

impl Settings {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the first that is outside.
    pub fn check(&self) -> Result<()> {
        let probabilities = [
            ("feature_dropout", self.feature_dropout),
            ("hidden_dropout", self.hidden_dropout),
            ("propagation_dropout", self.propagation_dropout),
        ];
        for (name, p) in probabilities {
            require(name, p, (0.0..1.0).contains(&p), "at least 0 and below 1")?;
        }
        require(
            "alpha",
            self.alpha,
            self.alpha > 0.0 && self.alpha <= 10.0,
            "above 0, at most 10",
        )?;
        for (name, exponent) in [("a", self.a), ("b", self.b)] {
            require(name, exponent, (-1.0..=10.0).contains(&exponent), "in [-1, 10]")?;
        }
        require("hidden", self.hidden, (1..=4096).contains(&self.hidden), "1 to 4096")?;
        require("degree", self.degree, (1..=64).contains(&self.degree), "1 to 64")?;
        require("filter_norm", self.filter_norm, self.filter_norm >= 0.0, "at least 0")?;
        let groups = [
            ("encoder", self.encoder),
            ("coefficients", self.coefficients),
            ("mixing", self.mixing),
            ("basis", self.basis),
        ];
        for (name, group) in groups {
            let (rate, decay) = (group.learning_rate, group.weight_decay);
            let sound = |x: f64| x.is_finite() && x >= 0.0;
            require(&format!("{name}.learning_rate"), rate, sound(rate), "at least 0")?;
            require(&format!("{name}.weight_decay"), decay, sound(decay), "at least 0")?;
        }
        Ok(())
    }
}

fn require(setting: &str, value: impl std::fmt::Display, holds: bool, range: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Setting { setting: setting.into(), problem: format!("{value} is not {range}") })
}

/// The settings of all models on one data set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SettingsFile {
    models: BTreeMap<String, Settings>,
}

impl SettingsFile {
    /// The settings that come with the crate for a data set; defaults only for one it doesn't know.
    #[must_use]
    pub fn builtin(dataset: &str) -> Self {
        let text = match dataset {
            "cora" => include_str!("../../configs/cora.toml"),
            "citeseer" => include_str!("../../configs/citeseer.toml"),
            "pubmed" => include_str!("../../configs/pubmed.toml"),
            "computers" => include_str!("../../configs/computers.toml"),
            "photo" => include_str!("../../configs/photo.toml"),
            "chameleon" | "chameleon_filtered" => include_str!("../../configs/chameleon.toml"),
            "squirrel" => include_str!("../../configs/squirrel.toml"),
            "actor" => include_str!("../../configs/actor.toml"),
            "texas" => include_str!("../../configs/texas.toml"),
            "cornell" => include_str!("../../configs/cornell.toml"),
            _ => "",
        };
        Self::parse(text, Path::new("built-in settings"))
            .expect("a test parses every file that comes with the crate")
    }

    /// Reads a settings file.
    ///
    /// # Errors
    /// If it can't be read, isn't TOML, has a table that is no model, a name that is no setting, or
    /// a value outside its range; the message has the line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Self::parse(&text, path)
    }

    /// Parses a settings file's text; the path is for errors.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self> {
        let bad = |part: &str, problem: String| Error::File {
            path: PathBuf::from(path),
            part: part.into(),
            problem,
        };
        let models: BTreeMap<String, Settings> =
            toml::from_str(text).map_err(|error| bad("settings", error.to_string()))?;
        for (name, settings) in &models {
            name.parse::<Architecture>()
                .and_then(|_| settings.check())
                .map_err(|error| bad(&format!("[{name}]"), error.to_string()))?;
        }
        Ok(Self { models })
    }

    /// The settings of a model; its defaults where the file has none.
    #[must_use]
    pub fn of(&self, architecture: Architecture) -> Settings {
        self.models.get(architecture.settings_name()).cloned().unwrap_or_default()
    }

    /// Whether the file says anything of a model.
    #[must_use]
    pub fn has(&self, architecture: Architecture) -> bool {
        self.models.contains_key(architecture.settings_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// And says what is so without it.
    #[test]
    fn the_example_says_every_key() {
        let text = include_str!("../../examples/settings.toml");
        let file = SettingsFile::parse(text, Path::new("settings.toml")).unwrap();
        assert_eq!(file.of(Architecture::Lon), Settings::default());
        let all = toml::Table::try_from(Settings::default()).unwrap();
        for key in all.keys() {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
        }
    }

    #[test]
    fn every_file_that_comes_with_the_crate_parses() {
        let datasets = [
            "cora",
            "citeseer",
            "pubmed",
            "computers",
            "photo",
            "chameleon",
            "squirrel",
            "actor",
            "texas",
            "cornell",
        ];
        for dataset in datasets {
            let file = SettingsFile::builtin(dataset);
            assert!(file.has(Architecture::Lon) && file.has(Architecture::Jacobi), "{dataset}");
        }
        assert!(!SettingsFile::builtin("my-own-graph").has(Architecture::Lon));
    }

    #[test]
    fn bad_files_are_answered() {
        let error =
            |text: &str| SettingsFile::parse(text, Path::new("s.toml")).unwrap_err().to_string();
        assert!(error("[long]").contains("[long]"));
        assert!(error("[lon]\nalhpa = 1").contains("alhpa"));
        assert!(error("[lon]\nhidden_dropout = 1.0").contains("hidden_dropout"));
        assert!(error("[lon]\na = -2").contains("a: -2"));
        assert!(error("[lon]\nencoder = { learning_rate = -1 }").contains("encoder.learning_rate"));
        assert!(error("[lon").contains("s.toml"));
    }
}
