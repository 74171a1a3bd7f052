//! What PyTorch jobs pay for Unicron while nothing fails: the same loop with it and without, by turns of some
//! iterations.

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
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use unicron::local_cluster::LocalCluster;

/// How long is measured.
#[derive(Debug, Clone, Copy)]
struct Setting {
    /// Rounds of turns that count.
    pairs: usize,
    /// The first rounds, in which others still start, don't.
    warm_up: usize,
    /// Iterations of a turn.
    turn: usize,
}

const FULL: Setting = Setting { pairs: 30, warm_up: 2, turn: 8 };
const QUICK: Setting = Setting { pairs: 1, warm_up: 1, turn: 3 };

const WORKERS: usize = 2;
const NODE: &str = "a";
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
        let setting = match size {
            Size::Quick => QUICK,
            Size::Full => FULL,
        };
        let configuration = json!({
            "pairs": setting.pairs,
            "workers": WORKERS,
            "iterations_of_a_turn": setting.turn,
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
                runtime.block_on(measure(&scripts, setting, progress, &mut metrics))?;
            }
            Err(why) => metrics.without = Some(why),
        }
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &PyTorchOverheadMetrics) -> Vec<Claim> {
        if let Some(why) = &metrics.without {
            return self.open_claims(why);
        }
        let judged = |(level, pairs): (&str, &Vec<(f64, f64)>)| {
            let slower = PyTorchOverheadMetrics::slower(pairs);
            if slower.n < 2 {
                return claim(level).not_reproduced("one pair says nothing");
            }
            let (mean, half) = (slower.mean, slower.half_width_95());
            let verdict = match (mean - half < AT_MOST, mean + half < AT_MOST) {
                (true, false) => {
                    Verdict::NotReproduced("the machine was too busy to tell".to_owned())
                }
                (_, holds) => Verdict::judged(holds),
            };
            claim(level).measured(format!("{mean:+.1} % ± {half:.1}"), verdict)
        };
        LEVELS.into_iter().zip([&metrics.level_1, &metrics.level_2]).map(judged).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        LEVELS.into_iter().map(claim).collect()
    }
}

fn claim(level: &str) -> Claim {
    Claim::goal(SYSTEM, format!("live, PyTorch: what {level} costs"), format!("< {AT_MOST} %"))
}

/// Loops that take turns; see `loops.py`, which has the same order.
const LOOPS: [&str; 5] = ["bare", "attached", "written", "trainer", "ddp"];

async fn measure(
    scripts: &Scripts,
    setting: Setting,
    progress: &Progress,
    metrics: &mut PyTorchOverheadMetrics,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = cluster(folder.path(), &[NODE], 2 * WORKERS).await?;
    let turns = Turns { scripts, folder: folder.path(), setting };
    std::fs::write(turns.baton(), "0")?;
    // Ended when they are dropped, should anything fail.
    let mut alone = Vec::new();
    for name in [LOOPS[0], LOOPS[2], LOOPS[4]] {
        alone.extend(turns.without(name)?);
    }
    for name in [LOOPS[1], LOOPS[3]] {
        cluster.submit(&turns.task(name)).await?;
    }
    turns.until_over(progress, &cluster).await?;
    for mut child in alone {
        ensure!(child.wait().await?.success(), "a loop without Unicron failed");
    }
    let [bare, attached, written, trainer, ddp] = LOOPS.map(|name| turns.iteration_ms(name));
    metrics.level_1 = bare?.into_iter().zip(attached?).collect();
    metrics.level_2 = written?.into_iter().zip(trainer?).collect();
    metrics.ddp = ddp?;
    cluster.end().await;
    Ok(())
}

/// Five loops that take turns.
struct Turns<'a> {
    scripts: &'a Scripts,
    folder: &'a Path,
    setting: Setting,
}

impl Turns<'_> {
    fn rounds(&self) -> usize {
        self.setting.warm_up + self.setting.pairs
    }

    fn baton(&self) -> PathBuf {
        self.folder.join("baton")
    }

    fn timings(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The loop's command.
    fn command(&self, name: &str) -> Vec<String> {
        let script = self.scripts.root.join("benches/scripts/loops.py");
        let first = [text(&self.scripts.python), text(&script), name.to_owned()];
        let options = [
            ("--example", text(&self.scripts.example())),
            ("--baton", text(&self.baton())),
            ("--turn", self.setting.turn.to_string()),
            ("--iterations", (self.rounds() * self.setting.turn).to_string()),
            ("--timings", text(&self.timings(name))),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        first.into_iter().chain(options).collect()
    }

    /// As a task of a cluster.
    fn task(&self, name: &str) -> String {
        let recovery = if name == "trainer" { "keep-iteration" } else { "restart-all" };
        format!(
            "name = \"{name}\"\nworkers = {WORKERS}\nmin_workers = {WORKERS}\ncommand = {:?}\n\
             recovery = \"{recovery}\"\n[environment]\nPYTHONPATH = {:?}\nOMP_NUM_THREADS = \"1\"\n",
            self.command(name),
            text(&self.scripts.package())
        )
    }

    /// Alone, in the environment that a launcher gives.
    fn without(&self, name: &str) -> anyhow::Result<Vec<Child>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let [program, arguments @ ..] = &self.command(name)[..] else {
            anyhow::bail!("a command has a program");
        };
        let start = |rank: usize| {
            let child = Command::new(program)
                .args(arguments)
                .env("PYTHONPATH", self.scripts.package())
                .env("OMP_NUM_THREADS", "1")
                .env("RANK", rank.to_string())
                .env("WORLD_SIZE", WORKERS.to_string())
                .env("MASTER_ADDR", "127.0.0.1")
                .env("MASTER_PORT", port.to_string())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn();
            child.with_context(|| program.clone())
        };
        (0..WORKERS).map(start).collect()
    }

    /// Waits until the last loop has had its last turn.
    async fn until_over(&self, progress: &Progress, cluster: &LocalCluster) -> anyhow::Result<()> {
        let turns = self.rounds() * LOOPS.len();
        let bar = progress.bar("PyTorch", Some(turns as u64), Unit::Items("turns"));
        let (mut had, mut since) = (0, Instant::now());
        while had < turns {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = std::fs::read_to_string(self.baton())?.trim().parse()?;
            if now != had {
                (had, since) = (now, Instant::now());
                bar.set_position(had as u64);
            }
            ensure!(since.elapsed() < PATIENCE, "{} doesn't pass on", LOOPS[had % LOOPS.len()]);
            for task in cluster.tasks().await? {
                ensure!(task.failures == 0, "{} has failed: {}", task.name, task.reason);
            }
        }
        bar.finish();
        Ok(())
    }

    /// For each turn that counts, the median of its iterations but the first, for which caches are cold.
    fn iteration_ms(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        let path = self.timings(name);
        let written = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let timings: Vec<f64> = written.lines().map(str::parse).collect::<Result<_, _>>()?;
        let turns = timings.chunks_exact(self.setting.turn).skip(self.setting.warm_up);
        turns.map(|turn| median(&turn[1..]).context("a turn has iterations")).collect()
    }
}
