//! Many faults, one upon the other, drawn from a seed: nobody waits until the cluster has recovered.
//!
//! The seed decides what is done, to whom, and when. What comes of it also depends on how fast the machine
//! is, so a seed doesn't repeat a run, but a run of the same kind.

use super::LocalCluster;
use super::fault::Fault;
use crate::proto::v1;
use crate::{Error, Result};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a storm is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides all that is drawn.
    pub seed: u64,
    /// Faults.
    pub faults: usize,
    /// Seconds between two.
    pub between_s: Range<f64>,
    /// Seconds for which a node is away: shorter and longer than its lease.
    pub away_s: Range<f64>,
    /// A file system of its own that holds the tasks' checkpoints, if there is one: it is filled.
    pub disk: Option<PathBuf>,
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Strike {
    /// What.
    pub fault: &'static str,
    /// The task that it hit.
    pub task: String,
    /// The node of the worker that it hit.
    pub node: String,
}

/// What is to be undone, and when.
struct Away {
    until: Instant,
    fault: Fault,
    node: String,
}

/// The file that makes a worker of a task raise an exception, or hang.
#[must_use]
pub fn trigger(folder: &Path, what: &str, task: &str) -> PathBuf {
    folder.join(format!("{what}-{task}"))
}

const LET_BE: Duration = Duration::from_millis(50);

/// So long a disk is full.
const FULL: Duration = Duration::from_secs(2);

/// Coordinators come back; nothing else is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets it storm over tasks that run, and leaves with all nodes back. Tasks are of the reference trainer, with
/// [`trigger`]s for `throw` and `hang`.
///
/// # Errors
/// If all tasks end before the storm does, or the cluster can't be reached for a minute.
pub async fn storm(cluster: &mut LocalCluster, settings: &Settings) -> Result<Vec<Strike>> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut away: Vec<Away> = Vec::new();
    let mut strikes = Vec::new();
    while strikes.len() < settings.faults {
        let pause = random.random_range(settings.between_s.clone());
        wait(cluster, &mut away, Duration::from_secs_f64(pause)).await?;
        let running = running(cluster).await?;
        let task = running.choose(&mut random).ok_or_else(over)?;
        let victims: Vec<&v1::TaskWorker> =
            task.workers.iter().filter(|worker| worker.pid > 1).collect();
        let Some(&victim) = victims.choose(&mut random) else { continue };
        let fault = draw(cluster, &mut random, task, !away.is_empty());
        // A worker that has just ended can't be hit: another is.
        if fault.strike(cluster, task, victim).await.is_err() {
            continue;
        }
        let node = victim.node.clone();
        strikes.push(Strike { fault: fault.name(), task: task.name.clone(), node: node.clone() });
        if matches!(fault, Fault::AgentStopped | Fault::NodeCutOff) {
            let seconds = random.random_range(settings.away_s.clone());
            let until = Instant::now() + Duration::from_secs_f64(seconds);
            away.push(Away { until, fault, node });
        }
        if let Some(disk) = &settings.disk
            && random.random_bool(0.05)
        {
            fill(disk).await?;
            strikes.push(Strike { fault: "disk full", task: String::new(), node: String::new() });
        }
    }
    while let Some(last) = away.iter().map(|one| one.until).max() {
        wait(cluster, &mut away, last.saturating_duration_since(Instant::now()) + LET_BE).await?;
    }
    Ok(strikes)
}

/// Another fault. One node is away at a time: with two of four there would be no place for all tasks.
fn draw(
    cluster: &LocalCluster,
    random: &mut ChaCha8Rng,
    task: &v1::Task,
    is_one_away: bool,
) -> Fault {
    let folder = cluster.folder();
    let throw = || Fault::ExceptionThrown(trigger(folder, "throw", &task.name));
    let hang = || Fault::WorkerHung(trigger(folder, "hang", &task.name));
    match random.random_range(0..100) {
        0..24 => Fault::WorkerKilled,
        24..38 => Fault::WorkerStopped,
        38..48 => throw(),
        48..54 => hang(),
        54..62 => Fault::TwoWorkersKilled,
        62..70 => Fault::AgentKilled,
        70..78 => Fault::CoordinatorKilled,
        _ if is_one_away => Fault::WorkerKilled,
        78..89 => Fault::AgentStopped,
        _ if cluster.network().is_some() => Fault::NodeCutOff,
        _ => Fault::AgentStopped,
    }
}

/// Lets time pass, nodes come back, and nodes that were put aside have tasks again, as an operator would who
/// finds nothing wrong with them.
async fn wait(cluster: &LocalCluster, away: &mut Vec<Away>, pause: Duration) -> Result<()> {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        let now = Instant::now();
        for back in away.extract_if(.., |one| one.until <= now) {
            back.fault.lift(cluster, &back.node)?;
        }
        tokio::time::sleep(LET_BE).await;
    }
    for node in cluster.nodes().await.unwrap_or_default() {
        if node.state == "isolated" {
            // It may have been lost meanwhile.
            let _ = cluster.set_drained(&node.name, false).await;
        }
    }
    Ok(())
}

/// Tasks that have workers to be hit.
async fn running(cluster: &LocalCluster) -> Result<Vec<v1::Task>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match cluster.tasks().await {
            Ok(tasks) => {
                return Ok(tasks.into_iter().filter(|task| !task.has_ended()).collect());
            }
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(LET_BE).await,
        }
    }
}

fn over() -> Error {
    Error::Unreachable {
        what: "tasks that run".to_owned(),
        problem: "all have ended before the storm".to_owned(),
    }
}

/// Fills a file system, and frees it after a while.
async fn fill(disk: &Path) -> Result<()> {
    let path = disk.join("full");
    let filling = path.clone();
    let filled = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::create(&filling)?;
        // An error is what is wanted.
        while std::io::Write::write_all(&mut file, &[0; 1 << 16]).is_ok() {}
        std::io::Result::Ok(())
    });
    filled
        .await
        .map_err(|error| Error::Network {
            what: path.display().to_string(),
            problem: error.to_string(),
        })?
        .map_err(Error::io(&path))?;
    tokio::time::sleep(FULL).await;
    std::fs::remove_file(&path).map_err(Error::io(&path))
}
