//! What a failure costs a PyTorch job: the same script with the same faults, once started again from its
//! checkpoint as a whole, as a plain launcher would, and once with survivors that keep the iteration.

use super::{PATIENCE, Scripts, cluster, text};
use crate::experiment::{Experiment, Size};
use crate::unicron::SYSTEM;
use anyhow::Context;
use common::progress::{Bar, Progress, Unit};
use common::report::Claim;
use common::statistics::median;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;
use unicron::local_cluster::LocalCluster;
use unicron::local_cluster::fault::Fault;

const FAULTS: usize = 12;
const QUICK_FAULTS: usize = 1;
const NODES: [&str; 2] = ["a", "b"];
const WORKERS: usize = 4;
const ITERATION_MS: u64 = 500;
/// Iterations between two checkpoints on disk. At Young's optimum for a failure each 15 s or so, it would be
/// no more.
const CHECKPOINT_EVERY: u64 = 10;
/// Iterations after a failure within which all that it costs is over.
const OVER_AFTER: u64 = 10;
/// Faults come at all places between two checkpoints.
const BETWEEN: [u64; 5] = [3, 7, 1, 9, 5];

/// The cost of a failure, by how it is recovered from.
pub struct PyTorchRecovery;

#[derive(Debug, Serialize, Deserialize)]
pub struct PyTorchRecoveryMetrics {
    pub rows: Vec<RecoveryRow>,
    /// Why nothing was measured, where nothing was.
    pub without: Option<String>,
}

/// One way to recover.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecoveryRow {
    /// As in a task's file.
    pub recovery: String,
    /// An iteration without faults, in milliseconds.
    pub iteration_ms: f64,
    /// Milliseconds that each fault has cost: until an iteration some way behind it was committed, less
    /// what these iterations take without it.
    pub lost_ms: Vec<f64>,
    /// From the fault to the first iteration that was committed after it.
    pub next_ms: Vec<f64>,
    /// Iterations that were committed before and are done again.
    pub iterations_back: u64,
    /// Micro-batches that were computed again within an iteration.
    pub recomputed_micro_batches: u64,
}

impl PyTorchRecoveryMetrics {
    fn lost_s(&self, recovery: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.recovery == recovery)?;
        Some(median(&row.lost_ms)? / 1e3)
    }
}

const KEPT: &str = "keep-iteration";
const RESTARTED: &str = "restart-all";

impl Experiment for PyTorchRecovery {
    type Metrics = PyTorchRecoveryMetrics;

    fn name(&self) -> String {
        "unicron-pytorch-recovery".to_owned()
    }

    fn run(
        &self,
        size: Size,
        progress: &Progress,
    ) -> anyhow::Result<(PyTorchRecoveryMetrics, Value)> {
        let faults = match size {
            Size::Quick => QUICK_FAULTS,
            Size::Full => FAULTS,
        };
        let configuration = json!({
            "faults": faults,
            "nodes": NODES.len(),
            "workers": WORKERS,
            "iteration_ms": ITERATION_MS,
            "checkpoint_every": CHECKPOINT_EVERY,
        });
        let scripts = match Scripts::find() {
            Ok(scripts) => scripts,
            Err(why) => {
                return Ok((
                    PyTorchRecoveryMetrics { rows: Vec::new(), without: Some(why) },
                    configuration,
                ));
            }
        };
        let bar = progress.bar("PyTorch", Some(2 * faults as u64), Unit::Items("faults"));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let rows = [RESTARTED, KEPT].map(|recovery| {
            let row = runtime.block_on(measure(&scripts, recovery, faults, &bar));
            row.with_context(|| recovery.to_owned())
        });
        bar.finish();
        let rows = rows.into_iter().collect::<anyhow::Result<_>>()?;
        Ok((PyTorchRecoveryMetrics { rows, without: None }, configuration))
    }

    fn judged(&self, metrics: &PyTorchRecoveryMetrics) -> Vec<Claim> {
        let (Some(restarted), Some(kept)) = (metrics.lost_s(RESTARTED), metrics.lost_s(KEPT))
        else {
            return self.open_claims(metrics.without.as_deref().unwrap_or("nothing was measured"));
        };
        let here = format!("{kept:.1} s, restarted {restarted:.1} s");
        vec![claim().judged(here, kept < restarted)]
    }

    fn claims(&self) -> Vec<Claim> {
        vec![claim()]
    }
}

fn claim() -> Claim {
    Claim::goal(SYSTEM, "live, PyTorch: what a killed worker costs", "less than a restart")
}

/// The task's file.
fn task(scripts: &Scripts, recovery: &str) -> String {
    let (pace_ms, every) = (ITERATION_MS.to_string(), CHECKPOINT_EVERY.to_string());
    let program = [text(&scripts.python), text(&scripts.example())];
    // A plain launcher's job has its checkpoints on disk alone.
    let memory_every = if recovery == KEPT { "1" } else { "0" };
    let options = [
        ("--iterations", "1000000"),
        ("--pace-ms", &pace_ms),
        ("--checkpoint-every", &every),
        ("--memory-every", memory_every),
    ];
    let options =
        options.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]);
    let command: Vec<String> = program.into_iter().chain(options).collect();
    format!(
        "name = \"gpt\"\nworkers = {WORKERS}\ncommand = {command:?}\nrecovery = \"{recovery}\"\n\
         max_restarts = 1000\n[environment]\nPYTHONPATH = {:?}\n",
        text(&scripts.package())
    )
}

async fn measure(
    scripts: &Scripts,
    recovery: &str,
    faults: usize,
    bar: &Bar,
) -> anyhow::Result<RecoveryRow> {
    let folder = tempfile::tempdir()?;
    let mut cluster = cluster(folder.path(), &NODES, WORKERS / NODES.len()).await?;
    cluster.submit(&task(scripts, recovery)).await?;
    let row = inject_all(&mut cluster, recovery, faults, bar).await;
    cluster.end().await;
    row
}

async fn inject_all(
    cluster: &mut LocalCluster,
    recovery: &str,
    faults: usize,
    bar: &Bar,
) -> anyhow::Result<RecoveryRow> {
    let mut row = RecoveryRow {
        recovery: recovery.to_owned(),
        iteration_ms: f64::NAN,
        lost_ms: Vec::new(),
        next_ms: Vec::new(),
        iterations_back: 0,
        recomputed_micro_batches: 0,
    };
    let (mut undisturbed_ms, mut passed_ms) = (Vec::new(), Vec::new());
    cluster.until("gpt", PATIENCE, |task| task.iteration >= WARM_UP).await?;
    for fault in 0..faults {
        let between = BETWEEN[fault % BETWEEN.len()];
        undisturbed_ms.push(undisturbed(cluster, between).await?);
        let before = cluster.task("gpt").await?;
        let clock = Instant::now();
        let outcome = Fault::WorkerKilled.inject(cluster, "gpt", fault).await?;
        let over = before.iteration + OVER_AFTER;
        cluster.until("gpt", PATIENCE, |task| task.iteration >= over).await?;
        passed_ms.push(clock.elapsed().as_secs_f64() * 1e3);
        row.next_ms.push(outcome.recovered_after_ms);
        row.iterations_back += outcome.iterations_back;
        row.recomputed_micro_batches += outcome.recomputed_micro_batches;
        bar.advance(1);
    }
    row.iteration_ms = median(&undisturbed_ms).context("no iteration was timed")?;
    let usual_ms = OVER_AFTER as f64 * row.iteration_ms;
    row.lost_ms = passed_ms.into_iter().map(|passed_ms| passed_ms - usual_ms).collect();
    Ok(row)
}

/// The first iterations allocate.
const WARM_UP: u64 = 4;

/// Waits until so many iterations behind a checkpoint; how long one takes, meanwhile.
async fn undisturbed(cluster: &LocalCluster, behind: u64) -> anyhow::Result<f64> {
    let next = cluster.task("gpt").await?.iteration + 1;
    let first = cluster.until("gpt", PATIENCE, |task| task.iteration >= next).await?.iteration;
    let clock = Instant::now();
    let wanted = (first + 1).next_multiple_of(CHECKPOINT_EVERY) + behind;
    let last = cluster.until("gpt", PATIENCE, |task| task.iteration >= wanted).await?;
    Ok(clock.elapsed().as_secs_f64() * 1e3 / (last.iteration - first) as f64)
}
