//! Learned filters over the density of the graph's frequencies, as SVG and in the terminal.
//!
//! A filter is only worth what it does where the graph has frequencies, so the two are always shown
//! together: the curves `g_c(λ)` and, shaded or as bars below, the spectral density `ρ(λ)`.
//! [`FilterPlot`] is what a run stores about its filters, enough to draw them without the graph.

mod svg;
mod terminal;

pub use terminal::TerminalStyle;

use serde::{Deserialize, Serialize};

use crate::basis::{Basis, Matrix};
use crate::filter::Response;
use crate::{Error, Result};

/// Filters and the density that they act on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterPlot {
    /// What is shown, such as a data set and a model.
    pub title: String,
    /// The filters.
    pub channels: Vec<Channel>,
    /// The spectral density: `(λ, ρ)`, `λ` ascending from 0 to 2. May be empty.
    pub density: Vec<(f64, f64)>,
}

/// One filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name, such as the class that it scores.
    pub label: String,
    /// Its Chebyshev coefficients `W_0 … W_K`.
    pub coefficients: Vec<f64>,
}

impl FilterPlot {
    /// The most filters in one plot.
    pub const MOST_CHANNELS: usize = 512;

    /// The filters of the weights `W`, `(K+1) × C`, labelled in order; a channel without a label gets
    /// its number.
    #[must_use]
    pub fn new(
        title: impl Into<String>,
        weights: &Matrix,
        labels: &[String],
        density: Vec<(f64, f64)>,
    ) -> Self {
        let channel = |c: usize| Channel {
            label: labels.get(c).cloned().unwrap_or_else(|| format!("channel {c}")),
            coefficients: weights.column(c),
        };
        Self {
            title: title.into(),
            channels: (0..weights.n_columns()).map(channel).collect(),
            density,
        }
    }

    /// Checks what a file may have brought.
    ///
    /// # Errors
    /// If there is nothing to draw or too much, or a number is out of place.
    pub fn check(&self) -> Result<()> {
        let fault = |problem: String| {
            Err(Error::Setting { setting: format!("plot {:?}", self.title), problem })
        };
        if self.channels.is_empty() || self.channels.len() > Self::MOST_CHANNELS {
            let n = self.channels.len();
            return fault(format!("{n} channels; 1 to {} can be drawn", Self::MOST_CHANNELS));
        }
        for channel in &self.channels {
            let n = channel.coefficients.len();
            if n == 0 || n > Basis::LARGEST_DEGREE + 1 {
                return fault(format!("channel {:?} has {n} coefficients", channel.label));
            }
            // Sums of what passes can't overflow; a NaN doesn't pass.
            let mut values = channel.coefficients.iter();
            if let Some(value) = values.find(|value| !(-1e300..1e300).contains(*value)) {
                return fault(format!("channel {:?} has the coefficient {value}", channel.label));
            }
        }
        let ascending = self.density.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let valid = |&(frequency, density): &(f64, f64)| {
            (0.0..=2.0).contains(&frequency) && (0.0..f64::INFINITY).contains(&density)
        };
        match self.density.iter().find(|point| !valid(point)) {
            Some(point) => fault(format!("{point:?} is no point of a density on [0, 2]")),
            None if !ascending => fault("the density's frequencies don't ascend".into()),
            None => Ok(()),
        }
    }

    /// `g_c` of every channel at the given frequencies.
    fn values(&self, frequencies: &[f64]) -> Vec<Vec<f64>> {
        let values = |channel: &Channel| {
            let coefficients = &channel.coefficients;
            let column = Matrix::from_fn(coefficients.len(), 1, |j, _| coefficients[j]);
            Response::new(column).values(0, frequencies)
        };
        self.channels.iter().map(values).collect()
    }

    /// The density's largest value; 0 without a density.
    fn density_peak(&self) -> f64 {
        self.density.iter().fold(0.0, |peak, &(_, density)| peak.max(density))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A low and a band filter over a density with a bump in the middle.
    pub(super) fn plot() -> FilterPlot {
        let weights = Matrix::from_fn(3, 2, |j, channel| match (channel, j) {
            (0, 0 | 1) => 0.5,
            (1, 0) => 0.5,
            (1, 2) => -0.5,
            _ => 0.0,
        });
        // Binary fractions, which decimal text gives back exactly.
        let density = (0..=64).map(|i| f64::from(i) / 32.0);
        let bump = |x: f64| ((-8.0 * (x - 1.0).powi(2)).exp() * 64.0).round() / 64.0;
        let density = density.map(|x| (x, bump(x))).collect();
        FilterPlot::new("cora, LON-GNN", &weights, &["theory".into()], density)
    }

    #[test]
    fn survives_serialisation() {
        let text = serde_json::to_string(&plot()).unwrap();
        assert_eq!(serde_json::from_str::<FilterPlot>(&text).unwrap(), plot());
        assert_eq!(plot().channels[1].label, "channel 1");
    }

    #[test]
    fn what_is_out_of_place_is_named() {
        let error = |change: fn(&mut FilterPlot)| {
            let mut plot = plot();
            change(&mut plot);
            plot.check().unwrap_err().to_string()
        };
        assert!(error(|plot| plot.channels.clear()).contains("0 channels"));
        assert!(error(|plot| plot.channels[0].coefficients[1] = f64::NAN).contains("\"theory\""));
        assert!(error(|plot| plot.channels[0].coefficients.clear()).contains("0 coefficients"));
        assert!(error(|plot| plot.density[3] = (2.5, 1.0)).contains("(2.5, 1.0)"));
        assert!(error(|plot| plot.density[3] = (0.0, 1.0)).contains("ascend"));
        plot().check().unwrap();
    }
}
