//! What a coordinator says that may not act by itself: once, with the command that would do it, and once
//! more when it no longer holds.
//!
//! What has ended is started again in its place, as any launcher does it, and what people ask for is done.
//! What lives is left alone. A worker that fails again and again where Unicron would leave the node or stop
//! the task is started again after a pause only, so that a broken script doesn't fill the log.

use super::task::Task;
use super::{Brain, Now};
use crate::core::{Advice, Authority, Change, Reconfiguration};
use crate::detect::Status;
use crate::proto::v1;
use serde_json::json;
use std::collections::BTreeMap;

/// What an advice is about: of each there is one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Leave a node.
    Node(usize),
    /// Stop a task.
    Task(usize),
    /// End a worker of a task.
    Worker(usize, u64),
    /// Give tasks other workers.
    Plan,
}

/// Something that would be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Milliseconds of the Unix epoch.
    at_ms: i64,
    /// For people.
    text: String,
    /// What does it.
    command: String,
    /// The task for whose failure it was said, if any: it no longer holds when that makes progress.
    task: Option<usize>,
}

/// A worker that fails for the same reason is started again after so many seconds.
const PAUSE_S: f64 = 60.0;

impl Brain {
    /// Whether it may say only.
    pub(super) fn advises(&self) -> bool {
        self.settings.core.authority == Authority::Advise
    }

    /// Says what the core would do.
    pub(super) fn advise(&mut self, now: Now, advice: Advice) {
        match advice {
            Advice::Isolate { node, task, status } => {
                self.pause(now, task);
                self.advise_to_leave(now, node, Some(task), &status.to_string());
            }
            Advice::Stop { task, evidence } => {
                self.pause(now, task);
                let name = &self.tasks[task].file.name;
                let (text, command) =
                    (format!("stop {name}: {evidence}"), format!("unicron stop {name}"));
                self.say(now, Subject::Task(task), Some(task), text, command);
            }
            Advice::Plan(Some(plan)) => {
                let text = self.sizes(&plan).join(", ");
                self.say(now, Subject::Plan, None, text, "unicron replan".to_owned());
            }
            Advice::Plan(None) => self.take_back(now, |subject, _| subject == Subject::Plan),
        }
    }

    /// Says that a node should be left.
    pub(super) fn advise_to_leave(
        &mut self,
        now: Now,
        node: usize,
        task: Option<usize>,
        why: &str,
    ) {
        let name = &self.nodes[node].name;
        let (text, command) = (format!("leave {name}: {why}"), format!("unicron drain {name}"));
        self.say(now, Subject::Node(node), task, text, command);
    }

    /// Says that a worker should be ended, which would be started again.
    pub(super) fn advise_to_end(&mut self, now: Now, task: usize, number: u64, status: Status) {
        let Some(worker) = self.tasks[task].workers.get(&number) else { return };
        let (pid, node) = (worker.pid, &self.nodes[worker.node].name);
        let name = &self.tasks[task].file.name;
        let text = format!("end a worker of {name} on {node}: {status}");
        let command = format!("kill -9 {pid}    (on {node})");
        self.say(now, Subject::Worker(task, number), Some(task), text, command);
    }

    fn say(
        &mut self,
        now: Now,
        subject: Subject,
        task: Option<usize>,
        text: String,
        command: String,
    ) {
        let is_said = match (subject, self.advice.get(&subject)) {
            // Evidence grows; the advice is the same.
            (Subject::Plan, Some(said)) => said.text == text,
            (_, said) => said.is_some(),
        };
        if is_said {
            return;
        }
        let of_node = match subject {
            Subject::Node(node) => Some(node),
            _ => None,
        };
        let event = format!("{text}; `{command}` does it");
        let details = json!({ "command": command });
        self.record_with(now, "advice", task, of_node, 0, event, details);
        self.advice.insert(subject, Said { at_ms: now.wall_ms, text, command, task });
    }

    /// Whether something is said of this at present.
    pub(super) fn is_said(&self, subject: Subject) -> bool {
        self.advice.contains_key(&subject)
    }

    /// Takes back what no longer holds.
    fn take_back(&mut self, now: Now, is_over: impl Fn(Subject, &Said) -> bool) {
        let over: Vec<(Subject, Said)> =
            self.advice.extract_if(.., |subject, said| is_over(*subject, said)).collect();
        for (_, said) in over {
            let text = format!("no longer: {}", said.text);
            self.record(now, "advice-withdrawn", said.task, None, 0, text);
        }
    }

    /// A task has made progress: what was said for its failures no longer holds.
    pub(super) fn advice_helped(&mut self, now: Now, task: usize) {
        self.tasks[task].paused_until_s = None;
        self.take_back(now, |_, said| said.task == Some(task));
    }

    /// A node is found to be well.
    pub(super) fn advice_on_node_over(&mut self, now: Now, node: usize) {
        self.take_back(now, |subject, _| subject == Subject::Node(node));
    }

    /// Time has passed, or somebody has done what was said.
    pub(super) fn review_advice(&mut self, now: Now) {
        for task in 0..self.tasks.len() {
            if self.tasks[task].paused_until_s.is_some_and(|until_s| until_s <= now.s) {
                self.tasks[task].paused_until_s = None;
                self.reconcile(task, None);
            }
        }
        if self.advice.is_empty() {
            return;
        }
        let is_left: Vec<bool> = self.nodes.iter().map(|node| node.state() != "ready").collect();
        let tasks: Vec<(bool, Vec<u64>)> = self
            .tasks
            .iter()
            .map(|task| (task.end.is_some(), task.workers.keys().copied().collect()))
            .collect();
        self.take_back(now, |subject, said| {
            let has_ended = said.task.is_some_and(|task| tasks[task].0);
            has_ended
                || match subject {
                    Subject::Node(node) => is_left[node],
                    Subject::Worker(task, number) => !tasks[task].1.contains(&number),
                    Subject::Task(_) | Subject::Plan => false,
                }
        });
    }

    /// A task's workers that end aren't started again for a while.
    fn pause(&mut self, now: Now, task: usize) {
        self.tasks[task].paused_until_s = Some(now.s + PAUSE_S);
    }

    /// Tasks whose size a plan changes, in words.
    pub(super) fn sizes(&self, plan: &Reconfiguration) -> Vec<String> {
        let lives =
            |change: &&Change| self.tasks.get(change.task).is_some_and(|task| task.end.is_none());
        let changes = plan.changes.iter().filter(lives);
        let text = |change: &Change| {
            let task = &self.tasks[change.task];
            let from = task.staying(None).count();
            format!("{} from {from} to {} workers", task.file.name, change.size.workers)
        };
        changes.map(text).collect()
    }

    /// Everything that would be done, the oldest first.
    #[must_use]
    pub fn advice_reply(&self) -> Vec<v1::Advice> {
        let mut advice: Vec<v1::Advice> = self
            .advice
            .values()
            .map(|said| v1::Advice {
                at_ms: said.at_ms,
                text: said.text.clone(),
                command: said.command.clone(),
            })
            .collect();
        advice.sort_by_key(|advice| advice.at_ms);
        advice
    }
}

impl Task {
    /// Whether its workers that end are started again.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until_s.is_some()
    }
}

/// What was said, by what it is about.
pub(super) type Book = BTreeMap<Subject, Said>;
