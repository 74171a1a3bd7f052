//! How soon failures are noticed and survived: faults injected into a cluster of real processes, one after
//! the other, from the injector's clock to the coordinator's record.

use super::{SYSTEM, program};
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::progress::{Progress, Unit};
use common::report::Claim;
use common::statistics::quantile;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use unicron::local_cluster::fault::{Fault, Outcome};
use unicron::local_cluster::network::Network;
use unicron::local_cluster::{LocalCluster, Options};

const INJECTIONS: usize = 20;
/// Some 40 seconds.
const QUICK_INJECTIONS: usize = 1;
/// The shortest iteration at which a hang has to be told by three times its length.
const ITERATION_MS: u64 = 500;
const LEASE_S: f64 = 4.0;
/// The agent looks so often.
const POLL_MS: f64 = 50.0;
const NODES: [&str; 3] = ["a", "b", "c"];
const SLOTS: usize = 2;
const WORKERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Detection by fault.
pub struct Detection;

#[derive(Debug, Serialize, Deserialize)]
pub struct DetectionMetrics {
    pub rows: Vec<DetectionRow>,
    /// An iteration without faults, in milliseconds.
    pub iteration_ms: f64,
    /// Why nodes could not be cut off in silence, where they could not.
    pub without_networks: Option<String>,
}

/// A kind of fault. Times are in milliseconds from the injector's clock, one an injection.
#[derive(Debug, Serialize, Deserialize)]
pub struct DetectionRow {
    pub fault: String,
    /// To the coordinator's record of it.
    pub detected_ms: Vec<f64>,
    /// To the first iteration that is committed after it.
    pub recovered_ms: Vec<f64>,
    /// All that the coordinator did about them.
    pub handled_by: Vec<String>,
    pub recomputed_micro_batches: u64,
    pub iterations_back: u64,
}

/// A kind of fault: what we want, what the paper has, and what is there without.
struct Kind {
    fault: fn(&Path) -> Fault,
    /// Milliseconds; by those of an iteration.
    at_most: fn(f64) -> f64,
    /// Its table of detection times.
    paper: &'static str,
    /// What a plain time-out needs, by its definition.
    without: &'static str,
}

/// PyTorch waits so long for NCCL by default; the paper's runs waited for 30 minutes.
const TIME_OUT: &str = "600 s";
/// torchrun's: three missed of one each 5 s.
const KEEP_ALIVE: &str = "15 s";

const KINDS: [Kind; 6] = [
    Kind {
        fault: |_| Fault::WorkerKilled,
        at_most: |_| 1000.0,
        paper: "1.8 s",
        without: "600 s; its node's launcher 1 s",
    },
    Kind {
        fault: |folder| Fault::ExceptionThrown(trigger(folder, "throw")),
        at_most: |_| 300.0,
        paper: "0.3 s",
        without: TIME_OUT,
    },
    Kind {
        fault: |folder| Fault::WorkerHung(trigger(folder, "hang")),
        at_most: |iteration| 3.0 * iteration + POLL_MS,
        paper: "3 iterations",
        without: TIME_OUT,
    },
    Kind { fault: |_| Fault::NodeCutOff, at_most: |_| 6000.0, paper: "5.6 s", without: KEEP_ALIVE },
    Kind {
        fault: |_| Fault::AgentStopped,
        at_most: |_| 6000.0,
        paper: "5.6 s",
        without: KEEP_ALIVE,
    },
    Kind {
        fault: |_| Fault::AgentKilled,
        at_most: |_| 6000.0,
        paper: "5.6 s",
        without: KEEP_ALIVE,
    },
];

fn kind(fault: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| (kind.fault)(Path::new("")).name() == fault)
}

impl DetectionRow {
    /// The most that we allow, in milliseconds, by those of an iteration.
    pub fn at_most(&self, iteration_ms: f64) -> Option<f64> {
        kind(&self.fault).map(|kind| (kind.at_most)(iteration_ms))
    }

    /// The paper's time.
    pub fn paper(&self) -> &'static str {
        kind(&self.fault).map_or("-", |kind| kind.paper)
    }

    /// The time without any of this.
    pub fn without(&self) -> &'static str {
        kind(&self.fault).map_or("-", |kind| kind.without)
    }

    /// The time within which so large a part of the injections was noticed, in milliseconds.
    pub fn detected_within(&self, part: f64) -> Option<f64> {
        quantile(&self.detected_ms, part)
    }
}

impl Experiment for Detection {
    type Metrics = DetectionMetrics;

    fn name(&self) -> String {
        "unicron-detection".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(DetectionMetrics, Value)> {
        let injections = match size {
            Size::Quick => QUICK_INJECTIONS,
            Size::Full => INJECTIONS,
        };
        let configuration = json!({
            "injections": injections,
            "nodes": NODES.len(),
            "workers": WORKERS,
            "iteration_ms": ITERATION_MS,
            "lease_s": LEASE_S,
        });
        let without_networks = Network::new().err().map(|error| error.to_string());
        let folder = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (iteration_ms, rows) = runtime.block_on(async {
            let mut cluster = cluster(folder.path(), without_networks.is_none()).await?;
            let iteration_ms = iteration_ms(&cluster).await;
            let rows = inject_all(&mut cluster, injections, progress).await;
            cluster.end().await;
            anyhow::Ok((iteration_ms?, rows?))
        })?;
        Ok((DetectionMetrics { rows, iteration_ms, without_networks }, configuration))
    }

    fn judged(&self, metrics: &DetectionMetrics) -> Vec<Claim> {
        let judged = |kind: &Kind| {
            let name = (kind.fault)(Path::new("")).name();
            let row = metrics.rows.iter().find(|row| row.fault == name);
            let slowest = row.and_then(|row| row.detected_within(1.0));
            let median = row.and_then(|row| row.detected_within(0.5));
            let (Some(slowest), Some(median)) = (slowest, median) else {
                let reason = metrics.without_networks.clone().unwrap_or_default();
                return claim(kind, ITERATION_MS as f64).not_reproduced(&reason);
            };
            let at_most = (kind.at_most)(metrics.iteration_ms);
            let here = format!("{:.2} s, slowest {:.2} s", median / 1e3, slowest / 1e3);
            claim(kind, metrics.iteration_ms).judged(here, slowest <= at_most)
        };
        KINDS.iter().map(judged).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        KINDS.iter().map(|kind| claim(kind, ITERATION_MS as f64)).collect()
    }
}

fn claim(kind: &Kind, iteration_ms: f64) -> Claim {
    let name = (kind.fault)(Path::new("")).name();
    let at_most = (kind.at_most)(iteration_ms) / 1e3;
    let bound = format!("≤ {at_most:.2} s; the paper: {}", kind.paper);
    Claim::goal(SYSTEM, format!("live, {name}: noticed within"), bound)
}

/// The file that makes a worker fail.
fn trigger(folder: &Path, what: &str) -> PathBuf {
    folder.join(what)
}

/// A coordinator, three agents, and a task that trains on all of them.
async fn cluster(folder: &Path, has_networks: bool) -> anyhow::Result<LocalCluster> {
    let options = Options::new(program::copied_into(folder)?, folder, LEASE_S);
    let options = Options { has_networks, ..options };
    let cluster = LocalCluster::start_with_agents(options, &NODES, SLOTS, PATIENCE).await?;
    let [throw, hang] = ["throw", "hang"].map(|what| trigger(folder, what).display().to_string());
    let task = format!(
        "name = \"gpt\"\nworkers = {WORKERS}\n[train]\npreset = \"nano\"\niterations = 1000000\n\
         pace_ms = {ITERATION_MS}\n\
         arguments = [\"--throw-when\", {throw:?}, \"--hang-when\", {hang:?}]\n"
    );
    cluster.submit(&task).await?;
    Ok(cluster)
}

/// Rows of all kinds. Kinds take turns, so that none has a busy minute of the machine for itself.
async fn inject_all(
    cluster: &mut LocalCluster,
    injections: usize,
    progress: &Progress,
) -> anyhow::Result<Vec<DetectionRow>> {
    let folder = cluster.folder().to_owned();
    let kinds: Vec<Fault> = KINDS.iter().map(|kind| (kind.fault)(&folder)).collect();
    let has_networks = cluster.network().is_some();
    let kinds: Vec<Fault> =
        kinds.into_iter().filter(|fault| has_networks || *fault != Fault::NodeCutOff).collect();
    let total = (kinds.len() * injections) as u64;
    let bar = progress.bar("detection", Some(total), Unit::Items("faults"));
    let mut outcomes = Vec::new();
    for round in 0..injections {
        for fault in &kinds {
            bar.message(fault.name().to_owned());
            let between = if matches!(fault, Fault::WorkerHung(_)) { LEARNED } else { SETTLED };
            more_iterations(cluster, between).await?;
            let outcome = fault.clone().inject(cluster, "gpt", round).await;
            outcomes.push(outcome.with_context(|| format!("{}, time {round}", fault.name()))?);
            bar.advance(1);
        }
    }
    bar.finish();
    Ok(kinds.iter().map(|fault| row(fault, &outcomes)).collect())
}

/// Iterations of a group before the next fault.
const SETTLED: u64 = 3;

/// Iterations of a group after which its workers know what one takes.
const LEARNED: u64 = 20;

/// Waits for so many.
async fn more_iterations(cluster: &LocalCluster, count: u64) -> anyhow::Result<()> {
    let wanted = cluster.task("gpt").await?.iteration + count;
    cluster.until("gpt", PATIENCE, |task| task.iteration >= wanted).await?;
    Ok(())
}

/// How long an iteration takes when nothing fails.
async fn iteration_ms(cluster: &LocalCluster) -> anyhow::Result<f64> {
    cluster.until("gpt", PATIENCE, |task| task.iteration > 0).await?;
    more_iterations(cluster, 2).await?;
    let clock = Instant::now();
    more_iterations(cluster, LEARNED).await?;
    Ok(clock.elapsed().as_secs_f64() * 1e3 / LEARNED as f64)
}

fn row(fault: &Fault, outcomes: &[Outcome]) -> DetectionRow {
    let of: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.fault == *fault).collect();
    let mut handled_by: Vec<String> = of.iter().map(|one| one.handled_by.clone()).collect();
    handled_by.sort();
    handled_by.dedup();
    DetectionRow {
        fault: fault.name().to_owned(),
        detected_ms: of.iter().map(|one| one.detected_after_ms).collect(),
        recovered_ms: of.iter().map(|one| one.recovered_after_ms).collect(),
        handled_by,
        recomputed_micro_batches: of.iter().map(|one| one.recomputed_micro_batches).sum(),
        iterations_back: of.iter().map(|one| one.iterations_back).sum(),
    }
}
