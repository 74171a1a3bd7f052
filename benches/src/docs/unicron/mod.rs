//! The generated parts of unicron's pages.

mod live;

use super::headlines::Headline;
use super::part::Part;
use super::{Generated, pending};
use crate::experiment::{Experiment, read};
use crate::unicron::{
    AllocationRow, Calibration, CalibrationMetrics, Efficiency, EfficiencyMetrics, History,
    Planning, PlanningMetrics, PolicyRow, RealTraces, Replanning, RunError, TraceResult,
};
use common::report::{Align, Axis, Claim, Plot, Series, Table, claims_table};
use std::path::{Path, PathBuf};
use unicron::simulate::plot::plot;

const FOLDER: &str = "docs/unicron";

/// Lines of the history that README.md shows, and what they are called there.
const SHOWN: [(&str, &str); 4] = [
    ("unicron, megatron", "Unicron"),
    ("torchft, megatron", "torchft"),
    ("megatron, megatron", "Megatron-LM"),
    ("oobleck, published", "Oobleck, as published"),
];

/// Reads the newest records below `runs` and adds what they say.
pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let claims = [
        calibration(runs, generated)?,
        planning(runs, generated)?,
        efficiency(runs, generated)?,
        real_traces(runs, generated)?,
        live::generate(runs, generated)?,
    ]
    .concat();
    generated.parts.insert("unicron-claims", claims_table(&claims).into());
    generated.claims.extend(claims);
    Ok(())
}

fn calibration(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["unicron-fitted-runs", "unicron-other-runs", "unicron-strong-scaling"];
    let Some((record, metrics)) = read(&Calibration, runs)? else {
        return Ok(pending(&Calibration, generated, &parts));
    };
    let texts = [
        Part::from(runs_table(&metrics.fitted)).source(&record),
        runs_table(&metrics.checks).into(),
        scaling_table(&metrics).into(),
    ];
    generated.parts.extend(parts.into_iter().zip(texts));
    Ok(Calibration.judged(&metrics))
}

fn planning(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Planning, runs)? else {
        return Ok(pending(&Planning, generated, &["unicron-planning"]));
    };
    generated
        .parts
        .insert("unicron-planning", Part::from(planning_table(&metrics)).source(&record));
    let plot = planning_plot(&metrics).to_svg()?.into_string();
    generated.files.insert(PathBuf::from(FOLDER).join("planning.svg"), plot);
    Ok(Planning.judged(&metrics))
}

fn efficiency(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = [
        "unicron-curves",
        "unicron-allocations",
        "unicron-trace-a",
        "unicron-trace-b",
        "unicron-paper-settings",
        "unicron-ablations",
    ];
    let Some((record, metrics)) = read(&Efficiency, runs)? else {
        return Ok(pending(&Efficiency, generated, &parts));
    };
    let rows = |trace: &str, detection: &str| {
        let mut all = metrics.traces.iter();
        all.find(|rows| rows.trace == trace && rows.detection == detection)
    };
    let table = |trace: &str| {
        rows(trace, "torchrun").map_or_else(Part::pending, |rows| policies_table(&rows.rows).into())
    };
    let texts = [
        curves_table(&metrics).into(),
        Part::from(allocations_table(&metrics.allocations)).source(&record),
        table("a"),
        table("b"),
        settings_table(&metrics).into(),
        ablations_table(&metrics).into(),
    ];
    generated.parts.extend(parts.into_iter().zip(texts));
    generated.headlines.extend(headline(&metrics));
    if let Some(history) = metrics.histories.iter().find(|history| history.trace == "a") {
        let lines: Vec<_> = SHOWN
            .iter()
            .filter_map(|(label, name)| {
                let line = history.lines.iter().find(|(of, _)| of == label)?;
                Some(((*name).to_owned(), line.1.as_slice()))
            })
            .collect();
        let svg = plot("trace-a", history.duration_s, &lines)?.into_string();
        generated.files.insert(PathBuf::from(FOLDER).join("headline.svg"), svg);
    }
    for history in &metrics.histories {
        history_plot(history, &format!("trace-{}", history.trace), generated)?;
    }
    for (index, sensitivity) in metrics.sensitivities.iter().enumerate() {
        let points = |value: fn(&(f64, f64, f64)) -> f64| {
            sensitivity.points.iter().map(|point| (point.0, value(point))).collect()
        };
        let plot = Plot::new(
            format!("Unicron over Megatron on trace-{}", sensitivity.trace),
            Axis::log10(sensitivity.assumption.clone()),
            Axis::linear("accumulated WAF, ratio"),
        )
        .series(Series::new("mean of the seeds", points(|point| point.1)))
        .series(Series::new("lower end, 95 %", points(|point| point.1 - point.2)))
        .series(Series::new("upper end, 95 %", points(|point| point.1 + point.2)));
        let path = PathBuf::from(FOLDER).join(format!("sensitivity-{}.svg", index + 1));
        generated.files.insert(path, plot.to_svg()?.into_string());
    }
    Ok(Efficiency.judged(&metrics))
}

/// Over Megatron-LM's best variant, on the trace whose failures are the denser.
fn headline(metrics: &EfficiencyMetrics) -> Option<Headline> {
    let row = metrics.row("b", "megatron")?;
    let (ratio, ci95) = row.ratio?;
    let claims = Efficiency.judged(metrics);
    let is_it = |claim: &&Claim| claim.claim.contains("over megatron's, trace-b");
    let paper = claims.iter().find(is_it).map_or("-", |claim| &claim.promised);
    let spares = match row.spares {
        1 => "1 spare node".to_owned(),
        spares => format!("{spares} spare nodes"),
    };
    Some(Headline {
        system: "unicron",
        what: format!(
            "weighted FLOPs of training in a simulation of failures (trace-b), over Megatron-LM with {spares}"
        ),
        here: format!("{ratio:.2} x ± {ci95:.2}"),
        beside: format!("the paper: {paper}"),
    })
}

fn real_traces(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["unicron-infinitehbd", "unicron-llama3", "unicron-infinitehbd-speed"];
    let Some((record, metrics)) = read(&RealTraces, runs)? else {
        return Ok(pending(&RealTraces, generated, &parts));
    };
    let table = |trace: &str| {
        let result = metrics.traces.iter().find(|result| result.trace == trace);
        result.map_or_else(Part::pending, |result| {
            Part::from(scope(result)).table(policies_table(&result.rows)).source(&record)
        })
    };
    let texts = [table("infinitehbd"), table("llama3"), replanning(&metrics.replanning).into()];
    generated.parts.extend(parts.into_iter().zip(texts));
    for result in &metrics.traces {
        history_plot(&result.history, &result.trace, generated)?;
    }
    Ok(RealTraces.judged(&metrics))
}

fn scope(result: &TraceResult) -> String {
    let TraceResult { gpus, tasks, days, seeds, seconds, .. } = result;
    format!(
        "{tasks} tasks on {gpus} GPUs over {days:.0} days, {seeds} seeds; all policies took {seconds:.0} s."
    )
}

/// WAF over time of some policies, as a file of its own.
fn history_plot(history: &History, name: &str, generated: &mut Generated) -> anyhow::Result<()> {
    let lines: Vec<_> =
        history.lines.iter().map(|(label, series)| (label.clone(), series.as_slice())).collect();
    let svg = plot(name, history.duration_s, &lines)?.into_string();
    generated.files.insert(PathBuf::from(FOLDER).join(format!("{name}.svg")), svg);
    Ok(())
}

fn replanning(replanning: &Replanning) -> String {
    let Replanning { events_per_s, events_per_s_without, table } = replanning;
    let plans = table.found + table.solved_while_building + table.solved_unexpected;
    format!(
        "Events a second on one thread: {events_per_s:.0} with the cluster planned anew after every lost and \
         every repaired node, {events_per_s_without:.0} with every task by itself.\n\n\
         The table of plans over the replay of nodes' faults and repairs: {:.0} entries in {:.0} kB on \
         average, built in {:.1} ms. Of {plans} plans that changed something {} were in it; {} were solved \
         for while it was being built (a second was allowed), {} because it had nothing like that.",
        table.entries,
        table.bytes / 1e3,
        table.build_ms,
        table.found,
        table.solved_while_building,
        table.solved_unexpected,
    )
}

/// GPUs by model, in PFLOP/s.
fn curves_table(metrics: &EfficiencyMetrics) -> Table {
    let models = metrics.curves.iter().map(|curve| (curve.model.as_str(), Align::Right));
    let columns: Vec<_> = [("GPUs", Align::Right)].into_iter().chain(models).collect();
    let mut table = Table::new(&columns);
    let counts = metrics.curves.first().map_or(&[][..], |curve| &curve.points);
    for (index, (gpus, _)) in counts.iter().enumerate() {
        let cell = |flops: f64| if flops > 0.0 { format!("{flops:.2}") } else { "-".to_owned() };
        let cells = metrics.curves.iter().map(|curve| cell(curve.points[index].1));
        table.row([gpus.to_string()].into_iter().chain(cells));
    }
    table
}

/// Cases by strategy, in weighted PFLOP/s.
fn allocations_table(rows: &[AllocationRow]) -> Table {
    let mut strategies: Vec<&str> = Vec::new();
    let mut cases: Vec<&str> = Vec::new();
    for row in rows {
        if !strategies.contains(&row.strategy.as_str()) {
            strategies.push(&row.strategy);
        }
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    let columns = strategies.iter().map(|&strategy| (strategy, Align::Right));
    let columns: Vec<_> = [("case", Align::Left)].into_iter().chain(columns).collect();
    let mut table = Table::new(&columns);
    for case in cases {
        let cell = |strategy: &&str| {
            let found = rows.iter().find(|row| row.case == case && row.strategy == *strategy);
            found.map_or(String::new(), |row| match row.starved {
                0 => format!("{:.2}", row.waf),
                starved => format!("{:.2} ({starved} starved)", row.waf),
            })
        };
        table.row([case.to_owned()].into_iter().chain(strategies.iter().map(cell)));
    }
    table
}

fn policies_table(rows: &[PolicyRow]) -> Table {
    let mut table = Table::new(&[
        ("policy", Align::Left),
        ("throughput", Align::Left),
        ("spares", Align::Right),
        ("WAF, EFLOP", Align::Right),
        ("Unicron / it", Align::Right),
        ("efficiency", Align::Right),
        ("of the bound", Align::Right),
        ("useful", Align::Right),
        ("detecting", Align::Right),
        ("in transition", Align::Right),
        ("redone", Align::Right),
        ("idle", Align::Right),
        ("starved", Align::Right),
    ]);
    let percent = |part: f64| format!("{:.1} %", 100.0 * part);
    for row in rows {
        let mark = if row.is_best_variant && row.policy == "megatron" { " *" } else { "" };
        let ratio =
            row.ratio.map_or("-".to_owned(), |(ratio, ci95)| format!("{ratio:.2} ± {ci95:.2}"));
        let cells = [
            row.policy.clone() + mark,
            row.throughput.clone(),
            row.spares.to_string(),
            format!("{:.0}", row.waf),
            ratio,
            percent(row.efficiency),
            percent(row.of_bound),
        ];
        let bins = row.bins.map(percent);
        let starved = format!("{:.2}", row.starved_mean);
        table.row(cells.into_iter().chain(bins).chain([starved]));
    }
    table
}

/// Ratios under both settings of detection: best variants only.
fn settings_table(metrics: &EfficiencyMetrics) -> Table {
    let mut table = Table::new(&[
        ("trace", Align::Left),
        ("policy", Align::Left),
        ("torchrun's defaults", Align::Right),
        ("the paper's settings", Align::Right),
    ]);
    for trace in ["a", "b"] {
        let ratios = |detection: &str, policy: &str| {
            let of = metrics
                .traces
                .iter()
                .find(|rows| rows.trace == trace && rows.detection == detection);
            let row = of?.rows.iter().find(|row| row.policy == policy && row.is_best_variant)?;
            row.ratio.map(|(ratio, ci95)| format!("{ratio:.2} ± {ci95:.2}"))
        };
        for policy in
            ["megatron", "oobleck", "varuna", "bamboo", "recycle", "torchft", "nvrx", "dlrover"]
        {
            let cell = |detection| ratios(detection, policy).unwrap_or_else(|| "-".to_owned());
            table.row([trace.to_owned(), policy.to_owned(), cell("torchrun"), cell("paper")]);
        }
    }
    table
}

fn ablations_table(metrics: &EfficiencyMetrics) -> Table {
    let mut table = Table::new(&[
        ("trace", Align::Left),
        ("rule", Align::Left),
        ("WAF over ours", Align::Right),
        ("starved", Align::Right),
    ]);
    for row in &metrics.ablations {
        let (ratio, ci95) = row.ratio;
        table.row([
            row.trace.clone(),
            row.rule.clone(),
            format!("{ratio:.5} ± {ci95:.5}"),
            format!("{:.2}", row.starved_mean),
        ]);
    }
    table
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
