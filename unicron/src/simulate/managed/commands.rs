//! What the core commands is done, and takes its time.

use super::problem::Problem;
use super::{Managed, Timer, timing};
use crate::core::{Attempt, Command, Event};
use crate::detect::Severity;

impl Managed<'_> {
    /// Tells a core what has happened, and does what it says.
    pub(super) fn tell(&mut self, now_s: f64, unit: usize, event: Event) {
        let commands = self.units[unit].core.step(now_s, event);
        self.obey(now_s, unit, commands);
    }

    /// Does what a core says.
    pub(super) fn obey(&mut self, now_s: f64, unit: usize, commands: Vec<Command>) {
        let mut answers_at_s = now_s;
        let mut isolated = Vec::new();
        for command in commands {
            match command {
                Command::Reattempt(attempt) => {
                    answers_at_s = self.attempt(now_s, unit, attempt, Severity::Sev3);
                }
                Command::Restart(attempt) => {
                    answers_at_s = self.attempt(now_s, unit, attempt, Severity::Sev2);
                }
                // Of interest only to those that answer late.
                Command::WakeAt { at_s } if at_s < answers_at_s => {
                    self.timers.at(at_s, Timer::Tick { unit });
                }
                // A simulated core may act.
                Command::WakeAt { .. } | Command::BuildTable { .. } | Command::Advise(_) => {}
                Command::Isolate { node, .. } => isolated.push(self.units[unit].nodes[node]),
                Command::Reconfigure(reconfiguration) => {
                    for change in reconfiguration.changes {
                        self.change(now_s, unit, &change);
                    }
                }
                Command::Stop { task, .. } => {
                    let task = self.units[unit].tasks[task];
                    self.members[task].has_ended = true;
                    self.forget(now_s, |problem| problem.task == task);
                    self.refresh(now_s, task);
                }
            }
        }
        for node in isolated {
            self.forget(now_s, |problem| problem.node == node);
            self.missed.retain(|&missed| missed != node);
            if self.is_up[node] {
                self.join(now_s, node);
            }
        }
    }

    /// A node is there, for its core to use.
    pub(super) fn join(&mut self, now_s: f64, node: usize) {
        if let Some((unit, local)) = self.home_of_node[node] {
            let workers = self.cluster.gpus_per_node();
            self.tell(now_s, unit, Event::NodeJoined { node: local, workers });
        }
    }

    /// A cure in place begins; when it ends.
    fn attempt(&mut self, now_s: f64, unit: usize, attempt: Attempt, level: Severity) -> f64 {
        let place = (self.units[unit].tasks[attempt.task], self.units[unit].nodes[attempt.node]);
        let Some(problem) = self.problems.begin(place, attempt, level) else { return now_s };
        let Problem { id, task, status, severity, .. } = problem;
        let change = self.stay(task);
        let durations = &self.setup.durations;
        let takes_s = match level {
            Severity::Sev3 => timing::reattempt_s(durations),
            _ => {
                let bandwidth = self.cluster.hardware().inter_node_bandwidth;
                timing::restart_s(durations, &change, bandwidth)
            }
        };
        let mut ends_at_s = now_s + takes_s;
        if severity > level {
            // That it hasn't helped has to be noticed again.
            ends_at_s += self.notice_s(task, status);
        }
        self.timers.at(ends_at_s, Timer::Attempted { problem: id, epoch: attempt.epoch });
        self.refresh(now_s, task);
        ends_at_s
    }

    /// These problems are none any more.
    fn forget(&mut self, now_s: f64, which: impl Fn(&Problem) -> bool) {
        for task in self.problems.forget(which) {
            self.refresh(now_s, task);
        }
    }
}
