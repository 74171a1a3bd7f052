//! Where the time of workers goes. The simulator and the live coordinator count by the same five bins.

use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::ops::AddAssign;

/// Seconds of workers (a worker is a GPU, in the live system a slot of a node) by what they were spent on.
/// Together they are all the time that there was.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bins {
    /// Training that counts.
    pub useful: f64,
    /// A failure has happened and nobody knows.
    pub detecting: f64,
    /// It is known, and processes, groups and state are put right.
    pub in_transition: f64,
    /// Training that had been done before and was lost.
    pub redone: f64,
    /// No work: workers that are away, that no task has, that a task can't use, or whose task waits.
    pub idle: f64,
}

impl Bins {
    /// All seconds.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.useful + self.detecting + self.in_transition + self.redone + self.idle
    }

    /// Names and seconds, in the order of the fields.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 5] {
        [
            ("useful", self.useful),
            ("detecting", self.detecting),
            ("in_transition", self.in_transition),
            ("redone", self.redone),
            ("idle", self.idle),
        ]
    }
}

impl AddAssign for Bins {
    fn add_assign(&mut self, other: Self) {
        self.useful += other.useful;
        self.detecting += other.detecting;
        self.in_transition += other.in_transition;
        self.redone += other.redone;
        self.idle += other.idle;
    }
}

impl Sum for Bins {
    fn sum<I: Iterator<Item = Self>>(bins: I) -> Self {
        bins.fold(Self::default(), |mut sum, bins| {
            sum += bins;
            sum
        })
    }
}
