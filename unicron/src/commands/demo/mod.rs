//! `unicron demo`

mod pytorch;
mod report;
mod row;

use super::connection::wait_for;
use super::notices;
use crate::local_cluster::fault::Fault;
use crate::local_cluster::{LocalCluster, Options};
use crate::proto::v1::Task;
use anyhow::Context;
use clap::Args;
use common::command::{print, print_json};
use common::progress::{Progress, Unit};
use report::Report;
use row::Row;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Break a cluster on this machine again and again, and see training end with the right weights
#[derive(Debug, Args)]
#[command(after_help = "\
A coordinator, four agents and three tasks run on this machine. Workers are killed, stopped, made to
throw; an agent is stopped and brought back. Each task ends with the weights of a run without any
failure, bit for bit. One of the tasks restarts from its checkpoint as a whole, for comparison.

With --pytorch it is PyTorch's turn: the example GPT trains in four processes, whose survivors keep the
iteration, and beside it in two that restart from their checkpoint.

Examples:
  unicron demo --quick
  unicron demo --pytorch
  unicron demo --json > demo.json")]
pub struct Demo {
    /// Fewer faults, within 45 seconds
    #[arg(long)]
    quick: bool,
    /// Train with PyTorch instead of the reference trainer
    #[arg(long)]
    pytorch: bool,
    /// A Python that has PyTorch; python3, or /usr/bin/python3, if it has
    #[arg(long, value_name = "PATH", requires = "pytorch")]
    python: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Keep state, checkpoints and logs in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// A task of the demonstration.
struct DemoTask {
    name: &'static str,
    workers: usize,
    stages: usize,
    weight: f64,
    /// Whether it starts again as a whole.
    restarts: bool,
}

const TASKS: [DemoTask; 3] = [
    DemoTask { name: "gpt-pipeline", workers: 4, stages: 2, weight: 2.0, restarts: false },
    DemoTask { name: "gpt-replicas", workers: 2, stages: 1, weight: 1.0, restarts: false },
    DemoTask { name: "gpt-restarted", workers: 2, stages: 1, weight: 1.0, restarts: true },
];

const SEED: u64 = 7;

/// The least time of an iteration: long enough to be watched, and for detection to be told from it.
const PACE_MS: u64 = 250;

const NODES: [&str; 4] = ["node-a", "node-b", "node-c", "node-d"];
const SLOTS: usize = 3;

/// Of the longest name of a fault, and some.
const LETTERS: usize = 20;

/// Starting everything, or finishing all iterations, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

impl Demo {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let temporary = tempfile::tempdir()?;
        let folder = match &self.keep {
            Some(folder) => std::path::absolute(folder)?,
            None => temporary.path().to_owned(),
        };
        if self.pytorch {
            let (quick, python) = (self.quick, self.python.as_deref());
            let scene = pytorch::Scene { quick, folder: &folder, python };
            let report = unless_interrupted(scene.play())?;
            return match self.json {
                true => print_json(&report.json()),
                false => print(&report.text()),
            };
        }
        let report = unless_interrupted(self.play(&folder))?;
        match self.json {
            true => print_json(&report.json()),
            false => print(&report.text()),
        }
    }

    async fn play(&self, folder: &Path) -> anyhow::Result<Report> {
        let clock = Instant::now();
        let faults = self.faults(folder);
        let progress = Progress::stderr();
        let bar = progress.bar("demo", Some(faults.len() as u64 + 2), Unit::Items("steps"));
        let iterations = if self.quick { 100 } else { 240 };
        let program = std::env::current_exe()?;
        let without_failures = train_without_failures(&program, folder, iterations)?;
        let mut cluster = start(program, folder, &NODES).await?;
        for task in &TASKS {
            cluster.submit(&task.toml(folder, iterations)).await?;
        }
        bar.message("three tasks begin");
        for task in &TASKS {
            let is_going = |now: &Task| now.iteration >= 3;
            cluster.until(task.name, PATIENCE, is_going).await?;
        }
        let mut rows = Vec::new();
        for (fault, task, which) in faults {
            bar.message(format!("{} in {task}", fault.name()));
            let name = fault.name();
            let outcome = fault.inject(&mut cluster, task, which).await;
            let row = Row::of(outcome.with_context(|| format!("{name} in {task}"))?);
            // A terminal that is gone ends no demonstration.
            progress.suspend(|| _ = writeln!(std::io::stderr(), "{}", row.line(LETTERS)));
            rows.push(row);
            bar.advance(1);
        }
        bar.message("the tasks finish");
        let mut tasks = Vec::new();
        for task in &TASKS {
            tasks.push(cluster.until(task.name, PATIENCE, Task::has_ended).await?);
        }
        bar.advance(1);
        cluster.end().await;
        bar.message("training without failures ends");
        let expected = weights_of(without_failures).await?;
        bar.advance(1);
        Ok(Report { rows, tasks, expected, seconds: clock.elapsed().as_secs_f64() })
    }

    /// What goes wrong, in which task, for which of its workers.
    fn faults(&self, folder: &Path) -> Vec<(Fault, &'static str, usize)> {
        let [pipeline, replicas, restarted] = TASKS.map(|task| task.name);
        let quick = vec![
            (Fault::WorkerKilled, replicas, 0),
            (Fault::WorkerKilled, restarted, 0),
            (Fault::WorkerKilled, pipeline, 1),
            (Fault::ExceptionThrown(trigger(folder, replicas)), replicas, 0),
            (Fault::WorkerStopped, pipeline, 2),
            (Fault::AgentStopped, replicas, 0),
        ];
        if self.quick {
            return quick;
        }
        let more = [
            (Fault::TwoWorkersKilled, pipeline, 0),
            (Fault::CoordinatorKilled, pipeline, 0),
            (Fault::ExceptionThrown(trigger(folder, restarted)), restarted, 0),
            (Fault::WorkerKilled, pipeline, 3),
            (Fault::AgentKilled, pipeline, 0),
            (Fault::WorkerKilled, restarted, 1),
            (Fault::WorkerStopped, replicas, 1),
            (Fault::WorkerKilled, replicas, 1),
        ];
        quick.into_iter().chain(more).collect()
    }
}

/// Waits for a demonstration; a person may end it.
fn unless_interrupted<T>(play: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    wait_for(async {
        tokio::select! {
            report = play => report,
            () = notices::asked_to_end() => anyhow::bail!("interrupted; nothing is left running"),
        }
    })
}

impl DemoTask {
    fn toml(&self, folder: &Path, iterations: u64) -> String {
        let Self { name, workers, stages, weight, restarts } = self;
        let recovery = if *restarts { "restart-all" } else { "keep-iteration" };
        let trigger = trigger(folder, name).display().to_string();
        format!(
            "name = \"{name}\"\nworkers = {workers}\nmin_workers = {stages}\nweight = {weight}\n\
             recovery = \"{recovery}\"\n\n[train]\npreset = \"tiny\"\niterations = {iterations}\n\
             seed = {SEED}\nstages = {stages}\npace_ms = {PACE_MS}\ncheckpoint_every = 10\n\
             arguments = [\"--throw-when\", {trigger:?}]\n"
        )
    }
}

/// The file that makes a worker of a task throw.
fn trigger(folder: &Path, task: &str) -> PathBuf {
    folder.join(format!("throw-{task}"))
}

/// A coordinator, and agents of these nodes.
async fn start(program: PathBuf, folder: &Path, nodes: &[&str]) -> anyhow::Result<LocalCluster> {
    let options = Options::new(program, folder, 4.0);
    Ok(LocalCluster::start_with_agents(options, nodes, SLOTS, PATIENCE).await?)
}

/// One process that never fails, beside the cluster. All tasks train the same model on the same samples, so
/// one is enough.
fn train_without_failures(
    program: &Path,
    folder: &Path,
    iterations: u64,
) -> anyhow::Result<tokio::process::Child> {
    let weights = folder.join("without-failures.safetensors");
    tokio::process::Command::new(program)
        .args(["train", "--preset", "tiny", "--json", "--weights"])
        .arg(&weights)
        .args(["--iterations", &iterations.to_string(), "--seed", &SEED.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| program.display().to_string())
}

/// The checksum of the weights that it ends with.
async fn weights_of(training: tokio::process::Child) -> anyhow::Result<String> {
    let output = training.wait_with_output().await?;
    anyhow::ensure!(
        output.status.success(),
        "training without failures failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let sha256 = result["weights_sha256"].as_str();
    Ok(sha256.context("training without failures has no checksum")?.to_owned())
}
