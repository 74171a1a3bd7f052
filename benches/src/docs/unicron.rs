//! The generated parts of unicron's pages.

use super::{Generated, with_source};
use crate::experiment::{Experiment, read};
use crate::unicron::{
    AllocationRow, Calibration, CalibrationMetrics, Detection, DetectionMetrics, Efficiency,
    EfficiencyMetrics, Hangs, HangsMetrics, InfiniteHbd, InfiniteHbdMetrics, Overhead,
    OverheadMetrics, Planning, PlanningMetrics, PolicyRow, Reduction, ReductionMetrics, RunError,
    Scale, ScaleMetrics,
};
use common::report::{Align, Axis, Claim, Plot, Series, Table, claims_table};
use common::statistics::median;
use std::path::{Path, PathBuf};
use unicron::simulate::plot::plot;

const FOLDER: &str = "docs/unicron";

/// Stands where a record is still to be made.
const PENDING: &str = "No record yet.";

/// Reads the newest records below `runs` and adds what they say.
pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let claims = [
        calibration(runs, generated)?,
        planning(runs, generated)?,
        efficiency(runs, generated)?,
        infinitehbd(runs, generated)?,
        detection(runs, generated)?,
        overhead(runs, generated)?,
        scale(runs, generated)?,
    ]
    .concat();
    hangs(runs, generated)?;
    reduction(runs, generated)?;
    generated.parts.insert("unicron-claims", claims_table(&claims).to_markdown());
    Ok(())
}

fn detection(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Detection, runs)? else {
        generated.parts.insert("unicron-detection", PENDING.to_owned());
        return Ok(Detection.open_claims("no record yet"));
    };
    generated.parts.insert("unicron-detection", with_source(&detection_table(&metrics), &record));
    Ok(Detection.claims(&metrics))
}

/// Times by fault.
fn detection_table(metrics: &DetectionMetrics) -> Table {
    let mut table = Table::new(&[
        ("fault", Align::Left),
        ("injected", Align::Right),
        ("noticed, median", Align::Right),
        ("95 % within", Align::Right),
        ("slowest", Align::Right),
        ("goal", Align::Right),
        ("the paper", Align::Right),
        ("a plain time-out", Align::Right),
        ("next iteration, median", Align::Right),
        ("handled by", Align::Left),
        ("micro-batches redone", Align::Right),
        ("iterations redone", Align::Right),
    ]);
    let seconds = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{:.2} s", ms / 1e3));
    for row in &metrics.rows {
        table.row([
            row.fault.clone(),
            row.detected_ms.len().to_string(),
            seconds(row.detected_within(0.5)),
            seconds(row.detected_within(0.95)),
            seconds(row.detected_within(1.0)),
            seconds(row.at_most(metrics.iteration_ms)),
            row.paper().to_owned(),
            row.without().to_owned(),
            seconds(median(&row.recovered_ms)),
            row.handled_by.join("; "),
            row.recomputed_micro_batches.to_string(),
            row.iterations_back.to_string(),
        ]);
    }
    table
}

fn overhead(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Overhead, runs)? else {
        generated.parts.insert("unicron-overhead", PENDING.to_owned());
        return Ok(Overhead.open_claims("no record yet"));
    };
    generated.parts.insert("unicron-overhead", with_source(&overhead_table(&metrics), &record));
    Ok(Overhead.claims(&metrics))
}

/// What watching costs.
fn overhead_table(metrics: &OverheadMetrics) -> Table {
    let mut table = Table::new(&[("what", Align::Left), ("cost", Align::Right)]);
    let without: Vec<f64> = metrics.pairs.iter().map(|pair| pair.0).collect();
    let slower = metrics.slower();
    let mut row = |what: &str, cost: String| {
        table.row([what.to_owned(), cost]);
    };
    row(
        "an iteration unwatched, median",
        format!("{:.0} ms", median(&without).unwrap_or(f64::NAN)),
    );
    row(
        &format!("longer with an agent that watches, mean of {} pairs, 95 %", metrics.pairs.len()),
        format!("{:+.2} % ± {:.2}", slower.mean, slower.half_width_95()),
    );
    let message = metrics.worker_us_per_message;
    let messages = (metrics.messages_per_iteration + metrics.micro_batches) as f64;
    row("worker, a micro-batch: one message", format!("{message:.1} µs"));
    row(
        &format!("worker, an iteration of {} micro-batches", metrics.micro_batches),
        format!("{:.0} µs", message * messages),
    );
    row("agent, an iteration", format!("{:.0} µs", metrics.agent_us_per_iteration));
    row("agent, a second without workers", format!("{:.0} µs", metrics.agent_us_per_idle_s));
    table
}

fn reduction(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let text = match read(&Reduction, runs)? {
        Some((record, metrics)) => with_source(&reduction_table(&metrics), &record),
        None => PENDING.to_owned(),
    };
    generated.parts.insert("unicron-reduction", text);
    Ok(())
}

/// Tree beside ring.
fn reduction_table(metrics: &ReductionMetrics) -> Table {
    let mut table = Table::new(&[
        ("replicas", Align::Right),
        ("tree sends, vectors", Align::Right),
        ("ring", Align::Right),
        ("tree holds, vectors", Align::Right),
        ("ring", Align::Right),
        ("tree, ms", Align::Right),
        ("ring, ms", Align::Right),
        ("tree: bits of one replica", Align::Left),
        ("ring", Align::Left),
    ]);
    let vectors = |bytes: u64| format!("{:.2}", bytes as f64 / metrics.vector_bytes as f64);
    let is_so = |is: bool| if is { "yes" } else { "no" }.to_owned();
    for row in &metrics.rows {
        table.row([
            row.replicas.to_string(),
            vectors(row.tree.sent_bytes),
            vectors(row.ring.sent_bytes),
            vectors(row.tree.held_bytes),
            vectors(row.ring.held_bytes),
            format!("{:.1}", row.tree.ms),
            format!("{:.1}", row.ring.ms),
            is_so(row.tree_equals_one),
            is_so(row.ring_equals_one),
        ]);
    }
    table
}

fn hangs(runs: &Path, generated: &mut Generated) -> anyhow::Result<()> {
    let text = match read(&Hangs, runs)? {
        Some((record, metrics)) => with_source(&hangs_table(&metrics), &record),
        None => PENDING.to_owned(),
    };
    generated.parts.insert("unicron-hangs", text);
    Ok(())
}

/// False alarms and misses.
fn hangs_table(metrics: &HangsMetrics) -> Table {
    let mut table = Table::new(&[
        ("iterations", Align::Left),
        ("hours", Align::Right),
        ("median", Align::Right),
        ("longest", Align::Right),
        ("alarm at", Align::Left),
        ("false alarms", Align::Right),
        ("of stalls ≥ 2 x missed", Align::Right),
        ("≥ 3 x", Align::Right),
        ("≥ 10 x", Align::Right),
    ]);
    for series in &metrics.series {
        for row in &series.rows {
            let percent = |part: f64| format!("{:.0} %", 100.0 * part);
            table.row([
                series.name.clone(),
                format!("{:.2}", series.hours),
                format!("{:.0} ms", series.median_ms),
                format!("{:.0} ms", series.longest_ms),
                row.rule.clone(),
                row.false_alarms.to_string(),
                percent(row.missed_of_2),
                percent(row.missed_of_3),
                percent(row.missed_of_10),
            ]);
        }
    }
    table
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
        generated.parts.extend(parts.map(|part| (part, PENDING.to_owned())));
        return Ok(Efficiency.open_claims("no record yet"));
    };
    let rows = |trace: &str, detection: &str| {
        let mut all = metrics.traces.iter();
        all.find(|rows| rows.trace == trace && rows.detection == detection)
    };
    let table = |trace: &str| {
        rows(trace, "torchrun")
            .map_or(PENDING.to_owned(), |rows| policies_table(&rows.rows).to_markdown())
    };
    let texts = [
        curves_table(&metrics).to_markdown(),
        with_source(&allocations_table(&metrics.allocations), &record),
        table("a"),
        table("b"),
        settings_table(&metrics).to_markdown(),
        ablations_table(&metrics).to_markdown(),
    ];
    generated.parts.extend(parts.into_iter().zip(texts));
    for history in &metrics.histories {
        let lines: Vec<_> = history
            .lines
            .iter()
            .map(|(label, series)| (label.clone(), series.as_slice()))
            .collect();
        let name = format!("trace-{}", history.trace);
        let svg = plot(&name, history.duration_s, &lines)?.into_string();
        generated.files.insert(PathBuf::from(FOLDER).join(name + ".svg"), svg);
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
    Ok(Efficiency.claims(&metrics))
}

fn infinitehbd(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let parts = ["unicron-infinitehbd", "unicron-infinitehbd-speed"];
    let Some((record, metrics)) = read(&InfiniteHbd, runs)? else {
        generated.parts.extend(parts.map(|part| (part, PENDING.to_owned())));
        return Ok(InfiniteHbd.open_claims("no record yet"));
    };
    let texts = [with_source(&policies_table(&metrics.rows), &record), replay_speed(&metrics)];
    generated.parts.extend(parts.into_iter().zip(texts));
    Ok(InfiniteHbd.claims(&metrics))
}

fn scale(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Scale, runs)? else {
        generated.parts.insert("unicron-scale", PENDING.to_owned());
        return Ok(Scale.open_claims("no record yet"));
    };
    let text =
        format!("{}\n{}", scale_text(&metrics), with_source(&scale_table(&metrics), &record));
    generated.parts.insert("unicron-scale", text);
    Ok(Scale.claims(&metrics))
}

fn scale_text(metrics: &ScaleMetrics) -> String {
    let ScaleMetrics { agents, tasks, failures, slow_readers, .. } = metrics;
    format!(
        "{agents} agents, made up, in one process; the coordinator in another; between them a connection an \
         agent, with certificates on both sides, on the same machine. All attend after {:.1} s, and work for \
         {tasks} tasks {:.1} s after the first of these was submitted. While nothing happens but heartbeats \
         and iterations the coordinator uses {:.0} % of a core, and the slowest answer to a heartbeat takes \
         {:.0} ms ({:.0} ms in bursts; a lease lasts {:.0} s). Leases that ended: {}; connections that were \
         lost: {}.\n\n\
         In a burst {failures} workers die at once, as many of every task; others are ready {:.0} ms after \
         they are wanted. {slow_readers} agents take {:.0} ms over every message that they read. The time is \
         from the first death until an agent has the last epoch of its task:\n",
        metrics.registration_s,
        metrics.tasks_started_s,
        metrics.cpu_at_rest_percent,
        metrics.slowest_answer_at_rest_ms,
        metrics.slowest_answer_in_bursts_ms,
        metrics.lease_s,
        metrics.leases_ended,
        metrics.connections_lost,
        metrics.start_ms,
        metrics.slow_pause_ms,
    )
}

fn scale_table(metrics: &ScaleMetrics) -> Table {
    let mut table = Table::new(&[
        ("burst", Align::Right),
        ("p50, ms", Align::Right),
        ("p99, ms", Align::Right),
        ("last, ms", Align::Right),
        ("slow readers, p99, ms", Align::Right),
        ("agents in the last epoch", Align::Right),
        ("groups, by members", Align::Right),
        ("states sent", Align::Right),
    ]);
    for (index, burst) in metrics.bursts.iter().enumerate() {
        table.row([
            (index + 1).to_string(),
            format!("{:.0}", burst.p50_ms),
            format!("{:.0}", burst.p99_ms),
            format!("{:.0}", burst.max_ms),
            format!("{:.0}", burst.slow_p99_ms),
            burst.right.to_string(),
            burst.groups_told.to_string(),
            burst.states_sent.to_string(),
        ]);
    }
    table
}

fn replay_speed(metrics: &InfiniteHbdMetrics) -> String {
    let table = &metrics.table;
    let plans = table.found + table.solved_while_building + table.solved_unexpected;
    format!(
        "All policies on {} seeds took {:.0} s. Events a second on one thread: {:.0} with the cluster \
         planned anew after every lost and every repaired node, {:.0} with every task by itself.\n\n\
         The table of plans over the replay of nodes' faults and repairs: {:.0} entries in {:.0} kB on \
         average, built in {:.1} ms. Of {plans} plans that changed something {} were in it; {} were solved \
         for while it was being built (a second was allowed), {} because it had nothing like that.",
        metrics.seeds,
        metrics.seconds,
        metrics.events_per_s_with_replanning,
        metrics.events_per_s_without_replanning,
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
