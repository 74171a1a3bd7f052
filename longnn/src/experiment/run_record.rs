//! A training as a file: what was trained, how, what came out, and the learned filters over the
//! graph's spectrum.

use super::Summary;
use crate::model::{Architecture, Problem, Settings};
use crate::train::{Outcome, Protocol};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// A training with its settings and results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The graph's name.
    pub graph: String,
    /// What is measured, 0 to 1 in outcomes.
    pub metric: String,
    /// The model.
    pub model: Architecture,
    /// Its settings.
    pub settings: Settings,
    /// When it stopped and how it was evaluated.
    pub protocol: Protocol,
    /// The classes' names, in the order of the filters' channels.
    pub classes: Vec<String>,
    /// One a seed.
    pub outcomes: Vec<Outcome>,
}

impl RunRecord {
    /// Of a training's outcomes.
    ///
    /// # Errors
    /// If there are none.
    pub fn new(
        problem: &Problem,
        model: Architecture,
        settings: Settings,
        protocol: Protocol,
        outcomes: Vec<Outcome>,
    ) -> Result<Self> {
        if outcomes.is_empty() {
            let problem = "at least one is needed".to_owned();
            return Err(Error::Setting { setting: "seeds".into(), problem });
        }
        let labels = problem.graph().labels();
        Ok(Self {
            graph: problem.graph().name().to_owned(),
            metric: problem.graph().metric().name().to_owned(),
            model,
            settings,
            protocol,
            classes: (0..labels.n_classes()).map(|class| labels.name_of(class)).collect(),
            outcomes,
        })
    }

    /// Mean and spread over the seeds.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(&self.outcomes)
    }

    /// Writes the record.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("records are plain data");
        fs::write(path, text).map_err(|source| Error::Io { path: path.into(), source })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If it can't be read or isn't one.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
        serde_json::from_str(&text).map_err(|error| Error::File {
            path: path.into(),
            part: "run".into(),
            problem: error.to_string(),
        })
    }
}
