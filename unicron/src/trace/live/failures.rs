//! The failures of a log.

use super::log::{Event, Log, Window};
use crate::detect::{Severity, Status};
use crate::trace::Failure;
use std::collections::HashMap;

/// A failure, and what the log tells beyond a trace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failed {
    pub failure: Failure,
    /// Seconds from the failure to its notice.
    pub after_s: f64,
    /// Workers of all tasks that it held up.
    pub workers: f64,
}

impl Failed {
    /// Those of a part of the log's time.
    pub fn of(log: &Log, window: Window) -> Vec<Self> {
        let mut reader = Reader { log, window, homes: HashMap::new(), members: HashMap::new() };
        let mut all: Vec<Self> = Vec::new();
        for (index, event) in log.events.iter().enumerate() {
            match event.kind.as_str() {
                "worker-started" => {
                    reader.homes.insert(event.worker, &event.node);
                }
                "group" => {
                    let members = event.detail("workers").unwrap_or_default();
                    reader.members.insert(&event.task, members);
                }
                "failure" => all.extend(reader.process(event)),
                "node-lost" => all.extend(reader.node(index, event)),
                // What a restart should have cured, and didn't.
                "node-isolated" => reader.isolate(index, event, &mut all),
                _ => {}
            }
        }
        all
    }
}

/// What is known so far.
struct Reader<'a> {
    log: &'a Log,
    window: Window,
    /// The node of a worker.
    homes: HashMap<u64, &'a str>,
    /// The workers of a task's group.
    members: HashMap<&'a str, Vec<u64>>,
}

impl<'a> Reader<'a> {
    fn process(&self, event: &'a Event) -> Option<Failed> {
        let status: Status = event.detail("status")?;
        let severity = status.severity()?;
        let (at_s, after_s) = self.when(event)?;
        let node = self.log.nodes.get(&event.node)?;
        let gpu = self.slot(event).filter(|slot| *slot < node.slots);
        let failure = Failure { gpu, ..Failure::new(at_s, node.number, status, severity) };
        let task = self.log.tasks.get(&event.task)?;
        Some(Failed { failure, after_s, workers: task.wanted.workers as f64 })
    }

    /// The slot that a task's workers begin at in the simulator, where tasks fill a node in their order.
    fn slot(&self, event: &Event) -> Option<usize> {
        let number = self.log.tasks.get(&event.task)?.number;
        let earlier = self.log.tasks.iter().filter(|(_, task)| task.number < number);
        let workers = earlier.filter_map(|(name, _)| self.members.get(name.as_str())).flatten();
        Some(workers.filter(|worker| self.is_on(worker, &event.node)).count())
    }

    fn is_on(&self, worker: &u64, node: &str) -> bool {
        self.homes.get(worker).is_some_and(|home| *home == node)
    }

    fn node(&self, index: usize, event: &Event) -> Option<Failed> {
        let (at_s, after_s) = self.when(event)?;
        let node = self.log.nodes.get(&event.node)?.number;
        let status = Status::LostConnection;
        let repair_s = Some(self.back_s(index, event, "node-joined") - at_s);
        let failure = Failure { repair_s, ..Failure::new(at_s, node, status, Severity::Sev1) };
        let is_hit =
            |name: &&str| self.members[name].iter().any(|worker| self.is_on(worker, &event.node));
        let hit = self.members.keys().copied().filter(is_hit);
        let workers =
            hit.filter_map(|name| self.log.tasks.get(name)).map(|task| task.wanted.workers as f64);
        Some(Failed { failure, after_s, workers: workers.sum() })
    }

    fn isolate(&self, index: usize, event: &Event, all: &mut [Failed]) {
        let Some(node) = self.log.nodes.get(&event.node) else { return };
        let last = all.iter_mut().rev().find(|failed| failed.failure.node == node.number);
        let Some(Failed { failure, .. }) = last.filter(|last| last.failure.repair_s.is_none())
        else {
            return;
        };
        let back_s = self.back_s(index, event, "node-readmitted");
        (failure.severity, failure.gpu) = (Severity::Sev1, None);
        failure.repair_s = Some((back_s - failure.at_s).max(0.0));
    }

    /// When it happened, in the window's seconds, and how long it went unnoticed.
    fn when(&self, event: &Event) -> Option<(f64, f64)> {
        let after_s: f64 = event.detail("detected_after_s").unwrap_or(0.0);
        let after_s = if after_s.is_finite() { after_s.max(0.0) } else { 0.0 };
        Some((self.window.at_s(event.at_ms as f64 - 1e3 * after_s)?, after_s))
    }

    /// When a node is back, in the window's seconds: at its end if later or never.
    fn back_s(&self, index: usize, event: &Event, kind: &str) -> f64 {
        let later = &self.log.events[index..];
        let back = later.iter().find(|later| later.kind == kind && later.node == event.node);
        let at_s = back.and_then(|back| self.window.at_s(back.at_ms as f64));
        at_s.unwrap_or(self.window.seconds())
    }
}
