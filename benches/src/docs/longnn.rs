//! The generated parts of longnn's pages.

use super::{Generated, with_source};
use crate::experiment::{Experiment, read};
use crate::longnn::{Bases, BasesMetrics, FilterMetrics, Filters};
use common::report::{Align, Axis, Claim, Plot, Series, Svg, Table, claims_table};
use longnn::experiment::fit_filters::{FittedTarget, PUBLISHED};
use longnn::plot::{Channel, FilterPlot};
use std::path::{Path, PathBuf};

const FOLDER: &str = "docs/longnn";

/// Stands where a record is still to be made: pages may be ahead of the long runs.
const PENDING: &str = "No record yet.";

/// Reads the newest records below `runs` and adds what they say.
pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let claims = [bases(runs, generated)?, filters(runs, generated)?].concat();
    generated.parts.insert("longnn-claims", claims_table(&claims).to_markdown());
    Ok(())
}

fn bases(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read::<Bases>(runs)? else {
        return Ok(pending::<Bases>(generated, &["longnn-bases"]));
    };
    generated.parts.insert("longnn-bases", with_source(&bases_table(&metrics), &record));
    picture(generated, "bases.svg", &bases_plot(&metrics).to_svg()?);
    Ok(Bases::claims(&metrics))
}

fn filters(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read::<Filters>(runs)? else {
        let parts = ["longnn-fits", "longnn-fits-published"];
        return Ok(pending::<Filters>(generated, &parts));
    };
    generated.parts.insert("longnn-fits", with_source(&fits_table(&metrics), &record));
    let published = published_table(&metrics).to_markdown();
    generated.parts.insert("longnn-fits-published", published);
    picture(generated, "fitted-filters.svg", &fitted_plot(&metrics).to_svg()?);
    Ok(Filters::claims(&metrics))
}

fn pending<E: Experiment>(generated: &mut Generated, parts: &[&'static str]) -> Vec<Claim> {
    generated.parts.extend(parts.iter().map(|&part| (part, PENDING.to_owned())));
    E::open_claims("no record yet")
}

fn picture(generated: &mut Generated, name: &str, svg: &Svg) {
    generated.files.insert(PathBuf::from(FOLDER).join(name), svg.as_str().to_owned());
}

fn bases_table(metrics: &BasesMetrics) -> Table {
    let mut table = Table::new(&[
        ("order k", Align::Right),
        ("error, of max |P_k|", Align::Right),
        ("largest |P_k|", Align::Right),
    ]);
    for order in metrics.orders.iter().filter(|order| order.k > 0 && order.k % 5 == 0) {
        table.row([
            order.k.to_string(),
            format!("{:.1e}", order.error),
            format!("{:.1e}", order.largest_value),
        ]);
    }
    table
}

fn bases_plot(metrics: &BasesMetrics) -> Plot {
    // An order without any error has no logarithm.
    let measured = metrics.orders.iter().filter(|order| order.error > 0.0);
    let points = measured.map(|order| (order.k as f64, order.error)).collect();
    Plot::new(
        "Error of the change of basis by order",
        Axis::linear("order k"),
        Axis::log10("largest error, as a part of max |P_k|"),
    )
    .series(Series::new("Jacobi through Chebyshev", points))
}

fn fits_table(metrics: &FilterMetrics) -> Table {
    let mut table = Table::new(&[
        ("filter", Align::Left),
        ("floor", Align::Right),
        ("LON-GNN", Align::Right),
        ("ratio", Align::Right),
        ("worst image", Align::Right),
        ("R²", Align::Right),
        ("epochs", Align::Right),
        ("a, b: start", Align::Right),
        ("a, b: end", Align::Right),
    ]);
    for row in &metrics.rows {
        table.row([
            row.target.name().to_owned(),
            format!("{:.4e}", row.floor),
            format!("{:.4e}", row.descent),
            format!("{:.4}", row.ratio),
            format!("{:.2}", row.largest_ratio),
            format!("{:.6}", row.descent_r_squared),
            format!("{:.0}", row.epochs),
            format!("{}, {}", row.start.0, row.start.1),
            format!("{:.4}, {:.4}", row.end.0, row.end.1),
        ]);
    }
    table
}

/// The papers' rows under ours.
fn published_table(metrics: &FilterMetrics) -> Table {
    let names = metrics.rows.iter().map(|row| (row.target.name(), Align::Right));
    let columns: Vec<_> = [("model", Align::Left)].into_iter().chain(names).collect();
    let mut table = Table::new(&columns);
    let mut row = |name: String, errors: Vec<f64>| {
        let errors = errors.into_iter().map(|error| format!("{error:.4}"));
        table.row([name].into_iter().chain(errors));
    };
    for fit in PUBLISHED {
        let name = fit.model.to_owned() + if fit.confirmed { "" } else { " (from memory)" };
        row(name, fit.squared_errors.to_vec());
    }
    let of = |value: fn(&FittedTarget) -> f64| metrics.rows.iter().map(value).collect();
    row("LON-GNN, here".to_owned(), of(|row| row.descent));
    row("floor of degree 10, here".to_owned(), of(|row| row.floor));
    table
}

/// What the descents found, mean over images.
fn fitted_plot(metrics: &FilterMetrics) -> FilterPlot {
    let channel = |row: &FittedTarget| Channel {
        label: row.target.name().to_owned(),
        coefficients: row.chebyshev.clone(),
    };
    FilterPlot {
        title: format!("LON-GNN's filters, mean over {} images", metrics.images),
        channels: metrics.rows.iter().map(channel).collect(),
        density: Vec::new(),
    }
}
