//! Changes of a task's workers: what they take in truth, and how the task looks until they are over.

use super::member::{Leg, Legs};
use super::unit::Unit;
use super::{Managed, Milestone, Timer};
use crate::cluster::Cluster;
use crate::core;
use crate::plan::rule::TransitionTime;
use crate::transition::duration::{Change, Durations, Interruption};

impl Managed<'_> {
    /// The task as it is, with one process that has failed.
    pub(super) fn stay(&self, task: usize) -> Change<'_> {
        let member = &self.members[task];
        let shape = member.step.as_ref().and_then(|step| step.shape.as_ref());
        Change {
            training: self.tasks[task].training(),
            restart: self.tasks[task].restart,
            from: member.workers,
            from_shape: shape,
            lost: 1,
            from_flops: member.flops(),
            to: member.workers,
            to_shape: shape,
        }
    }

    /// A task gets other workers.
    pub(super) fn change(&mut self, now_s: f64, unit: usize, change: &core::Change) {
        let Unit { nodes, tasks, .. } = &self.units[unit];
        let task = tasks[change.task];
        let on_nodes = change.nodes.iter().map(|&(node, workers)| (nodes[node], workers)).collect();
        let workers = change.size.workers;
        let shape = change.size.step.as_ref().and_then(|step| step.shape.as_ref());
        let now = duration_of(
            &self.setup.durations,
            self.cluster,
            &Change {
                lost: change.replaced(self.members[task].workers),
                to: workers,
                to_shape: shape,
                ..self.stay(task)
            },
        );
        debug_assert!(
            self.setup.rule.transition != TransitionTime::ByChange(self.setup.durations)
                || is_close(now.0, change.size.interruption),
            "the planner expects {:?}, and it takes {:?}",
            change.size.interruption,
            now.0
        );
        let trouble = self.trouble(task);
        let member = &mut self.members[task];
        member.pass(now_s, trouble);
        // What was before the task still is: it starts no sooner for being changed once more.
        let before = member.legs;
        let (Interruption { overlapped_s, stopped_s }, redone_s) = now;
        member.legs = match workers {
            0 => Legs::default(),
            _ => Legs {
                overlapped_s,
                stopped_s: (stopped_s - redone_s).max(before.stopped_s),
                redone_s: redone_s.max(before.redone_s),
            },
        };
        let survivors = member.workers.saturating_sub(change.failed);
        let is_training = before.stopped_s == 0.0;
        member.meanwhile = (survivors, if is_training { change.meanwhile_flops } else { 0.0 });
        member.nodes = on_nodes;
        member.workers = workers;
        member.step = change.size.step;
        self.refresh(now_s, task);
    }

    /// Whatever has changed about a task shows from now on.
    pub(super) fn refresh(&mut self, now_s: f64, task: usize) {
        let trouble = self.trouble(task);
        let is_there = |node: usize| self.is_up[node] && !self.missed.contains(&node);
        let nodes = self.members[task].nodes.iter();
        let there = nodes.filter(|(node, _)| is_there(*node)).map(|(_, workers)| workers).sum();
        let member = &mut self.members[task];
        member.pass(now_s, trouble);
        self.ledger.set(now_s, task, member.occupancy(there, trouble));
        if member.has_ended || member.step.is_none() || trouble.is_some() {
            return;
        }
        let generation = member.generation;
        match member.legs.current() {
            Some(leg) => {
                self.timers.at(
                    now_s + leg.left_s(),
                    Timer::Reached { milestone: Milestone::Leg, task, generation },
                );
                if !matches!(leg, Leg::Overlapped(_)) {
                    return;
                }
            }
            None if member.owes_progress => {
                let detection = &self.setup.detection;
                let step = member.step.as_ref();
                let iteration_s = detection.iteration_s(self.tasks[task], step);
                self.timers.at(
                    now_s + iteration_s,
                    Timer::Reached { milestone: Milestone::Progress, task, generation },
                );
            }
            None => {}
        }
        if let Some(done_at_s) = self.ledger.finishes_at_s(now_s, task) {
            self.timers
                .at(done_at_s, Timer::Reached { milestone: Milestone::Done, task, generation });
        }
    }
}

/// What a change takes, and the part of the standstill in which work is done again.
fn duration_of(
    durations: &Durations,
    cluster: &Cluster,
    change: &Change<'_>,
) -> (Interruption, f64) {
    let interruption = durations.of(change, cluster.hardware());
    (interruption, Durations::redone_s(change).min(interruption.stopped_s))
}

/// Whether two interruptions are the same but for rounding.
fn is_close(left: Interruption, right: Interruption) -> bool {
    let is_close = |left: f64, right: f64| (left - right).abs() <= 1e-6 * left.abs().max(1.0);
    is_close(left.overlapped_s, right.overlapped_s) && is_close(left.stopped_s, right.stopped_s)
}
