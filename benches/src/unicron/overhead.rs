//! What watching costs: the same training with an agent and with one that does nothing, by turns, and the
//! processor time that agent and worker spend on it.

use super::{SYSTEM, program, unwatched};
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::progress::{Progress, Unit};
use common::report::Claim;
use common::statistics::{Estimate, median};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use unicron::detect::StepKind;
use unicron::local_cluster::{LocalCluster, Options};
use unicron::worker::Client;
use unicron::worker::protocol::FromWorker;

const PAIRS: usize = 30;
const QUICK_PAIRS: usize = 1;
/// So many micro-batches of this model take 200 ms and more.
pub(super) const PRESET: &str = "tiny";
const MICRO_BATCHES: u64 = 24;
pub(super) const ITERATIONS: u64 = 12;
/// The first iterations allocate; they don't count.
const WARM_UP: usize = 2;
/// Iterations over which the agent's time is counted, when the first ones are over.
const COUNTED_FROM: u64 = 4;
const COUNTED: u64 = 64;
/// The messages of a worker that are timed.
const MESSAGES: u64 = 20_000;
const IDLE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);
const NODE: &str = "a";

/// The cost of detection.
pub struct Overhead;

#[derive(Debug, Serialize, Deserialize)]
pub struct OverheadMetrics {
    /// Medians of an iteration's milliseconds: unwatched, and with an agent.
    pub pairs: Vec<(f64, f64)>,
    /// Messages that a worker sends in an iteration, beside one for each micro-batch.
    pub messages_per_iteration: u64,
    pub micro_batches: u64,
    /// Processor time of a worker for a message, in microseconds.
    pub worker_us_per_message: f64,
    /// Processor time of the agent, in microseconds: for a second without a worker, and for an iteration
    /// beyond that.
    pub agent_us_per_idle_s: f64,
    pub agent_us_per_iteration: f64,
}

impl OverheadMetrics {
    /// How much longer iterations take with an agent, in percent.
    pub fn slower(&self) -> Estimate {
        let slower = |&(without, with): &(f64, f64)| 100.0 * (with / without - 1.0);
        Estimate::of(&self.pairs.iter().map(slower).collect::<Vec<_>>())
    }
}

impl Experiment for Overhead {
    type Metrics = OverheadMetrics;

    fn name(&self) -> String {
        "unicron-overhead".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(OverheadMetrics, Value)> {
        let pairs = match size {
            Size::Quick => QUICK_PAIRS,
            Size::Full => PAIRS,
        };
        let folder = tempfile::tempdir()?;
        let program = program::copied_into(folder.path())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let metrics = runtime.block_on(measure(folder.path(), &program, pairs, progress))?;
        let configuration = json!({
            "pairs": pairs,
            "preset": PRESET,
            "micro_batches": MICRO_BATCHES,
            "iterations": ITERATIONS,
        });
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &OverheadMetrics) -> Vec<Claim> {
        let slower = metrics.slower();
        if slower.n < 2 {
            return vec![claim().not_reproduced("one pair says nothing")];
        }
        let here = format!("{:+.1} % ± {:.1}", slower.mean, slower.half_width_95());
        // The paper's plot of throughput with and without shows no difference.
        let holds = slower.mean - slower.half_width_95() <= 0.0;
        vec![claim().judged(here, holds)]
    }

    fn claims(&self) -> Vec<Claim> {
        vec![claim()]
    }
}

fn claim() -> Claim {
    let claim = "live, iterations watched over unwatched, 95 % interval";
    Claim::of_paper(SYSTEM, claim, "no overhead")
}

async fn measure(
    folder: &Path,
    program: &Path,
    pairs: usize,
    progress: &Progress,
) -> anyhow::Result<OverheadMetrics> {
    let bar = progress.bar("overhead", Some(pairs as u64), Unit::Items("pairs"));
    let options = Options::new(program.to_owned(), folder, 4.0);
    let cluster = LocalCluster::start_with_agents(options, &[NODE], 1, PATIENCE).await?;
    let before = agent_us(&cluster)?;
    tokio::time::sleep(IDLE).await;
    let agent_us_per_idle_s = (agent_us(&cluster)? - before) / IDLE.as_secs_f64();
    let agent_us_per_iteration = agent_us_per_iteration(&cluster, agent_us_per_idle_s).await?;
    let mut measured = Vec::new();
    for pair in 0..pairs {
        // Who is first has a machine that has just rested.
        let mut order = [true, false];
        order.rotate_left(pair % 2);
        let (mut without, mut with) = (f64::NAN, f64::NAN);
        for is_watched in order {
            let name = format!("{is_watched}-{pair}");
            let timings = folder.join(&name);
            if is_watched {
                with_agent(&cluster, &name, &timings).await?;
                with = iteration_ms(&timings)?;
            } else {
                unwatched::train(program, folder, &timings)?;
                without = iteration_ms(&timings)?;
            }
        }
        measured.push((without, with));
        bar.advance(1);
    }
    cluster.end().await;
    bar.finish();
    Ok(OverheadMetrics {
        pairs: measured,
        messages_per_iteration: 2,
        micro_batches: MICRO_BATCHES,
        worker_us_per_message: worker_us_per_message(&folder.join("socket"))?,
        agent_us_per_idle_s,
        agent_us_per_iteration,
    })
}

/// The trainer's arguments, the same both times.
pub(super) fn arguments(timings: &Path) -> [String; 6] {
    [
        "--micro-batches".to_owned(),
        MICRO_BATCHES.to_string(),
        "--checkpoint-every".to_owned(),
        "0".to_owned(),
        "--timings".to_owned(),
        timings.display().to_string(),
    ]
}

/// Beyond what the agent spends anyway, in the midst of a training.
async fn agent_us_per_iteration(cluster: &LocalCluster, idle: f64) -> anyhow::Result<f64> {
    let task = format!(
        "name = \"counted\"\nworkers = 1\n[train]\npreset = \"{PRESET}\"\nseed = 1\n\
         iterations = {COUNTED}\narguments = [\"--micro-batches\", \"{MICRO_BATCHES}\"]\n"
    );
    cluster.submit(&task).await?;
    let mut read = Vec::new();
    for wanted in [COUNTED_FROM, COUNTED] {
        let is_there = |task: &unicron::proto::v1::Task| task.iteration >= wanted;
        let task = cluster.until("counted", PATIENCE, is_there).await?;
        read.push((task.iteration, agent_us(cluster)?, Instant::now()));
    }
    let [(first, before, began), (last, after, ended)] = read[..] else {
        anyhow::bail!("two readings are two");
    };
    let idle = idle * ended.duration_since(began).as_secs_f64();
    Ok((after - before - idle) / (last - first) as f64)
}

async fn with_agent(cluster: &LocalCluster, name: &str, timings: &Path) -> anyhow::Result<()> {
    let task = format!(
        "name = \"{name}\"\nworkers = 1\n[train]\npreset = \"{PRESET}\"\n\
         iterations = {ITERATIONS}\nseed = 1\narguments = {:?}\n",
        arguments(timings)
    );
    cluster.submit(&task).await?;
    let has_ended = |task: &unicron::proto::v1::Task| {
        matches!(task.state.as_str(), "done" | "failed" | "stopped")
    };
    let task = cluster.until(name, PATIENCE, has_ended).await?;
    anyhow::ensure!(task.state == "done", "{name} is {}: {}", task.state, task.reason);
    Ok(())
}

/// The median time between two commits.
fn iteration_ms(timings: &PathBuf) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(timings)
        .with_context(|| format!("can't read {}", timings.display()))?;
    let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let times = times.get(WARM_UP..).unwrap_or_default();
    median(times).with_context(|| format!("{} has too few times", timings.display()))
}

/// Processor time of the agent so far, in microseconds.
fn agent_us(cluster: &LocalCluster) -> anyhow::Result<f64> {
    let pid = cluster.agent_pid(NODE).context("the agent has ended")?;
    let threads = PathBuf::from(format!("/proc/{pid}/task"));
    let threads = std::fs::read_dir(&threads).context("the agent's threads can't be read")?;
    let times = threads.filter_map(|thread| on_processor_us(&thread.ok()?.path()));
    Ok(times.sum())
}

/// Processor time of a thread, in microseconds, by its folder in `/proc`.
fn on_processor_us(thread: &Path) -> Option<f64> {
    let line = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(line.split(' ').next()?.parse::<f64>().ok()? / 1e3)
}

/// What a worker spends to say something, while somebody listens.
fn worker_us_per_message(socket: &Path) -> anyhow::Result<f64> {
    let listener = UnixListener::bind(socket)?;
    let listening = std::thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else { return 0 };
        BufReader::new(stream).lines().map_while(Result::ok).count()
    });
    let client = Client::connect(socket, 1, |_| ())?;
    let own = Path::new("/proc/thread-self");
    let now = || on_processor_us(own).context("this thread's processor time can't be read");
    let before = now()?;
    for iteration in 0..MESSAGES {
        let kind = StepKind::Train;
        client.send(&FromWorker::Iteration { epoch: 1, iteration, kind })?;
    }
    let spent = now()? - before;
    drop(client);
    // The listener ends when the connection does, which a thread of the client's keeps until then.
    drop(listening);
    Ok(spent / MESSAGES as f64)
}
