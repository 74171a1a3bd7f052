//! Whether the dashboard of a large cluster stutters: a thousand made-up nodes and fifty tasks in a real
//! browser, while iterations are committed and workers die.

use super::{SYSTEM, program};
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::command::text_variable;
use common::progress::{Progress, Unit};
use common::report::{Claim, Verdict};
use common::statistics::quantile;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use unicron::local_cluster::browser::Browser;
use unicron::local_cluster::swarm::{self, Swarm};
use unicron::local_cluster::{LocalCluster, Options};

/// A page in a browser.
pub struct Dashboard;

/// What is shown, and how long it is looked at.
#[derive(Debug, Clone, Copy)]
struct Setting {
    nodes: usize,
    tasks: usize,
    failures: usize,
    watch: Duration,
}

const FULL: Setting =
    Setting { nodes: 1000, tasks: 50, failures: 100, watch: Duration::from_secs(30) };
const QUICK: Setting =
    Setting { nodes: 200, tasks: 10, failures: 20, watch: Duration::from_secs(5) };

/// What a browser calls a long task.
const LONG_MS: f64 = 50.0;
const WINDOW: (u32, u32) = (1280, 1400);
const PATIENCE: Duration = Duration::from_secs(120);

/// Notes long tasks and the gaps between frames, in milliseconds.
const WATCH: &str = "
    window.longTasks = [];
    window.frames = [];
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.longTasks.push(entry.duration);
    }).observe({ type: 'longtask', buffered: true });
    let last;
    const frame = (now) => {
        if (last !== undefined) window.frames.push(now - last);
        last = now;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
";

/// What was noted, and begins anew.
const TAKE: &str = "(() => {
    const taken = { long: window.longTasks, frames: window.frames };
    [window.longTasks, window.frames] = [[], []];
    return taken;
})()";

#[derive(Debug, Serialize, Deserialize)]
pub struct DashboardMetrics {
    pub nodes: usize,
    pub tasks: usize,
    pub failures: usize,
    pub seconds_watched: f64,
    /// Until all was drawn, the browser's start included.
    pub filled_s: f64,
    /// The longest the page's thread was busy without a break while it was filled; 0 if never for 50 ms.
    pub longest_task_at_first_ms: f64,
    /// Tasks of 50 ms and more, and the longest, while the page was updated.
    pub long_tasks: usize,
    pub longest_task_ms: f64,
    /// Between two frames while the page was updated.
    pub frame_p50_ms: f64,
    pub frame_p99_ms: f64,
    pub frame_max_ms: f64,
    /// The coordinator's, of one core, without and with somebody who looks.
    pub cpu_unwatched_percent: f64,
    pub cpu_watched_percent: f64,
}

impl Experiment for Dashboard {
    type Metrics = DashboardMetrics;

    fn name(&self) -> String {
        "unicron-dashboard".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(DashboardMetrics, Value)> {
        let setting = match size {
            Size::Quick => QUICK,
            Size::Full => FULL,
        };
        let path = text_variable("PATH").unwrap_or_default();
        let browser = std::env::split_paths(&path)
            .map(|folder| folder.join("chromium"))
            .find(|file| file.is_file())
            .context("chromium isn't installed (Debian: apt-get install chromium)")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let metrics = runtime.block_on(setting.measure(browser, progress))?;
        let configuration = json!({
            "nodes": setting.nodes,
            "tasks": setting.tasks,
            "failures": setting.failures,
            "seconds_watched": setting.watch.as_secs_f64(),
            "window": [WINDOW.0, WINDOW.1],
            "browser": "chromium, headless, without a GPU",
        });
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &DashboardMetrics) -> Vec<Claim> {
        let is_whole = metrics.nodes == FULL.nodes && metrics.tasks == FULL.tasks;
        let here = format!(
            "{} of 50 ms and more in {:.0} s; frames {:.0} ms at most",
            metrics.long_tasks, metrics.seconds_watched, metrics.frame_max_ms
        );
        let verdict = match is_whole {
            true => Verdict::judged(metrics.longest_task_ms < LONG_MS),
            false => Verdict::NotReproduced("a smaller cluster than that".to_owned()),
        };
        vec![claim().measured(here, verdict)]
    }

    fn claims(&self) -> Vec<Claim> {
        vec![claim()]
    }
}

fn claim() -> Claim {
    let claim = "dashboard of 1,000 nodes and 50 tasks: long tasks of the page while it is updated";
    Claim::goal(SYSTEM, claim, "none")
}

/// What the page's thread did for a while.
struct Seen {
    long_ms: Vec<f64>,
    frames_ms: Vec<f64>,
}

impl Seen {
    fn take(browser: &mut Browser) -> anyhow::Result<Self> {
        let taken = browser.evaluate(TAKE)?;
        let numbers = |name: &str| -> Vec<f64> {
            let list = taken[name].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(Value::as_f64).collect()
        };
        Ok(Self { long_ms: numbers("long"), frames_ms: numbers("frames") })
    }

    fn longest_ms(&self) -> f64 {
        self.long_ms.iter().copied().fold(0.0, f64::max)
    }
}

impl Setting {
    async fn measure(
        self,
        program: PathBuf,
        progress: &Progress,
    ) -> anyhow::Result<DashboardMetrics> {
        let bar = progress.bar("dashboard", Some(4), Unit::Items("steps"));
        let folder = tempfile::tempdir()?;
        let unicron = program::copied_into(folder.path())?;
        let cluster = LocalCluster::start(Options::new(unicron, folder.path(), 4.0)).await?;
        let swarm = self.at_work(&cluster).await?;
        bar.advance(1);
        let cpu_unwatched_percent = cpu_percent(&cluster, self.watch).await?;
        bar.advance(1);
        let url = format!("http://{}/", cluster.dashboard_address());
        let nodes = self.nodes;
        let opening = tokio::task::spawn_blocking(move || open(&program, &url, nodes));
        let (mut browser, filled_s, at_first) = opening.await??;
        bar.advance(1);
        let cpu_watched_percent = cpu_percent(&cluster, self.watch).await?;
        swarm.kill((0..self.failures).map(|index| index * self.nodes / self.failures));
        tokio::time::sleep(self.watch / 3).await;
        let seen = tokio::task::spawn_blocking(move || Seen::take(&mut browser)).await??;
        bar.advance(1);
        bar.finish();
        drop(swarm);
        cluster.end().await;
        let frame = |part: f64| quantile(&seen.frames_ms, part).unwrap_or(f64::NAN);
        Ok(DashboardMetrics {
            nodes: self.nodes,
            tasks: self.tasks,
            failures: self.failures,
            seconds_watched: self.watch.as_secs_f64() * 4.0 / 3.0,
            filled_s,
            longest_task_at_first_ms: at_first.longest_ms(),
            long_tasks: seen.long_ms.len(),
            longest_task_ms: seen.longest_ms(),
            frame_p50_ms: frame(0.5),
            frame_p99_ms: frame(0.99),
            frame_max_ms: frame(1.0),
            cpu_unwatched_percent,
            cpu_watched_percent,
        })
    }

    /// All nodes have a worker of some task.
    async fn at_work(&self, cluster: &LocalCluster) -> anyhow::Result<Swarm> {
        let options = swarm::Options {
            agents: self.nodes,
            slow_every: 0,
            slow_pause: Duration::ZERO,
            start: Duration::from_millis(100),
            pace: Duration::from_secs(1),
        };
        let swarm = Swarm::start(cluster.endpoints(), options);
        swarm.until_all_attend(PATIENCE).await?;
        let workers = self.nodes / self.tasks;
        for index in 0..self.tasks {
            let task = format!(
                "name = \"task-{index}\"\nworkers = {workers}\nmin_workers = {}\n\
                 [train]\npreset = \"nano\"\niterations = 1000000000\n",
                workers / 2
            );
            cluster.submit(&task).await?;
        }
        swarm.until_all_work(PATIENCE).await?;
        Ok(swarm)
    }
}

/// The page with all nodes at work, how long that took, and what its thread did meanwhile.
fn open(
    program: &std::path::Path,
    url: &str,
    nodes: usize,
) -> anyhow::Result<(Browser, f64, Seen)> {
    let clock = Instant::now();
    let mut browser = Browser::open(program, url, WINDOW, WATCH)?;
    let all = format!("document.querySelectorAll('#nodes .node.used').length === {nodes}");
    browser.until(&all, PATIENCE)?;
    let filled_s = clock.elapsed().as_secs_f64();
    // The events of before come in the updates after the first.
    std::thread::sleep(Duration::from_secs(3));
    let seen = Seen::take(&mut browser)?;
    Ok((browser, filled_s, seen))
}

/// The coordinator's processor time over a while, in percent of one core.
async fn cpu_percent(cluster: &LocalCluster, during: Duration) -> anyhow::Result<f64> {
    let cpu = || cluster.coordinator_cpu().context("the coordinator has ended");
    let (before, clock) = (cpu()?, Instant::now());
    tokio::time::sleep(during).await;
    Ok(100.0 * (cpu()? - before).as_secs_f64() / clock.elapsed().as_secs_f64())
}
