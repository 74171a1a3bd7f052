//! How a free parameter becomes an exponent `a` or `b` of the basis.
//!
//! Exponents must stay above −1 while an optimiser moves them. The published node classifier does
//! nothing about it and breaks there; its image code clamps, which has no gradient beyond the bound
//! and so can get stuck. The soft map does neither.

use super::Exponents;
use crate::{Error, Result};

/// A map from a parameter to an exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExponentMap {
    /// The parameter is the exponent, as in the published node classifier; at −1 or below there is
    /// an error.
    Free,
    /// The parameter, held inside bounds; outside there is no gradient.
    Clamp {
        /// The lowest exponent, above −1.
        low: f64,
        /// The highest exponent.
        high: f64,
    },
    /// `−1 + margin + ln(1 + e^parameter)`.
    Softplus {
        /// The distance from −1 that is always kept.
        margin: f64,
    },
}

impl ExponentMap {
    /// The bounds of the published image experiment.
    pub const PUBLISHED_CLAMP: Self = Self::Clamp { low: -1.0 + 1e-5, high: 10.0 };
    /// The soft map with a margin that keeps the weight's total below 2000.
    pub const SOFT: Self = Self::Softplus { margin: 1e-3 };

    /// Checks the map's own settings.
    ///
    /// # Errors
    /// If bounds or margin leave no exponent above −1.
    pub fn check(self) -> Result<()> {
        let problem = match self {
            Self::Free => return Ok(()),
            Self::Clamp { low, high } if low > -1.0 && low < high && high <= Exponents::LARGEST => {
                return Ok(());
            }
            Self::Softplus { margin } if (0.0..1.0).contains(&margin) => return Ok(()),
            Self::Clamp { low, high } => format!("no bounds within (-1, 500]: {low} to {high}"),
            Self::Softplus { margin } => format!("no margin within [0, 1): {margin}"),
        };
        Err(Error::Setting { setting: "exponent map".into(), problem })
    }

    /// The exponent plus one, and its slope with respect to the parameter.
    #[must_use]
    pub fn plus_1(self, parameter: f64) -> (f64, f64) {
        match self {
            Self::Free => (parameter + 1.0, 1.0),
            Self::Clamp { low, high } => {
                let inside = (low..=high).contains(&parameter);
                (parameter.clamp(low, high) + 1.0, f64::from(u8::from(inside)))
            }
            Self::Softplus { margin } => {
                // ln(1 + e^p) without overflow; its slope is the logistic function.
                let softplus = parameter.max(0.0) + (-parameter.abs()).exp().ln_1p();
                (margin + softplus, 1.0 / (1.0 + (-parameter).exp()))
            }
        }
    }

    /// The parameter whose exponent is `exponent`, or the nearest that the map reaches.
    #[must_use]
    pub fn parameter(self, exponent: f64) -> f64 {
        match self {
            Self::Free => exponent,
            Self::Clamp { low, high } => exponent.clamp(low, high),
            Self::Softplus { margin } => {
                // The inverse of softplus, written to keep its digits for large values.
                let target = (exponent + 1.0 - margin).max(1e-12);
                target + (-(-target).exp_m1()).ln()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAPS: [ExponentMap; 3] =
        [ExponentMap::Free, ExponentMap::PUBLISHED_CLAMP, ExponentMap::SOFT];

    #[test]
    fn settings_that_reach_minus_one_are_refused() {
        for map in [
            ExponentMap::Clamp { low: -1.0, high: 1.0 },
            ExponentMap::Clamp { low: 1.0, high: 0.0 },
            ExponentMap::Softplus { margin: f64::NAN },
        ] {
            assert!(map.check().unwrap_err().to_string().starts_with("exponent map: no "));
        }
        assert!(MAPS.iter().all(|map| map.check().is_ok()));
    }

    #[test]
    fn bounded_maps_never_leave_the_range() {
        for parameter in [-1e30, -750.0, -1.0, 0.0, 9.0] {
            for map in [ExponentMap::PUBLISHED_CLAMP, ExponentMap::SOFT] {
                let (plus_1, slope) = map.plus_1(parameter);
                assert!(plus_1 > 0.0 && slope.is_finite(), "{map:?} {parameter}: {plus_1}");
            }
        }
    }

    proptest! {
        #[test]
        fn there_and_back(exponent in -0.99..10.0) {
            for map in MAPS {
                let (plus_1, _) = map.plus_1(map.parameter(exponent));
                prop_assert!((plus_1 - 1.0 - exponent).abs() < 1e-12, "{map:?}");
            }
        }

        #[test]
        fn slopes_are_central_differences(parameter in -0.9..9.0) {
            const STEP: f64 = 1e-6;
            for map in MAPS {
                let rise = map.plus_1(parameter + STEP).0 - map.plus_1(parameter - STEP).0;
                prop_assert!((map.plus_1(parameter).1 - rise / (2.0 * STEP)).abs() < 1e-8);
            }
        }
    }
}
