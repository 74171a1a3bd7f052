//! Goals of ours: a figure between bounds.

use super::SYSTEM;
use common::report::{Claim, Verdict};

/// A goal for a ratio or another figure.
pub struct Goal {
    what: &'static str,
    least: f64,
    most: f64,
    unit: &'static str,
}

impl Goal {
    /// For a ratio.
    pub const fn at_least(what: &'static str, least: f64) -> Goal {
        Goal { what, least, most: f64::INFINITY, unit: "x" }
    }

    pub const fn at_most(what: &'static str, most: f64, unit: &'static str) -> Goal {
        Goal { what, least: f64::NEG_INFINITY, most, unit }
    }

    pub const fn and_at_least(self, least: f64) -> Goal {
        Goal { least, ..self }
    }

    /// The goal judged by a figure, if a run has it.
    pub fn claim(&self, value: Option<f64>) -> Claim {
        let Some(value) = value else { return self.open("not in this run") };
        Claim {
            here: format!("{value:.2}{}", self.unit),
            verdict: Verdict::judged((self.least..=self.most).contains(&value)),
            ..self.open("")
        }
    }

    /// The goal without a figure.
    pub fn open(&self, reason: &str) -> Claim {
        Claim {
            system: SYSTEM.to_owned(),
            claim: format!("{} (not the paper's: our goal)", self.what),
            paper: self.bounds(),
            here: String::new(),
            verdict: Verdict::NotReproduced(reason.to_owned()),
        }
    }

    fn bounds(&self) -> String {
        let Goal { least, most, unit, .. } = *self;
        match (least.is_finite(), most.is_finite()) {
            (true, true) => format!("{least:.2}{unit} to {most:.2}{unit}"),
            (true, false) => format!("≥ {least:.2}{unit}"),
            (false, _) => format!("≤ {most:.2}{unit}"),
        }
    }
}
