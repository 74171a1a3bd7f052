//! What PyTorch jobs pay for Unicron while nothing fails: the same loop with it and without, by turns.

use super::{PATIENCE, Scripts, cluster, text};
use crate::experiment::{Experiment, Size};
use crate::unicron::SYSTEM;
use anyhow::{Context, ensure};
use common::progress::{Progress, Unit};
use common::report::{Claim, Verdict};
use common::statistics::{Estimate, median};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use unicron::local_cluster::LocalCluster;

const PAIRS: usize = 30;
const QUICK_PAIRS: usize = 1;
const WORKERS: usize = 2;
const ITERATIONS: usize = 12;
/// The first iterations allocate; they don't count.
const WARM_UP: usize = 2;
const NODE: &str = "a";
/// How long a script may write after its task is done.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Our goal, in percent.
const AT_MOST: f64 = 2.0;

/// The cost of Unicron without failures.
pub struct PyTorchOverhead;

#[derive(Debug, Serialize, Deserialize)]
pub struct PyTorchOverheadMetrics {
    /// Milliseconds of an iteration, medians: the bare script, and attached.
    pub level_1: Vec<(f64, f64)>,
    /// The same: a loop written by hand, and the trainer's.
    pub level_2: Vec<(f64, f64)>,
    /// The same micro-batches under `DistributedDataParallel`.
    pub ddp: Vec<f64>,
    /// Why nothing was measured, where nothing was.
    pub without: Option<String>,
}

impl PyTorchOverheadMetrics {
    /// How much longer iterations take, in percent.
    pub fn slower(pairs: &[(f64, f64)]) -> Estimate {
        let slower = |&(without, with): &(f64, f64)| 100.0 * (with / without - 1.0);
        Estimate::of(&pairs.iter().map(slower).collect::<Vec<_>>())
    }
}

const LEVELS: [&str; 2] = ["level 1 over the bare script", "level 2 over a loop written by hand"];

impl Experiment for PyTorchOverhead {
    type Metrics = PyTorchOverheadMetrics;

    fn name(&self) -> String {
        "unicron-pytorch-overhead".to_owned()
    }

    fn run(
        &self,
        size: Size,
        progress: &Progress,
    ) -> anyhow::Result<(PyTorchOverheadMetrics, Value)> {
        let pairs = match size {
            Size::Quick => QUICK_PAIRS,
            Size::Full => PAIRS,
        };
        let configuration = json!({
            "pairs": pairs,
            "workers": WORKERS,
            "iterations": ITERATIONS,
        });
        let mut metrics = PyTorchOverheadMetrics {
            level_1: Vec::new(),
            level_2: Vec::new(),
            ddp: Vec::new(),
            without: None,
        };
        match Scripts::find() {
            Ok(scripts) => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
                runtime.block_on(measure(&scripts, pairs, progress, &mut metrics))?;
            }
            Err(why) => metrics.without = Some(why),
        }
        Ok((metrics, configuration))
    }

    fn claims(&self, metrics: &PyTorchOverheadMetrics) -> Vec<Claim> {
        if let Some(why) = &metrics.without {
            return self.open_claims(why);
        }
        let claim = |(level, pairs): (&str, &Vec<(f64, f64)>)| {
            let slower = PyTorchOverheadMetrics::slower(pairs);
            let (mean, half) = (slower.mean, slower.half_width_95());
            // Below the goal as a whole, or not distinguishable from what is.
            let holds = mean < AT_MOST;
            unjudged(level, format!("{mean:+.1} % ± {half:.1}"), Verdict::judged(holds))
        };
        LEVELS.into_iter().zip([&metrics.level_1, &metrics.level_2]).map(claim).collect()
    }

    fn open_claims(&self, reason: &str) -> Vec<Claim> {
        let open =
            |level| unjudged(level, String::new(), Verdict::NotReproduced(reason.to_owned()));
        LEVELS.into_iter().map(open).collect()
    }
}

fn unjudged(level: &str, here: String, verdict: Verdict) -> Claim {
    Claim {
        system: SYSTEM.to_owned(),
        claim: format!("live, PyTorch: {level} costs less than {AT_MOST} % (our goal)"),
        paper: "-".to_owned(),
        here,
        verdict,
    }
}

async fn measure(
    scripts: &Scripts,
    pairs: usize,
    progress: &Progress,
    metrics: &mut PyTorchOverheadMetrics,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = cluster(folder.path(), &[NODE], WORKERS).await?;
    let bar = progress.bar("PyTorch", Some(pairs as u64), Unit::Items("pairs"));
    for pair in 0..pairs {
        // Who is first has a machine that has just rested.
        let mut order = ["bare", "attached", "written", "trainer", "ddp"];
        let first = pair % order.len();
        order.rotate_left(first);
        let mut of = std::collections::BTreeMap::new();
        for name in order {
            let timings = folder.path().join(format!("{name}-{pair}"));
            match name {
                "attached" | "trainer" => {
                    with_unicron(scripts, &cluster, name, pair, &timings).await?
                }
                _ => without(scripts, name, &timings)?,
            }
            of.insert(name, iteration_ms(&timings)?);
        }
        metrics.level_1.push((of["bare"], of["attached"]));
        metrics.level_2.push((of["written"], of["trainer"]));
        metrics.ddp.push(of["ddp"]);
        bar.advance(1);
    }
    bar.finish();
    cluster.end().await;
    Ok(())
}

/// The loop's command.
fn command(scripts: &Scripts, name: &str, timings: &Path) -> Vec<String> {
    let script = scripts.root.join("benches/scripts/loops.py");
    let iterations = ITERATIONS.to_string();
    let options = ["--iterations", &iterations, "--timings", &text(timings)].map(str::to_owned);
    let first = [text(&scripts.python), text(&script), name.to_owned()];
    let example = ["--example".to_owned(), text(&scripts.example())];
    first.into_iter().chain(example).chain(options).collect()
}

/// As a task of a cluster.
async fn with_unicron(
    scripts: &Scripts,
    cluster: &LocalCluster,
    name: &str,
    pair: usize,
    timings: &Path,
) -> anyhow::Result<()> {
    let recovery = if name == "trainer" { "keep-iteration" } else { "restart-all" };
    let task = format!("{name}-{pair}");
    let file = format!(
        "name = \"{task}\"\nworkers = {WORKERS}\nmin_workers = {WORKERS}\ncommand = {:?}\n\
         recovery = \"{recovery}\"\n[environment]\nPYTHONPATH = {:?}\nOMP_NUM_THREADS = \"1\"\n",
        command(scripts, name, timings),
        text(&scripts.package())
    );
    cluster.submit(&file).await?;
    let ended =
        cluster.until(&task, PATIENCE, |task| !task.reason.is_empty() && task.state != "waiting");
    let ended = ended.await?;
    ensure!(ended.state == "done" && ended.failures == 0, "{task}: {}", ended.reason);
    // The task is done with its last iteration; the script goes on to write.
    let clock = Instant::now();
    while !timings.exists() && clock.elapsed() < LAST_WORDS {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Alone, in the environment that a launcher gives.
fn without(scripts: &Scripts, name: &str, timings: &Path) -> anyhow::Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let [program, arguments @ ..] = &command(scripts, name, timings)[..] else {
        anyhow::bail!("a command has a program");
    };
    let start = |rank: usize| {
        let child = Command::new(program)
            .args(arguments)
            .env("PYTHONPATH", scripts.package())
            .env("OMP_NUM_THREADS", "1")
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", WORKERS.to_string())
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string())
            .stdout(Stdio::null())
            .spawn();
        child.with_context(|| program.clone())
    };
    let children = (0..WORKERS).map(start).collect::<anyhow::Result<Vec<Child>>>()?;
    for mut child in children {
        let status = child.wait()?;
        ensure!(status.success(), "{name}: {status}");
    }
    Ok(())
}

/// The median of the iterations that count.
fn iteration_ms(timings: &Path) -> anyhow::Result<f64> {
    let written = std::fs::read_to_string(timings);
    let written = written.with_context(|| timings.display().to_string())?;
    let timings: Vec<f64> = written.lines().map(str::parse).collect::<Result<_, _>>()?;
    median(timings.get(WARM_UP..).unwrap_or_default()).context("no iteration was timed")
}
