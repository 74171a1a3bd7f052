//! Results of `unicron simulate` as a table and as JSON.

use crate::simulate::plot::Line;
use crate::simulate::{Column, Contender, Failures};
use crate::trace::Trace;
use common::report::{Align, Table};
use common::statistics::Estimate;
use serde_json::{Map, Value, json};

const DAY_S: f64 = 86_400.0;
const ZETTA: f64 = 1e21;
/// Others are held against this policy.
const UNICRON: &str = "unicron";

/// All traces of a command.
pub(super) struct Report {
    tasks: String,
    rule: String,
    seed: u64,
    seeds: u64,
    traces: Vec<TraceReport>,
    events: u64,
    seconds: f64,
}

/// All policies on one trace.
pub(super) struct TraceReport {
    name: String,
    nodes: usize,
    gpus_per_node: usize,
    duration_s: f64,
    rows: Vec<Row>,
    /// What a live run has accumulated in that time.
    measured_waf: Option<f64>,
}

struct Row {
    policy: String,
    throughput: &'static str,
    spares: usize,
    column: Column,
    /// Unicron's accumulated WAF over this one's.
    ratio: Option<Estimate>,
}

impl Report {
    pub(super) fn new(tasks: &str, rule: &str, seed: u64, seeds: u64) -> Self {
        Self {
            tasks: tasks.to_owned(),
            rule: rule.to_owned(),
            seed,
            seeds,
            traces: Vec::new(),
            events: 0,
            seconds: 0.0,
        }
    }

    pub(super) fn add(&mut self, trace: TraceReport, seconds: f64) {
        self.events += trace.rows.iter().map(|row| row.column.events()).sum::<u64>();
        self.seconds += seconds;
        self.traces.push(trace);
    }

    fn events_per_s(&self) -> f64 {
        self.events as f64 / self.seconds.max(1e-9)
    }

    /// Everything but `events_per_s` is the same whenever it is run.
    pub(super) fn json(&self) -> Value {
        let policies: Vec<Value> = self
            .traces
            .iter()
            .flat_map(|trace| trace.rows.iter().map(|row| row.json(&trace.name, self.seeds)))
            .collect();
        let traces: Vec<Value> = self
            .traces
            .iter()
            .map(|trace| {
                let mut value = json!({
                    "trace": trace.name,
                    "nodes": trace.nodes,
                    "gpus_per_node": trace.gpus_per_node,
                    "duration_s": trace.duration_s,
                });
                if let Some(waf) = trace.measured_waf {
                    value["measured_accumulated_waf"] = json!(waf);
                }
                value
            })
            .collect();
        json!({
            "tasks": self.tasks,
            "rule": self.rule,
            "seed": self.seed,
            "seeds": self.seeds,
            "traces": traces,
            "policies": policies,
            "events_per_s": self.events_per_s().round(),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for trace in &self.traces {
            let seeds = match self.seeds {
                1 => format!("seed {}", self.seed),
                seeds => format!("{seeds} seeds from {}, mean ± 95 % interval", self.seed),
            };
            let about = format!("{} under rule {}, {seeds}", self.tasks, self.rule);
            let (head, table) = (trace.head(), trace.table().to_text());
            text += &format!("{head}, {about}\n\n{table}{}\n", trace.comparison());
        }
        text + &format!(
            "WAF: weighted FLOPs that count. Efficiency: against the same policy without failures.\n\
             Starved: tasks without workers or with too few to run, on average and at most.\n\
             {} events, {:.0} a second\n",
            self.events,
            self.events_per_s()
        )
    }
}

impl TraceReport {
    pub(super) fn new(
        name: &str,
        trace: &Trace,
        contenders: &[Contender],
        columns: Vec<Column>,
    ) -> Self {
        let extent = trace.extent();
        let unicron = contenders.iter().position(|row| row.policy == UNICRON);
        let unicron = unicron.map(|at| columns[at].clone());
        let row = |(contender, column): (&Contender, Column)| Row {
            policy: contender.policy.clone(),
            throughput: contender.throughput(),
            spares: contender.spares,
            ratio: unicron.as_ref().and_then(|unicron| column.ratio_of(unicron)),
            column,
        };
        Self {
            name: name.to_owned(),
            nodes: extent.nodes,
            gpus_per_node: extent.gpus_per_node,
            duration_s: extent.duration_s,
            rows: contenders.iter().zip(columns).map(row).collect(),
            measured_waf: None,
        }
    }

    /// WAF over time on the first seed.
    pub(super) fn lines(&self) -> Vec<Line<'_>> {
        self.rows
            .iter()
            .map(|row| (row.label(), row.column.outcomes[0].series.as_slice()))
            .collect()
    }

    /// Beside what a live run has accumulated in that time.
    pub(super) fn beside(self, measured_waf: Option<f64>) -> Self {
        Self { measured_waf, ..self }
    }

    /// What was measured, and what that is of the prediction, for a person; empty without it.
    fn comparison(&self) -> String {
        let Some(measured) = self.measured_waf else { return String::new() };
        let unicron = self.rows.iter().find(|row| row.policy == UNICRON);
        let predicted = unicron.map_or(String::new(), |row| {
            let predicted = row.column.accumulated_waf().mean;
            let percent = 100.0 * (predicted / measured - 1.0);
            format!("; predicted of unicron: {predicted:.4e}, {percent:+.1} %")
        });
        format!("\nMeasured in a live run: {measured:.4e} weighted FLOPs{predicted}.\n")
    }

    fn head(&self) -> String {
        let Failures { sev1, other } = self.rows[0].column.outcomes[0].failures;
        format!(
            "{}: {} nodes of {} GPUs, {:.1} days, {sev1} failures of nodes and {other} others",
            self.name,
            self.nodes,
            self.gpus_per_node,
            self.duration_s / DAY_S
        )
    }

    fn table(&self) -> Table {
        let right = |name| (name, Align::Right);
        let mut table = Table::new(&[
            ("policy", Align::Left),
            ("throughput", Align::Left),
            right("spares"),
            right("WAF (ZFLOP)"),
            right("unicron / it"),
            right("efficiency"),
            right("useful"),
            right("detecting"),
            right("transition"),
            right("redone"),
            right("idle"),
            right("starved"),
        ]);
        for row in &self.rows {
            table.row(row.cells());
        }
        table
    }
}

impl Row {
    /// What sets it apart from other rows.
    fn label(&self) -> String {
        let mut label = self.policy.clone();
        if self.throughput != "megatron" {
            label += &format!(", {}", self.throughput);
        }
        match self.spares {
            0 => label,
            1 => label + ", 1 spare",
            spares => label + &format!(", {spares} spares"),
        }
    }

    fn cells(&self) -> Vec<String> {
        let bins = self.column.bins();
        let total = bins.total();
        let starved = self.column.over(|outcome| outcome.starved_mean).mean;
        let most = self.column.outcomes.iter().map(|outcome| outcome.starved_most).max();
        let mut cells = vec![
            self.policy.clone(),
            self.throughput.to_owned(),
            self.spares.to_string(),
            with_interval(&self.column.accumulated_waf(), 1.0 / ZETTA, 2),
            self.ratio.map_or("-".to_owned(), |ratio| with_interval(&ratio, 1.0, 3)),
            with_interval(&self.column.efficiency(), 1.0, 3),
        ];
        let part = |gpu_s: f64| format!("{:.2} %", 100.0 * gpu_s / total);
        cells.extend(bins.named().map(|(_, gpu_s)| part(gpu_s)));
        cells.push(format!("{starved:.2} / {}", most.unwrap_or(0)));
        cells
    }

    fn json(&self, trace: &str, seeds: u64) -> Value {
        let column = &self.column;
        let bins = column.bins().named().map(|(name, gpu_s)| (name.to_owned(), json!(gpu_s)));
        let mean = |figure: fn(&Failures) -> usize| {
            let mean = column.over(|outcome| figure(&outcome.failures) as f64).mean;
            if mean.fract() == 0.0 { json!(mean as u64) } else { json!(mean) }
        };
        let most = column.outcomes.iter().map(|outcome| outcome.starved_most).max();
        let mut value = json!({
            "trace": trace,
            "policy": self.policy,
            "throughput": self.throughput,
            "spares": self.spares,
            "accumulated_waf": column.accumulated_waf().mean,
            "efficiency": column.efficiency().mean,
            "unicron_ratio": self.ratio.map(|ratio| ratio.mean),
            "bins": Value::Object(Map::from_iter(bins)),
            "failures": {
                "sev1": mean(|failures| failures.sev1),
                "other": mean(|failures| failures.other),
            },
            "starved_tasks": column.over(|outcome| outcome.starved_mean).mean,
            "starved_tasks_most": most,
        });
        if seeds > 1 {
            value["accumulated_waf_95"] = interval(&column.accumulated_waf());
            value["efficiency_95"] = interval(&column.efficiency());
            value["unicron_ratio_95"] = self.ratio.as_ref().map_or(Value::Null, interval);
        } else {
            let outcome = &column.outcomes[0];
            let tasks = outcome.tasks.iter().map(|task| {
                json!({
                    "name": task.name,
                    "waf": task.waf,
                    "waited_s": task.waited_s,
                    "finished_at_s": task.finished_at_s,
                })
            });
            value["tasks"] = tasks.collect();
            value["makespan_s"] = json!(outcome.makespan_s());
        }
        value
    }
}

fn interval(estimate: &Estimate) -> Value {
    let (low, high) = estimate.interval_95();
    json!([low, high])
}

/// A mean, and half of the interval where there are several seeds.
fn with_interval(estimate: &Estimate, scale: f64, digits: usize) -> String {
    let mean = format!("{:.digits$}", estimate.mean * scale);
    match estimate.n {
        0 | 1 => mean,
        _ => format!("{mean} ± {:.digits$}", estimate.half_width_95() * scale),
    }
}
