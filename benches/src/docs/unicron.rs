//! The generated parts of unicron's pages.

use super::{Generated, with_source};
use crate::experiment::{Experiment, read};
use crate::unicron::{Calibration, CalibrationMetrics, Planning, PlanningMetrics, RunError};
use common::report::{Align, Axis, Claim, Plot, Series, Table, claims_table};
use std::path::{Path, PathBuf};

const FOLDER: &str = "docs/unicron";

/// Stands where a record is still to be made.
const PENDING: &str = "No record yet.";

/// Reads the newest records below `runs` and adds what they say.
pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let claims = [calibration(runs, generated)?, planning(runs, generated)?].concat();
    generated.parts.insert("unicron-claims", claims_table(&claims).to_markdown());
    Ok(())
}

fn calibration(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["unicron-fitted-runs", "unicron-other-runs", "unicron-strong-scaling"];
    let Some((record, metrics)) = read(&Calibration, runs)? else {
        generated.parts.extend(parts.map(|part| (part, PENDING.to_owned())));
        return Ok(Calibration.open_claims("no record yet"));
    };
    let texts = [
        with_source(&runs_table(&metrics.fitted), &record),
        runs_table(&metrics.checks).to_markdown(),
        scaling_table(&metrics).to_markdown(),
    ];
    generated.parts.extend(parts.into_iter().zip(texts));
    Ok(Calibration.claims(&metrics))
}

fn planning(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Planning, runs)? else {
        generated.parts.insert("unicron-planning", PENDING.to_owned());
        return Ok(Planning.open_claims("no record yet"));
    };
    generated.parts.insert("unicron-planning", with_source(&planning_table(&metrics), &record));
    let plot = planning_plot(&metrics).to_svg()?.into_string();
    generated.files.insert(PathBuf::from(FOLDER).join("planning.svg"), plot);
    Ok(Planning.claims(&metrics))
}

fn runs_table(runs: &[RunError]) -> Table {
    let mut table = Table::new(&[
        ("model", Align::Left),
        ("source", Align::Left),
        ("GPUs", Align::Right),
        ("published, TFLOP/s", Align::Right),
        ("model, TFLOP/s", Align::Right),
        ("error", Align::Right),
        ("foretold from the others", Align::Right),
    ]);
    for run in runs {
        let left_out = run.left_out_error;
        table.row([
            run.model.clone(),
            run.source.clone(),
            run.gpus.to_string(),
            format!("{:.1}", run.published),
            format!("{:.1}", run.predicted),
            format!("{:+.1} %", run.error()),
            left_out.map_or("-".to_owned(), |error| format!("{error:+.1} %")),
        ]);
    }
    table
}

fn scaling_table(metrics: &CalibrationMetrics) -> Table {
    let mut table = Table::new(&[
        ("GPUs", Align::Right),
        ("utilisation", Align::Right),
        ("arrangement", Align::Left),
    ]);
    for row in &metrics.scaling {
        let utilisation = format!("{:.1} %", row.utilisation);
        table.row([row.gpus.to_string(), utilisation, row.shape.clone()]);
    }
    table
}

fn planning_table(metrics: &PlanningMetrics) -> Table {
    let mut table = Table::new(&[
        ("GPUs", Align::Right),
        ("tasks", Align::Right),
        ("plan, five models, ms", Align::Right),
        ("plan, each its own, ms", Align::Right),
        ("plan after a loss, ms", Align::Right),
        ("table, s", Align::Right),
        ("entries", Align::Right),
        ("table, MB", Align::Right),
        ("event to class, µs", Align::Right),
        ("look-up, µs", Align::Right),
    ]);
    for row in &metrics.rows {
        table.row([
            row.gpus.to_string(),
            row.tasks.to_string(),
            format!("{:.2}", row.plan_ms),
            format!("{:.2}", row.plan_of_distinct_ms),
            format!("{:.2}", row.replan_ms),
            format!("{:.2}", row.table_s),
            row.entries.to_string(),
            format!("{:.1}", row.table_bytes as f64 / 1e6),
            format!("{:.2}", row.classify_us),
            format!("{:.2}", row.look_up_us),
        ]);
    }
    table
}

fn planning_plot(metrics: &PlanningMetrics) -> Plot {
    let points = |value: fn(&crate::unicron::PlanningRow) -> f64| {
        metrics.rows.iter().map(|row| (row.gpus as f64, value(row))).collect()
    };
    Plot::new("Planning by the size of the cluster", Axis::log10("GPUs"), Axis::log10("seconds"))
        .series(Series::new("plan, five models", points(|row| row.plan_ms / 1e3)))
        .series(Series::new(
            "plan, every task its own",
            points(|row| row.plan_of_distinct_ms / 1e3),
        ))
        .series(Series::new("plan after a loss", points(|row| row.replan_ms / 1e3)))
        .series(Series::new("table of what may happen next", points(|row| row.table_s)))
}
