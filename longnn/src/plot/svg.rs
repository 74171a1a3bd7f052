//! The plot as SVG, for pages and docs.

use common::report::{Axis, Interval, Plot, Series, Svg};

use super::FilterPlot;
use crate::filter::frequencies;
use crate::{Error, Result};

/// Points of a curve: more than it has pixels.
const N_POINTS: usize = 401;

impl FilterPlot {
    /// The filters as curves over the density as a shaded area, scaled to the curves' height.
    ///
    /// # Errors
    /// As [`FilterPlot::check`].
    pub fn to_svg(&self) -> Result<Svg> {
        self.check()?;
        let grid = frequencies(N_POINTS);
        let values = self.values(&grid);
        let height = values.iter().flatten().fold(0.0_f64, |height, value| height.max(*value));
        let x = Axis::linear("frequency λ").range(0.0, 2.0);
        let mut plot = Plot::new(&self.title, x, Axis::linear("filter g(λ)"));
        for (channel, values) in self.channels.iter().zip(values) {
            let points = grid.iter().copied().zip(values).collect();
            plot = plot.series(Series::new(&channel.label, points).without_markers());
        }
        if let Some(density) = self.density_series(if height > 0.0 { height } else { 1.0 }) {
            plot = plot.series(density);
        }
        plot.to_svg().map_err(|error| Error::Setting {
            setting: format!("plot {:?}", self.title),
            problem: error.to_string(),
        })
    }

    /// The density, its peak at `height`. It comes last, so that the channels have the first colours.
    fn density_series(&self, height: f64) -> Option<Series> {
        let peak = self.density_peak();
        if peak <= 0.0 {
            return None;
        }
        let scaled = |&(frequency, density): &(f64, f64)| (frequency, density / peak * height);
        let points: Vec<_> = self.density.iter().map(scaled).collect();
        let bounds = points.iter().map(|&(_, density)| (0.0, density)).collect();
        let series = Series::new("spectral density (scaled)", points).without_markers();
        Some(series.interval(Interval::Band, bounds))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plot;

    #[test]
    fn every_filter_and_the_density_are_drawn() {
        let svg = plot().to_svg().unwrap().into_string();
        for text in ["theory", "channel 1", "spectral density (scaled)", "frequency λ", "cora"] {
            assert!(svg.contains(text), "{text}");
        }
        let mut bare = plot();
        bare.density.clear();
        assert!(!bare.to_svg().unwrap().as_str().contains("density"));
    }

    #[test]
    fn a_filter_that_is_negative_everywhere_can_be_drawn() {
        let mut plot = plot();
        plot.channels.truncate(1);
        plot.channels[0].coefficients = vec![-1.0];
        plot.to_svg().unwrap();
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let mut plot = plot();
        plot.channels.clear();
        assert!(plot.to_svg().unwrap_err().to_string().contains("0 channels"));
    }
}
