//! Tasks that start again as a whole: a script as torchrun runs it. Whatever changes, all its processes end,
//! and new ones begin once nothing of the old ones is left on any node.
//!
//! When one process of a group fails, the others fail with it, within milliseconds: they lose their
//! connections. So the exits of a moment are judged together, and the one that explains the others is to
//! blame.

use super::failure::{Gone, ONE_FAILURE_S};
use super::task::{Departed, Exited, Task};
use super::{Brain, Now};
use crate::detect::{Observation, Role};

/// After the first exit, the others of the same failure are waited for so long, in seconds.
const EXIT_GRACE_S: f64 = 0.2;

/// Who has lost a peer has nothing to save, and may be stuck in a collective operation: seconds until it is
/// killed.
const FAILURE_GRACE_S: f64 = 5.0;

/// A program that says nothing of its progress makes some by running for so many seconds: its start took
/// less.
const WORKS_S: f64 = 60.0;

impl Brain {
    /// A process has failed: who is to blame shows when those that fall with it have ended, too.
    pub(super) fn exited(&mut self, now: Now, task: usize, number: u64, gone: Gone<'_>) {
        let Gone { exit, text, last_lines, after_s } = gone;
        let task_ = &mut self.tasks[task];
        let Some(worker) = task_.workers.remove(&number) else { return };
        task_.departed.insert(number, Departed { node: worker.node, exit });
        task_.exits.push(Exited {
            worker: number,
            node: worker.node,
            incident: worker.incident,
            exit,
            text: text.to_owned(),
            last_lines: last_lines.to_vec(),
            at_s: now.s - after_s,
        });
        task_.judge_at_s.get_or_insert(now.s + EXIT_GRACE_S);
        self.outbox.tasks.insert(task);
        self.outbox.pushes.insert(worker.node);
    }

    /// Time has passed.
    pub(super) fn attend_to_whole(&mut self, now: Now, task: usize) {
        let task_ = &self.tasks[task];
        if task_.judge_at_s.is_some_and(|at_s| at_s <= now.s) {
            self.judge_exits(now, task);
        }
        let task_ = &self.tasks[task];
        let works = task_.group.is_some() && !task_.has_committed && task_.end.is_none();
        if works && task_.file.starts_with_group() && now.s >= task_.formed_s + WORKS_S {
            self.group_works(now, task);
        }
    }

    /// Blames one of those that have ended, and starts all again.
    fn judge_exits(&mut self, now: Now, task: usize) {
        let task_ = &mut self.tasks[task];
        task_.judge_at_s = None;
        let exits = std::mem::take(&mut task_.exits);
        let Some(culprit) = task_.culprit_of(now.s, &exits).cloned() else { return };
        let others = exits.iter().filter(|exited| exited.worker != culprit.worker);
        let others: Vec<u64> = others.map(|exited| exited.worker).collect();
        self.end_whole(now, task, "a worker has failed");
        let Exited { worker, node, incident, exit, text, last_lines, at_s } = culprit;
        let gone = Gone { exit, text: &text, last_lines: &last_lines, after_s: now.s - at_s };
        self.blame(now, task, node, worker, incident, gone, &others);
    }

    /// Ends all processes of a task because one has failed.
    pub(super) fn end_whole(&mut self, now: Now, task: usize, why: &str) {
        let until_s = now.s + 2.0 * FAILURE_GRACE_S;
        let grace_s =
            self.tasks[task].file.grace_s.map_or(FAILURE_GRACE_S, |it| it.min(FAILURE_GRACE_S));
        for (&number, worker) in &self.tasks[task].workers {
            self.endings.push(Ending { node: worker.node, worker: number, grace_s, until_s });
        }
        self.leave_whole(now, task, why);
    }

    /// Ends all processes of a task, each in the time that it has for it.
    pub(super) fn leave_whole(&mut self, now: Now, task: usize, why: &str) {
        let workers = std::mem::take(&mut self.tasks[task].workers);
        self.outbox.pushes.extend(workers.values().map(|worker| worker.node));
        if self.tasks[task].group.is_some() {
            self.form(now, task, why);
        }
    }

    /// Whether a task has failed oftener than its owner wants; then it has ended.
    pub(super) fn has_used_up_restarts(&mut self, now: Now, task: usize) -> bool {
        let task_ = &self.tasks[task];
        let Some(most) = task_.file.max_restarts else { return false };
        if task_.end.is_some() || task_.progress.failures <= most {
            return false;
        }
        let reason =
            format!("it has failed {} times; max_restarts is {most}", task_.progress.failures);
        self.end(now, task, super::task::End::Failed, &reason);
        true
    }

    /// The world has another size: says what that means for the global batch.
    pub(super) fn announce_world(&mut self, now: Now, task: usize, world: usize) {
        let before = std::mem::replace(&mut self.tasks[task].progress.world, world);
        if before == world || before == 0 || !self.tasks[task].file.starts_with_group() {
            return;
        }
        let batch = match self.tasks[task].file.batch_per_worker {
            Some(each) => {
                let (old, new) = (each * before as u64, each * world as u64);
                format!("the global batch from {old} to {new} samples")
            }
            None => format!("the global batch to {world}/{before} of what it was"),
        };
        let text =
            format!("from {before} to {world} workers, and {batch}, unless the script keeps it");
        self.record(now, "world-size", Some(task), None, 0, text);
    }

    /// Endings of before that nobody needs to be told of any more are forgotten.
    pub(super) fn forget_endings(&mut self, now: Now) {
        self.endings.retain(|ending| now.s < ending.until_s);
    }
}

/// A worker that is to end otherwise than its agent would let it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ending {
    pub node: usize,
    pub worker: u64,
    pub grace_s: f64,
    /// Until then it is told.
    pub until_s: f64,
}

impl Task {
    /// Of processes that have ended in one moment, the one that explains the others: which shows a cause of
    /// its own; else the first that doesn't speak of another's end; else the first.
    fn culprit_of<'a>(&self, now_s: f64, exits: &'a [Exited]) -> Option<&'a Exited> {
        let recent = |observation: &&Observation| observation.time_s >= now_s - ONE_FAILURE_S;
        let shows = |exited: &Exited, role: Role| {
            self.observations.iter().filter(recent).any(|observation| {
                observation.rank == Some(exited.worker as u32) && observation.finding.role == role
            })
        };
        let first = |is_meant: &dyn Fn(&&Exited) -> bool| {
            exits.iter().filter(is_meant).min_by(|a, b| a.at_s.total_cmp(&b.at_s))
        };
        first(&|exited| shows(exited, Role::Root))
            .or_else(|| first(&|exited| !shows(exited, Role::Cascade)))
            .or_else(|| first(&|_| true))
    }
}
