//! Iteration times as they come: slower than usual, or standing still?
//!
//! The paper compares an iteration with the mean of all: 1.1 times is slow and watched, 3 times is a
//! failure (notes, 1.3). Where sequence lengths vary, and at first steps, evaluations and checkpoints,
//! that gives false alarms (notes, section 0, item 6). Here, each kind of step has its own usual time,
//! taken by median and median absolute deviation of logarithms: times are products of what varies, and
//! a few odd steps move neither. A step's known cost (tokens) is divided out first. The paper's
//! factors remain as the least bounds; [`PaperRule`] is the paper's own, for comparison.
//!
//! A hang is told while it lasts: [`Monitor::deadline_s`] is when the running step must have ended.

mod finite;
mod history;
mod paper;
#[cfg(test)]
mod tests;

pub use finite::FiniteMonitor;
pub use paper::PaperRule;

use super::{Finding, Status};
use crate::{Error, Result};
use history::History;
use serde::{Deserialize, Serialize};

/// What a step does; each kind has its own usual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// The first steps after a start: compilation, allocation, first communication.
    WarmUp,
    /// An ordinary iteration.
    Train,
    /// An evaluation.
    Evaluation,
    /// An iteration that writes a checkpoint, or the writing alone.
    Checkpoint,
}

/// Bounds of the monitor. Ratios are to the usual time of a step's kind and cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorSettings {
    /// Least ratio of the recent steps at which a task is degraded; the paper's 1.1.
    pub degraded_ratio: f64,
    /// Least ratio at which a step hangs; the paper's 3.
    pub hang_ratio: f64,
    /// Greatest ratio at which a step hangs, however much its kind varies: bounds the time until a
    /// hang is told. It also holds while a kind's usual time is still being learned.
    pub most_hang_ratio: f64,
    /// How many standard deviations are usual. Five are exceeded once in 3.5 million steps, if the
    /// logarithms of times are normal.
    pub usual_deviations: f64,
    /// Steps of a kind that are remembered.
    pub window: usize,
    /// Steps of a kind before its spread is trusted.
    pub n_learning: usize,
    /// The latest steps, whose median tells a degraded task from one slow step.
    pub n_recent: usize,
    /// No deadline is closer than this, in seconds: a pause of the machine isn't a hang.
    pub floor_s: f64,
    /// The deadline of a step of a kind that never ended yet, in seconds.
    pub first_s: f64,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            degraded_ratio: 1.1,
            hang_ratio: 3.0,
            most_hang_ratio: 10.0,
            usual_deviations: 5.0,
            window: 128,
            n_learning: 16,
            n_recent: 9,
            // As long as the paper needs to notice a lost node: nothing is noticed sooner that matters
            // more.
            floor_s: 5.6,
            // The paper's collective time-out: without anything learned, no worse than without us.
            first_s: 1800.0,
        }
    }
}

/// What a step that has ended shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Its kind's usual time is not known yet.
    Learning,
    /// As usual.
    Normal,
    /// The recent steps are slower than usual: to be watched, not a failure.
    Degraded {
        /// Their median over the usual time.
        ratio: f64,
    },
    /// It took longer than its deadline, and yet it ended.
    Stalled {
        /// Its time over the usual time.
        ratio: f64,
    },
    /// Its time is negative or no number.
    Ignored,
}

/// The step that runs, or the pause before the next.
#[derive(Debug, Clone, Copy)]
struct Running {
    since_s: f64,
    kind: StepKind,
    relative_cost: f64,
}

/// Watches the steps of one task (or of one rank). Times are in seconds of any one clock.
#[derive(Debug, Clone)]
pub struct Monitor {
    settings: MonitorSettings,
    histories: [History; 4],
    running: Option<Running>,
}

impl Monitor {
    /// Without any step.
    ///
    /// # Errors
    /// [`Error::Setting`] for bounds that contradict each other or aren't positive.
    pub fn new(settings: MonitorSettings) -> Result<Self> {
        check(&settings)?;
        let histories = std::array::from_fn(|_| History::new(settings.window));
        Ok(Self { settings, histories, running: None })
    }

    /// A step begins at `now_s`. `relative_cost` is its expected cost over that of a usual step of its
    /// kind, such as its tokens over the mean; 1 where it isn't known, which it is always or never.
    pub fn begin(&mut self, now_s: f64, kind: StepKind, relative_cost: f64) {
        let relative_cost = if is_positive(relative_cost) { relative_cost } else { 1.0 };
        self.running = now_s.is_finite().then_some(Running { since_s: now_s, kind, relative_cost });
    }

    /// The running step ends at `now_s`. The pause until the next counts as an ordinary step that is
    /// running, so that a task that hangs between steps is noticed as well.
    pub fn end(&mut self, now_s: f64) -> Judgement {
        let ended = self.running.take();
        self.begin(now_s, StepKind::Train, 1.0);
        match ended {
            Some(step) => self.record(step.kind, now_s - step.since_s, step.relative_cost),
            None => Judgement::Ignored,
        }
    }

    /// Nothing runs until the next step begins: the task is stopped or has ended.
    pub fn pause(&mut self) {
        self.running = None;
    }

    /// The task runs on more or fewer workers now: what was usual tells no hang any more but by
    /// [`MonitorSettings::most_hang_ratio`], until it is known anew.
    pub fn relearn(&mut self) {
        self.histories.iter_mut().for_each(History::relearn);
    }

    /// When the running step will count as hung, in seconds of the caller's clock; `None` while
    /// nothing runs.
    #[must_use]
    pub fn deadline_s(&self) -> Option<f64> {
        let step = self.running?;
        Some(step.since_s + self.hang_bound_s(step.kind, step.relative_cost))
    }

    /// A hang, if the running step is past its deadline at `now_s`.
    #[must_use]
    pub fn hang(&self, now_s: f64) -> Option<Finding> {
        self.deadline_s().filter(|&deadline_s| now_s > deadline_s)?;
        Some(Finding::root(Status::TaskHang))
    }

    /// Takes the time of a step that has ended, for callers that measure it themselves.
    pub fn record(&mut self, kind: StepKind, seconds: f64, relative_cost: f64) -> Judgement {
        // A step of no time at all has no logarithm: a clock that stood still.
        if !(is_positive(relative_cost) && is_positive(seconds)) {
            return Judgement::Ignored;
        }
        let usual_s =
            self.histories[kind as usize].usual().map(|usual| usual.exp() * relative_cost);
        let is_stalled = seconds > self.hang_bound_s(kind, relative_cost);
        let n_recent = self.settings.n_recent;
        let history = &mut self.histories[kind as usize];
        if is_stalled {
            // A stall says nothing about what is usual, unless it goes on for as long as to be so.
            history.n_stalled += 1;
            if history.n_stalled < n_recent {
                return Judgement::Stalled {
                    ratio: usual_s.map_or(1.0, |usual_s| seconds / usual_s),
                };
            }
            history.clear();
        }
        history.n_stalled = 0;
        history.push((seconds / relative_cost).ln());
        self.judge(kind)
    }

    /// Judges the latest step of a kind that didn't stall.
    fn judge(&self, kind: StepKind) -> Judgement {
        let MonitorSettings { degraded_ratio, usual_deviations, n_learning, n_recent, .. } =
            self.settings;
        let history = &self.histories[kind as usize];
        if history.len() < n_learning + n_recent {
            return Judgement::Learning;
        }
        let Some(shift) = history.shift(n_recent) else { return Judgement::Learning };
        let bound = degraded_ratio.ln().max(usual_deviations * shift.standard_error);
        if kind == StepKind::Train && shift.by > bound {
            return Judgement::Degraded { ratio: shift.by.exp() };
        }
        Judgement::Normal
    }

    /// How long a step of a kind and cost may take, in seconds.
    fn hang_bound_s(&self, kind: StepKind, relative_cost: f64) -> f64 {
        let MonitorSettings { hang_ratio, most_hang_ratio, usual_deviations, .. } = self.settings;
        let history = &self.histories[kind as usize];
        let Some(usual) = history.usual() else { return self.settings.first_s };
        let ratio = if history.len() < self.settings.n_learning {
            most_hang_ratio
        } else {
            (usual_deviations * history.deviation()).exp().clamp(hang_ratio, most_hang_ratio)
        };
        (ratio * usual.exp() * relative_cost).max(self.settings.floor_s)
    }
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn check(settings: &MonitorSettings) -> Result<()> {
    let MonitorSettings { degraded_ratio, hang_ratio, most_hang_ratio, window, .. } = *settings;
    let bad = |setting: &str, problem: String| {
        Err(Error::Setting { setting: setting.to_owned(), problem })
    };
    if !(degraded_ratio > 1.0 && degraded_ratio <= hang_ratio && hang_ratio <= most_hang_ratio) {
        let ratios = format!("{degraded_ratio}, {hang_ratio} and {most_hang_ratio}");
        let order = "degraded_ratio, hang_ratio and most_hang_ratio do not ascend from above 1";
        return bad("hang_ratio", format!("{ratios}: {order}"));
    }
    for (setting, value) in [
        ("usual_deviations", settings.usual_deviations),
        ("floor_s", settings.floor_s),
        ("first_s", settings.first_s),
        ("most_hang_ratio", most_hang_ratio),
    ] {
        if !is_positive(value) {
            return bad(setting, format!("{value} is not a positive number"));
        }
    }
    let least = settings.n_learning.saturating_add(settings.n_recent);
    if settings.n_learning == 0 || settings.n_recent == 0 || window < least {
        let problem = format!(
            "{window} steps do not hold n_learning and n_recent steps ({} and {}), both at least 1",
            settings.n_learning, settings.n_recent
        );
        return bad("window", problem);
    }
    Ok(())
}
