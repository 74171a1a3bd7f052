//! The paper's figures 1 and 2.

use super::{HeadAnalysis, HeadErrors};
use common::report::{Axis, Plot, Series};

/// A step on the way through attention, and its error.
pub type Step = (&'static str, fn(&HeadErrors) -> f64);

/// The steps, in the order of attention.
pub const STEPS: [Step; 6] = [
    ("keys", |errors| errors.keys),
    ("logits", |errors| errors.logits),
    ("weights", |errors| errors.weights),
    ("output, keys stored", |errors| errors.output_by_keys),
    ("values", |errors| errors.values),
    ("output, values stored", |errors| errors.output_by_values),
];

/// Heads whose spread is drawn.
const DRAWN: usize = 3;

/// The mean of an error over a layer's heads.
pub fn mean(heads: &[HeadAnalysis], layer: usize, error: fn(&HeadErrors) -> f64) -> f64 {
    let of_layer = heads.iter().filter(|head| head.layer == layer);
    let errors: Vec<f64> = of_layer.map(|head| error(&head.errors)).collect();
    errors.iter().sum::<f64>() / errors.len().max(1) as f64
}

/// Figure 1: each step's error by layer.
pub fn by_layer(heads: &[HeadAnalysis]) -> Plot {
    let n_layers = heads.last().map_or(0, |head| head.layer + 1);
    let plot = Plot::new(
        "What becomes of errors in keys and in values",
        Axis::linear("layer"),
        Axis::log10("squared error over square"),
    );
    STEPS.into_iter().fold(plot, |plot, (name, error)| {
        let points = (0..n_layers).map(|layer| (layer as f64, mean(heads, layer, error)));
        // Nothing that a logarithm can show.
        let points = points.filter(|point| point.1 > 0.0).collect();
        plot.series(Series::new(name, points))
    })
}

/// Figure 2: how the output's errors are spread, in the heads where keys matter most.
pub fn spreads(heads: &[HeadAnalysis]) -> Vec<Plot> {
    let mut most: Vec<&HeadAnalysis> = heads.iter().collect();
    most.sort_by(|left, right| right.errors.output_by_keys.total_cmp(&left.errors.output_by_keys));
    let spread = |head: &HeadAnalysis| {
        let title = format!("Errors of the output, layer {} head {}", head.layer, head.head);
        let unit = "error over the output's root mean square";
        Plot::new(title, Axis::linear(unit), Axis::linear("part of the elements"))
            .series(Series::new("keys stored", head.errors.spread_by_keys.points()))
            .series(Series::new("values stored", head.errors.spread_by_values.points()))
    };
    most.into_iter().take(DRAWN).map(spread).collect()
}
