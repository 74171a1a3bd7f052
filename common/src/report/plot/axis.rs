//! The coordinate along one axis, linear or logarithmic, with its ticks and their labels.
//!
//! plotters has a type for each, which would double every drawing function for each axis; one
//! type that knows both keeps the drawing in one place.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

use super::{Axis, Scale};

/// How far an axis goes beyond the data, as a part of the data's extent.
const MARGIN: f64 = 0.04;

/// The coordinate along one axis.
#[derive(Debug, Clone)]
pub(super) struct Coordinate {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Coordinate {
    /// The coordinate that shows the axis' range, or else all `values`; `None` where that can't be.
    pub(super) fn fit(axis: &Axis, values: impl Iterator<Item = f64>) -> Option<Self> {
        let scale = axis.scale;
        let valid = |low: f64, high: f64| {
            let positive = scale == Scale::Linear || low > 0.0;
            (low.is_finite() && high.is_finite() && low < high && positive).then_some(Self {
                scale,
                low,
                high,
            })
        };
        if let Some((low, high)) = axis.range {
            return valid(low, high);
        }
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if low > high {
            return None;
        }
        match scale {
            Scale::Linear => {
                let extent = if low < high { high - low } else { low.abs().max(1.0) };
                valid(low - MARGIN * extent, high + MARGIN * extent)
            }
            Scale::Log10 => {
                let extent = if low < high { high / low } else { 10.0 };
                valid(low / extent.powf(MARGIN), high * extent.powf(MARGIN))
            }
        }
    }

    /// Whether `value` is on the axis.
    pub(super) fn shows(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// `value`, or the end of the axis that it lies beyond.
    pub(super) fn clamp(&self, value: f64) -> f64 {
        value.clamp(self.low, self.high)
    }

    /// Ticks of a logarithmic axis: every decade, or every n-th where there are too many; where
    /// there are few, also its double and its fivefold.
    fn decades(&self, most: usize) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = (first..=last).filter(|&exponent| self.shows(10f64.powi(exponent))).count();
        let stride = decades.div_ceil(most.max(1)).max(1);
        let steps: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks: Vec<f64> = (first..=last)
            .filter(|exponent| exponent.rem_euclid(stride as i32) == 0)
            .flat_map(|exponent| steps.iter().map(move |step| step * 10f64.powi(exponent)))
            .filter(|&value| self.shows(value))
            .collect();
        // Less than one step of 1, 2, 5 is shown: the axis is as good as linear.
        if ticks.len() < 2 { self.linear().key_points(most) } else { ticks }
    }

    fn linear(&self) -> RangedCoordf64 {
        (self.low..self.high).into()
    }
}

impl Ranged for Coordinate {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log10 => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        limit.0 + (part * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.linear().key_points(hint),
            Scale::Log10 => self.decades(hint.bold_points()),
        }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Coordinate {
    fn format_ext(&self, value: &f64) -> String {
        // A tick at zero may carry the rounding error of its neighbours.
        let noise = (self.high - self.low) * 1e-9;
        tick_label(if self.scale == Scale::Linear && value.abs() < noise { 0.0 } else { *value })
    }
}

/// A number as short as it can be told: 0.25, 1500, 10⁶, 2×10⁻⁵.
fn tick_label(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // Eight digits: more than any tick needs, few enough to round the noise of 0.1 + 0.2 away.
    let scientific = format!("{value:.7e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-3..5).contains(&exponent) {
        let decimals = usize::try_from(7 - exponent).unwrap_or(0);
        return trimmed(&format!("{value:.decimals$}"));
    }
    let power: String = exponent.to_string().chars().map(superscript).collect();
    match trimmed(mantissa).as_str() {
        "1" => format!("10{power}"),
        mantissa => format!("{mantissa}×10{power}"),
    }
}

fn trimmed(decimal: &str) -> String {
    let decimal = if decimal.contains('.') { decimal.trim_end_matches('0') } else { decimal };
    decimal.trim_end_matches('.').replace('-', "−")
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        // The others lie together in their block; 0 to 9 is all that is left.
        c => char::from_u32(0x2070 + (c as u32 & 0xf)).unwrap_or(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log_ticks(low: f64, high: f64, most: usize) -> Vec<String> {
        let axis = Axis::log10("x").range(low, high);
        let coordinate = Coordinate::fit(&axis, std::iter::empty()).unwrap();
        coordinate.key_points(most).iter().map(|value| coordinate.format_ext(value)).collect()
    }

    #[test]
    fn labels_are_short() {
        for (value, label) in [
            (0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (-2.5, "−2.5"),
            (1500.0, "1500"),
            (99_999.0, "99999"),
            (1e6, "10⁶"),
            (2e-5, "2×10⁻⁵"),
            (-1.5e10, "−1.5×10¹⁰"),
            (0.001, "0.001"),
        ] {
            assert_eq!(tick_label(value), label);
        }
    }

    #[test]
    fn logarithmic_ticks_fit_the_extent() {
        assert_eq!(log_ticks(1.0, 100_000.0, 10), ["1", "10", "100", "1000", "10000", "10⁵"]);
        assert_eq!(log_ticks(0.9, 60.0, 10), ["1", "2", "5", "10", "20", "50"]);
        assert_eq!(log_ticks(1e-12, 1e12, 6).len(), 5);
        assert!(log_ticks(3.0, 4.0, 10).len() >= 2, "less than a step of 1, 2, 5");
    }

    proptest! {
        #[test]
        fn all_values_land_on_the_axis(
            values in prop::collection::vec(1e-6f64..1e6, 1..20),
            log: bool,
        ) {
            let axis = if log { Axis::log10("x") } else { Axis::linear("x") };
            let coordinate = Coordinate::fit(&axis, values.iter().copied()).unwrap();
            for value in values {
                prop_assert!(coordinate.shows(value));
                let pixel = coordinate.map(&value, (0, 1000));
                prop_assert!((0..=1000).contains(&pixel), "{value} at {pixel}");
            }
            let ticks = coordinate.key_points(8);
            prop_assert!(!ticks.is_empty());
            prop_assert!(ticks.iter().all(|&tick| coordinate.shows(tick)), "{ticks:?}");
        }
    }
}
