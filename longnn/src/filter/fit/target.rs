//! The filters that are to be found: known functions of frequency.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::filter::ChebyshevSeries;

/// Terms of a smooth target: many more than it has above rounding.
const SMOOTH_TERMS: usize = 128;
/// Terms of the comb, whose kink in the middle makes them decay by the square only. What is cut off
/// is 7e-4 at the kink, where a grid has many frequencies: 3000 terms at 6000 nodes are the reference
/// that floors are compared to, 0.286487 on the images; without the cut the floor is 0.28671.
const KINKED_TERMS: usize = 3000;

/// The five filters of the image experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetFilter {
    /// `e^{−10λ²}`
    Low,
    /// `1 − e^{−10λ²}`
    High,
    /// `e^{−10(λ−1)²}`
    Band,
    /// `1 − e^{−10(λ−1)²}`
    Rejection,
    /// `|sin πλ|`
    Comb,
}

impl TargetFilter {
    /// All, in the order of the papers' tables.
    pub const ALL: [Self; 5] = [Self::Low, Self::High, Self::Band, Self::Rejection, Self::Comb];

    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Band => "band",
            Self::Rejection => "rejection",
            Self::Comb => "comb",
        }
    }

    /// `h(λ)`.
    #[must_use]
    pub fn value(self, frequency: f64) -> f64 {
        let bump = |centre: f64| (-10.0 * (frequency - centre).powi(2)).exp();
        match self {
            Self::Low => bump(0.0),
            Self::High => 1.0 - bump(0.0),
            Self::Band => bump(1.0),
            Self::Rejection => 1.0 - bump(1.0),
            Self::Comb => (PI * frequency).sin().abs(),
        }
    }

    /// The function as a Chebyshev series: to rounding where it is smooth, 3000 terms of the comb.
    #[must_use]
    pub fn series(self) -> ChebyshevSeries {
        let n_terms = if self == Self::Comb { KINKED_TERMS } else { SMOOTH_TERMS };
        ChebyshevSeries::of(|frequency| self.value(frequency), n_terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_the_functions() {
        for target in TargetFilter::ALL {
            let series = target.series();
            let bound = if target == TargetFilter::Comb { 8e-4 } else { 1e-14 };
            for i in 0..=200 {
                let frequency = f64::from(i) / 100.0;
                let error = (series.value(frequency) - target.value(frequency)).abs();
                assert!(error < bound, "{target:?} at {frequency}: {error:e}");
            }
        }
    }

    #[test]
    fn names_are_what_is_serialized() {
        for target in TargetFilter::ALL {
            let text = serde_json::to_string(&target).unwrap();
            assert_eq!(text.trim_matches('"'), target.name());
        }
    }
}
