//! What fails, and when that is noticed.

use super::member::Trouble;
use super::{Managed, Timer};
use crate::core::{Command, Event};
use crate::detect::{Severity, Status};
use crate::trace::Failure;
use crate::transition::duration::Durations;

impl Managed<'_> {
    /// A failure of the trace happens.
    pub(super) fn fails(&mut self, now_s: f64, failure: &Failure, draw: f64) {
        let Some((unit, local)) = self.home_of_node[failure.node] else {
            self.is_up[failure.node] &= failure.repair_s.is_none();
            return;
        };
        let shares = &self.units[unit].core.placement().nodes[local];
        let shares: Vec<(usize, usize)> =
            shares.iter().map(|&(task, workers)| (self.units[unit].tasks[task], workers)).collect();
        let node = failure.node;
        if failure.repair_s.is_some() {
            self.node_goes(now_s, node, failure.status, &shares);
        } else if !self.missed.contains(&node) {
            let gpus = self.cluster.gpus_per_node();
            let slot = failure.gpu.unwrap_or(((draw * gpus as f64) as usize).min(gpus - 1));
            if let Some(task) = on_slot(&shares, slot) {
                self.process_fails(now_s, task, failure);
            }
        }
    }

    fn node_goes(&mut self, now_s: f64, node: usize, status: Status, shares: &[(usize, usize)]) {
        self.is_up[node] = false;
        if !self.missed.contains(&node) {
            let lease_s = self.setup.detection.node_health_s;
            let is_told = status.severity() == Some(Severity::Sev1);
            let told_s = |&(task, _): &(usize, usize)| self.notice_s(task, status);
            let noticed_s = match is_told {
                true => shares.iter().map(told_s).fold(lease_s, f64::min),
                false => lease_s,
            };
            self.missed.push(node);
            self.timers.at(now_s + noticed_s, Timer::NodeMissed { node });
        }
        for &(task, _) in shares {
            self.refresh(now_s, task);
        }
    }

    fn process_fails(&mut self, now_s: f64, task: usize, failure: &Failure) {
        let problem = self.problems.add(task, failure);
        let noticed_s = self.notice_s(task, failure.status);
        self.timers.at(now_s + noticed_s, Timer::Noticed { problem });
        self.refresh(now_s, task);
    }

    /// Seconds until a failure of a task is noticed.
    pub(super) fn notice_s(&self, task: usize, status: Status) -> f64 {
        let detection = &self.setup.detection;
        let step = self.members[task].step.as_ref();
        detection.of(status.method(), detection.iteration_s(self.tasks[task], step))
    }

    /// What keeps a task from going on.
    pub(super) fn trouble(&self, task: usize) -> Option<Trouble> {
        let is_on = |node: &usize| self.members[task].nodes.iter().any(|(other, _)| other == node);
        match self.missed.iter().any(is_on) {
            true => Some(Trouble::Unnoticed),
            false => self.problems.trouble_of(task),
        }
    }

    /// The absence of a node is noticed; whether that is news.
    pub(super) fn is_missed(&mut self, now_s: f64, node: usize) -> bool {
        match self.home_of_node[node] {
            Some((unit, local)) if self.missed.contains(&node) => {
                self.tell(now_s, unit, Event::NodeLost { node: local });
                true
            }
            _ => false,
        }
    }

    /// A failure of a process is noticed; whether that is news.
    pub(super) fn is_noticed(&mut self, now_s: f64, id: u64) -> bool {
        let Some(problem) = self.problems.notice(id) else { return false };
        let (Some((unit, local_task)), Some((_, local_node))) =
            (self.home_of_task[problem.task], self.home_of_node[problem.node])
        else {
            return false;
        };
        self.members[problem.task].owes_progress = true;
        let failed = Event::Failed { task: local_task, node: local_node, status: problem.status };
        let commands = self.units[unit].core.step(now_s, failed);
        let is_attempt =
            |command: &Command| matches!(command, Command::Reattempt(_) | Command::Restart(_));
        if !commands.iter().any(is_attempt) {
            // It is covered by what is being tried on that node, or the node or the task is given up.
            self.problems.cover(problem);
        }
        self.obey(now_s, unit, commands);
        self.refresh(now_s, problem.task);
        true
    }

    /// A reattempt or a restart ends; whether it is still the one that counts.
    pub(super) fn is_attempted(&mut self, now_s: f64, id: u64, epoch: u64) -> bool {
        let Some(problem) = self.problems.get(id) else { return false };
        let Some((attempt, level)) = problem.attempt.filter(|(attempt, _)| attempt.epoch == epoch)
        else {
            return false;
        };
        let Some((unit, _)) = self.home_of_task[problem.task] else { return false };
        let succeeded = problem.severity <= level;
        if succeeded {
            self.problems.remove(id);
            if level > Severity::Sev3 {
                let redone_s = Durations::redone_s(&self.stay(problem.task));
                let legs = &mut self.members[problem.task].legs;
                legs.redone_s = legs.redone_s.max(redone_s);
            }
        }
        self.tell(now_s, unit, Event::Attempted { incident: attempt.incident, succeeded });
        self.refresh(now_s, problem.task);
        true
    }
}

/// Whose process is on a GPU of a node, tasks in the order of their shares.
fn on_slot(shares: &[(usize, usize)], slot: usize) -> Option<usize> {
    let mut end = 0;
    shares.iter().find_map(|&(task, workers)| {
        end += workers;
        (slot < end).then_some(task)
    })
}
