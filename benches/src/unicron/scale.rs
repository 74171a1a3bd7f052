//! How many agents one coordinator bears: leases while nothing happens, and how soon all have the last
//! word after a burst of failures.
//!
//! The coordinator is a process of its own, with certificates on both sides of every connection. The agents
//! are made up, in this process; each has a connection of its own.

use super::{SYSTEM, certificates, program};
use crate::experiment::{Experiment, Size};
use anyhow::{Context, ensure};
use common::progress::{Progress, Unit};
use common::report::{Claim, Verdict};
use common::statistics::{median, quantile};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use unicron::local_cluster::swarm::{self, Swarm, View};
use unicron::local_cluster::{LocalCluster, Options};
use unicron::proto::v1;

/// A coordinator and many agents.
pub struct Scale;

/// What is measured, and how long.
#[derive(Debug, Clone, Copy)]
struct Setting {
    agents: usize,
    tasks: usize,
    failures: usize,
    bursts: usize,
    pace: Duration,
    rest: Duration,
}

const FULL: Setting = Setting {
    agents: 5000,
    tasks: 50,
    failures: 100,
    bursts: 3,
    pace: Duration::from_secs(4),
    rest: Duration::from_secs(20),
};
const QUICK: Setting = Setting {
    agents: 300,
    tasks: 6,
    failures: 12,
    bursts: 1,
    pace: Duration::from_secs(1),
    rest: Duration::from_secs(3),
};

/// The coordinator's default.
const LEASE_S: f64 = 4.0;
/// Every tenth agent reads slowly: a message, then a pause.
const SLOW_EVERY: usize = 10;
const SLOW_PAUSE: Duration = Duration::from_millis(100);
/// From when a worker is wanted until it is ready: part of the time that is measured.
const START: Duration = Duration::from_millis(100);

/// Nothing takes longer, or it has failed.
const PATIENCE: Duration = Duration::from_secs(300);
/// When nobody has heard anything new for so long, all have heard the last.
const QUIET: Duration = Duration::from_secs(3);
/// The goal for the last agents of a burst.
const GOAL_MS: f64 = 1000.0;

#[derive(Debug, Serialize, Deserialize)]
pub struct ScaleMetrics {
    pub agents: usize,
    pub tasks: usize,
    pub failures: usize,
    pub slow_readers: usize,
    pub slow_pause_ms: f64,
    pub start_ms: f64,
    pub lease_s: f64,
    /// Until all agents attended.
    pub registration_s: f64,
    /// From the first submission until every agent worked in a group.
    pub tasks_started_s: f64,
    /// The coordinator's, of one core, while nothing happens but heartbeats and iterations.
    pub cpu_at_rest_percent: f64,
    /// The longest that an agent waited for the answer to a heartbeat, at rest and in bursts.
    pub slowest_answer_at_rest_ms: f64,
    pub slowest_answer_in_bursts_ms: f64,
    /// Leases of agents, all of which lived: those that the coordinator ended, and those that agents would
    /// have stopped their workers for.
    pub leases_ended: u64,
    pub connections_lost: u64,
    pub bursts: Vec<Burst>,
}

/// A burst of failures. Times are from the first death until agents have the last epoch of their task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Burst {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Of the slow readers alone.
    pub slow_p99_ms: f64,
    /// Agents that have the last epoch of their task in the end.
    pub right: usize,
    /// Groups that were formed, times their members: what agents would be told one by one.
    pub groups_told: usize,
    /// States that agents were sent.
    pub states_sent: u64,
}

impl Experiment for Scale {
    type Metrics = ScaleMetrics;

    fn name(&self) -> String {
        "unicron-scale".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(ScaleMetrics, Value)> {
        let setting = match size {
            Size::Quick => QUICK,
            Size::Full => FULL,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let metrics = runtime.block_on(setting.measure(progress))?;
        let configuration = json!({
            "agents": setting.agents,
            "tasks": setting.tasks,
            "failures": setting.failures,
            "bursts": setting.bursts,
            "seconds_between_iterations": setting.pace.as_secs_f64(),
            "seconds_at_rest": setting.rest.as_secs_f64(),
            "lease_s": LEASE_S,
            "slow_every": SLOW_EVERY,
            "slow_pause_ms": SLOW_PAUSE.as_millis() as u64,
            "start_ms": START.as_millis() as u64,
            "connections": "one an agent, TLS with certificates of both sides",
        });
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &ScaleMetrics) -> Vec<Claim> {
        let [leases, burst] = claims();
        let agents = metrics.agents;
        let is_whole = agents == FULL.agents;
        let bursts: Vec<f64> = metrics.bursts.iter().map(|burst| burst.p99_ms).collect();
        let usual = median(&bursts).unwrap_or(f64::NAN);
        let worst = bursts.iter().copied().fold(0.0, f64::max);
        let are_right = metrics.bursts.iter().all(|burst| burst.right == agents);
        let ended = format!("{} of {agents}", metrics.leases_ended);
        let times = format!(
            "{usual:.0} ms, worst of {} bursts {worst:.0} ms, {agents} agents",
            bursts.len()
        );
        if !is_whole {
            let too_small = || Verdict::NotReproduced("fewer agents than that".to_owned());
            return vec![leases.measured(ended, too_small()), burst.measured(times, too_small())];
        }
        vec![
            leases.judged(ended, metrics.leases_ended == 0),
            burst.judged(times, are_right && worst < GOAL_MS),
        ]
    }

    fn claims(&self) -> Vec<Claim> {
        claims().to_vec()
    }
}

fn claims() -> [Claim; 2] {
    [
        ("leases of living agents that end, 5,000 agents over mTLS", "0"),
        ("last epoch at every agent after 100 failures, 10 % slow readers, p99", "< 1 s"),
    ]
    .map(|(claim, bound)| Claim::goal(SYSTEM, claim, bound))
}

impl Setting {
    async fn measure(self, progress: &Progress) -> anyhow::Result<ScaleMetrics> {
        let bar = progress.bar("scale", Some(3 + self.bursts as u64), Unit::Items("steps"));
        let folder = tempfile::tempdir()?;
        let program = program::copied_into(folder.path())?;
        let options = Options::new(program, folder.path(), LEASE_S);
        let encryption = certificates::written_into(folder.path())?;
        let cluster = LocalCluster::start_encrypted(options, encryption).await?;
        let clock = Instant::now();
        let swarm = Swarm::start(cluster.endpoints(), self.swarm());
        swarm.until_all_attend(PATIENCE).await?;
        let registration_s = clock.elapsed().as_secs_f64();
        bar.advance(1);
        let clock = Instant::now();
        for index in 0..self.tasks {
            cluster.submit(&self.task(index)).await?;
        }
        swarm.until_all_work(PATIENCE).await?;
        let tasks_started_s = clock.elapsed().as_secs_f64();
        swarm.until_quiet(QUIET, PATIENCE).await?;
        bar.advance(1);
        let until_rest = swarm.counts();
        let cpu_at_rest_percent = self.rest(&cluster).await?;
        let at_rest = swarm.counts();
        bar.advance(1);
        let (mut bursts, mut in_bursts) = (Vec::new(), Vec::new());
        for burst in 0..self.bursts {
            let (result, counts) = self.burst(burst, &cluster, &swarm).await?;
            bursts.push(result);
            in_bursts.push(counts);
            bar.advance(1);
        }
        bar.finish();
        let lost = cluster.events(0).await?;
        let lost = lost.iter().filter(|event| event.kind == "node-lost").count() as u64;
        let all = [until_rest, at_rest].into_iter().chain(in_bursts.iter().copied());
        let slowest_ms = |counts: &[swarm::Counts]| {
            counts.iter().map(|counts| counts.slowest_answer_us).max().unwrap_or(0) as f64 / 1e3
        };
        let welcomes = swarm.counts().welcomes;
        drop(swarm);
        cluster.end().await;
        Ok(ScaleMetrics {
            agents: self.agents,
            tasks: self.tasks,
            failures: self.failures,
            slow_readers: self.agents.div_ceil(SLOW_EVERY),
            slow_pause_ms: SLOW_PAUSE.as_secs_f64() * 1e3,
            start_ms: START.as_secs_f64() * 1e3,
            lease_s: LEASE_S,
            registration_s,
            tasks_started_s,
            cpu_at_rest_percent,
            slowest_answer_at_rest_ms: slowest_ms(&[at_rest]),
            slowest_answer_in_bursts_ms: slowest_ms(&in_bursts),
            leases_ended: lost + all.map(|counts| counts.leases_ended).sum::<u64>(),
            connections_lost: welcomes - self.agents as u64,
            bursts,
        })
    }

    fn swarm(&self) -> swarm::Options {
        swarm::Options {
            agents: self.agents,
            slow_every: SLOW_EVERY,
            slow_pause: SLOW_PAUSE,
            start: START,
            pace: self.pace,
        }
    }

    /// One of the tasks that share the agents evenly.
    fn task(&self, index: usize) -> String {
        let workers = self.agents / self.tasks;
        format!(
            "name = \"task-{index}\"\nworkers = {workers}\nmin_workers = {}\n\
             [train]\npreset = \"nano\"\niterations = 1000000000\n",
            workers / 2
        )
    }

    /// The coordinator's processor time while nothing happens, in percent of one core.
    async fn rest(&self, cluster: &LocalCluster) -> anyhow::Result<f64> {
        let cpu = || cluster.coordinator_cpu().context("the coordinator has ended");
        let (before, clock) = (cpu()?, Instant::now());
        tokio::time::sleep(self.rest).await;
        Ok(100.0 * (cpu()? - before).as_secs_f64() / clock.elapsed().as_secs_f64())
    }

    /// Workers of all tasks die at once.
    async fn burst(
        &self,
        burst: usize,
        cluster: &LocalCluster,
        swarm: &Swarm,
    ) -> anyhow::Result<(Burst, swarm::Counts)> {
        let last_event = cluster.events(0).await?.last().map_or(0, |event| event.sequence);
        let before = swarm.views();
        // Counted from here on.
        let _ = swarm.counts();
        let clock = Instant::now();
        swarm.kill(self.victims(&before, burst));
        tokio::time::sleep(QUIET).await;
        swarm.until_quiet(QUIET, PATIENCE).await?;
        let (after, counts) = (swarm.views(), swarm.counts());
        let tasks = cluster.tasks().await?;
        let epochs: BTreeMap<&str, u64> =
            tasks.iter().map(|task| (task.name.as_str(), task.epoch)).collect();
        let is_right = |view: &&View| epochs.get(view.task.as_str()) == Some(&view.epoch);
        let took_ms = |view: &View| {
            let since = view.since.unwrap_or(clock);
            since.saturating_duration_since(clock).as_secs_f64() * 1e3
        };
        let slow: Vec<f64> = after.iter().filter(|view| view.is_slow).map(took_ms).collect();
        let all: Vec<f64> = after.iter().map(took_ms).collect();
        ensure!(
            all.iter().all(|&ms| ms > 0.0),
            "every task has lost workers, and every agent heard"
        );
        let events = cluster.events(last_event).await?;
        Ok((
            Burst {
                p50_ms: quantile(&all, 0.5).unwrap_or(0.0),
                p99_ms: quantile(&all, 0.99).unwrap_or(0.0),
                max_ms: quantile(&all, 1.0).unwrap_or(0.0),
                slow_p99_ms: quantile(&slow, 0.99).unwrap_or(0.0),
                right: after.iter().filter(is_right).count(),
                groups_told: events.iter().map(members).sum(),
                states_sent: counts.states,
            },
            counts,
        ))
    }

    /// Agents whose workers die: as many of each task, others in each burst.
    fn victims(&self, views: &[View], burst: usize) -> Vec<usize> {
        let mut by_task: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, view) in views.iter().enumerate() {
            by_task.entry(&view.task).or_default().push(index);
        }
        let of_each = self.failures / self.tasks;
        let of_task = |agents: Vec<usize>| agents.into_iter().skip(burst * of_each).take(of_each);
        by_task.into_values().flat_map(of_task).collect()
    }
}

/// Members of a group that was formed.
fn members(event: &v1::Event) -> usize {
    let details: Value = serde_json::from_str(&event.details).unwrap_or_default();
    let workers = details["workers"].as_array().filter(|_| event.kind == "group");
    workers.map_or(0, Vec::len)
}
