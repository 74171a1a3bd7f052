//! When training stops, on which nodes, and how the result is measured (section 1.7 of the notes).

use crate::graph::{Graph, Split};
use crate::{Error, Result, data};
use serde::{Deserialize, Serialize};

/// The rules of a training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Epochs at most.
    pub max_epochs: usize,
    /// Epochs without a validation result at least as good as the best, after which it stops.
    pub patience: usize,
    /// How an epoch is evaluated.
    pub evaluation: Evaluation,
    /// Which nodes train, select and test.
    pub splits: SplitScheme,
}

/// How an epoch is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluation {
    /// Without any dropout.
    #[default]
    Clean,
    /// As the official code does: its hidden layer goes on dropping, for the call lacks `training=`.
    Official,
}

/// Which nodes train, select and test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitScheme {
    /// GPRGNN's random 60/20/20, balanced over the classes; one a seed.
    #[default]
    ClassBalanced,
    /// The splits that come with the graph, by turns.
    Fixed,
    /// The public split, the same for every seed.
    Public,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            max_epochs: 1000,
            patience: 200,
            evaluation: Evaluation::Clean,
            splits: SplitScheme::ClassBalanced,
        }
    }
}

impl SplitScheme {
    /// The split of a seed.
    ///
    /// # Errors
    /// If the graph has no such split.
    pub fn split(self, graph: &Graph, seed: u64) -> Result<Split> {
        let missing =
            |what: &str| Error::Split { problem: format!("{} comes without {what}", graph.name()) };
        match self {
            Self::ClassBalanced => data::class_balanced(graph.labels(), seed),
            Self::Fixed => match graph.fixed_splits() {
                [] => Err(missing("fixed splits")),
                splits => Ok(splits[seed as usize % splits.len()].clone()),
            },
            Self::Public => graph.public_split().cloned().ok_or_else(|| missing("a public split")),
        }
    }
}

/// The best epoch so far; of equals the latest, as in the official code.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct EarlyStopping {
    pub best_epoch: usize,
    pub validation: f64,
    pub test: f64,
    pub epochs_since: usize,
}

/// What an epoch's validation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Best,
    Wait,
    Stop,
}

impl EarlyStopping {
    pub fn new() -> Self {
        Self { best_epoch: 0, validation: f64::NEG_INFINITY, test: 0.0, epochs_since: 0 }
    }

    pub fn observe(
        &mut self,
        epoch: usize,
        validation: f64,
        test: f64,
        patience: usize,
    ) -> Verdict {
        if validation >= self.validation {
            *self = Self { best_epoch: epoch, validation, test, epochs_since: 0 };
            return Verdict::Best;
        }
        self.epochs_since += 1;
        if self.epochs_since > patience { Verdict::Stop } else { Verdict::Wait }
    }
}

#[cfg(test)]
mod early_stopping {
    use super::*;

    #[test]
    fn the_latest_of_equals_is_the_best_and_patience_is_exceeded() {
        let mut stopping = EarlyStopping::new();
        assert_eq!(stopping.observe(0, 0.5, 0.1, 2), Verdict::Best);
        assert_eq!(stopping.observe(1, 0.5, 0.2, 2), Verdict::Best);
        assert_eq!(stopping.observe(2, 0.4, 0.9, 2), Verdict::Wait);
        assert_eq!(stopping.observe(3, 0.4, 0.9, 2), Verdict::Wait);
        assert_eq!(stopping.observe(4, 0.4, 0.9, 2), Verdict::Stop);
        assert_eq!((stopping.best_epoch, stopping.test), (1, 0.2));
    }
}
