//! Goals of this repository's own: a figure between bounds.

use common::report::Claim;

/// A goal for a ratio, a time or another figure.
pub struct Goal {
    system: &'static str,
    what: &'static str,
    least: f64,
    most: f64,
    unit: &'static str,
    decimals: usize,
}

impl Goal {
    /// Shown with one decimal.
    pub const fn at_least(
        system: &'static str,
        what: &'static str,
        least: f64,
        unit: &'static str,
    ) -> Goal {
        Goal { system, what, least, most: f64::INFINITY, unit, decimals: 1 }
    }

    /// Shown with one decimal.
    pub const fn at_most(
        system: &'static str,
        what: &'static str,
        most: f64,
        unit: &'static str,
    ) -> Goal {
        Goal { system, what, least: f64::NEG_INFINITY, most, unit, decimals: 1 }
    }

    pub const fn and_at_least(self, least: f64) -> Goal {
        Goal { least, ..self }
    }

    pub const fn with_decimals(self, decimals: usize) -> Goal {
        Goal { decimals, ..self }
    }

    /// The goal, which nothing has judged yet.
    pub fn claim(&self) -> Claim {
        Claim::goal(self.system, self.what, self.bounds())
    }

    /// Judged by a figure, if a run has it.
    pub fn judged(&self, value: Option<f64>) -> Claim {
        match value {
            Some(value) => self.claim().judged(self.shown(value), self.holds(value)),
            None => self.claim(),
        }
    }

    /// Judged by figures that all have to hold, if a run has any; `of` says what they are of.
    pub fn judged_by_all(&self, values: &[f64], of: &str) -> Claim {
        let Some(least) = values.iter().copied().reduce(f64::min) else { return self.claim() };
        let most = values.iter().copied().fold(least, f64::max);
        let here = format!("{} to {} ({of})", self.shown(least), self.shown(most));
        self.claim().judged(here, self.holds(least) && self.holds(most))
    }

    fn holds(&self, value: f64) -> bool {
        (self.least..=self.most).contains(&value)
    }

    fn shown(&self, value: f64) -> String {
        format!("{value:.*}{}", self.decimals, self.unit)
    }

    fn bounds(&self) -> String {
        match (self.least.is_finite(), self.most.is_finite()) {
            (true, true) => format!("{} to {}", self.shown(self.least), self.shown(self.most)),
            (true, false) => format!("≥ {}", self.shown(self.least)),
            (false, _) => format!("≤ {}", self.shown(self.most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::report::Verdict;

    const FASTER: Goal = Goal::at_least("kvquant", "faster", 3.0, "x");
    const NEAR: Goal =
        Goal::at_most("kvquant", "near", 1.05, "").and_at_least(0.95).with_decimals(2);

    #[test]
    fn bounds_decide() {
        assert_eq!(FASTER.claim().promise(), "goal: ≥ 3.0x");
        assert_eq!(NEAR.claim().promise(), "goal: 0.95 to 1.05");
        let judged = |value| NEAR.judged(Some(value)).verdict;
        assert_eq!([0.94, 1.0, 1.06].map(judged), [false, true, false].map(Verdict::judged));
        assert_eq!(FASTER.judged(None), FASTER.claim());
    }

    #[test]
    fn all_figures_of_a_range_have_to_hold() {
        let claim = FASTER.judged_by_all(&[3.5, 2.5], "a GPU");
        assert_eq!(
            (claim.here.as_str(), claim.verdict),
            ("2.5x to 3.5x (a GPU)", Verdict::Differs)
        );
        assert_eq!(FASTER.judged_by_all(&[3.5, 4.0], "").verdict, Verdict::Holds);
        assert_eq!(FASTER.judged_by_all(&[], ""), FASTER.claim());
    }
}
