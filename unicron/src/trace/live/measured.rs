//! What a run has measured, and the cluster file that says so.
//!
//! A restart is measured by what it has cost: in the simulator all of a task's workers stand still for it,
//! in truth the others go on; so it is the standstill of all that comes to the same, on average over all
//! failures of the run.

use super::failures::Failed;
use super::log::{Log, Task, Window};
use crate::detect::Method;
use crate::trace::Extent;
use std::fmt::Write;

/// Constants of a run; `None` where it has nothing to measure them by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    pub node_health_s: Option<f64>,
    pub process_s: Option<f64>,
    pub exception_s: Option<f64>,
    pub stall_s: Option<f64>,
    pub iteration_s: Option<f64>,
    pub restart_s: Option<f64>,
    pub accumulated_waf: f64,
}

/// What is so short counts as this long, in seconds: the file wants figures above 0.
const LEAST_S: f64 = 1e-6;

/// More sizes than a task of a live cluster has; a hostile log may say anything.
const MOST_POINTS: usize = 100_000;

impl Measured {
    pub fn of(log: &Log, window: Window, failed: &[Failed]) -> Self {
        let detection_s = |method: Method| {
            let of_method = failed.iter().filter(|f| f.failure.status.method() == method);
            mean(of_method.map(|failed| failed.after_s))
        };
        let between =
            |task: &Task| Some((task.account_at(window.from_ms)?, task.account_at(window.to_ms)?));
        let spans = || log.tasks.values().filter_map(between);
        let lost_worker_s: f64 = spans()
            .map(|(from, to)| {
                let lost = |bins: crate::bins::Bins| bins.in_transition + bins.redone;
                lost(to.worker_s) - lost(from.worker_s)
            })
            .sum();
        let held_up: f64 = failed.iter().map(|failed| failed.workers).sum();
        Self {
            node_health_s: detection_s(Method::NodeHealth),
            process_s: detection_s(Method::ProcessSupervision),
            exception_s: detection_s(Method::ExceptionPropagation),
            stall_s: detection_s(Method::StatisticalMonitoring),
            iteration_s: mean(spans().filter_map(|(_, to)| to.iteration_s)),
            restart_s: (held_up > 0.0).then(|| lost_worker_s / held_up),
            accumulated_waf: spans().map(|(from, to)| to.waf - from.waf).sum(),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Nodes, tasks and constants.
pub(super) fn cluster_file(log: &Log, extent: &Extent, measured: &Measured) -> String {
    let Extent { nodes, gpus_per_node, .. } = *extent;
    let mut text = format!(
        "# Of a live run, by `unicron trace convert`. GPUs are slots.\n[cluster]\nnodes = {nodes}\n\
         gpus_per_node = {gpus_per_node}\n\n[measured]\n"
    );
    let figures = [
        ("node_health_s", measured.node_health_s),
        ("process_s", measured.process_s),
        ("exception_s", measured.exception_s),
        ("stall_s", measured.stall_s),
        ("iteration_s", measured.iteration_s),
        ("restart_s", measured.restart_s),
        ("accumulated_waf", Some(measured.accumulated_waf)),
    ];
    for (name, figure) in figures {
        if let Some(figure) = figure.filter(|figure| figure.is_finite()) {
            // Writing to memory succeeds.
            let _ = writeln!(text, "{name} = {:?}", figure.max(LEAST_S));
        }
    }
    let mut tasks: Vec<(&String, &Task)> = log.tasks.iter().collect();
    tasks.sort_by_key(|(_, task)| task.number);
    for (name, task) in tasks {
        text += &task_table(name, task, nodes * gpus_per_node);
    }
    text
}

fn task_table(name: &str, task: &Task, slots: usize) -> String {
    let wanted = &task.wanted;
    let stages = wanted.stages.max(1);
    let sizes =
        (1..=wanted.workers.min(slots).min(MOST_POINTS) / stages).map(|replicas| replicas * stages);
    let points: Vec<String> = sizes
        .map(|size| format!("[{size}, {:?}]", size as f64 * wanted.flops_per_worker))
        .collect();
    let guaranteed = match wanted.guaranteed_workers {
        Some(workers) => format!("guaranteed_workers = {workers}\n"),
        None => String::new(),
    };
    format!(
        "\n[[tasks]]\nname = {name:?}\nweight = {:?}\nmin_workers = {}\n{guaranteed}throughput = [{}]\n",
        wanted.weight,
        wanted.min_workers,
        points.join(", ")
    )
}
