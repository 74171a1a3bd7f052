//! The planner and the core that asks it.

use crate::cluster::{fleet, sizes};
use criterion::{BatchSize, BenchmarkId, Criterion};
use std::collections::BTreeSet;
use std::hint::black_box;
use unicron::core::{Command, Config, Core, Event};
use unicron::detect::Status;
use unicron::plan::knapsack::{self, Choice};
use unicron::plan::table::Table;
use unicron::plan::{Present, Rule, Task, greedy};

/// The paper's table takes a second on more.
const MOST_GPUS_BY_TABLE: usize = 10_000;

/// The paper's dynamic program (section 5): all sizes of all tasks for all numbers of workers.
fn by_table(tasks: &[Vec<Choice>], capacity: usize) -> f64 {
    let mut best = vec![0.0; capacity + 1];
    for choices in tasks {
        let with = |workers: usize| {
            let fits = choices.iter().filter(|choice| choice.workers <= workers);
            let sums = fits.map(|choice| best[workers - choice.workers] + choice.value);
            sums.fold(f64::NEG_INFINITY, f64::max)
        };
        best = (0..=capacity).map(with).collect();
    }
    best[capacity]
}

/// Which sizes, once their values are known: exactly, as the paper does it, and by marginal gain.
pub fn solvers(criterion: &mut Criterion) {
    let rule = Rule::ours();
    for (gpus, tasks) in sizes() {
        let fleet = fleet(gpus, tasks);
        let situation = fleet.situation();
        let terms = situation.terms(&rule);
        let choices = |task: &Task| -> Vec<Choice> {
            terms.sizes(task, 0, gpus).iter().map(|size| size.choice()).collect()
        };
        let choices: Vec<Vec<Choice>> = fleet.tasks().iter().map(choices).collect();
        let mut group = criterion.benchmark_group(format!("solver/{gpus} GPUs, {tasks} tasks"));
        group.bench_function("exact", |bencher| {
            bencher.iter(|| knapsack::solve(black_box(&choices), gpus).unwrap());
        });
        group.bench_function("greedy", |bencher| {
            bencher.iter(|| greedy::solve(black_box(&choices), gpus).unwrap());
        });
        if gpus <= MOST_GPUS_BY_TABLE {
            let exact = knapsack::solve(&choices, gpus).unwrap().value;
            let error = by_table(&choices, gpus) / exact - 1.0;
            assert!(error.abs() < 1e-9, "both are the optimum, but differ by {error}");
            group.bench_function("the paper's table", |bencher| {
                bencher.iter(|| by_table(black_box(&choices), gpus));
            });
        }
        group.finish();
    }
}

/// One event through the core, from what has happened to what is to be done: a failure that is tried again
/// in place, and a lost node whose plan is in the table or has to be solved for.
pub fn events(criterion: &mut Criterion) {
    for (gpus, n_tasks) in sizes() {
        let solves = core(gpus, n_tasks);
        let looks_up = with_table(solves.clone());
        let nodes = solves.placement().nodes.iter().enumerate();
        let mut busy = nodes.filter_map(|(node, shares)| Some((node, shares.first()?.0)));
        let (node, task) = busy.next().unwrap();
        let failed = Event::Failed { task, node, status: Status::NcclTimeout };
        let lost = Event::NodeLost { node };
        let mut group = criterion.benchmark_group(format!("core/{gpus} GPUs, {n_tasks} tasks"));
        for (name, core, event) in [
            ("failure, tried again", &looks_up, failed),
            ("lost node, by the table", &looks_up, lost.clone()),
            ("lost node, solved", &solves, lost),
        ] {
            group.bench_function(name, |bencher| {
                bencher.iter_batched(
                    || (core.clone(), event.clone()),
                    // What was cloned is dropped outside the measurement.
                    |(mut core, event)| (core.step(1.0, event), core),
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
}

/// The table of plans for what may happen next, and one plan at a time for the same.
pub fn tables(criterion: &mut Criterion) {
    let rule = Rule::ours();
    let mut group = criterion.benchmark_group("table of plans");
    for (gpus, tasks) in sizes() {
        let fleet = fleet(gpus, tasks);
        let fleet = fleet.clone().after(&fleet.plan(&rule));
        let state = fleet.state();
        let name = format!("{gpus} GPUs, {tasks} tasks");
        group.bench_function(BenchmarkId::new("all", &name), |bencher| {
            bencher.iter(|| Table::build(black_box(&state), &rule));
        });
        let class = state.without(&BTreeSet::from([0]));
        group.bench_function(BenchmarkId::new("one", &name), |bencher| {
            bencher.iter(|| state.solve(black_box(&class), &rule));
        });
    }
    group.finish();
}

/// At work.
fn core(gpus: usize, n_tasks: usize) -> Core {
    let fleet = fleet(gpus, n_tasks);
    let mut core = Core::new(fleet.cluster().clone(), Rule::ours(), Config::default(), 0.0);
    let newcomer = |task: &Task| Task { present: Present::default(), ..task.clone() };
    core.start(0.0, fleet.tasks().iter().map(newcomer).collect());
    core
}

fn with_table(core: Core) -> Core {
    let mut core = core.with_table();
    let (epoch, table) = (core.epoch(), core.build_table(1.0));
    let commands: Vec<Command> = core.step(1.0, Event::TableBuilt { epoch, table });
    assert!(commands.is_empty());
    core
}
