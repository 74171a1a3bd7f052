//! What goes wrong on purpose, from the injector's clock to the coordinator's record and the first
//! iteration after it.

use super::LocalCluster;
use super::network::Network;
use super::reset;
use crate::proto::v1;
use crate::wall_clock::wall_ms;
use crate::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A worker's process is killed.
    WorkerKilled,
    /// A worker's process is stopped.
    WorkerStopped,
    /// A worker does nothing any more, though its process isn't stopped: the one that finds this file.
    WorkerHung(PathBuf),
    /// A worker raises an exception: the one that finds this file.
    ExceptionThrown(PathBuf),
    /// The agent of a worker's node is stopped, and goes on after the node was given up.
    AgentStopped,
    /// The agent of a worker's node is killed, and another started.
    AgentKilled,
    /// A worker's node is cut off in silence, and reaches the others again after it was given up.
    NodeCutOff,
    /// The coordinator is killed, and another started.
    CoordinatorKilled,
    /// Two workers are killed together.
    TwoWorkersKilled,
    /// The connections between two workers are reset, and both live.
    ConnectionReset,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The fault.
    pub fault: Fault,
    /// The task that it hit.
    pub task: String,
    /// Milliseconds to the coordinator's record of it.
    pub detected_after_ms: f64,
    /// Milliseconds until the task had committed an iteration that it hadn't before.
    pub recovered_after_ms: f64,
    /// What the coordinator did.
    pub handled_by: String,
    /// Micro-batches that were computed again.
    pub recomputed_micro_batches: u64,
    /// Iterations that were done again.
    pub iterations_back: u64,
}

/// Nothing takes longer, or it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

impl Fault {
    /// For tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker killed",
            Self::WorkerStopped => "worker stopped",
            Self::WorkerHung(_) => "worker hung",
            Self::ExceptionThrown(_) => "exception thrown",
            Self::AgentStopped => "agent stopped",
            Self::AgentKilled => "agent killed",
            Self::NodeCutOff => "node cut off",
            Self::CoordinatorKilled => "coordinator killed",
            Self::TwoWorkersKilled => "two workers killed",
            Self::ConnectionReset => "connection reset",
        }
    }

    /// Lets it happen to a worker of a task that runs, the `which`-th, and waits until the task has
    /// recovered.
    ///
    /// # Errors
    /// If it doesn't recover, or can't be hit.
    pub async fn inject(
        self,
        cluster: &mut LocalCluster,
        task: &str,
        which: usize,
    ) -> Result<Outcome> {
        let is_at_work = |task: &v1::Task| {
            task.state == "running" && task.workers.iter().all(|worker| worker.state == "working")
        };
        let before = cluster.until(task, PATIENCE, is_at_work).await?;
        let last_event = cluster.events(0).await?.last().map_or(0, |event| event.sequence);
        let (mut clock, mut at_ms) = (Instant::now(), wall_ms());
        let victim = &before.workers[which % before.workers.len()];
        self.strike(cluster, &before, victim).await?;
        if let Self::ExceptionThrown(file) | Self::WorkerHung(file) = &self {
            (clock, at_ms) = until_found(file).await?;
        }
        let recovered = self.recovered(cluster, task, &before, last_event).await?;
        let recovered_after_ms = clock.elapsed().as_secs_f64() * 1e3;
        if self.loses_the_node() {
            until_lost(cluster, &victim.node, last_event).await?;
        }
        let events = cluster.events(last_event).await?;
        let detected = self.detected(&events, task).or_else(|| of_kind(&events, "group"));
        let detected_after_ms = detected.map_or(f64::NAN, |event| (event.at_ms - at_ms) as f64);
        self.undo(cluster, &victim.node).await?;
        let back = events.iter().filter(|event| event.kind == "rolled-back" && event.task == task);
        Ok(Outcome {
            handled_by: handled_by(&events, task),
            iterations_back: back.filter_map(iterations_back).sum(),
            task: task.to_owned(),
            detected_after_ms,
            recovered_after_ms,
            recomputed_micro_batches: recovered
                .recomputed_micro_batches
                .saturating_sub(before.recomputed_micro_batches),
            fault: self,
        })
    }

    /// Waits for the first new iteration of another group. A worker's last word of the old one may come after
    /// its end, before anybody has gone back to a checkpoint: it is none.
    async fn recovered(
        &self,
        cluster: &LocalCluster,
        task: &str,
        before: &v1::Task,
        last_event: u64,
    ) -> Result<v1::Task> {
        poll(POLL, format!("task {task}"), "it doesn't recover", async || {
            let is_new = |now: &v1::Task| now.state == "done" || now.iteration > before.iteration;
            let now = cluster.until(task, PATIENCE, is_new).await?;
            let works = now.state == "done"
                || *self == Self::CoordinatorKilled
                || works_again(&cluster.events(last_event).await?, task, before.epoch);
            Ok(works.then_some(now))
        })
        .await
    }

    /// Whether the coordinator gives the node up. Peers may notice before it does, as their steps hang.
    fn loses_the_node(&self) -> bool {
        matches!(self, Self::AgentStopped | Self::NodeCutOff)
    }

    /// The record of it.
    fn detected<'e>(&self, events: &'e [v1::Event], task: &str) -> Option<&'e v1::Event> {
        if self.loses_the_node() {
            return of_kind(events, "node-lost");
        }
        let kinds = ["failure", "node-lost", "node-silent", "coordinator"];
        events.iter().find(|event| {
            kinds.contains(&event.kind.as_str()) && (event.task.is_empty() || event.task == task)
        })
    }

    /// Lets it happen to a worker of a task.
    ///
    /// # Errors
    /// If it can't be hit.
    pub(super) async fn strike(
        &self,
        cluster: &mut LocalCluster,
        task: &v1::Task,
        victim: &v1::TaskWorker,
    ) -> Result<()> {
        match self {
            Self::WorkerKilled => signal(victim.pid, Signal::SIGKILL),
            Self::WorkerStopped => signal(victim.pid, Signal::SIGSTOP),
            Self::ExceptionThrown(file) | Self::WorkerHung(file) => {
                std::fs::write(file, "").map_err(Error::io(file))
            }
            Self::AgentStopped => {
                signal(cluster.agent_pid(&victim.node).unwrap_or(0), Signal::SIGSTOP)
            }
            Self::AgentKilled => {
                let slots = cluster.nodes().await?;
                let slots = slots.iter().find(|node| node.name == victim.node);
                let slots = slots.map_or(1, |node| node.slots as usize);
                cluster.kill_agent(&victim.node).await;
                cluster.add_agent(&victim.node, slots).await
            }
            Self::NodeCutOff => network_of(cluster)?.cut_off(&victim.node),
            Self::CoordinatorKilled => {
                cluster.kill_coordinator().await;
                cluster.restart_coordinator().await
            }
            Self::ConnectionReset => {
                let other = task.workers.iter().find(|worker| worker.pid != victim.pid);
                let other = other.map_or(0, |other| other.pid);
                reset::between(victim.pid, other).map(|_| ())
            }
            Self::TwoWorkersKilled => {
                let other = task.workers.iter().find(|worker| worker.pid != victim.pid);
                signal(victim.pid, Signal::SIGKILL)?;
                other.map_or(Ok(()), |other| signal(other.pid, Signal::SIGKILL))
            }
        }
    }

    /// The node comes back, if it was away.
    ///
    /// # Errors
    /// If it can't.
    pub(super) fn lift(&self, cluster: &LocalCluster, node: &str) -> Result<()> {
        match self {
            Self::AgentStopped => signal(cluster.agent_pid(node).unwrap_or(0), Signal::SIGCONT),
            Self::NodeCutOff => network_of(cluster)?.join(node),
            _ => Ok(()),
        }
    }

    /// The node comes back, finds that it was given up, and joins again.
    async fn undo(&self, cluster: &LocalCluster, node: &str) -> Result<()> {
        if !self.loses_the_node() {
            return Ok(());
        }
        self.lift(cluster, node)?;
        poll(LOOK, format!("node {node}"), "its agent is back, but it isn't ready", async || {
            let nodes = cluster.nodes().await?;
            let is_back = |known: &v1::Node| known.name == node && known.state == "ready";
            Ok(nodes.iter().any(is_back).then_some(()))
        })
        .await
    }
}

/// How often something is looked at that takes its time, and something whose time is measured.
const LOOK: Duration = Duration::from_millis(50);
const POLL: Duration = Duration::from_millis(5);

/// Looks again and again until there is something.
async fn poll<T>(
    pause: Duration,
    what: String,
    problem: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(Error::Unreachable { what, problem: problem.to_owned() });
        }
        tokio::time::sleep(pause).await;
    }
}

/// Waits until a worker has found and removed the file that makes it fail, which is when it does: the last
/// time at which the file was still there.
async fn until_found(file: &Path) -> Result<(Instant, i64)> {
    let mut still_there = (Instant::now(), wall_ms());
    poll(
        Duration::from_millis(1),
        file.display().to_string(),
        "no worker has found it",
        async || {
            let now = (Instant::now(), wall_ms());
            Ok(match file.exists() {
                false => Some(still_there),
                true => {
                    still_there = now;
                    None
                }
            })
        },
    )
    .await
}

/// Whether another group than this has committed an iteration.
fn works_again(events: &[v1::Event], task: &str, epoch: u64) -> bool {
    events.iter().filter(|event| event.kind == "progress" && event.task == task).any(|event| {
        let details: Option<serde_json::Value> = serde_json::from_str(&event.details).ok();
        details.is_some_and(|details| details["epoch"] != epoch)
    })
}

fn of_kind<'e>(events: &'e [v1::Event], kind: &str) -> Option<&'e v1::Event> {
    events.iter().find(|event| event.kind == kind)
}

/// Waits until a node has been given up.
async fn until_lost(cluster: &LocalCluster, node: &str, after: u64) -> Result<()> {
    poll(LOOK, format!("node {node}"), "it is silent, but not given up", async || {
        Ok(of_kind(&cluster.events(after).await?, "node-lost").map(drop))
    })
    .await
}

fn network_of(cluster: &LocalCluster) -> Result<&Network> {
    cluster.network().ok_or_else(|| Error::Unreachable {
        what: "nodes' networks".to_owned(),
        problem: "this cluster has none".to_owned(),
    })
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let unreachable =
        |problem: String| Err(Error::Unreachable { what: format!("process {pid}"), problem });
    match i32::try_from(pid) {
        Ok(pid) if pid > 1 => match kill(Pid::from_raw(pid), signal) {
            Ok(()) => Ok(()),
            Err(error) => unreachable(error.to_string()),
        },
        _ => unreachable("there is none of this number".to_owned()),
    }
}

/// What the coordinator did about it, in the order in which it did.
fn handled_by(events: &[v1::Event], task: &str) -> String {
    let mut actions: Vec<&str> = Vec::new();
    for event in events.iter().filter(|event| event.task.is_empty() || event.task == task) {
        let action = match event.kind.as_str() {
            "restart" => "restart",
            "reattempt" => "reattempt",
            "plan" => "reconfigure",
            "coordinator" => "take over",
            _ => continue,
        };
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    match actions.is_empty() {
        true => "nothing".to_owned(),
        false => actions.join(", "),
    }
}

fn iterations_back(event: &v1::Event) -> Option<u64> {
    event.text.strip_prefix("goes back ")?.split(' ').next()?.parse().ok()
}
