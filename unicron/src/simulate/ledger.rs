//! Where GPU time goes, and what is computed with it.
//!
//! Between two events nothing changes, so every sum is exact: a rate times a duration. A task's account
//! is settled when the task changes, not at every event of the cluster.

use crate::bins::Bins;

/// What a task's GPUs do from now on, and what they achieve.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Occupancy {
    /// GPUs that train.
    pub useful: usize,
    /// GPUs that wait for a failure to be noticed.
    pub detecting: usize,
    /// GPUs whose processes, groups or state are put right.
    pub in_transition: usize,
    /// GPUs that repeat what was lost.
    pub redone: usize,
    /// GPUs that the task has and doesn't use.
    pub idle: usize,
    /// FLOP/s of the training that counts.
    pub flops: f64,
    /// Whether the task has no workers, or too few to run.
    pub is_starved: bool,
}

impl Occupancy {
    fn gpus(&self) -> usize {
        self.useful + self.detecting + self.in_transition + self.redone + self.idle
    }
}

/// The account of one task.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Account {
    /// Its GPU time.
    pub bins: Bins,
    /// FLOPs that count, unweighted.
    pub flops: f64,
    /// Seconds without workers, or with too few to run.
    pub starved_s: f64,
    /// When its work was done, in seconds.
    pub finished_at_s: Option<f64>,
    weight: f64,
    work_flops: Option<f64>,
    occupancy: Occupancy,
    since_s: f64,
}

impl Account {
    fn settle(&mut self, now_s: f64) {
        let seconds = now_s - self.since_s;
        let gpu_seconds = |gpus: usize| gpus as f64 * seconds;
        let Occupancy { useful, detecting, in_transition, redone, idle, flops, is_starved } =
            self.occupancy;
        self.bins += Bins {
            useful: gpu_seconds(useful),
            detecting: gpu_seconds(detecting),
            in_transition: gpu_seconds(in_transition),
            redone: gpu_seconds(redone),
            idle: gpu_seconds(idle),
        };
        self.flops += flops * seconds;
        self.starved_s += if is_starved { seconds } else { 0.0 };
        self.since_s = now_s;
    }

    /// Weighted FLOPs that count.
    #[must_use]
    pub fn waf(&self) -> f64 {
        self.weight * self.flops
    }
}

/// The accounts of all tasks, and of the GPUs that no task has.
#[derive(Debug, Clone)]
pub struct Ledger {
    accounts: Vec<Account>,
    /// Below 0 only within an instant, while workers go from task to task.
    unassigned: i64,
    unassigned_since_s: f64,
    unassigned_gpu_s: f64,
    starved: usize,
    most_starved: usize,
    /// (Time, WAF from then on), if they are wanted.
    series: Option<Vec<(f64, f64)>>,
}

impl Ledger {
    /// Of so many GPUs and these tasks: their weights, and the FLOPs that each has to do; `None` for an
    /// endless one.
    #[must_use]
    pub fn new(gpus: usize, tasks: impl IntoIterator<Item = (f64, Option<f64>)>) -> Self {
        let account = |(weight, work_flops)| Account { weight, work_flops, ..Account::default() };
        Self {
            accounts: tasks.into_iter().map(account).collect(),
            unassigned: gpus as i64,
            unassigned_since_s: 0.0,
            unassigned_gpu_s: 0.0,
            starved: 0,
            most_starved: 0,
            series: None,
        }
    }

    /// With a record of how WAF goes.
    #[must_use]
    pub fn with_series(self) -> Self {
        Self { series: Some(Vec::new()), ..self }
    }

    /// A task does this from now on.
    pub fn set(&mut self, now_s: f64, task: usize, occupancy: Occupancy) {
        let account = &mut self.accounts[task];
        if account.occupancy == occupancy {
            return;
        }
        account.settle(now_s);
        let before = std::mem::replace(&mut account.occupancy, occupancy);
        if before.gpus() != occupancy.gpus() {
            self.settle_unassigned(now_s);
            self.unassigned += before.gpus() as i64 - occupancy.gpus() as i64;
        }
        self.starved =
            self.starved + usize::from(occupancy.is_starved) - usize::from(before.is_starved);
        self.most_starved = self.most_starved.max(self.starved);
        if before.flops != occupancy.flops {
            self.note(now_s);
        }
    }

    /// When a task will have done its work if nothing happens.
    pub fn finishes_at_s(&mut self, now_s: f64, task: usize) -> Option<f64> {
        let account = &mut self.accounts[task];
        let (work, flops) = (account.work_flops?, account.occupancy.flops);
        if flops <= 0.0 {
            return None;
        }
        account.settle(now_s);
        Some(now_s + (work - account.flops).max(0.0) / flops)
    }

    /// A task has done its work and has no GPUs any more.
    pub fn finish(&mut self, now_s: f64, task: usize) {
        self.set(now_s, task, Occupancy::default());
        let account = &mut self.accounts[task];
        account.finished_at_s = Some(now_s);
        // To the bit: a sum of rates times durations isn't.
        account.flops = account.work_flops.unwrap_or(account.flops);
    }

    /// All accounts, settled, and what the cluster as a whole has spent.
    #[must_use]
    pub fn close(mut self, now_s: f64) -> Closed {
        for account in &mut self.accounts {
            account.settle(now_s);
        }
        self.settle_unassigned(now_s);
        let mut bins: Bins = self.accounts.iter().map(|account| account.bins).sum();
        bins.idle += self.unassigned_gpu_s;
        Closed {
            bins,
            accounts: self.accounts,
            most_starved: self.most_starved,
            series: self.series.unwrap_or_default(),
        }
    }

    fn settle_unassigned(&mut self, now_s: f64) {
        let seconds = now_s - self.unassigned_since_s;
        debug_assert!(
            self.unassigned >= 0 || seconds == 0.0,
            "tasks have more GPUs than there are"
        );
        self.unassigned_gpu_s += self.unassigned as f64 * seconds;
        self.unassigned_since_s = now_s;
    }

    fn note(&mut self, now_s: f64) {
        let Some(series) = &mut self.series else { return };
        // Summed anew: the rounding of a running sum would show as a rate of nearly nothing.
        let waf: f64 =
            self.accounts.iter().map(|account| account.weight * account.occupancy.flops).sum();
        match series.last_mut() {
            Some(last) if last.0 == now_s => last.1 = waf,
            _ => series.push((now_s, waf)),
        }
    }
}

/// What is left when all is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// By task.
    pub accounts: Vec<Account>,
    /// Of all GPUs.
    pub bins: Bins,
    /// Most tasks that were starved at the same time.
    pub most_starved: usize,
    /// (Time, WAF from then on), if it was recorded.
    pub series: Vec<(f64, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gpu_second_is_in_one_bin() {
        let mut ledger = Ledger::new(16, [(2.0, None), (1.0, None)]).with_series();
        let runs = Occupancy { useful: 6, idle: 2, flops: 3.0, ..Occupancy::default() };
        ledger.set(0.0, 0, runs);
        ledger.set(0.0, 1, Occupancy { is_starved: true, ..Occupancy::default() });
        ledger.set(10.0, 0, Occupancy { detecting: 6, idle: 2, ..Occupancy::default() });
        ledger.set(15.0, 1, runs);
        let closed = ledger.close(20.0);
        let Bins { useful, detecting, in_transition, redone, idle } = closed.bins;
        assert_eq!((useful, detecting, in_transition, redone), (90.0, 60.0, 0.0, 0.0));
        assert_eq!(idle, 320.0 - 150.0);
        assert_eq!(closed.accounts[0].waf(), 60.0);
        assert_eq!((closed.accounts[1].starved_s, closed.most_starved), (15.0, 1));
        assert_eq!(closed.series, [(0.0, 6.0), (10.0, 0.0), (15.0, 3.0)]);
    }

    #[test]
    fn work_ends_when_it_is_done() {
        let mut ledger = Ledger::new(8, [(1.0, Some(100.0))]);
        let runs = |flops| Occupancy { useful: 8, flops, ..Occupancy::default() };
        ledger.set(0.0, 0, runs(2.0));
        assert_eq!(ledger.finishes_at_s(0.0, 0), Some(50.0));
        ledger.set(20.0, 0, runs(6.0));
        assert_eq!(ledger.finishes_at_s(20.0, 0), Some(30.0));
        ledger.finish(30.0, 0);
        assert_eq!(ledger.finishes_at_s(30.0, 0), None);
        let closed = ledger.close(40.0);
        assert_eq!(closed.accounts[0].finished_at_s, Some(30.0));
        assert_eq!((closed.accounts[0].flops, closed.bins.idle), (100.0, 80.0));
    }
}
