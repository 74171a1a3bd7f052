//! What people ask of a core: who waits and who would give way, and why each task has what it has.

use super::Core;
use crate::plan::explain::{Reason, explain};
use crate::plan::queue::Queue;
use crate::plan::{Situation, Task};

impl Core {
    /// Who waits for workers, and who would have to give some up, as of now.
    #[must_use]
    pub fn queue(&self, now_s: f64) -> Queue {
        self.of_now(&self.tasks, now_s).queue(&self.rule)
    }

    /// Why each task that hasn't ended has what it has: what would be planned now, and the best plan in
    /// which it had another number of workers. Takes a solve a task: clone the core and ask on another
    /// thread.
    #[must_use]
    pub fn reasons(&self, now_s: f64) -> Vec<(usize, Reason)> {
        let living: Vec<usize> =
            (0..self.tasks.len()).filter(|&task| !self.has_ended[task]).collect();
        let tasks: Vec<Task> = living.iter().map(|&task| self.tasks[task].clone()).collect();
        let situation = self.of_now(&tasks, now_s);
        let plan = situation.plan(&self.rule);
        living.into_iter().zip(explain(&situation, &self.rule, &plan)).collect()
    }

    fn of_now<'a>(&'a self, tasks: &'a [Task], now_s: f64) -> Situation<'a> {
        let there = self.healthy.iter().enumerate().filter(|(_, healthy)| **healthy > 0);
        let hazard = there.map(|(node, _)| self.hazards.of(node, now_s)).sum();
        self.situation(tasks, self.healthy.iter().sum(), hazard)
    }
}
