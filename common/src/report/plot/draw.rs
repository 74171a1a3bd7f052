//! Draws a checked plot by plotters and makes the SVG fit its page.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Coordinate;
use super::{Interval, Plot, Series, legend};
use crate::report::escape;

/// Stands for the page's text colour while plotters draws; no series has it.
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);

/// Okabe and Ito's colours that stand out on white and on black; their yellow and black don't.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xE6, 0x9F, 0x00),
];

/// plotters draws on whole pixels, which makes a smooth curve jagged. So a pixel of the plot is this
/// many of the drawing's, and the image's `viewBox` scales it down.
pub(super) const FINE: i32 = 4;

const MARKER_SIZE: i32 = 4 * FINE;
pub(super) const LINE: u32 = 2 * FINE as u32;
const HAIRLINE: u32 = FINE as u32;
const TICK_FONT: (&str, i32) = ("sans-serif", 15 * FINE);
const TITLE_FONT: (&str, i32) = ("sans-serif", 16 * FINE);

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Coordinate, Coordinate>>;
type Drawn = Result<(), String>;

/// The SVG of `plot`, or what plotters says against it.
pub(super) fn draw(plot: &Plot, x: Coordinate, y: Coordinate) -> Result<String, String> {
    let mut svg = String::new();
    {
        let fine = FINE.unsigned_abs();
        let size = (plot.size.0 * fine, plot.size.1 * fine);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let (legend, plane) = root.split_vertically(legend::height(plot));
        legend::draw(plot, &legend)?;
        let mut chart = ChartBuilder::on(&plane)
            .margin(8 * FINE)
            .margin_right(20 * FINE)
            .x_label_area_size(48 * FINE)
            .y_label_area_size(68 * FINE)
            .build_cartesian_2d(x.clone(), y.clone())
            .map_err(text)?;
        draw_axes(plot, &mut chart)?;
        // Bands lie below every line.
        for (index, series) in plot.series.iter().enumerate() {
            draw_interval(&chart, series, colour(index), &x, &y)?;
        }
        for (index, series) in plot.series.iter().enumerate() {
            draw_series(&chart, series, index, &x, &y)?;
        }
        root.present().map_err(text)?;
    }
    dress(plot, &svg)
}

fn draw_axes(plot: &Plot, chart: &mut Chart<'_, '_>) -> Drawn {
    let ticks = TextStyle::from(TICK_FONT.into_font()).color(&INK);
    let titles = TextStyle::from(TITLE_FONT.into_font()).color(&INK);
    chart
        .configure_mesh()
        .x_desc(&plot.x.title)
        .y_desc(&plot.y.title)
        .x_labels(8)
        .y_labels(7)
        .axis_style(INK.mix(0.6).stroke_width(HAIRLINE))
        .bold_line_style(INK.mix(0.15).stroke_width(HAIRLINE))
        .light_line_style(TRANSPARENT)
        .set_all_tick_mark_size(5 * FINE)
        .label_style(ticks)
        .axis_desc_style(titles)
        .draw()
        .map_err(text)
}

fn draw_interval(
    chart: &Chart<'_, '_>,
    series: &Series,
    colour: RGBColor,
    x: &Coordinate,
    y: &Coordinate,
) -> Drawn {
    let Some((kind, bounds)) = &series.interval else { return Ok(()) };
    let area = chart.plotting_area();
    let shown = |&(position, low, high): &(f64, f64, f64)| {
        x.shows(position) && low.is_finite() && high.is_finite()
    };
    let triples = series.points.iter().zip(bounds).map(|(&(x, _), &(low, high))| (x, low, high));
    let clamped = |(position, low, high)| (position, y.clamp(low), y.clamp(high));
    match kind {
        Interval::Band => {
            for run in runs(triples, shown) {
                let run: Vec<_> = run.into_iter().map(clamped).collect();
                let upper = run.iter().map(|&(x, _, high)| (x, high));
                let lower = run.iter().rev().map(|&(x, low, _)| (x, low));
                let outline: Vec<_> = upper.chain(lower).collect();
                area.draw(&Polygon::new(outline, colour.mix(0.2))).map_err(text)?;
            }
        }
        Interval::Bars => {
            for (position, low, high) in triples.filter(shown).map(clamped) {
                let stroke = colour.stroke_width(HAIRLINE);
                let bar = PathElement::new(vec![(position, low), (position, high)], stroke);
                area.draw(&bar).map_err(text)?;
                for end in [low, high] {
                    let cap = PathElement::new(vec![(-MARKER_SIZE, 0), (MARKER_SIZE, 0)], stroke);
                    area.draw(&(EmptyElement::at((position, end)) + cap)).map_err(text)?;
                }
            }
        }
    }
    Ok(())
}

fn draw_series(
    chart: &Chart<'_, '_>,
    series: &Series,
    index: usize,
    x: &Coordinate,
    y: &Coordinate,
) -> Drawn {
    let area = chart.plotting_area();
    let shown = |&(px, py): &(f64, f64)| x.shows(px) && y.shows(py);
    for run in runs(series.points.iter().copied(), shown) {
        area.draw(&line(run, index)).map_err(text)?;
    }
    if series.markers {
        for &point in series.points.iter().filter(|point| shown(point)) {
            area.draw(&marker(point, index)).map_err(text)?;
        }
    }
    Ok(())
}

/// The longest stretches of `items` that are all shown.
fn runs<T>(items: impl Iterator<Item = T>, shown: impl Fn(&T) -> bool) -> Vec<Vec<T>> {
    let mut runs = vec![Vec::new()];
    for item in items {
        if shown(&item) {
            if let Some(run) = runs.last_mut() {
                run.push(item);
            }
        } else {
            runs.push(Vec::new());
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// The colour of the series at `index`.
pub(super) fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// A line of the series at `index`. Where colours come round, it is dashed.
pub(super) fn line<'a, C: Clone + 'static>(
    points: Vec<C>,
    index: usize,
) -> DynElement<'static, SVGBackend<'a>, C> {
    let stroke = colour(index).stroke_width(LINE);
    match index / COLOURS.len() {
        0 => PathElement::new(points, stroke).into_dyn(),
        _ => DashedPathElement::new(points, 7 * FINE, 4 * FINE, stroke).into_dyn(),
    }
}

/// The marker of the series at `index`. Where colours come round, markers don't.
pub(super) fn marker<'a, C: Clone + 'static>(
    at: C,
    index: usize,
) -> DynElement<'static, SVGBackend<'a>, C> {
    let (filled, line) = (colour(index).filled(), colour(index).stroke_width(LINE));
    match (index + index / COLOURS.len()) % 4 {
        0 => Circle::new(at, MARKER_SIZE, filled).into_dyn(),
        1 => TriangleMarker::new(at, MARKER_SIZE + 2 * FINE, filled).into_dyn(),
        2 => Cross::new(at, MARKER_SIZE, line).into_dyn(),
        _ => Circle::new(at, MARKER_SIZE, line).into_dyn(),
    }
}

/// The style of text in the legend.
pub(super) fn legend_text() -> TextStyle<'static> {
    let middle = Pos::new(HPos::Left, VPos::Center);
    TextStyle::from(TICK_FONT.into_font()).color(&INK).pos(middle)
}

/// Replaces the root element by one that scales, has a title and takes the page's colours. The
/// style serves an SVG file that stands alone; its class keeps it off the rest of a page.
fn dress(plot: &Plot, svg: &str) -> Result<String, String> {
    let body = svg.split_once('>').map(|(_, body)| body).ok_or("the SVG has no root")?;
    let body = body.replace("\"#010203\"", "\"currentColor\"");
    let ((width, height), title) = (plot.size, escape(&plot.title));
    let (fine_width, fine_height) = (width * FINE.unsigned_abs(), height * FINE.unsigned_abs());
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {fine_width} {fine_height}\">\n<title>{title}</title>\n\
         <style>svg.plot {{ color: #1f2328 }} @media (prefers-color-scheme: dark) {{ svg.plot \
         {{ color: #e6e9ed }} }} @media print {{ svg.plot {{ color: #000000 }} }}</style>{body}"
    ))
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
