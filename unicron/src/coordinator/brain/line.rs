//! Places of tasks: in the line of those that wait for workers, and in that of those that would have to give
//! some up.

use super::{Brain, Now};
use crate::plan::queue::{Giver, Queue};
use std::collections::BTreeMap;

/// The places of all tasks, from 1. Tasks are called by their index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Places {
    waiting: BTreeMap<usize, (u32, String)>,
    giving: BTreeMap<usize, (u32, Giver)>,
}

impl Places {
    /// The place of a task that waits, and why it does.
    #[must_use]
    pub fn waiting(&self, task: usize) -> Option<(u32, &str)> {
        self.waiting.get(&task).map(|(place, why)| (*place, why.as_str()))
    }

    /// The place of a task that would have to give workers up, and what it would lose.
    #[must_use]
    pub fn giving(&self, task: usize) -> Option<(u32, Giver)> {
        self.giving.get(&task).copied()
    }
}

impl Brain {
    /// The places of all tasks as of now.
    #[must_use]
    pub fn places(&self, now: Now) -> Places {
        let Queue { waiting, givers } = self.core.queue(now.s);
        let name = |task: usize| self.tasks[task].file.name.as_str();
        let in_line = |place: usize| u32::try_from(place + 1).unwrap_or(u32::MAX);
        let waiting = waiting.iter().enumerate().map(|(place, waiting)| {
            (waiting.task, (in_line(place), waiting.to_text(place + 1, name)))
        });
        let giving = givers.into_iter().enumerate();
        Places {
            waiting: waiting.collect(),
            giving: giving.map(|(place, giver)| (giver.task, (in_line(place), giver))).collect(),
        }
    }

    /// Weighted FLOP/s: what workers that train achieve now, and what the plan gives them once its
    /// transitions are over.
    #[must_use]
    pub fn waf(&self) -> (f64, f64) {
        let living =
            self.tasks.iter().zip(self.core.tasks()).filter(|(task, _)| task.end.is_none());
        living.fold((0.0, 0.0), |(now, planned), (task, plan)| {
            let of_plan = plan.waf(plan.throughput.at(plan.present.workers));
            (now + task.waf(), planned + of_plan)
        })
    }
}

impl super::task::Task {
    /// Weighted FLOP/s that its workers achieve now, by the throughput of the plan.
    #[must_use]
    pub fn waf(&self) -> f64 {
        self.file.weight * self.account.flops_now()
    }
}
