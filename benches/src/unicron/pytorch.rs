//! What a failure costs a PyTorch job: the same script with the same faults, once started again from its
//! checkpoint as a whole, as a plain launcher would, and once with survivors that keep the iteration.

use super::{SYSTEM, program};
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::command::workspace_root;
use common::progress::{Bar, Progress, Unit};
use common::report::{Claim, Verdict};
use common::statistics::median;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use unicron::local_cluster::fault::Fault;
use unicron::local_cluster::{LocalCluster, Options};

const FAULTS: usize = 20;
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
const PATIENCE: Duration = Duration::from_secs(120);

/// The cost of a failure, by how it is recovered from.
pub struct PyTorch;

#[derive(Debug, Serialize, Deserialize)]
pub struct PyTorchMetrics {
    pub rows: Vec<PyTorchRow>,
    /// Why nothing was measured, where nothing was.
    pub without: Option<String>,
}

/// One way to recover.
#[derive(Debug, Serialize, Deserialize)]
pub struct PyTorchRow {
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

impl PyTorchMetrics {
    fn lost_s(&self, recovery: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.recovery == recovery)?;
        Some(median(&row.lost_ms)? / 1e3)
    }
}

const KEPT: &str = "keep-iteration";
const RESTARTED: &str = "restart-all";

impl Experiment for PyTorch {
    type Metrics = PyTorchMetrics;

    fn name(&self) -> String {
        "unicron-pytorch".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(PyTorchMetrics, Value)> {
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
        let script = match Script::find() {
            Ok(script) => script,
            Err(why) => {
                return Ok((
                    PyTorchMetrics { rows: Vec::new(), without: Some(why) },
                    configuration,
                ));
            }
        };
        let bar = progress.bar("PyTorch", Some(2 * faults as u64), Unit::Items("faults"));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let rows = [RESTARTED, KEPT].map(|recovery| {
            let row = runtime.block_on(measure(&script, recovery, faults, &bar));
            row.with_context(|| recovery.to_owned())
        });
        bar.finish();
        let rows = rows.into_iter().collect::<anyhow::Result<_>>()?;
        Ok((PyTorchMetrics { rows, without: None }, configuration))
    }

    fn claims(&self, metrics: &PyTorchMetrics) -> Vec<Claim> {
        let (Some(restarted), Some(kept)) = (metrics.lost_s(RESTARTED), metrics.lost_s(KEPT))
        else {
            return self.open_claims(metrics.without.as_deref().unwrap_or("nothing was measured"));
        };
        let here = format!("{kept:.1} s, restarted {restarted:.1} s");
        vec![unjudged(here, Verdict::judged(kept < restarted))]
    }

    fn open_claims(&self, reason: &str) -> Vec<Claim> {
        vec![unjudged(String::new(), Verdict::NotReproduced(reason.to_owned()))]
    }
}

fn unjudged(here: String, verdict: Verdict) -> Claim {
    Claim {
        system: SYSTEM.to_owned(),
        claim: "live, PyTorch: a killed worker costs less than a restart (our goal)".to_owned(),
        paper: "-".to_owned(),
        here,
        verdict,
    }
}

/// The example, and what runs it.
struct Script {
    python: PathBuf,
    script: PathBuf,
    package: PathBuf,
}

impl Script {
    fn find() -> Result<Self, String> {
        let root = workspace_root().ok_or("not within the workspace")?;
        let python = PathBuf::from("/usr/bin/python3");
        let imports = Command::new(&python).args(["-c", "import torch.distributed"]).output();
        if !imports.is_ok_and(|output| output.status.success()) {
            return Err(
                "PyTorch isn't installed (on Debian: apt-get install python3-torch)".to_owned()
            );
        }
        let unicron = root.join("unicron");
        let (script, package) = (unicron.join("examples/gpt.py"), unicron.join("python/src"));
        Ok(Self { python, script, package })
    }

    /// The task's file.
    fn task(&self, recovery: &str) -> String {
        let words = |path: &Path| path.display().to_string();
        let command = [
            words(&self.python),
            words(&self.script),
            "--iterations".to_owned(),
            "1000000".to_owned(),
            "--pace-ms".to_owned(),
            ITERATION_MS.to_string(),
            "--checkpoint-every".to_owned(),
            CHECKPOINT_EVERY.to_string(),
            // A plain launcher's job has its checkpoints on disk alone.
            "--memory-every".to_owned(),
            if recovery == KEPT { "1" } else { "0" }.to_owned(),
        ];
        format!(
            "name = \"gpt\"\nworkers = {WORKERS}\ncommand = {command:?}\nrecovery = \"{recovery}\"\n\
             max_restarts = 1000\n[environment]\nPYTHONPATH = {:?}\n",
            words(&self.package)
        )
    }
}

async fn measure(
    script: &Script,
    recovery: &str,
    faults: usize,
    bar: &Bar,
) -> anyhow::Result<PyTorchRow> {
    let folder = tempfile::tempdir()?;
    let options = Options {
        program: program::copied_into(folder.path())?,
        folder: folder.path().to_owned(),
        lease_s: 4.0,
        run_id: format!("pytorch-{}", std::process::id()),
        etcd: None,
        has_networks: false,
    };
    let mut cluster = LocalCluster::start(options).await?;
    for node in NODES {
        cluster.add_agent(node, WORKERS / NODES.len()).await?;
    }
    cluster.until_ready(NODES.len(), PATIENCE).await?;
    cluster.submit(&script.task(recovery)).await?;
    let row = inject_all(&mut cluster, recovery, faults, bar).await;
    cluster.end().await;
    row
}

async fn inject_all(
    cluster: &mut LocalCluster,
    recovery: &str,
    faults: usize,
    bar: &Bar,
) -> anyhow::Result<PyTorchRow> {
    let mut row = PyTorchRow {
        recovery: recovery.to_owned(),
        iteration_ms: iteration_ms(cluster).await?,
        lost_ms: Vec::new(),
        next_ms: Vec::new(),
        iterations_back: 0,
        recomputed_micro_batches: 0,
    };
    for fault in 0..faults {
        let settled = cluster.task("gpt").await?.iteration;
        let next = settled.next_multiple_of(CHECKPOINT_EVERY) + BETWEEN[fault % BETWEEN.len()];
        cluster.until("gpt", PATIENCE, |task| task.iteration >= next).await?;
        let before = cluster.task("gpt").await?;
        let clock = Instant::now();
        let outcome = Fault::WorkerKilled.inject(cluster, "gpt", fault).await?;
        let over = before.iteration + OVER_AFTER;
        cluster.until("gpt", PATIENCE, |task| task.iteration >= over).await?;
        let passed_ms = clock.elapsed().as_secs_f64() * 1e3;
        row.lost_ms.push(passed_ms - OVER_AFTER as f64 * row.iteration_ms);
        row.next_ms.push(outcome.recovered_after_ms);
        row.iterations_back += outcome.iterations_back;
        row.recomputed_micro_batches += outcome.recomputed_micro_batches;
        bar.advance(1);
    }
    Ok(row)
}

/// Iterations over which an undisturbed one is timed.
const TIMED: u64 = 16;

/// How long an iteration takes when nothing fails, once the first ones are over.
async fn iteration_ms(cluster: &LocalCluster) -> anyhow::Result<f64> {
    let first = cluster.until("gpt", PATIENCE, |task| task.iteration >= 4).await?.iteration;
    let clock = Instant::now();
    let last = cluster.until("gpt", PATIENCE, |task| task.iteration >= first + TIMED).await?;
    Ok(clock.elapsed().as_secs_f64() * 1e3 / (last.iteration - first) as f64)
}
