//! What the time of the cluster's slots is spent on: what the slots of each task do, and those that no
//! task has.
//!
//! A slot belongs to a task while a worker is there that stays. One that leaves has lost its slot to
//! whoever follows, and trains in its stead until then.

use super::task::Task;
use super::{Brain, Now};
use crate::bins::Bins;
use crate::coordinator::account::{Account, Occupancy};
use crate::proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many slots a node had for how long, since it first came: while it is away, too.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SlotTime {
    slots: usize,
    since_s: f64,
    before_s: f64,
}

impl SlotTime {
    /// The node has so many from now on.
    pub(super) fn set(&mut self, now_s: f64, slots: usize) {
        *self = Self { slots, since_s: now_s, before_s: self.until(now_s) };
    }

    /// Seconds of slots until now.
    #[must_use]
    pub fn until(&self, now_s: f64) -> f64 {
        // The clocks of two leaders may differ.
        self.before_s + self.slots as f64 * (now_s - self.since_s).max(0.0)
    }
}

impl Brain {
    /// Seconds of the Unix epoch by a clock that doesn't go back during a leadership: what accounts count
    /// by, which outlive it.
    pub(super) fn epoch_s(&self, now: Now) -> f64 {
        self.zero_s + now.s
    }

    /// Whatever has changed about tasks shows in their accounts from now on.
    pub(super) fn keep_accounts(&mut self, now: Now) {
        let now_s = self.epoch_s(now);
        for &task in &self.outbox.tasks {
            let occupancy = self.occupancy(task);
            self.tasks[task].account.set(now_s, occupancy);
        }
    }

    fn occupancy(&self, task: usize) -> Occupancy {
        let task_ = &self.tasks[task];
        let slots = task_.staying(None).count();
        let counts_at_once = !task_.commits();
        let training = slots.min(task_.at_work());
        let flops = self.core.tasks()[task].throughput.at(training);
        Occupancy { training, in_transition: slots - training, flops, counts_at_once }
    }

    /// A task's account as of now.
    #[must_use]
    pub fn account(&self, now: Now, task: &Task) -> Account {
        let mut account = task.account.clone();
        account.pass(self.epoch_s(now));
        account
    }

    /// What the log tells of a task's account, for whoever replays it ([`crate::trace::live`]).
    pub(super) fn account_details(&self, task: usize) -> Value {
        let Task { account, file, .. } = &self.tasks[task];
        json!({
            "waf": file.weight * account.flops,
            "worker_s": account.bins,
            "iteration_s": account.iterations.mean_s(),
        })
    }

    /// What the log tells of a task that is submitted, likewise.
    pub(super) fn wanted_details(&self, task: usize) -> Value {
        let file = &self.tasks[task].file;
        let wanted = json!({
            "weight": file.weight,
            "workers": file.workers,
            "min_workers": file.min_workers,
            "guaranteed_workers": file.guaranteed_workers,
            "stages": file.stages(),
            "flops_per_worker": file.flops_per_worker,
        });
        json!({ "task": wanted })
    }

    /// The part of the time since a task's submission in which it trained and that counts.
    #[must_use]
    pub fn effective_time_ratio(&self, now: Now, account: &Account) -> f64 {
        account.effective_time_ratio(self.epoch_s(now))
    }

    /// The time of all slots, since their nodes first came, but what is uncommitted; and that.
    #[must_use]
    pub fn bins(&self, now: Now) -> (Bins, f64) {
        let now_s = self.epoch_s(now);
        let all: f64 = self.nodes.iter().map(|node| node.slot_time.until(now_s)).sum();
        let accounts = self.tasks.iter().map(|task| self.account(now, task));
        let (mut bins, mut uncommitted_s) = (Bins::default(), 0.0);
        for account in accounts {
            bins += account.bins;
            uncommitted_s += account.uncommitted_worker_s();
        }
        // Rounding must not make it less than nothing.
        bins.idle += (all - bins.total() - uncommitted_s).max(0.0);
        (bins, uncommitted_s)
    }
}

impl Task {
    /// Workers that train.
    fn at_work(&self) -> usize {
        match &self.group {
            _ if self.end.is_some() => 0,
            Some(group) => group.members.len(),
            None => 0,
        }
    }
}

/// As it is told.
pub(in crate::coordinator) fn to_wire(bins: Bins) -> v1::Bins {
    let Bins { useful, detecting, in_transition, redone, idle } = bins;
    v1::Bins { useful, detecting, in_transition, redone, idle }
}
