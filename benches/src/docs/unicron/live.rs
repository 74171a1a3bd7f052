//! The live system's page: what is measured on clusters of real processes.

use crate::docs::part::Part;
use crate::docs::{Generated, part, pending};
use crate::experiment::{Experiment, read};
use crate::unicron::{
    Dashboard, DashboardMetrics, Detection, DetectionMetrics, DetectionRow, Hangs, HangsMetrics,
    Overhead, OverheadMetrics, PyTorchOverhead, PyTorchOverheadMetrics, PyTorchRecovery,
    PyTorchRecoveryMetrics, Reduction, ReductionMetrics, Scale, ScaleMetrics,
};
use common::report::{Align, Axis, Claim, Plot, Series, Table};
use common::statistics::{median, quantile};
use std::path::Path;

/// Adds what the newest records below `runs` say.
pub fn generate(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let claims = [
        detection(runs, generated)?,
        part(&Overhead, "unicron-overhead", runs, generated, |record, metrics| {
            Part::from(overhead_table(metrics)).source(record)
        })?,
        part(&Hangs, "unicron-hangs", runs, generated, |record, metrics| {
            Part::from(hangs_table(metrics)).source(record)
        })?,
        part(&PyTorchRecovery, "unicron-pytorch-recovery", runs, generated, |record, metrics| {
            Part::from(pytorch_recovery_table(metrics)).source(record)
        })?,
        part(&PyTorchOverhead, "unicron-pytorch-overhead", runs, generated, |record, metrics| {
            Part::from(pytorch_overhead_table(metrics)).source(record)
        })?,
        part(&Reduction, "unicron-reduction", runs, generated, |record, metrics| {
            Part::from(reduction_table(metrics)).source(record)
        })?,
        part(&Scale, "unicron-scale", runs, generated, |record, metrics| {
            Part::from(scale_text(metrics)).table(scale_table(metrics)).source(record)
        })?,
        part(&Dashboard, "unicron-dashboard", runs, generated, |record, metrics| {
            Part::from(dashboard_table(metrics)).source(record)
        })?,
    ];
    Ok(claims.concat())
}

fn detection(runs: &Path, generated: &mut Generated) -> anyhow::Result<Vec<Claim>> {
    let Some((record, metrics)) = read(&Detection, runs)? else {
        return Ok(pending(&Detection, generated, &["unicron-detection"]));
    };
    generated
        .parts
        .insert("unicron-detection", Part::from(detection_table(&metrics)).source(&record));
    let plot = recovery_plot(&metrics).to_svg()?.into_string();
    generated.files.insert(Path::new(super::FOLDER).join("recovery.svg"), plot);
    Ok(Detection.judged(&metrics))
}

/// How many injections of each fault the cluster has recovered from, by the time since.
fn recovery_plot(metrics: &DetectionMetrics) -> Plot {
    let series = |row: &DetectionRow| {
        let mut times = row.recovered_ms.clone();
        times.sort_by(f64::total_cmp);
        let n = times.len() as f64;
        let steps = times.iter().enumerate().flat_map(|(at, ms)| {
            [(ms / 1e3, 100.0 * at as f64 / n), (ms / 1e3, 100.0 * (at + 1) as f64 / n)]
        });
        let start = std::iter::once((0.0, 0.0));
        Series::new(row.fault.clone(), start.chain(steps).collect()).without_markers()
    };
    let plot = Plot::new(
        "From a fault to the next committed iteration",
        Axis::linear("seconds since the fault"),
        Axis::linear("recovered, % of the injections"),
    );
    metrics.rows.iter().map(series).fold(plot, Plot::series)
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

/// What a failure costs a PyTorch job.
fn pytorch_recovery_table(metrics: &PyTorchRecoveryMetrics) -> Table {
    let mut table = Table::new(&[
        ("recovery", Align::Left),
        ("workers killed", Align::Right),
        ("an iteration", Align::Right),
        ("lost each time, median", Align::Right),
        ("most", Align::Right),
        ("next iteration, median", Align::Right),
        ("iterations done again", Align::Right),
        ("micro-batches done again", Align::Right),
    ]);
    let seconds = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{:.2} s", ms / 1e3));
    for row in &metrics.rows {
        table.row([
            row.recovery.clone(),
            row.lost_ms.len().to_string(),
            seconds(Some(row.iteration_ms)),
            seconds(median(&row.lost_ms)),
            seconds(quantile(&row.lost_ms, 1.0)),
            seconds(median(&row.next_ms)),
            row.iterations_back.to_string(),
            row.recomputed_micro_batches.to_string(),
        ]);
    }
    table
}

/// What a PyTorch job pays while nothing fails.
fn pytorch_overhead_table(metrics: &PyTorchOverheadMetrics) -> Table {
    let mut table = Table::new(&[
        ("loop", Align::Left),
        ("an iteration, median", Align::Right),
        ("longer, 95 %", Align::Right),
    ]);
    let median_ms = |ms: &[f64]| median(ms).map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    let levels = [
        ("a bare script", "with `unicron.attach()`", &metrics.level_1),
        ("a loop written by hand", "`unicron.Trainer`", &metrics.level_2),
    ];
    for (without, with, pairs) in levels {
        let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let slower = PyTorchOverheadMetrics::slower(pairs);
        let slower = format!("{:+.2} % ± {:.2}", slower.mean, slower.half_width_95());
        table.row([without.to_owned(), median_ms(&first), String::new()]);
        table.row([with.to_owned(), median_ms(&second), slower]);
    }
    let name = "`DistributedDataParallel` with accumulation".to_owned();
    table.row([name, median_ms(&metrics.ddp), String::new()]);
    table
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

fn dashboard_table(metrics: &DashboardMetrics) -> Table {
    let mut table = Table::new(&[("what", Align::Left), ("", Align::Right)]);
    let ms = |value: f64| format!("{value:.0} ms");
    let percent = |value: f64| format!("{value:.1} % of a core");
    let DashboardMetrics { nodes, tasks, failures, seconds_watched, .. } = metrics;
    for (what, value) in [
        (
            "shown".to_owned(),
            format!(
                "{nodes} nodes, {tasks} tasks; {failures} workers die within {seconds_watched:.0} s"
            ),
        ),
        (
            "until all is drawn, the browser's start included".to_owned(),
            format!("{:.1} s", metrics.filled_s),
        ),
        (
            "busy without a break while filled, longest".to_owned(),
            ms(metrics.longest_task_at_first_ms),
        ),
        ("tasks of 50 ms and more while updated".to_owned(), metrics.long_tasks.to_string()),
        ("between two frames, median".to_owned(), ms(metrics.frame_p50_ms)),
        ("99 % within".to_owned(), ms(metrics.frame_p99_ms)),
        ("longest".to_owned(), ms(metrics.frame_max_ms)),
        ("the coordinator, nobody looks".to_owned(), percent(metrics.cpu_unwatched_percent)),
        ("the coordinator, somebody looks".to_owned(), percent(metrics.cpu_watched_percent)),
    ] {
        table.row([what, value]);
    }
    table
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
