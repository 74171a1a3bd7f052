//! Line plots as SVG: for pages, for docs and for paper, light or dark.
//!
//! The background is transparent and everything but the data is drawn in `currentColor`, so a plot
//! takes the colours of the page that it stands on. Colours are Okabe and Ito's, which colour-blind
//! readers can tell apart, and every series has a marker of its own as well.
//!
//! ```
//! use common::report::{Axis, Plot, Series};
//!
//! # fn main() -> Result<(), common::report::PlotError> {
//! let svg = Plot::new("Cache memory", Axis::log10("context (tokens)"), Axis::linear("memory (MiB)"))
//!     .series(Series::new("16 bit", vec![(1024.0, 24.0), (4096.0, 96.0)]))
//!     .series(Series::new("1 bit", vec![(1024.0, 2.0), (4096.0, 8.0)]))
//!     .to_svg()?;
//! assert!(svg.as_str().starts_with("<svg"));
//! # Ok(())
//! # }
//! ```

mod axis;
mod draw;
mod legend;

use std::fmt;

use thiserror::Error;

/// An SVG image made by us, as markup that a page takes unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svg(String);

impl Svg {
    /// Takes `markup` for an SVG image. It is the caller's word that it is one and that every text
    /// in it is escaped: a page includes it as it is.
    #[must_use]
    pub fn trusted(markup: String) -> Self {
        Self(markup)
    }

    /// The markup.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The markup, as it is written to a file.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Equal steps for equal differences.
    #[default]
    Linear,
    /// Equal steps for equal ratios; values must be positive.
    Log10,
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    title: String,
    scale: Scale,
    range: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis that fits the data; `title` says what it shows and in which unit.
    #[must_use]
    pub fn linear(title: impl Into<String>) -> Self {
        Self { title: title.into(), scale: Scale::Linear, range: None }
    }

    /// A logarithmic axis that fits the data.
    #[must_use]
    pub fn log10(title: impl Into<String>) -> Self {
        Self { scale: Scale::Log10, ..Self::linear(title) }
    }

    /// Shows `low` to `high` whatever the data; what lies outside is left out.
    #[must_use]
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }
}

/// How the uncertainty of a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// A shaded band, for many points.
    Band,
    /// A bar at every point, for few points.
    Bars,
}

/// Points joined by a line. A point that isn't finite leaves a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    label: String,
    points: Vec<(f64, f64)>,
    interval: Option<(Interval, Vec<(f64, f64)>)>,
    markers: bool,
}

impl Series {
    /// A series of points `(x, y)`, with a marker at each.
    #[must_use]
    pub fn new(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { label: label.into(), points, interval: None, markers: true }
    }

    /// Adds the interval `(low, high)` of every point. Whether it is a standard deviation or a
    /// confidence interval is for the caption to say.
    #[must_use]
    pub fn interval(self, interval: Interval, bounds: Vec<(f64, f64)>) -> Self {
        Self { interval: Some((interval, bounds)), ..self }
    }

    /// Leaves the markers out: for a curve of hundreds of points.
    #[must_use]
    pub fn without_markers(self) -> Self {
        Self { markers: false, ..self }
    }
}

/// A line plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    size: (u32, u32),
}

/// Why a plot can't be drawn.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum PlotError {
    /// No series has a finite point.
    #[error("plot \"{plot}\" has no finite point")]
    Empty {
        /// The plot's title.
        plot: String,
    },
    /// A logarithmic axis met a value that has no logarithm.
    #[error("series \"{series}\" has the value {value} on the logarithmic axis \"{axis}\"")]
    NotPositive {
        /// The series.
        series: String,
        /// The axis' title.
        axis: String,
        /// The value.
        value: f64,
    },
    /// An axis' range is empty, infinite, or not positive on a logarithmic axis.
    #[error("axis \"{axis}\" can't show the range {low} to {high}")]
    Range {
        /// The axis' title.
        axis: String,
        /// Its lower end.
        low: f64,
        /// Its upper end.
        high: f64,
    },
    /// A series hasn't one interval a point.
    #[error("series \"{series}\" has {points} points and {intervals} intervals")]
    IntervalCount {
        /// The series.
        series: String,
        /// Its points.
        points: usize,
        /// Its intervals.
        intervals: usize,
    },
    /// The drawing library failed.
    #[error("plot \"{plot}\" could not be drawn: {reason}")]
    Drawing {
        /// The plot's title.
        plot: String,
        /// What the library says.
        reason: String,
    },
}

impl Plot {
    /// A plot without series, 720 by 440 pixels. The title is read out by screen readers and shown
    /// on hovering; the caption of the figure is the place for words.
    #[must_use]
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: title.into(), x, y, series: Vec::new(), size: (720, 440) }
    }

    /// Adds a series.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Sets the size in pixels: 200 to 4000 wide, 150 to 4000 high.
    #[must_use]
    pub fn size(self, width: u32, height: u32) -> Self {
        Self { size: (width.clamp(200, 4000), height.clamp(150, 4000)), ..self }
    }

    /// Draws the plot.
    ///
    /// # Errors
    /// There is nothing to draw, or an axis can't show what is there.
    pub fn to_svg(&self) -> Result<Svg, PlotError> {
        self.check()?;
        let x = axis::Coordinate::fit(&self.x, self.values(|&(x, _)| x, false))
            .ok_or_else(|| self.unfit(&self.x))?;
        let y = axis::Coordinate::fit(&self.y, self.values(|&(_, y)| y, true))
            .ok_or_else(|| self.unfit(&self.y))?;
        let drawn = draw::draw(self, x, y)
            .map_err(|reason| PlotError::Drawing { plot: self.title.clone(), reason })?;
        Ok(Svg(drawn))
    }

    fn check(&self) -> Result<(), PlotError> {
        for series in &self.series {
            if let Some((_, bounds)) = &series.interval
                && bounds.len() != series.points.len()
            {
                let (points, intervals) = (series.points.len(), bounds.len());
                let series = series.label.clone();
                return Err(PlotError::IntervalCount { series, points, intervals });
            }
            for (axis, index) in [(&self.x, 0), (&self.y, 1)] {
                let bounds = series.interval.iter().flat_map(|(_, bounds)| bounds);
                let bounds = bounds.flat_map(|&(low, high)| [low, high]).filter(|_| index == 1);
                let values = series.points.iter().map(|&(x, y)| [x, y][index]).chain(bounds);
                let bad = values.into_iter().find(|value| value.is_finite() && *value <= 0.0);
                if let (Scale::Log10, Some(value)) = (axis.scale, bad) {
                    let (series, axis) = (series.label.clone(), axis.title.clone());
                    return Err(PlotError::NotPositive { series, axis, value });
                }
            }
        }
        Ok(())
    }

    /// The finite values of all points along one axis, the intervals' ends included for y.
    fn values(
        &self,
        of: impl Fn(&(f64, f64)) -> f64,
        with_intervals: bool,
    ) -> impl Iterator<Item = f64> {
        let mut values = Vec::new();
        for series in &self.series {
            let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
            values.extend(series.points.iter().filter(finite).map(&of));
            if let (true, Some((_, bounds))) = (with_intervals, &series.interval) {
                values.extend(bounds.iter().flat_map(|&(low, high)| [low, high]));
            }
        }
        values.into_iter().filter(|value| value.is_finite())
    }

    fn unfit(&self, axis: &Axis) -> PlotError {
        match axis.range {
            Some((low, high)) => PlotError::Range { axis: axis.title.clone(), low, high },
            None => PlotError::Empty { plot: self.title.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        let points = |slope: f64| (1..6).map(|i| (f64::from(i), slope * f64::from(i))).collect();
        let bounds = (1..6).map(|i| (f64::from(i) - 0.3, f64::from(i) + 0.3)).collect();
        Plot::new("Errors & \"bounds\"", Axis::linear("bits"), Axis::log10("error (nats)"))
            .series(Series::new("ours <1>", points(1.0)).interval(Interval::Band, bounds))
            .series(Series::new("theirs", points(2.0)))
    }

    /// Every series' line or curve.
    fn polylines(svg: &Svg) -> usize {
        svg.as_str().matches("<polyline").count()
    }

    #[test]
    fn a_plot_is_one_svg_with_escaped_text_and_no_fixed_ink() {
        let svg = plot().to_svg().unwrap();
        let text = svg.as_str();
        assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"));
        assert!(text.contains("ours &lt;1&gt;") && !text.contains("<1>"), "{text}");
        assert!(text.contains("<title>Errors &amp; &quot;bounds&quot;</title>"), "{text}");
        assert!(text.contains("currentColor") && !text.contains("#010203"), "{text}");
        for shown in ["bits", "error (nats)", "theirs", "#0072B2", "#D55E00"] {
            assert!(text.contains(shown), "{shown}");
        }
    }

    #[test]
    fn a_point_that_is_not_finite_leaves_a_gap() {
        let with = |y: f64| {
            let points = vec![(1.0, 1.0), (2.0, 2.0), (3.0, y), (4.0, 4.0), (5.0, 5.0)];
            let series = Series::new("s", points).without_markers();
            Plot::new("t", Axis::linear("x"), Axis::linear("y")).series(series).to_svg().unwrap()
        };
        assert_eq!(polylines(&with(f64::NAN)), polylines(&with(3.0)) + 1);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let axes = || (Axis::linear("x"), Axis::log10("y"));
        let draw = |x, y, points| Plot::new("t", x, y).series(Series::new("s", points)).to_svg();
        let (x, y) = axes();
        assert!(matches!(draw(x, y, vec![]), Err(PlotError::Empty { .. })));
        let (x, y) = axes();
        let error = draw(x, y, vec![(1.0, 0.0)]).unwrap_err().to_string();
        assert_eq!(error, "series \"s\" has the value 0 on the logarithmic axis \"y\"");
        for (low, high) in [(2.0, 1.0), (0.0, f64::INFINITY), (1.0, 1.0)] {
            let (x, y) = axes();
            let outcome = draw(x.range(low, high), y, vec![(1.0, 1.0)]);
            assert!(matches!(outcome, Err(PlotError::Range { .. })), "{low} to {high}");
        }
        let (x, y) = axes();
        let series = Series::new("s", vec![(1.0, 1.0)]).interval(Interval::Bars, vec![]);
        let outcome = Plot::new("t", x, y).series(series).to_svg();
        assert!(matches!(outcome, Err(PlotError::IntervalCount { .. })));
    }

    #[test]
    fn one_point_and_a_constant_can_be_drawn() {
        for points in [vec![(0.0, 0.0)], vec![(1.0, 5.0), (2.0, 5.0)]] {
            let plot = Plot::new("t", Axis::linear("x"), Axis::linear("y"));
            plot.series(Series::new("s", points)).to_svg().unwrap();
        }
    }
}
