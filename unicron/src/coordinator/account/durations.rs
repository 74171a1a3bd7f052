//! How often something took how long.

use serde::{Deserialize, Serialize};

/// Upper ends of classes in seconds: from an exception's notice, a third of a second, to the patience
/// with a restart. What takes longer is in the last class.
pub const BOUNDS_S: [f64; 12] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 300.0, 1e3];

/// A histogram.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Durations {
    /// By class: those of [`BOUNDS_S`], and what is beyond.
    counts: [u64; BOUNDS_S.len() + 1],
    total_s: f64,
}

impl Durations {
    /// Once more.
    pub fn note(&mut self, seconds: f64) {
        let seconds = seconds.max(0.0);
        let class = BOUNDS_S.partition_point(|bound_s| *bound_s < seconds);
        self.counts[class] += 1;
        self.total_s += seconds;
    }

    /// How often.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All seconds.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        self.total_s
    }

    /// (Upper end in seconds, how often it took that or less but more than the end before).
    pub fn classes(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS_S.into_iter().chain([f64::INFINITY]).zip(self.counts)
    }

    /// Those of both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.total_s += other.total_s;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_belongs_to_its_class() {
        let mut durations = Durations::default();
        for seconds in [0.1, 0.11, 2000.0, -1.0] {
            durations.note(seconds);
        }
        let counts: Vec<u64> = durations.classes().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[12]), (2, 1, 1));
        assert_eq!((durations.count(), durations.total_s()), (4, 2000.21));
        assert_eq!(durations.and(&durations).count(), 8);
    }
}
