//! How long plans, tables of plans and look-ups take as clusters grow.

use super::SYSTEM;
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use anyhow::Context;
use common::progress::{Progress, Unit};
use common::report::Claim;
use common::statistics::median;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;
use unicron::cluster::ClusterFile;
use unicron::plan::table::{Class, Table};
use unicron::plan::{Fleet, Rule};
use unicron::throughput::Constants;

/// GPUs and tasks.
const SIZES: [(usize, usize); 7] =
    [(128, 6), (1000, 50), (3200, 8), (10_000, 100), (30_000, 200), (100_000, 100), (100_000, 500)];
const QUICK_SIZES: [(usize, usize); 2] = [(128, 6), (1000, 50)];
const GPUS_PER_NODE: usize = 8;
const REPEATS: usize = 7;
const LOOK_UPS: usize = 10_000;
/// Layers, hidden width, heads, batch of the paper's five models; a task's batch differs a little from
/// the next one's, so that no two train the same model.
const MODELS: [(usize, usize, usize, usize); 5] = [
    (24, 2048, 16, 512),
    (32, 4096, 32, 512),
    (40, 5120, 40, 1024),
    (80, 8192, 64, 1536),
    (96, 12_288, 96, 1536),
];

/// Planning time.
pub struct Planning;

#[derive(Debug, Serialize, Deserialize)]
pub struct PlanningMetrics {
    pub threads: usize,
    pub rows: Vec<PlanningRow>,
}

/// A cluster. Times are medians.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanningRow {
    pub gpus: usize,
    pub tasks: usize,
    /// From the parsed file to the plan, throughput of every task included, the five models of the paper.
    pub plan_ms: f64,
    /// The same, every task with a model of its own.
    pub plan_of_distinct_ms: f64,
    /// The plan after a node was lost.
    pub replan_ms: f64,
    /// The table of everything that may happen next.
    pub table_s: f64,
    pub entries: usize,
    pub table_bytes: usize,
    /// Finding a plan in it: from the event's class to the plan.
    pub look_up_us: f64,
    /// From the event to its class.
    pub classify_us: f64,
}

impl Experiment for Planning {
    type Metrics = PlanningMetrics;

    fn name(&self) -> String {
        "unicron-planning".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(PlanningMetrics, Value)> {
        let sizes = match size {
            Size::Quick => QUICK_SIZES.to_vec(),
            Size::Full => SIZES.to_vec(),
        };
        let bar = progress.bar("planning", Some(sizes.len() as u64), Unit::Items("clusters"));
        let mut rows = Vec::with_capacity(sizes.len());
        for &(gpus, tasks) in &sizes {
            rows.push(row(gpus, tasks)?);
            bar.advance(1);
        }
        bar.finish();
        let metrics = PlanningMetrics { threads: rayon::current_num_threads(), rows };
        Ok((metrics, json!({ "sizes": sizes, "repeats": REPEATS, "rule": "ours" })))
    }

    fn judged(&self, metrics: &PlanningMetrics) -> Vec<Claim> {
        let row =
            |gpus, tasks| metrics.rows.iter().find(|row| (row.gpus, row.tasks) == (gpus, tasks));
        let (small, large) = (row(1000, 50), row(100_000, 500));
        let measured = [
            small.map(|row| row.plan_ms),
            large.map(|row| row.plan_of_distinct_ms / 1e3),
            large.map(|row| row.look_up_us),
            large.map(|row| row.table_s),
        ];
        GOALS.iter().zip(measured).map(|(goal, value)| goal.judged(value)).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        GOALS.iter().map(Goal::claim).collect()
    }
}

const GOALS: [Goal; 4] = [
    Goal::at_most(SYSTEM, "plan of 1,000 GPUs and 50 tasks", 10.0, " ms").with_decimals(2),
    Goal::at_most(SYSTEM, "plan of 100,000 GPUs and 500 tasks, every model its own", 1.0, " s")
        .with_decimals(2),
    Goal::at_most(SYSTEM, "look-up of a plan, 100,000 GPUs", 10.0, " µs").with_decimals(2),
    Goal::at_most(SYSTEM, "table of plans for 100,000 GPUs and 500 tasks", 10.0, " s")
        .with_decimals(2),
];

fn row(gpus: usize, tasks: usize) -> anyhow::Result<PlanningRow> {
    let (rule, constants) = (Rule::ours(), Constants::default());
    let (shared, distinct) = (cluster(gpus, tasks, false)?, cluster(gpus, tasks, true)?);
    let plan_ms = |file: &ClusterFile| -> anyhow::Result<f64> {
        median_ms(|| {
            black_box(Fleet::of(file, &constants)?.plan(&rule));
            Ok(())
        })
    };
    let (plan_of_shared_ms, plan_of_distinct_ms) = (plan_ms(&shared)?, plan_ms(&distinct)?);
    let fleet = Fleet::of(&distinct, &constants)?;
    let placed = fleet.plan(&rule);
    let fleet = fleet.after(&placed);
    let hit = fleet.clone().without(&BTreeSet::from([0]));
    let replan_ms = median_ms(|| {
        black_box(hit.plan(&rule));
        Ok(())
    })?;
    let clock = Instant::now();
    let table = Table::build(&fleet.state(), &rule);
    let table_s = clock.elapsed().as_secs_f64();
    let state = fleet.state();
    let nodes: Vec<usize> = (0..LOOK_UPS).map(|i| (i * 7919) % fleet.cluster().nodes()).collect();
    let some: Vec<&usize> = nodes.iter().take(100).collect();
    let clock = Instant::now();
    let classes: Vec<Class> =
        some.iter().map(|&&node| state.without(&BTreeSet::from([node]))).collect();
    let classify_us = clock.elapsed().as_secs_f64() * 1e6 / some.len() as f64;
    anyhow::ensure!(
        classes.par_iter().all(|class| table.find(class).is_some()),
        "every node's loss is in the table"
    );
    let clock = Instant::now();
    for at in 0..LOOK_UPS {
        black_box(table.find(&classes[at % classes.len()]));
    }
    let look_up_us = clock.elapsed().as_secs_f64() * 1e6 / LOOK_UPS as f64;
    Ok(PlanningRow {
        gpus,
        tasks,
        plan_ms: plan_of_shared_ms,
        plan_of_distinct_ms,
        replan_ms,
        table_s,
        entries: table.len(),
        table_bytes: table.bytes(),
        look_up_us,
        classify_us,
    })
}

fn median_ms(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let clock = Instant::now();
        work()?;
        times.push(clock.elapsed().as_secs_f64() * 1e3);
    }
    median(&times).context("there are repeats")
}

/// Tasks of all sizes with weights from 0.5 to 2 share a cluster; most run already.
fn cluster(gpus: usize, tasks: usize, is_distinct: bool) -> anyhow::Result<ClusterFile> {
    let nodes = gpus.div_ceil(GPUS_PER_NODE);
    let share = nodes / tasks * GPUS_PER_NODE;
    let mut text = format!("[cluster]\nnodes = {nodes}\ngpus_per_node = {GPUS_PER_NODE}\n");
    for task in 0..tasks {
        // The largest model doesn't fit in small clusters.
        let models = if gpus < 1000 { 3 } else { MODELS.len() };
        let (layers, hidden, heads, batch) = MODELS[task % models];
        let batch = if is_distinct { batch + task } else { batch };
        let weight = 0.5 + ((task * 7919) % 1000) as f64 * 1.5e-3;
        let current = if task % 7 == 0 { 0 } else { share };
        // Writing into a string doesn't fail.
        let _ = writeln!(
            text,
            "[[tasks]]\nname = \"task-{task}\"\nweight = {weight}\ncurrent = {current}\n\
             model = {{ layers = {layers}, hidden = {hidden}, heads = {heads}, batch = {batch} }}"
        );
    }
    Ok(ClusterFile::parse(&text, Path::new("made-up.toml"))?)
}
