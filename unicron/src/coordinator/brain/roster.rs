//! Which workers a task has on which nodes, and of which stage: from what the plan gives it to what is
//! started and stopped.
//!
//! A worker that has to go stays until its successors have taken part in an iteration, for it may be the
//! only one that holds its stage's state.

use super::Brain;
use super::task::{Task, Worker};
use std::collections::BTreeSet;

impl Brain {
    /// Starts and stops workers of a task until it has what the plan gives it.
    pub(super) fn reconcile(&mut self, task: usize, incident: Option<u64>) {
        let mut changed: BTreeSet<usize> = BTreeSet::new();
        let nodes: BTreeSet<usize> = {
            let task = &self.tasks[task];
            let of_workers = task.workers.values().map(|worker| worker.node);
            task.granted.keys().copied().chain(of_workers).collect()
        };
        for &node in &nodes {
            let granted = self.tasks[task].granted.get(&node).copied().unwrap_or(0);
            let staying =
                self.tasks[task].staying(None).filter(|(_, worker)| worker.node == node).count();
            if staying > granted {
                changed.extend(self.tasks[task].release(node, staying - granted));
            }
        }
        for &node in &nodes {
            let granted = self.tasks[task].granted.get(&node).copied().unwrap_or(0);
            let staying =
                self.tasks[task].staying(None).filter(|(_, worker)| worker.node == node).count();
            for _ in staying..granted {
                self.add_worker(task, node, incident);
                changed.insert(node);
            }
        }
        self.cover_stages(task, &mut changed);
        if self.tasks[task].staying(None).next().is_none() {
            // Nobody comes whom the leavers could wait for.
            changed.extend(self.tasks[task].workers.values().map(|worker| worker.node));
            self.tasks[task].workers.clear();
            self.tasks[task].group = None;
        }
        if !changed.is_empty() {
            self.outbox.tasks.insert(task);
            self.outbox.pushes.extend(changed);
        }
    }

    /// One more worker on a node: one that was about to leave, or a new one of the stage that has fewest.
    fn add_worker(&mut self, task: usize, node: usize, incident: Option<u64>) {
        let number = self.number();
        let task = &mut self.tasks[task];
        let leaver = task.workers.values_mut().find(|w| w.is_leaving && w.node == node);
        if let Some(leaver) = leaver {
            leaver.is_leaving = false;
            return;
        }
        let stage = task.neediest_stage();
        let worker = Worker { incident, ..Worker::new(node, stage) };
        task.workers.insert(number, worker);
    }

    /// If a stage has nobody and no worker is to come, one of the stage that has most changes over: it
    /// ends, and another starts in its place.
    fn cover_stages(&mut self, task: usize, changed: &mut BTreeSet<usize>) {
        let stages = self.tasks[task].file.stages() as u32;
        for stage in 0..stages {
            let task_ = &self.tasks[task];
            if task_.staying(Some(stage)).next().is_some() {
                continue;
            }
            let most = (0..stages).max_by_key(|&stage| task_.staying(Some(stage)).count());
            let Some(most) = most.filter(|&most| task_.staying(Some(most)).count() > 1) else {
                return;
            };
            let last =
                task_.staying(Some(most)).last().map(|(&number, worker)| (number, worker.node));
            let Some((number, node)) = last else { return };
            let replacement = self.number();
            let task_ = &mut self.tasks[task];
            task_.workers.remove(&number);
            task_.workers.insert(replacement, Worker::new(node, stage));
            changed.insert(node);
        }
    }

    /// A number that no worker and no epoch ever had: leaderships don't repeat.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

impl Task {
    /// The stage that has fewest workers, the first of equals.
    fn neediest_stage(&self) -> u32 {
        let stages = 0..self.file.stages() as u32;
        stages.min_by_key(|&stage| self.staying(Some(stage)).count()).unwrap_or(0)
    }

    /// So many workers of a node go: those that work for nobody yet at once, the others when they can be
    /// spared. The nodes that change.
    fn release(&mut self, node: usize, count: usize) -> Option<usize> {
        let mut changed = None;
        for _ in 0..count {
            let crowd = |stage: u32| self.staying(Some(stage)).count();
            let here = self.staying(None).filter(|(_, worker)| worker.node == node);
            let least_missed = here.max_by_key(|(number, worker)| (crowd(worker.stage), **number));
            let Some((&number, _)) = least_missed else { break };
            if self.is_member(number) {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.is_leaving = true;
                }
            } else {
                self.workers.remove(&number);
                changed = Some(node);
            }
        }
        changed
    }
}
