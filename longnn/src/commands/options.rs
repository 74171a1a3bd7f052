//! What the commands that train have in common.

use super::source::Source;
use crate::model::{Architecture, Settings, SettingsFile};
use crate::train::{Evaluation, Observer, Protocol, SplitScheme, Status};
use clap::{Args, ValueEnum};
use common::progress::{Bar, Progress, Unit};
use std::path::PathBuf;

/// How to train.
#[derive(Debug, Clone, Args)]
pub struct TrainingOptions {
    /// Settings of each model as TOML, or a folder with GRAPH.toml for known graphs; the crate's own
    /// for those it has none of
    #[arg(long, value_name = "PATH")]
    settings: Option<PathBuf>,
    /// Follow the official code where it differs: its hidden layer drops out in evaluation, too
    #[arg(long, value_name = "WHOM")]
    compat: Option<Compat>,
    /// Epochs at most
    #[arg(long, default_value_t = Protocol::default().max_epochs)]
    epochs: usize,
    /// Epochs without a better or equal validation result, after which training stops
    #[arg(long, value_name = "EPOCHS", default_value_t = Protocol::default().patience)]
    patience: usize,
    /// Which nodes train, select and test
    #[arg(long, value_enum, default_value_t = Splits::Balanced)]
    splits: Splits,
}

/// Whose behaviour to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compat {
    /// The official LON-GNN code.
    Official,
}

/// Which nodes train, select and test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Splits {
    /// 60/20/20 at random, training balanced over the classes
    Balanced,
    /// The graph's own splits, by turns
    Fixed,
    /// The graph's public split for all seeds
    Public,
}

impl TrainingOptions {
    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        Protocol {
            max_epochs: self.epochs,
            patience: self.patience,
            evaluation: match self.compat {
                Some(Compat::Official) => Evaluation::Official,
                None => Evaluation::Clean,
            },
            splits: match self.splits {
                Splits::Balanced => SplitScheme::ClassBalanced,
                Splits::Fixed => SplitScheme::Fixed,
                Splits::Public => SplitScheme::Public,
            },
        }
    }

    /// The settings of a model on a graph.
    ///
    /// # Errors
    /// If the settings file can't be read.
    pub fn settings(&self, source: &Source, model: Architecture) -> crate::Result<Settings> {
        let name = match source {
            Source::Known(set) => Some(set.name),
            _ => None,
        };
        let own = match &self.settings {
            Some(folder) if folder.is_dir() => {
                let file = name.map(|name| folder.join(format!("{name}.toml")));
                file.filter(|file| file.exists())
            }
            file => file.clone(),
        };
        if let Some(own) = own {
            let own = SettingsFile::read(&own)?;
            if own.has(model) {
                return Ok(own.of(model));
            }
        }
        Ok(SettingsFile::builtin(name.unwrap_or_default()).of(model))
    }
}

/// A bar that shows epoch, loss and validation.
pub struct TrainingBar(Bar);

/// A bar for one training.
pub fn bar_of(progress: &Progress, label: &str, protocol: &Protocol) -> TrainingBar {
    TrainingBar(progress.bar(label, Some(protocol.max_epochs as u64), Unit::Items("epochs")))
}

impl TrainingBar {
    /// Takes the bar away.
    pub fn finish(self) {
        self.0.finish();
    }
}

impl Observer for TrainingBar {
    fn epoch(&mut self, status: &Status) {
        self.0.set_position(status.epochs as u64);
        let Status { n_active, n_runs, loss, validation, .. } = status;
        self.0.message(format!(
            "{n_active}/{n_runs} seeds, loss {loss:.3}, validation {:.2} %",
            100.0 * validation
        ));
    }
}
