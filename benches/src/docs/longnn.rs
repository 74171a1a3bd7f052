//! The generated parts of longnn's pages.

use super::headlines::Headline;
use super::part::{Part, origin};
use super::{Generated, pending};
use crate::experiment::{Experiment, read};
use crate::longnn::{
    Accuracy, AccuracyMetrics, Bases, BasesMetrics, FilterMetrics, Filters, Speed, SpeedMetrics,
};
use common::report::{Align, Axis, Claim, Plot, Series, Svg, Table, claims_table};
use common::statistics::Estimate;
use longnn::experiment::compare::{Row, mean_difference_of_lon};
use longnn::experiment::fit_filters::{FittedTarget, PUBLISHED};
use longnn::experiment::published::Published;
use longnn::experiment::verdict::Verdict;
use longnn::model::Architecture;
use longnn::plot::{Channel, FilterPlot};
use longnn::train::Evaluation;
use std::path::{Path, PathBuf};

const FOLDER: &str = "docs/longnn";

/// Reads the newest records below `runs` and adds what they say.
pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let claims = [
        bases(runs, generated)?,
        filters(runs, generated)?,
        speed(runs, generated)?,
        accuracy(runs, generated)?,
    ]
    .concat();
    generated.parts.insert("longnn-claims", claims_table(&claims).into());
    generated.claims.extend(claims);
    Ok(())
}

fn bases(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Bases, runs)? else {
        return Ok(pending(&Bases, generated, &["longnn-bases"]));
    };
    generated.parts.insert("longnn-bases", Part::from(bases_table(&metrics)).source(&record));
    picture(generated, "bases.svg", &bases_plot(&metrics).to_svg()?);
    Ok(Bases.judged(&metrics))
}

fn filters(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Filters, runs)? else {
        let parts = ["longnn-fits", "longnn-fits-published"];
        return Ok(pending(&Filters, generated, &parts));
    };
    generated.parts.insert("longnn-fits", Part::from(fits_table(&metrics)).source(&record));
    generated.parts.insert("longnn-fits-published", published_table(&metrics).into());
    picture(generated, "fitted-filters.svg", &fitted_plot(&metrics).to_svg()?);
    Ok(Filters.judged(&metrics))
}

/// Of the graphs that have a record.
fn accuracy(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let (mut claims, mut sources, mut graphs) = (Vec::new(), Vec::new(), Vec::new());
    for experiment in Accuracy::all() {
        let Some((record, metrics)) = read(&experiment, runs)? else {
            claims.extend(experiment.open_claims("no record yet"));
            continue;
        };
        claims.extend(experiment.judged(&metrics));
        if let (Some(plot), Some(row)) = (&metrics.filters, metrics.rows.first()) {
            picture(generated, &format!("{}.svg", row.dataset), &plot.to_svg()?);
        }
        // Without the time: seeds of an interrupted run are kept for the next one.
        sources.push(format!("`{}`, {}", record.command, origin(&record)));
        graphs.push(metrics);
    }
    generated.headlines.push(headline(&graphs));
    sources.dedup();
    let table = |table: Table| if graphs.is_empty() { Part::pending() } else { Part::from(table) };
    generated.parts.extend([
        ("longnn-lon", table(lon_table(&graphs)).text(sources.join("  \n"))),
        ("longnn-lon-verdict", lon_verdict(&graphs).into()),
        ("longnn-models", table(models_table(&graphs))),
        ("longnn-pairs", table(pairs_table(&graphs))),
        ("longnn-training", table(training_table(&graphs))),
    ]);
    Ok(claims)
}

fn speed(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["longnn-speed", "longnn-products"];
    let Some((record, metrics)) = read(&Speed, runs)? else {
        return Ok(pending(&Speed, generated, &parts));
    };
    let texts =
        [Part::from(speed_table(&metrics)).source(&record), products_table(&metrics).into()];
    generated.parts.extend(parts.into_iter().zip(texts));
    Ok(Speed.judged(&metrics))
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

/// LON-GNN under both evaluations, each beside what it is held against.
fn lon_table(graphs: &[AccuracyMetrics]) -> Table {
    let mut table = Table::new(&[
        ("graph", Align::Left),
        ("seeds", Align::Right),
        ("paper", Align::Right),
        ("official: here", Align::Right),
        ("re-implementation", Align::Right),
        ("verdict", Align::Left),
        ("clean: here", Align::Right),
        ("re-implementation", Align::Right),
        ("verdict", Align::Left),
    ]);
    for graph in graphs {
        let row = |evaluation| row_of(graph, Architecture::Lon, evaluation);
        let (Some(official), Some(clean)) = (row(Evaluation::Official), row(Evaluation::Clean))
        else {
            continue;
        };
        let paper = official.published.as_ref().map_or("-".to_owned(), |paper| {
            let memory = if paper.confirmed { "" } else { " *" };
            format!("{:.2} ± {:.2}{memory}", paper.mean, paper.plus_minus)
        });
        let cells = [official, clean].map(|row| {
            let reference = row.reimplementation.as_ref();
            let reference = reference
                .map_or("-".to_owned(), |other| format!("{:.2} ± {:.2}", other.mean, other.std));
            [with_spread(row.test_accuracy_mean, row.test_accuracy_std), reference, verdict(row)]
        });
        let row = [official.dataset.clone(), official.seeds.to_string(), paper];
        table.row(row.into_iter().chain(cells.into_iter().flatten()));
    }
    table
}

/// The mean over the graphs beside that of the paper's table.
fn headline(graphs: &[AccuracyMetrics]) -> Headline {
    let rows =
        graphs.iter().filter_map(|graph| row_of(graph, Architecture::Lon, Evaluation::Official));
    let pairs: Vec<(f64, &Published)> =
        rows.filter_map(|row| Some((row.test_accuracy_mean?, row.published.as_ref()?))).collect();
    let (here, paper): (Vec<f64>, Vec<f64>) =
        pairs.iter().map(|(here, paper)| (here, paper.mean)).unzip();
    let from_memory = match pairs.iter().filter(|(_, paper)| !paper.confirmed).count() {
        0 => String::new(),
        n => format!(" ({n} of {} from memory)", pairs.len()),
    };
    let percent = |values: &[f64]| format!("{:.1} %", Estimate::of(values).mean);
    Headline {
        system: "longnn",
        what: format!("test accuracy of LON-GNN, mean over {} of the paper's graphs", here.len()),
        here: percent(&here),
        beside: format!("the paper: {}{from_memory}", percent(&paper)),
    }
}

fn lon_verdict(graphs: &[AccuracyMetrics]) -> String {
    let points = |evaluation| {
        let rows = graphs.iter().flat_map(|graph| &graph.rows);
        let rows: Vec<Row> = rows.filter(|row| row.evaluation == evaluation).cloned().collect();
        let difference = mean_difference_of_lon(&rows);
        difference.map_or("-".to_owned(), |points| format!("{points:+.2} points"))
    };
    format!(
        "Mean signed difference from the re-implementation over the graphs: official evaluation {}, \
         clean evaluation {}.",
        points(Evaluation::Official),
        points(Evaluation::Clean),
    )
}

/// All models by graph, cleanly evaluated: mean and 95 % interval, and what was published.
fn models_table(graphs: &[AccuracyMetrics]) -> Table {
    let names = graphs.iter().filter_map(|graph| graph.rows.first());
    let columns: Vec<_> = [("model", Align::Left)]
        .into_iter()
        .chain(names.map(|row| (row.dataset.as_str(), Align::Right)))
        .collect();
    let mut table = Table::new(&columns);
    for model in Architecture::ALL {
        let cell =
            |graph| row_of(graph, model, Evaluation::Clean).map_or(String::new(), model_cell);
        let cells: Vec<String> = graphs.iter().map(cell).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            table.row([model.title().to_owned()].into_iter().chain(cells));
        }
    }
    table
}

fn row_of(graph: &AccuracyMetrics, model: Architecture, evaluation: Evaluation) -> Option<&Row> {
    graph.rows.iter().find(|row| row.model == model && row.evaluation == evaluation)
}

/// `88.1 ± 0.5 (88.0)`, with what was published in brackets and a mark where that is not near.
fn model_cell(row: &Row) -> String {
    let here = with_spread(row.test_accuracy_mean, row.test_accuracy_ci95);
    let published = row.published.as_ref();
    let published = published.map_or("-".to_owned(), |paper| format!("{:.1}", paper.mean));
    let mark = if row.verdict == Some(Verdict::Differs) { " !" } else { "" };
    format!("{here} ({published}){mark}")
}

fn pairs_table(graphs: &[AccuracyMetrics]) -> Table {
    let mut table = Table::new(&[
        ("graph", Align::Left),
        ("best baseline by validation", Align::Left),
        ("LON-GNN's lead, 95 %", Align::Right),
        ("p, paired t", Align::Right),
        ("p, Wilcoxon", Align::Right),
        ("seeds", Align::Right),
    ]);
    let p = |p: Option<f64>| p.map_or("-".to_owned(), |p| format!("{p:.3}"));
    for pair in graphs.iter().filter_map(|graph| graph.pairing.as_ref()) {
        let ci95 = pair.difference_ci95.map_or(String::new(), |ci95| format!(" ± {ci95:.2}"));
        table.row([
            pair.dataset.clone(),
            pair.baseline.title().to_owned(),
            format!("{:+.2}{ci95}", pair.difference_mean),
            p(pair.t_test_p),
            p(pair.wilcoxon_p),
            pair.seeds.to_string(),
        ]);
    }
    table
}

/// LON-GNN's training by graph.
fn training_table(graphs: &[AccuracyMetrics]) -> Table {
    let mut table = Table::new(&[
        ("graph", Align::Left),
        ("epochs", Align::Right),
        ("over-passing index, median", Align::Right),
    ]);
    let lon = |graph| row_of(graph, Architecture::Lon, Evaluation::Clean);
    for row in graphs.iter().filter_map(lon) {
        table.row([
            row.dataset.clone(),
            number(row.epochs_mean, 0),
            number(row.over_passing_median, 2),
        ]);
    }
    table
}

/// LON-GNN's epochs by graph.
fn speed_table(metrics: &SpeedMetrics) -> Table {
    let mut table = Table::new(&[
        ("graph", Align::Left),
        ("nodes", Align::Right),
        ("entries", Align::Right),
        ("one seed, ms", Align::Right),
        ("ten seeds, ms", Align::Right),
        ("ten / one", Align::Right),
        ("ten trained, s", Align::Right),
    ]);
    for row in &metrics.rows {
        table.row([
            row.graph.clone(),
            row.nodes.to_string(),
            row.entries.to_string(),
            format!("{:.2}", row.epoch),
            format!("{:.2}", row.epoch_of_ten),
            format!("{:.1}", row.epoch_of_ten / row.epoch),
            number(row.training_s, 0),
        ]);
    }
    table
}

/// The sparse product beside those of others.
fn products_table(metrics: &SpeedMetrics) -> Table {
    let all = format!("{} threads, µs", metrics.threads);
    let mut table = Table::new(&[
        ("graph", Align::Left),
        ("1 thread, µs", Align::Right),
        (&all, Align::Right),
        ("sprs, µs", Align::Right),
        ("scipy, µs", Align::Right),
        ("sprs / 1 thread", Align::Right),
        ("scipy / 1 thread", Align::Right),
    ]);
    let micros = |ms: f64| format!("{:.0}", 1e3 * ms);
    for row in &metrics.rows {
        table.row([
            row.graph.clone(),
            micros(row.step),
            micros(row.step_on_all),
            micros(row.sprs),
            row.scipy.map_or("-".to_owned(), micros),
            format!("{:.1}", row.sprs / row.step),
            number(row.scipy.map(|scipy| scipy / row.step), 1),
        ]);
    }
    table
}

fn with_spread(mean: Option<f64>, spread: Option<f64>) -> String {
    let mean = number(mean, 2);
    spread.map_or(mean.clone(), |spread| format!("{mean} ± {spread:.2}"))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

fn verdict(row: &Row) -> String {
    let verdict = row.verdict.map_or("no result", Verdict::name);
    match &row.difference {
        Some(difference) => {
            format!("{verdict} ({:+.2}, bound {:.2})", difference.points, difference.bound)
        }
        None => verdict.to_owned(),
    }
}
