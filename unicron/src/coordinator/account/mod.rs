//! What a task has got for the time of its workers.
//!
//! The simulator knows what will happen next, so that it counts time as it passes. Here, what time was worth
//! shows afterwards: training counts once it is committed, and how long a failure went unnoticed is known
//! when it is noticed. Until then it is *uncommitted*, the sixth heap beside the five [`Bins`]; what is in
//! the bins stays there.
//!
//! | what | file |
//! |---|---|
//! | the account | this |
//! | training that isn't committed yet | `work` |
//! | how long iterations take, by the number of workers | [`iterations`] |
//! | failures by how they were noticed | [`failures`] |
//! | how often something took how long | [`durations`] |
//!
//! An iteration that nothing has disturbed is useful as a whole. One in which a group was formed is useful
//! for as long as an undisturbed one takes; beyond that, it is redone as far as workers said that they
//! computed something again, and in transition for the rest.
//!
//! Accounts are stored with their tasks, every few seconds, because the log of events doesn't tell every
//! iteration. What has passed since is attributed as if all had gone on, which is what workers do while
//! nobody leads.

pub mod durations;
pub mod failures;
pub mod iterations;
mod work;

use crate::bins::Bins;
use crate::detect::Status;
use durations::Durations;
use failures::Failures;
use iterations::IterationTimes;
use serde::{Deserialize, Serialize};
use work::Work;

/// What a task has got for its workers' time. All times are seconds of one clock, the Unix epoch's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// When it was submitted.
    pub submitted_s: f64,
    /// When it ended.
    pub ended_s: Option<f64>,
    /// Seconds of its workers.
    pub bins: Bins,
    /// FLOPs that count, unweighted, by the throughput that it is planned with.
    pub flops: f64,
    /// Seconds in which it trained and that count.
    pub useful_s: f64,
    /// How long its iterations take.
    pub iterations: IterationTimes,
    /// Its failures.
    pub failures: Failures,
    /// Seconds from a failure's notice to the first iteration after it.
    pub recovery: Durations,
    /// What may yet count.
    uncommitted: Work,
    /// The most iterations that were ever committed: up to it, iterations are repeated.
    most_iterations: u64,
    /// Whether a group was formed since an iteration last counted.
    is_disturbed: bool,
    /// When and in which group an iteration was last committed.
    last_commit: Option<(f64, u64)>,
    /// Since when it is known that it has failed.
    failed_since_s: Option<f64>,
    /// Up to then, time is attributed to the noticing of failures.
    noticed_s: f64,
    occupancy: Occupancy,
    since_s: f64,
}

/// What a task's workers do from now on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Occupancy {
    /// Workers that train.
    pub training: usize,
    /// Workers that are started, or wait for others that are.
    pub in_transition: usize,
    /// FLOP/s of those that train.
    pub flops: f64,
    /// Whether training needs no commit to count: that of a program that doesn't speak.
    pub counts_at_once: bool,
}

/// An iteration that is committed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Commit {
    /// Its number.
    pub iteration: u64,
    /// How many it is beyond the last that was heard of; 1 unless nobody led for a while.
    pub count: u64,
    /// The group that committed it.
    pub epoch: u64,
    /// Whether that is a group of before, whose last word comes after its end: the task hasn't recovered by
    /// it.
    pub is_late: bool,
    /// What was computed again, as a part of an iteration.
    pub redone: f64,
}

impl Account {
    /// Of a task that is submitted now.
    #[must_use]
    pub fn new(now_s: f64) -> Self {
        Self { submitted_s: now_s, since_s: now_s, noticed_s: now_s, ..Self::default() }
    }

    /// FLOP/s of now, unweighted, by the throughput that it is planned with.
    #[must_use]
    pub fn flops_now(&self) -> f64 {
        if self.occupancy.training > 0 { self.occupancy.flops } else { 0.0 }
    }

    /// Time passes.
    pub fn pass(&mut self, now_s: f64) {
        // The clocks of two leaders may differ.
        let seconds = (now_s - self.since_s).max(0.0);
        self.since_s = now_s;
        let Occupancy { training, in_transition, flops, counts_at_once } = self.occupancy;
        self.bins.in_transition += in_transition as f64 * seconds;
        if training == 0 {
            return;
        }
        let worker_s = training as f64 * seconds;
        let work = Work { seconds, worker_s, flops: flops * seconds, ..Work::default() };
        if counts_at_once {
            self.count(work);
        } else {
            self.uncommitted += work;
        }
    }

    /// Its workers do this from now on.
    pub fn set(&mut self, now_s: f64, occupancy: Occupancy) {
        self.pass(now_s);
        self.occupancy = occupancy;
        let is_whole = occupancy.training > 0 && occupancy.in_transition == 0;
        if occupancy.counts_at_once && is_whole {
            self.recovers(now_s);
        }
    }

    /// A failure is noticed, so many seconds after it happened, as far as anybody knows.
    pub fn failed(&mut self, now_s: f64, status: Status, after_s: f64) {
        self.pass(now_s);
        self.failures.note(status, after_s);
        self.failed_since_s.get_or_insert(now_s);
        // Of failures at the same time only the first waited for its notice.
        let unnoticed_s = after_s.min(now_s - self.noticed_s).max(0.0);
        self.noticed_s = now_s;
        let worker_s = unnoticed_s * self.occupancy.training as f64;
        self.bins.detecting += self.uncommitted.take(worker_s).worker_s;
    }

    /// Others work together from now on, or nobody does.
    pub fn regrouped(&mut self) {
        self.is_disturbed = true;
    }

    /// An iteration is committed.
    pub fn committed(&mut self, now_s: f64, commit: Commit) {
        self.pass(now_s);
        let Commit { iteration, count, epoch, is_late, redone } = commit;
        let was_disturbed = self.is_disturbed;
        if let Some((at_s, of)) = self.last_commit
            && of == epoch
        {
            self.iterations.note(self.occupancy.training, now_s - at_s, count);
        }
        self.last_commit = Some((now_s, epoch));
        self.uncommitted.iterations += count;
        self.uncommitted.redone += redone;
        self.uncommitted.repeated +=
            count.min(self.most_iterations.saturating_sub(iteration - count));
        self.most_iterations = self.most_iterations.max(iteration);
        let usual_s = self.iterations.usual_s(self.occupancy.training);
        match (self.is_disturbed, usual_s) {
            (false, _) => self.settle(f64::INFINITY),
            (true, Some(usual_s)) => self.settle(usual_s),
            // The group's second iteration will tell how long one takes.
            (true, None) => {}
        }
        match is_late {
            true => self.is_disturbed = was_disturbed,
            false => self.recovers(now_s),
        }
    }

    /// The task has ended; what isn't committed came to nothing.
    pub fn end(&mut self, now_s: f64) {
        self.pass(now_s);
        let usual_s = self.iterations.usual_s(self.occupancy.training);
        if self.uncommitted.iterations > 0 {
            self.settle(usual_s.unwrap_or(f64::INFINITY));
        }
        self.bins.in_transition += std::mem::take(&mut self.uncommitted).worker_s;
        self.ended_s = Some(now_s);
    }

    /// Seconds since an iteration was last committed; infinite if none was. Whoever took part in it was
    /// alive then, so no failure that is noticed now is older.
    #[must_use]
    pub fn since_commit_s(&self, now_s: f64) -> f64 {
        self.last_commit.map_or(f64::INFINITY, |(at_s, _)| (now_s - at_s).max(0.0))
    }

    /// Seconds of workers in training that isn't committed.
    #[must_use]
    pub fn uncommitted_worker_s(&self) -> f64 {
        self.uncommitted.worker_s
    }

    /// All seconds of its workers.
    #[must_use]
    pub fn worker_s(&self) -> f64 {
        self.bins.total() + self.uncommitted.worker_s
    }

    /// The part of the time since its submission in which it trained and that counts.
    #[must_use]
    pub fn effective_time_ratio(&self, now_s: f64) -> f64 {
        let seconds = self.ended_s.unwrap_or(now_s) - self.submitted_s;
        if seconds > 0.0 { self.useful_s / seconds } else { 0.0 }
    }

    /// What is uncommitted counts, where its iterations took `usual_s` each.
    fn settle(&mut self, usual_s: f64) {
        let mut work = std::mem::take(&mut self.uncommitted);
        let count = work.iterations as f64;
        let usual_worker_s = usual_s * self.occupancy.training as f64;
        let mut useful = work.take(count * usual_worker_s);
        // Infinity times nothing is no number.
        let redone_worker_s = if work.redone > 0.0 { work.redone * usual_worker_s } else { 0.0 };
        self.bins.redone += work.take(redone_worker_s).worker_s;
        self.bins.in_transition += work.worker_s;
        let repeated = useful.worker_s * work.repeated as f64 / count.max(1.0);
        self.bins.redone += useful.take(repeated).worker_s;
        self.count(useful);
        self.is_disturbed = false;
    }

    fn count(&mut self, work: Work) {
        self.bins.useful += work.worker_s;
        self.useful_s += work.seconds;
        self.flops += work.flops;
    }

    fn recovers(&mut self, now_s: f64) {
        if let Some(since_s) = self.failed_since_s.take() {
            self.recovery.note(now_s - since_s);
        }
    }
}

#[cfg(test)]
mod tests;
