//! `unicron demo --pytorch`: the example GPT, under Unicron and, beside it, restarted from its checkpoint.

mod package;
mod report;

use super::row::Row;
use super::{PATIENCE, start};
use crate::local_cluster::LocalCluster;
use crate::local_cluster::fault::Fault;
use crate::proto::v1::Task;
use anyhow::Context;
use common::progress::{Progress, Unit};
pub use report::Report;
use report::losses;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Survivors of a failure go on in the same processes.
const KEEPS: &str = "gpt";
/// The same script: all start again from the checkpoint on disk, as torchrun does it.
const RESTARTS: &str = "gpt-restarted";

const NODES: [&str; 2] = ["node-a", "node-b"];

/// Of the longest kind of strike, and some.
const LETTERS: usize = 31;

/// A model that two cores compute for six workers at once.
const MODEL: &str =
    "--width 32 --layers 1 --heads 2 --context 32 --sequences 2 --micro-batches 12 --seed 7";

/// The least time of an iteration, so that one can watch.
const PACE_MS: &str = "250";

/// What goes wrong.
struct Strike {
    /// For people.
    kind: &'static str,
    task: &'static str,
    fault: Fault,
    /// Of the task's workers.
    which: usize,
}

/// The demonstration.
pub struct Scene<'a> {
    pub quick: bool,
    pub folder: &'a Path,
    pub python: Option<&'a Path>,
}

impl Scene<'_> {
    /// Plays it.
    pub async fn play(&self) -> anyhow::Result<Report> {
        let clock = Instant::now();
        let python = self.python()?;
        let script = package::write(&self.folder.join("python"))?;
        let expected = self.folder.join("without-failures.csv");
        let alone = self.train_alone(&python, &script, &expected)?;
        let strikes = self.strikes();
        let progress = Progress::stderr();
        let bar = progress.bar("demo", Some(strikes.len() as u64 + 1), Unit::Items("steps"));
        let mut cluster = self.start().await?;
        for task in [KEEPS, RESTARTS] {
            cluster.submit(&self.task(&python, &script, task)).await?;
        }
        bar.message("two tasks begin");
        for task in [KEEPS, RESTARTS] {
            cluster.until(task, PATIENCE, |now| now.iteration >= 3).await?;
        }
        let mut rows = Vec::new();
        for Strike { kind, task, fault, which } in strikes {
            bar.message(format!("{kind} in {task}"));
            let outcome = fault.inject(&mut cluster, task, which).await;
            let row = Row { kind, outcome: outcome.with_context(|| format!("{kind} in {task}"))? };
            // A terminal that is gone ends no demonstration.
            progress.suspend(|| _ = writeln!(std::io::stderr(), "{}", row.line(LETTERS)));
            rows.push(row);
            bar.advance(1);
        }
        bar.message("the tasks finish");
        let mut tasks = Vec::new();
        for task in [KEEPS, RESTARTS] {
            tasks.push(cluster.until(task, PATIENCE, Task::has_ended).await?);
        }
        cluster.end().await;
        let output = alone.wait_with_output().await?;
        anyhow::ensure!(output.status.success(), "training without failures failed");
        bar.advance(1);
        Ok(Report {
            rows,
            tasks,
            expected: losses(&expected)?,
            found: losses(&self.losses(KEEPS))?,
            seconds: clock.elapsed().as_secs_f64(),
        })
    }

    fn iterations(&self) -> String {
        (if self.quick { 140 } else { 360 }).to_string()
    }

    /// A Python that has PyTorch.
    fn python(&self) -> anyhow::Result<PathBuf> {
        let usual = ["python3", "/usr/bin/python3"].map(PathBuf::from);
        let candidates = self.python.map_or(usual.to_vec(), |python| vec![python.to_owned()]);
        let has_torch = |python: &PathBuf| {
            let looks = Command::new(python).args(["-c", "import torch.distributed"]).output();
            looks.is_ok_and(|output| output.status.success())
        };
        let found = candidates.into_iter().find(has_torch);
        found.context(
            "no Python with PyTorch; name one with --python, or install it (on Debian: apt-get \
             install python3-torch)",
        )
    }

    /// One process that never fails, beside the cluster.
    fn train_alone(
        &self,
        python: &Path,
        script: &Path,
        losses: &Path,
    ) -> anyhow::Result<tokio::process::Child> {
        tokio::process::Command::new(python)
            .arg(script)
            .args(MODEL.split(' '))
            .args(["--iterations", &self.iterations(), "--losses"])
            .arg(losses)
            .env("PYTHONPATH", self.folder.join("python"))
            .env("OMP_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| python.display().to_string())
    }

    fn task(&self, python: &Path, script: &Path, name: &str) -> String {
        let iterations = self.iterations();
        let losses = self.losses(name).display().to_string();
        let (python, script) = (python.display().to_string(), script.display().to_string());
        let mut command = vec![&*python, &*script];
        command.extend(MODEL.split(' '));
        command.extend(["--iterations", &iterations, "--pace-ms", PACE_MS, "--losses", &losses]);
        command.extend(["--checkpoint-every", "10"]);
        let (workers, recovery) = match name {
            KEEPS => (4, "keep-iteration"),
            _ => (2, "restart-all"),
        };
        if name == RESTARTS {
            // torchrun knows of disks alone.
            command.extend(["--memory-every", "0"]);
        }
        format!(
            "name = \"{name}\"\nworkers = {workers}\nmin_workers = 1\ncommand = {command:?}\n\
             recovery = \"{recovery}\"\n[environment]\nPYTHONPATH = {:?}\nOMP_NUM_THREADS = \"1\"\n\
             UNICRON_FAULTS = {:?}\n",
            self.folder.join("python").display().to_string(),
            self.faults(name).display().to_string(),
        )
    }

    async fn start(&self) -> anyhow::Result<LocalCluster> {
        for task in [KEEPS, RESTARTS] {
            std::fs::create_dir_all(self.faults(task))?;
        }
        start(std::env::current_exe()?, self.folder, &NODES).await
    }

    fn losses(&self, task: &str) -> PathBuf {
        self.folder.join(format!("losses-{task}.csv"))
    }

    /// Where failures at a moment are asked for: see the package's `faults.py`.
    fn faults(&self, task: &str) -> PathBuf {
        self.folder.join(format!("faults-{task}"))
    }

    fn strikes(&self) -> Vec<Strike> {
        let killed = |task, which| {
            let kind = if which == 0 { "first worker killed" } else { "worker killed" };
            Strike { kind, task, fault: Fault::WorkerKilled, which }
        };
        // Whoever finds and takes the file away fails so.
        let at = |kind, name: &str| {
            let fault = Fault::ExceptionThrown(self.faults(KEEPS).join(name));
            Strike { kind, task: KEEPS, fault, which: 0 }
        };
        let keeps = |kind, fault, which| Strike { kind, task: KEEPS, fault, which };
        let quick = vec![
            killed(KEEPS, 0),
            killed(RESTARTS, 0),
            at("killed before the vote", "kill@reduced"),
            at("killed in the optimizer's step", "kill@stepping"),
            keeps("worker stopped", Fault::WorkerStopped, 1),
        ];
        if self.quick {
            return quick;
        }
        let more = [
            killed(KEEPS, 2),
            killed(RESTARTS, 1),
            at("killed before the all-reduce", "kill@summed"),
            at("killed after the vote", "kill@voted"),
            at("exception thrown", "throw@micro-batch"),
            at("stopped in the all-reduce", "stop@reduced"),
            keeps("two workers killed", Fault::TwoWorkersKilled, 0),
            keeps("coordinator killed", Fault::CoordinatorKilled, 0),
            keeps("agent killed", Fault::AgentKilled, 3),
            keeps("agent stopped", Fault::AgentStopped, 1),
            killed(RESTARTS, 0),
        ];
        quick.into_iter().chain(more).collect()
    }
}
