//! The legend: above the plane, in as many rows as it takes, so that it hides no data.

use super::Plot;
use super::draw::{Area, FINE, legend_text, line, marker, text};

const LEFT: i32 = 76 * FINE;
const ROW_HEIGHT: i32 = 22 * FINE;
const SAMPLE_WIDTH: i32 = 28 * FINE;
const GAP: i32 = 22 * FINE;

/// An SVG can't measure text; this is the mean width of a character at the legend's size.
const CHARACTER_WIDTH: f64 = 6.9 * FINE as f64;

/// The legend's height in pixels; a single unnamed series has none.
pub(super) fn height(plot: &Plot) -> i32 {
    match places(plot).last() {
        Some(&(_, y)) if plot.series.iter().any(|series| !series.label.is_empty()) => {
            y + ROW_HEIGHT / 2 + 4 * FINE
        }
        _ => 0,
    }
}

/// Draws the legend on its area.
pub(super) fn draw(plot: &Plot, area: &Area<'_>) -> Result<(), String> {
    for (index, (series, (x, y))) in plot.series.iter().zip(places(plot)).enumerate() {
        if series.label.is_empty() {
            continue;
        }
        area.draw(&line(vec![(x, y), (x + SAMPLE_WIDTH, y)], index)).map_err(text)?;
        if series.markers {
            area.draw(&marker((x + SAMPLE_WIDTH / 2, y), index)).map_err(text)?;
        }
        let label = (x + SAMPLE_WIDTH + 6 * FINE, y);
        area.draw_text(&series.label, &legend_text(), label).map_err(text)?;
    }
    Ok(())
}

/// Where each series' entry begins: its left end and its middle line.
fn places(plot: &Plot) -> Vec<(i32, i32)> {
    let width = i32::try_from(plot.size.0).unwrap_or(i32::MAX).saturating_mul(FINE);
    let (mut x, mut y) = (LEFT, ROW_HEIGHT / 2 + 6 * FINE);
    let mut places = Vec::new();
    for series in &plot.series {
        let text = (series.label.chars().count() as f64 * CHARACTER_WIDTH).ceil() as i32;
        let entry = SAMPLE_WIDTH + 6 * FINE + text;
        if x > LEFT && x + entry > width {
            (x, y) = (LEFT, y + ROW_HEIGHT);
        }
        places.push((x, y));
        x += entry + GAP;
    }
    places
}
