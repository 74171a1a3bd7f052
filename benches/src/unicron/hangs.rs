//! False alarms against misses of the monitor of iteration times, at several ratios: over recorded
//! iterations, evaluations and checkpoints among them, while the machine is busy now and then, and over
//! made-up ones with heavy tails.

use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::progress::{Progress, Unit};
use common::report::Claim;
use common::statistics::quantile;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Pareto};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use unicron::agent::watch;
use unicron::detect::{Judgement, Monitor, MonitorSettings, PaperRule, StepKind};
use unicron::train::model::{Layout, Model};
use unicron::train::text::{OWN, Text};
use unicron::train::{Settings, Shape, alone};

/// Recorded side by side, so long each: an hour together.
const RECORDERS: usize = 6;
const RECORDED: Duration = Duration::from_secs(600);
const QUICK_RECORDED: Duration = Duration::from_secs(3);
/// Iterations between evaluations, and between checkpoints.
const EVALUATE_EVERY: u64 = 50;
const CHECKPOINT_EVERY: u64 = 20;
/// Micro-batches of an evaluation.
const EVALUATED: u32 = 64;
/// The machine is busy for so long of each period.
const BUSY: Duration = Duration::from_secs(20);
const PERIOD: Duration = Duration::from_secs(60);
/// An hour of half seconds.
const MADE_UP: usize = 7200;
const STALLS: usize = 1000;
/// Stalls are so many times as long as the step that they hit, log-uniformly.
const SHORTEST_STALL: f64 = 1.5;
const LONGEST_STALL: f64 = 20.0;
const RATIOS: [f64; 3] = [1.5, 2.0, 3.0];
const SEED: u64 = 11;

/// False alarms and misses.
pub struct Hangs;

#[derive(Debug, Serialize, Deserialize)]
pub struct HangsMetrics {
    pub series: Vec<Series>,
}

/// A kind of iterations.
#[derive(Debug, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub steps: usize,
    pub hours: f64,
    /// Of ordinary iterations, in milliseconds.
    pub median_ms: f64,
    pub longest_ms: f64,
    pub rows: Vec<HangRow>,
}

/// A rule on a series.
#[derive(Debug, Serialize, Deserialize)]
pub struct HangRow {
    pub rule: String,
    pub false_alarms: usize,
    /// Of the stalls that are at least so many times a usual step, the part that isn't noticed.
    pub missed_of_2: f64,
    pub missed_of_3: f64,
    pub missed_of_10: f64,
}

/// A step: what it does and how long, in seconds.
type Step = (StepKind, f64);

impl Experiment for Hangs {
    type Metrics = HangsMetrics;

    fn name(&self) -> String {
        "unicron-hangs".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(HangsMetrics, Value)> {
        let recorded = match size {
            Size::Quick => QUICK_RECORDED,
            Size::Full => RECORDED,
        };
        let recordings = record_all(recorded, progress)?;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let log_normal = LogNormal::new(0.5f64.ln(), 0.5).context("a spread is positive")?;
        let pareto = Pareto::new(0.4, 3.0).context("a shape is positive")?;
        let series = vec![
            series("recorded", &recordings)?,
            series("log-normal, spread 0.5", &[made_up(&log_normal, &mut random)])?,
            series("Pareto, shape 3", &[made_up(&pareto, &mut random)])?,
        ];
        let configuration = json!({
            "recorders": RECORDERS,
            "seconds_each": recorded.as_secs_f64(),
            "evaluate_every": EVALUATE_EVERY,
            "checkpoint_every": CHECKPOINT_EVERY,
            "busy_s": BUSY.as_secs_f64(),
            "period_s": PERIOD.as_secs_f64(),
            "made_up": MADE_UP,
            "stalls": STALLS,
            "stall_ratio": [SHORTEST_STALL, LONGEST_STALL],
            "seed": SEED,
        });
        Ok((HangsMetrics { series }, configuration))
    }

    /// The paper gives no curve.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn judged(&self, _: &HangsMetrics) -> Vec<Claim> {
        Vec::new()
    }
}

fn made_up(times: &impl Distribution<f64>, random: &mut ChaCha8Rng) -> Vec<Step> {
    (0..MADE_UP).map(|_| (StepKind::Train, times.sample(random))).collect()
}

/// Trainings side by side, with two threads that are busy now and then.
fn record_all(recorded: Duration, progress: &Progress) -> anyhow::Result<Vec<Vec<Step>>> {
    let seconds = recorded.as_secs();
    let bar = progress.bar("iterations recorded", Some(seconds), Unit::Items("s"));
    let is_over = AtomicBool::new(false);
    let clock = Instant::now();
    std::thread::scope(|scope| {
        let recorders: Vec<_> = (0..RECORDERS)
            .map(|number| scope.spawn(move || record(number as u64, recorded)))
            .collect();
        for _ in 0..2 {
            scope.spawn(|| be_busy(clock, &is_over));
        }
        while clock.elapsed() < recorded {
            std::thread::sleep(Duration::from_secs(1));
            bar.advance(1);
        }
        let recordings = recorders
            .into_iter()
            .map(|recorder| recorder.join().ok().context("a recorder has panicked")?)
            .collect();
        is_over.store(true, Ordering::Relaxed);
        bar.finish();
        recordings
    })
}

fn be_busy(clock: Instant, is_over: &AtomicBool) {
    let period = PERIOD.as_secs_f64();
    while !is_over.load(Ordering::Relaxed) {
        match clock.elapsed().as_secs_f64() % period < BUSY.as_secs_f64() {
            true => std::hint::spin_loop(),
            false => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Steps of a training until time is up.
fn record(seed: u64, recorded: Duration) -> anyhow::Result<Vec<Step>> {
    let settings = Settings { iterations: 1, seed, ..Settings::of(Shape::TINY) };
    let text = Text::new(OWN, &settings.shape)?;
    let layout = Layout::new(&settings, 0);
    let model = Model::new(layout.clone(), &layout.initial_weights(seed))?;
    let checkpoint = tempfile::NamedTempFile::new()?;
    let mut steps = Vec::new();
    let begin = Instant::now();
    for iteration in 1.. {
        if begin.elapsed() > recorded {
            break;
        }
        let clock = Instant::now();
        let stages = alone::train(&settings, &text, |_, _| ())?;
        let mut kind = StepKind::Train;
        if iteration % CHECKPOINT_EVERY == 0 {
            kind = StepKind::Checkpoint;
            let bytes: Vec<u8> = stages.concat().iter().flat_map(|w| w.to_le_bytes()).collect();
            std::fs::write(checkpoint.path(), bytes)?;
            checkpoint.as_file().sync_all()?;
        }
        steps.push((kind, clock.elapsed().as_secs_f64()));
        if iteration % EVALUATE_EVERY == 0 {
            let clock = Instant::now();
            for micro_batch in 0..EVALUATED {
                let samples = text.samples(&settings.shape, seed, 0, micro_batch);
                model.forward(&samples, None)?.output()?;
            }
            steps.push((StepKind::Evaluation, clock.elapsed().as_secs_f64()));
        }
    }
    Ok(steps)
}

/// Rules on recordings of one kind.
fn series(name: &str, recordings: &[Vec<Step>]) -> anyhow::Result<Series> {
    let all = || recordings.iter().flatten();
    let trained: Vec<f64> = all()
        .filter(|(kind, _)| *kind == StepKind::Train)
        .map(|(_, seconds)| 1e3 * seconds)
        .collect();
    let mut rows = Vec::new();
    for ratio in RATIOS {
        let paper = |recording: &[Step], stalls: &[Stall]| Ok(of_mean(recording, stalls, ratio));
        rows.push(row(&format!("{ratio} x the mean of all"), recordings, paper)?);
        // Without the least time that keeps short iterations quiet, which would hide the ratio.
        let settings = MonitorSettings { hang_ratio: ratio, floor_s: 1e-3, ..watch::settings() };
        let ours = |recording: &[Step], stalls: &[Stall]| of_monitor(recording, stalls, settings);
        rows.push(row(&format!("{ratio} x, ours"), recordings, ours)?);
    }
    let default =
        |recording: &[Step], stalls: &[Stall]| of_monitor(recording, stalls, watch::settings());
    rows.push(row("the agent's default", recordings, default)?);
    Ok(Series {
        name: name.to_owned(),
        steps: all().count(),
        hours: all().map(|(_, seconds)| seconds).sum::<f64>() / 3600.0,
        median_ms: quantile(&trained, 0.5).context("there are iterations")?,
        longest_ms: quantile(&trained, 1.0).context("there are iterations")?,
        rows,
    })
}

/// A stall: the step that it hits, and how many times as long that takes.
type Stall = (usize, f64);

/// What a rule makes of a recording: false alarms, and for each stall whether it is noticed.
type Found = (usize, Vec<bool>);

fn row(
    rule: &str,
    recordings: &[Vec<Step>],
    find: impl Fn(&[Step], &[Stall]) -> anyhow::Result<Found>,
) -> anyhow::Result<HangRow> {
    let (mut false_alarms, mut outcomes) = (0, Vec::new());
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for recording in recordings {
        let count = STALLS / recordings.len();
        // Not among the first, of which nothing is known.
        let from = (recording.len() / 10).min(100);
        let (shortest, longest) = (SHORTEST_STALL.ln(), LONGEST_STALL.ln());
        let stalls: Vec<Stall> = (0..count)
            .map(|_| {
                let step = random.random_range(from..recording.len());
                (step, random.random_range(shortest..longest).exp())
            })
            .collect();
        let (alarms, noticed) = find(recording, &stalls)?;
        false_alarms += alarms;
        outcomes.extend(stalls.iter().map(|stall| stall.1).zip(noticed));
    }
    let missed = |least: f64| {
        let of: Vec<bool> = outcomes.iter().filter(|one| one.0 >= least).map(|one| one.1).collect();
        of.iter().filter(|&&noticed| !noticed).count() as f64 / of.len().max(1) as f64
    };
    Ok(HangRow {
        rule: rule.to_owned(),
        false_alarms,
        missed_of_2: missed(2.0),
        missed_of_3: missed(3.0),
        missed_of_10: missed(10.0),
    })
}

/// The paper's rule at a ratio of its mean.
fn of_mean(recording: &[Step], stalls: &[Stall], ratio: f64) -> Found {
    let mut rule = PaperRule::new();
    let bounds: Vec<f64> = recording
        .iter()
        .map(|&(_, seconds)| {
            let bound = rule.mean_s().map_or(f64::INFINITY, |mean| ratio * mean);
            rule.record(seconds);
            bound
        })
        .collect();
    found(recording, stalls, &bounds)
}

/// Our monitor.
fn of_monitor(
    recording: &[Step],
    stalls: &[Stall],
    settings: MonitorSettings,
) -> anyhow::Result<Found> {
    let mut monitor = Monitor::new(settings)?;
    let bounds: Vec<f64> = recording
        .iter()
        .map(|&(kind, seconds)| {
            monitor.begin(0.0, kind, 1.0);
            let bound = monitor.deadline_s().unwrap_or(f64::INFINITY);
            let _: Judgement = monitor.end(seconds);
            bound
        })
        .collect();
    Ok(found(recording, stalls, &bounds))
}

fn found(recording: &[Step], stalls: &[Stall], bounds: &[f64]) -> Found {
    let alarms = recording.iter().zip(bounds).filter(|((_, seconds), bound)| seconds > *bound);
    let noticed = stalls.iter().map(|&(step, ratio)| recording[step].1 * ratio > bounds[step]);
    (alarms.count(), noticed.collect())
}
