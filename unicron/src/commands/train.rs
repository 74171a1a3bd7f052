//! `unicron train`

// The environment says whether this process is a worker, and of whom; the lease ends it.
#![allow(clippy::disallowed_methods, clippy::exit)]

use crate::train::cost::{self, Case, Costs};
use crate::train::member::{Config, Hooks, Member};
use crate::train::model::Layout;
use crate::train::moment::{FailAt, Failure, Moment};
use crate::train::text::{OWN, Text};
use crate::train::{Settings, Shape, alone, weights};
use crate::worker::protocol::{FromWorker, env as names};
use anyhow::Context;
use clap::Args;
use common::command::{InputContext, print, print_json, store};
use serde_json::json;
use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The registered text that is learned where it can be had.
const TEXT_ASSET: &str = "tinyshakespeare";

/// Exit code of a worker whose lease has run out, as `EX_TEMPFAIL`: others have its work now.
const LEASE_HAS_RUN_OUT: i32 = 75;

/// Train a small GPT: alone, or as a worker of an agent
#[derive(Debug, Args)]
#[command(after_help = "\
Started by an agent (UNICRON_SOCKET is set) it is one of the workers that train together. Alone it
trains in one process, and ends with the same weights, bit for bit.

Examples:
  unicron train --preset tiny --iterations 20 --weights tiny.safetensors
  unicron train --preset small --stages 2 --text book.txt --json")]
pub struct Train {
    /// The model and its batches
    #[arg(long, value_name = "NAME", default_value = "tiny", value_parser = Shape::PRESETS)]
    preset: String,
    /// Optimiser steps
    #[arg(long, value_name = "N", default_value_t = 20)]
    iterations: u64,
    /// Of the first weights and of the choice of samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A text to learn; else Tiny Shakespeare, else a page of our own
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Pipeline stages
    #[arg(long, value_name = "N", default_value_t = 1)]
    stages: u32,
    /// Micro-batches of an iteration, over all replicas
    #[arg(long, value_name = "N", default_value_t = 8)]
    micro_batches: u32,
    /// Parts in which a stage's gradient is reduced
    #[arg(long, value_name = "N", default_value_t = 8)]
    segments: u32,
    /// Iterations between checkpoints in a peer's memory; 0 is never
    #[arg(long, value_name = "N", default_value_t = 1)]
    memory_checkpoint: u64,
    /// Iterations between checkpoints on disk; 0 is never
    #[arg(long, value_name = "N", default_value_t = 10)]
    checkpoint_every: u64,
    /// Least time of an iteration, so that one can watch what happens
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pace_ms: u64,
    /// Where the weights go
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Train nothing: reduce this model's gradient over so many replicas, and say what it costs
    #[arg(long, value_name = "REPLICAS")]
    measure_reduction: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// For tests: [kill@|hang@|throw@]MOMENT:ITERATION[:WORKER]
    #[arg(long, value_name = "WHEN", hide = true)]
    fail_at: Vec<FailAt>,
    /// For demonstrations: raise an exception in the one worker that finds and removes this file
    #[arg(long, value_name = "FILE", hide = true)]
    throw_when: Option<PathBuf>,
    /// For demonstrations: do nothing any more in the one worker that finds and removes this file
    #[arg(long, value_name = "FILE", hide = true)]
    hang_when: Option<PathBuf>,
    /// For measurements: write the milliseconds of each iteration into this file, one a line
    #[arg(long, value_name = "FILE", hide = true)]
    timings: Option<PathBuf>,
}

impl Train {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        compute_on_one_thread();
        let settings = self.settings()?;
        settings.check()?;
        if let Some(members) = self.measure_reduction {
            return measure(&settings, members, self.json);
        }
        let text = self.text(&settings.shape)?;
        match env::var_os(names::SOCKET) {
            Some(socket) => self.work(settings, text, socket.into()),
            None => self.train_alone(&settings, &text),
        }
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let shape = Shape::preset(&self.preset).bad_input("--preset is one of those listed")?;
        Ok(Settings {
            iterations: self.iterations,
            seed: self.seed,
            stages: self.stages,
            micro_batches: self.micro_batches,
            segments: self.segments,
            memory_checkpoint_every: self.memory_checkpoint,
            disk_checkpoint_every: self.checkpoint_every,
            pace: Duration::from_millis(self.pace_ms),
            ..Settings::of(shape)
        })
    }

    fn text(&self, shape: &Shape) -> anyhow::Result<Text> {
        let registered = || {
            let asset = common::assets::find(TEXT_ASSET)?;
            let path = store(None).locate(asset).ok()??;
            std::fs::read(path).ok()
        };
        let bytes = match &self.text {
            Some(path) => {
                std::fs::read(path).bad_input(format!("--text {} can't be read", path.display()))?
            }
            None => registered().unwrap_or_else(|| OWN.as_bytes().to_vec()),
        };
        Ok(Text::new(bytes, shape)?)
    }

    fn train_alone(&self, settings: &Settings, text: &Text) -> anyhow::Result<()> {
        let clock = Instant::now();
        let mut losses = Vec::new();
        let mut timings = self.timings()?;
        let stages = alone::train(settings, text, |iteration, loss| {
            timings.lap();
            say(&format!("iteration {iteration}, loss {loss:.4}"));
            losses.push(loss);
        })?;
        let iteration_ms = clock.elapsed().as_secs_f64() * 1e3 / settings.iterations.max(1) as f64;
        let stages: Vec<&[f32]> = stages.iter().map(Vec::as_slice).collect();
        let path = self.weights.as_ref();
        let sha256 = path.map(|path| weights::write(path, settings, &stages)).transpose()?;
        if self.json {
            return print_json(&json!({
                "iterations": settings.iterations,
                "loss": losses.last(),
                "iteration_ms": iteration_ms,
                "parameters": stages.iter().map(|weights| weights.len()).sum::<usize>(),
                "weights_file": path,
                "weights_sha256": sha256,
            }));
        }
        let loss = losses.last().copied().unwrap_or(f64::NAN);
        print(&format!(
            "{} iterations of {iteration_ms:.0} ms, loss {loss:.4}\n",
            settings.iterations
        ))
    }

    fn work(&self, settings: Settings, text: Text, socket: PathBuf) -> anyhow::Result<()> {
        let variable = |name: &str| env::var(name).bad_input(format!("${name} is missing"));
        let worker = variable(names::WORKER)?;
        let worker = worker.parse().bad_input(format!("${} is no number", names::WORKER))?;
        let checkpoints = env::var_os(names::CHECKPOINTS).map(PathBuf::from);
        let folder = checkpoints.clone().unwrap_or_default();
        let weights_file = self.weights.clone();
        let config = Config {
            settings,
            text,
            worker,
            socket,
            host: variable(names::HOST)?,
            weights_file: weights_file.unwrap_or_else(|| folder.join("weights.safetensors")),
            checkpoints,
        };
        let (member, client) = Member::start(config, self.hooks(worker)?)?;
        let outcome = member.run();
        if let Err(error) = &outcome {
            let (status, traceback) = (None, String::new());
            let message = one_line(error);
            // The agent may be what is gone.
            let _ = client.send(&FromWorker::Exception { status, message, traceback });
        }
        outcome.context("this worker can't go on")
    }

    fn timings(&self) -> anyhow::Result<Timings> {
        let create = |path: &PathBuf| {
            std::fs::File::create(path).bad_input(format!("--timings {}", path.display()))
        };
        Ok(Timings { file: self.timings.as_ref().map(create).transpose()?, since: Instant::now() })
    }

    fn hooks(&self, worker: u64) -> anyhow::Result<Hooks> {
        let failures = self.fail_at.clone();
        let (throw_when, hang_when) = (self.throw_when.clone(), self.hang_when.clone());
        let finds = |file: &Option<PathBuf>| {
            file.as_ref().is_some_and(|file| std::fs::remove_file(file).is_ok())
        };
        let mut timings = self.timings()?;
        Ok(Hooks {
            at: Box::new(move |moment, iteration| {
                if moment == Moment::Stepped {
                    timings.lap();
                }
                if finds(&hang_when) {
                    return park();
                }
                if finds(&throw_when) {
                    return Err(crate::Error::Tensor("CUDA error: as asked for".to_owned()));
                }
                let due = failures.iter().find(|f| f.is_due(moment, iteration, worker));
                due.map_or(Ok(()), fail)
            }),
            log: Box::new(say),
            lease_has_run_out: Box::new(|| {
                say("the lease has run out: this worker stops, others may have its work");
                std::process::exit(LEASE_HAS_RUN_OUT);
            }),
        })
    }
}

/// How long iterations take.
struct Timings {
    file: Option<std::fs::File>,
    since: Instant,
}

impl Timings {
    /// An iteration has ended.
    fn lap(&mut self) {
        let Some(file) = &mut self.file else { return };
        let milliseconds = self.since.elapsed().as_secs_f64() * 1e3;
        self.since = Instant::now();
        // What is missing is missed by whoever measures.
        let _ = writeln!(file, "{milliseconds}");
    }
}

/// Measurements of a reduction; the median counts.
const REPETITIONS: usize = 9;

/// Reduces the first stage's gradient over the tree and around a ring.
fn measure(settings: &Settings, members: usize, json: bool) -> anyhow::Result<()> {
    (1..=64).contains(&members).then_some(()).bad_input("--measure-reduction is 1 to 64")?;
    let case = Case {
        members,
        micro_batches: settings.micro_batches,
        segments: settings.segments,
        numbers: Layout::new(settings, 0).gradient_len(),
    };
    let mut all = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        all.push(cost::measure(&case)?);
    }
    let median = |time: fn(&Costs) -> f64| {
        let mut times: Vec<f64> = all.iter().map(time).collect();
        times.sort_by(f64::total_cmp);
        times[REPETITIONS / 2]
    };
    let mut costs = all[0];
    costs.tree.milliseconds = median(|costs| costs.tree.milliseconds);
    costs.ring.milliseconds = median(|costs| costs.ring.milliseconds);
    let vector_bytes = 4 * case.numbers;
    if json {
        return print_json(&json!({
            "replicas": members,
            "micro_batches": case.micro_batches,
            "vector_bytes": vector_bytes,
            "costs": costs,
        }));
    }
    let row = |name: &str, cost: &cost::Cost, is_one: bool| {
        let vectors = |bytes: u64| bytes as f64 / vector_bytes as f64;
        let (sent, held) = (vectors(cost.sent_bytes), vectors(cost.held_bytes));
        let bits = if is_one { "those of one" } else { "others" };
        format!(
            "{name}: sends {sent:.2} vectors, holds {held:.2}, {:.2} ms, bits are {bits}\n",
            cost.milliseconds
        )
    };
    print(&row("tree", &costs.tree, costs.tree_equals_one))?;
    print(&row("ring", &costs.ring, costs.ring_equals_one))
}

/// An error in one line.
fn one_line(error: &crate::Error) -> String {
    error.to_string().lines().collect::<Vec<_>>().join(" ")
}

/// Fails as it was asked for.
fn fail(failure: &FailAt) -> crate::Result<()> {
    match failure.failure {
        Failure::Kill => {
            // The signal ends this process before the call returns; if it can't be sent, parking is as
            // good a failure.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            park()
        }
        Failure::Hang => park(),
        Failure::Throw => Err(crate::Error::Tensor(format!("as asked for: {failure}"))),
    }
}

fn park() -> crate::Result<()> {
    loop {
        std::thread::park();
    }
}

/// A line for people.
fn say(line: &str) {
    // Nobody may be reading; training goes on.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// candle takes its number of threads from the environment. Workers share a machine, and the bits of a
/// sum are not to depend on how many threads there are.
fn compute_on_one_thread() {
    // SAFETY: the command has just begun; no other thread runs that could read the environment.
    unsafe { env::set_var("RAYON_NUM_THREADS", "1") };
}
