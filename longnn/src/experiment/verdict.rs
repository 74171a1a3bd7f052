//! Whether a result agrees with what it is held against.
//!
//! LON-GNN is held against the independent re-implementation under the same evaluation, whose own
//! spread is known: the difference may be a point, or 2.5 standard errors of the difference. A
//! baseline is held against its published mean, from other splits and settings: the difference may be
//! 1.5 of our standard deviations.

use super::Summary;
use super::published::{Published, Reimplementation};
use serde::{Deserialize, Serialize};

/// How a result compares with its reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The difference is within its bound.
    #[serde(rename = "agrees")]
    Agrees,
    /// It is not.
    #[serde(rename = "differs")]
    Differs,
    /// There is nothing to hold it against.
    #[serde(rename = "not published")]
    NotPublished,
    /// A single seed has no spread to judge by.
    #[serde(rename = "one seed")]
    OneSeed,
    /// Other splits, epochs or patience than the reference's.
    #[serde(rename = "other protocol")]
    OtherProtocol,
}

impl Verdict {
    /// As tables spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Differs => "differs",
            Self::NotPublished => "not published",
            Self::OneSeed => "one seed",
            Self::OtherProtocol => "other protocol",
        }
    }
}

/// A difference from a reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Our mean less the reference's, in points.
    pub points: f64,
    /// The same in our standard deviations; `None` where they are zero.
    pub in_stds: Option<f64>,
    /// The largest that agrees, in points.
    pub bound: f64,
}

/// LON-GNN's difference from the independent re-implementation.
#[must_use]
pub fn from_reimplementation(ours: &Summary, reference: &Reimplementation) -> Option<Difference> {
    const POINTS: f64 = 1.0;
    const STANDARD_ERRORS: f64 = 2.5;
    let std = ours.std?;
    let variance = |std: f64, seeds: usize| std * std / seeds as f64;
    let error = (variance(std, ours.seeds) + variance(reference.std, reference.seeds)).sqrt();
    Some(difference(ours.mean - reference.mean, std, POINTS.max(STANDARD_ERRORS * error)))
}

/// A baseline's difference from its published mean.
#[must_use]
pub fn from_published(ours: &Summary, reference: &Published) -> Option<Difference> {
    const STANDARD_DEVIATIONS: f64 = 1.5;
    let std = ours.std?;
    Some(difference(ours.mean - reference.mean, std, STANDARD_DEVIATIONS * std))
}

fn difference(points: f64, std: f64, bound: f64) -> Difference {
    Difference { points, in_stds: (std > 0.0).then(|| points / std), bound }
}

impl Difference {
    /// Whether it is within its bound.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.points.abs() <= self.bound { Verdict::Agrees } else { Verdict::Differs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::published::{published, reimplementation};
    use crate::model::Architecture;
    use crate::train::Evaluation;

    fn ours(mean: f64, std: f64, seeds: usize) -> Summary {
        let (std, ci95) = (Some(std), None);
        Summary { mean, std, ci95, seeds, epoch_ms_median: 1.0, diverged: 0 }
    }

    #[test]
    fn lon_may_differ_by_a_point_or_by_chance() {
        let cora = reimplementation("cora", Evaluation::Clean).unwrap();
        let verdict =
            |ours: Summary| from_reimplementation(&ours, &cora).map(|found| found.verdict());
        // 2.5 standard errors of two equal spreads are 2.5 · 1.32 · √0.2 = 1.476.
        assert_eq!(verdict(ours(89.16 + 1.45, 1.32, 10)), Some(Verdict::Agrees));
        assert_eq!(verdict(ours(89.16 - 1.5, 1.32, 10)), Some(Verdict::Differs));
        let narrow = Reimplementation { std: 0.1, ..cora };
        let found = from_reimplementation(&ours(89.16 + 0.9, 0.1, 10), &narrow).unwrap();
        assert_eq!((found.bound, found.verdict()), (1.0, Verdict::Agrees));
        assert_eq!(verdict(Summary { std: None, ..ours(89.0, 0.0, 1) }), None);
    }

    #[test]
    fn a_baseline_may_differ_by_our_spread() {
        let gcn = published("actor", Architecture::Gcn).unwrap();
        let found = from_published(&ours(gcn.mean - 1.4, 1.0, 10), &gcn).unwrap();
        assert_eq!(found.verdict(), Verdict::Agrees);
        assert!((found.in_stds.unwrap() + 1.4).abs() < 1e-9 && found.bound == 1.5);
        let found = from_published(&ours(gcn.mean + 1.6, 1.0, 10), &gcn).unwrap();
        assert_eq!(found.verdict(), Verdict::Differs);
    }
}
