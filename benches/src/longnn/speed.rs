//! How fast LON-GNN trains, and its sparse product beside those of sprs and scipy in the same run.
//!
//! Trainings here are short and alone on the machine, unlike those of [`super::Accuracy`], which take
//! hours beside whatever else runs.

use super::{SYSTEM, problem};
use crate::experiment::{Experiment, Size};
use crate::goal::Goal;
use anyhow::Context;
use common::progress::{Progress, Unit};
use common::report::Claim;
use common::statistics::median;
use longnn::data::catalogue;
use longnn::graph::{Adjacency, SelfLoops};
use longnn::model::{Architecture, Problem, SettingsFile};
use longnn::propagate::{Operator, Signals, Step};
use longnn::train::{Job, Protocol, Silent, train};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const QUICK_GRAPHS: [&str; 2] = ["cora", "texas"];
const QUICK_EPOCHS: usize = 5;
const EPOCHS: usize = 100;
/// Seeds side by side.
const SEEDS: u64 = 10;
/// Columns of the product: the classes of most graphs in whole vectors.
const WIDTH: usize = 8;
/// A product is repeated for as long as this, and so often at least.
const MEASURED: Duration = Duration::from_millis(300);
const LEAST_REPEATS: usize = 20;
/// Times scipy's product of the matrix on its standard input, on one thread.
const SCIPY: &str = include_str!("scipy_product.py");

/// Speed of training and of products.
pub struct Speed;

#[derive(Debug, Serialize, Deserialize)]
pub struct SpeedMetrics {
    pub threads: usize,
    pub rows: Vec<SpeedRow>,
}

/// One graph. Times are medians in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpeedRow {
    pub graph: String,
    pub nodes: usize,
    pub entries: usize,
    /// An epoch of LON-GNN: a training step and a clean evaluation, 30 products.
    pub epoch: f64,
    /// The same of ten seeds side by side, for all ten together.
    pub epoch_of_ten: f64,
    /// Training ten seeds side by side, whole: a row of the table of accuracies, in seconds. Not taken
    /// in the quick form.
    #[serde(default)]
    pub training_s: Option<f64>,
    /// `2 Â x − y` of 8 columns on one thread.
    pub step: f64,
    /// The same on all threads.
    pub step_on_all: f64,
    /// `Â x`, which is less, by sprs.
    pub sprs: f64,
    /// The same by scipy, where it is installed; both on one thread.
    pub scipy: Option<f64>,
}

impl Experiment for Speed {
    type Metrics = SpeedMetrics;

    fn name(&self) -> String {
        "longnn-speed".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(SpeedMetrics, Value)> {
        let graphs = match size {
            Size::Quick => QUICK_GRAPHS.to_vec(),
            Size::Full => catalogue::of_the_paper().iter().map(|set| set.name).collect(),
        };
        let epochs = epochs(size);
        let bar = progress.bar("speed", Some(graphs.len() as u64), Unit::Items("graphs"));
        let mut rows = Vec::with_capacity(graphs.len());
        for &name in &graphs {
            bar.message(name.to_owned());
            rows.push(row(name, &problem(name, progress)?, size)?);
            bar.advance(1);
        }
        bar.finish();
        let metrics = SpeedMetrics { threads: rayon::current_num_threads(), rows };
        Ok((metrics, json!({ "epochs": epochs, "seeds": SEEDS, "product_width": WIDTH })))
    }

    /// The paper prints no times: these are our own goals.
    fn judged(&self, metrics: &SpeedMetrics) -> Vec<Claim> {
        let row = |graph: &str| metrics.rows.iter().find(|row| row.graph == graph);
        let epoch = |graph: &str| row(graph).map(|row| row.epoch);
        let ratio = row("squirrel").map(|row| row.epoch_of_ten / row.epoch);
        let table: Option<f64> = metrics.rows.iter().map(|row| row.training_s).sum();
        let measured = [epoch("cora"), epoch("squirrel"), epoch("computers"), ratio, table];
        GOALS.iter().zip(measured).map(|(goal, value)| goal.judged(value)).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        GOALS.iter().map(Goal::claim).collect()
    }
}

const GOALS: [Goal; 5] = [
    Goal::at_most(SYSTEM, "epoch of LON-GNN on Cora, one seed", 2.0, " ms"),
    Goal::at_most(SYSTEM, "epoch of LON-GNN on Squirrel, one seed", 12.0, " ms"),
    Goal::at_most(SYSTEM, "epoch of LON-GNN on Computers, one seed", 60.0, " ms"),
    Goal::at_most(SYSTEM, "ten seeds side by side on Squirrel, in epochs of one", 5.0, " x"),
    Goal::at_most(SYSTEM, "LON-GNN trained on all nine graphs, ten seeds each", 720.0, " s")
        .with_decimals(0),
];

fn epochs(size: Size) -> usize {
    match size {
        Size::Quick => QUICK_EPOCHS,
        Size::Full => EPOCHS,
    }
}

fn row(name: &str, problem: &Problem, size: Size) -> anyhow::Result<SpeedRow> {
    let adjacency = problem.graph().adjacency();
    let operator = Operator::new(adjacency, SelfLoops::AsGiven)?;
    let epochs = epochs(size);
    let training_s = match size {
        Size::Quick => None,
        Size::Full => Some(training_s(name, problem)?),
    };
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(SpeedRow {
        graph: name.to_owned(),
        nodes: operator.n_nodes(),
        entries: operator.n_entries(),
        epoch: epoch_ms(name, problem, 1, epochs)?,
        epoch_of_ten: epoch_ms(name, problem, SEEDS, epochs)?,
        training_s,
        step: one_thread.install(|| step_ms(&operator))?,
        step_on_all: step_ms(&operator)?,
        sprs: sprs_ms(adjacency)?,
        scipy: scipy_ms(adjacency),
    })
}

/// An epoch of so many seeds together.
fn epoch_ms(name: &str, problem: &Problem, seeds: u64, epochs: usize) -> anyhow::Result<f64> {
    let protocol = Protocol { max_epochs: epochs, patience: epochs, ..Protocol::default() };
    let settings = SettingsFile::builtin(name).of(Architecture::Lon);
    let jobs = Job::seeds(problem, &settings, &protocol, 0..seeds)?;
    let outcomes = train(problem, Architecture::Lon, jobs, &protocol, None, &mut Silent)?;
    let each: Vec<f64> = outcomes.iter().map(|outcome| outcome.epoch_ms_median).collect();
    Ok(median(&each).context("there is a seed")? * seeds as f64)
}

/// Ten seeds by the whole protocol, with the settings of the table of accuracies.
fn training_s(name: &str, problem: &Problem) -> anyhow::Result<f64> {
    let protocol = Protocol::default();
    let settings = SettingsFile::builtin(name).of(Architecture::Lon);
    let clock = Instant::now();
    let jobs = Job::seeds(problem, &settings, &protocol, 0..SEEDS)?;
    train(problem, Architecture::Lon, jobs, &protocol, None, &mut Silent)?;
    Ok(clock.elapsed().as_secs_f64())
}

fn step_ms(operator: &Operator) -> anyhow::Result<f64> {
    let rows = numbers(operator.n_nodes() * WIDTH);
    let signals = Signals::from_rows(operator.n_nodes(), WIDTH, &rows)?;
    let (before, mut out) = (signals.clone(), signals.clone());
    let mut result = Ok(());
    let ms = median_ms(|| {
        let step = Step::product(2.0, &signals).plus(-1.0, &before);
        result = operator.step(&step, &mut out);
    });
    result?;
    Ok(ms)
}

fn sprs_ms(adjacency: &Adjacency) -> anyhow::Result<f64> {
    let matrix = adjacency.normalized(SelfLoops::AsGiven).map(|&value| value as f32);
    let n_nodes = adjacency.n_nodes();
    let dense = Array2::from_shape_vec((n_nodes, WIDTH), numbers(n_nodes * WIDTH))?;
    Ok(median_ms(|| drop(&matrix * &dense)))
}

/// `None` where Python or scipy isn't installed.
fn scipy_ms(adjacency: &Adjacency) -> Option<f64> {
    let matrix = adjacency.normalized(SelfLoops::AsGiven);
    let header = json!({
        "nodes": adjacency.n_nodes(),
        "entries": matrix.nnz(),
        "columns": WIDTH,
        "seconds": MEASURED.as_secs_f64(),
        "repeats": LEAST_REPEATS,
    });
    let mut input = format!("{header}\n").into_bytes();
    let offsets = matrix.indptr();
    input.extend(offsets.raw_storage().iter().flat_map(|offset| offset.to_le_bytes()));
    input.extend(matrix.indices().iter().flat_map(|index| index.to_le_bytes()));
    input.extend(matrix.data().iter().flat_map(|&value| (value as f32).to_le_bytes()));
    let mut child = Command::new("python3")
        .args(["-c", SCIPY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // Where scipy is missing the child ends before it has read everything.
    drop(child.stdin.take()?.write_all(&input));
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok()).flatten()
}

fn median_ms(mut work: impl FnMut()) -> f64 {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < LEAST_REPEATS || start.elapsed() < MEASURED {
        let clock = Instant::now();
        work();
        times.push(clock.elapsed().as_secs_f64() * 1e3);
    }
    median(&times).unwrap_or(f64::NAN)
}

/// Numbers that repeat only after a thousand.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}
