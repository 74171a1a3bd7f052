//! What a training run is: its model, its batch, its length.

use crate::{Error, Result};
use std::time::Duration;

/// Bytes are the vocabulary.
pub const VOCABULARY: usize = 256;

/// A small GPT, and the micro-batches that it is fed with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// Tokens of a sequence.
    pub context: usize,
    /// Sequences of a micro-batch.
    pub sequences: usize,
    /// Adam's step size.
    pub learning_rate: f32,
}

impl Shape {
    /// For tests: a pass takes a few milliseconds.
    pub const NANO: Self =
        Self { layers: 4, hidden: 16, heads: 2, context: 16, sequences: 2, learning_rate: 1e-3 };
    /// An iteration of 8 micro-batches takes about a tenth of a second on one core.
    pub const TINY: Self =
        Self { layers: 4, hidden: 64, heads: 4, context: 64, sequences: 2, learning_rate: 1e-3 };
    /// About a second.
    pub const SMALL: Self =
        Self { layers: 6, hidden: 128, heads: 4, context: 128, sequences: 3, learning_rate: 1e-3 };
    /// The names that [`Shape::preset`] knows.
    pub const PRESETS: [&str; 3] = ["nano", "tiny", "small"];

    /// A shape by its name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "nano" => Some(Self::NANO),
            "tiny" => Some(Self::TINY),
            "small" => Some(Self::SMALL),
            _ => None,
        }
    }

    /// Values of an activation or of its gradient, at a boundary between stages.
    #[must_use]
    pub fn boundary(&self) -> usize {
        self.sequences * self.context * self.hidden
    }
}

/// A training run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The model.
    pub shape: Shape,
    /// Optimiser steps.
    pub iterations: u64,
    /// Of the initial weights and of the choice of samples.
    pub seed: u64,
    /// Pipeline stages.
    pub stages: u32,
    /// Micro-batches of an iteration, over all replicas.
    pub micro_batches: u32,
    /// Parts of a stage's gradient that are reduced on their own.
    pub segments: u32,
    /// Every so many iterations a worker's state goes into a peer's memory; 0 is never.
    pub memory_checkpoint_every: u64,
    /// Every so many iterations the state goes to disk; 0 is never.
    pub disk_checkpoint_every: u64,
    /// An iteration takes at least so long. For demonstrations: what is seen to happen has time to.
    pub pace: Duration,
}

/// Micro-batches of an iteration where nobody says otherwise.
pub const MICRO_BATCHES: u32 = 8;

/// More micro-batches than an iteration can have would only be a typing error.
const MOST_MICRO_BATCHES: u32 = 4096;

impl Settings {
    /// The defaults for a shape: one stage, 8 micro-batches.
    #[must_use]
    pub fn of(shape: Shape) -> Self {
        Self {
            shape,
            iterations: 20,
            seed: 1,
            stages: 1,
            micro_batches: MICRO_BATCHES,
            segments: 8,
            memory_checkpoint_every: 1,
            disk_checkpoint_every: 10,
            pace: Duration::ZERO,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Setting`] with the one that is outside.
    pub fn check(&self) -> Result<()> {
        let stages = 1..=self.shape.layers as u32;
        let ranges = [
            ("stages", self.stages, stages),
            ("micro-batches", self.micro_batches, 1..=MOST_MICRO_BATCHES),
            ("segments", self.segments, 1..=1024),
        ];
        for (setting, value, range) in ranges {
            if !range.contains(&value) {
                let problem = format!("{value} is not in {} to {}", range.start(), range.end());
                return Err(Error::Setting { setting: setting.to_owned(), problem });
            }
        }
        Ok(())
    }

    /// The part of a gradient of `len` values that a segment is.
    #[must_use]
    pub fn segment(&self, segment: u32, len: usize) -> std::ops::Range<usize> {
        let bound = |index: u32| len * index as usize / self.segments as usize;
        bound(segment)..bound(segment + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_the_whole() {
        let settings = Settings { segments: 5, ..Settings::of(Shape::NANO) };
        let mut end = 0;
        for segment in 0..5 {
            let range = settings.segment(segment, 13);
            assert_eq!(range.start, end);
            end = range.end;
        }
        assert_eq!(end, 13);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let settings = Settings { stages: 9, ..Settings::of(Shape::TINY) };
        assert_eq!(settings.check().unwrap_err().to_string(), "stages: 9 is not in 1 to 4");
    }
}
