//! The core's commands, carried out.

use super::node::Standing;
use super::task::{Departed, End, Worker};
use super::{Brain, Now};
use crate::core::{Attempt, Command, Reconfiguration};
use crate::detect::Status;
use serde_json::json;
use std::collections::BTreeMap;

impl Brain {
    /// Does what the core decides.
    pub(super) fn carry_out(&mut self, now: Now, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Reattempt(attempt) => self.reattempt(now, attempt),
                Command::Restart(attempt) => self.restart(now, attempt),
                Command::Isolate { node, status } => self.isolated(now, node, status),
                Command::Reconfigure(plan) => self.reconfigure(now, &plan),
                Command::Stop { task, evidence } => self.leave(now, task, End::Failed, &evidence),
                Command::Advise(advice) => self.advise(now, advice),
                Command::BuildTable { epoch } => self.outbox.table = Some(epoch),
                // Every tick tells the core the time.
                Command::WakeAt { .. } => {}
            }
        }
    }

    /// The same workers, a new exchange.
    fn reattempt(&mut self, now: Now, attempt: Attempt) {
        let Attempt { incident, task, .. } = attempt;
        if self.tasks.get(task).is_none_or(|task| task.end.is_some()) {
            return;
        }
        self.record(now, "reattempt", Some(task), None, 0, "the same workers try again");
        if self.tasks[task].file.starts_with_group() {
            self.end_whole(now, task, "a connection failed");
            return self.reconcile(task, Some(incident));
        }
        self.tasks[task].reattempt = Some(incident);
        self.form(now, task, "a connection failed");
    }

    /// Whoever is at fault on the node ends; another process takes its place.
    fn restart(&mut self, now: Now, attempt: Attempt) {
        let Attempt { incident, task, node, .. } = attempt;
        if self.tasks.get(task).is_none_or(|task| task.end.is_some()) {
            return;
        }
        self.discard(now, task, node, |worker| worker.is_doomed);
        let text = match self.tasks[task].file.starts_with_group() {
            true => "all its processes are started again",
            false => "its process is started again",
        };
        self.record(now, "restart", Some(task), Some(node), 0, text);
        self.reconcile(task, Some(incident));
    }

    /// Ends some of a task's workers on a node, at once: what they do can't be trusted.
    pub(super) fn discard(
        &mut self,
        now: Now,
        task: usize,
        node: usize,
        is_meant: impl Fn(&Worker) -> bool,
    ) {
        let workers = &self.tasks[task].workers;
        let meant = workers.iter().filter(|(_, worker)| worker.node == node && is_meant(worker));
        let meant: Vec<u64> = meant.map(|(&number, _)| number).collect();
        if meant.is_empty() {
            return;
        }
        if self.tasks[task].file.starts_with_group() {
            self.outbox.tasks.insert(task);
            return self.end_whole(now, task, "a worker is at fault");
        }
        let was_member = meant.iter().any(|&number| self.tasks[task].is_member(number));
        for number in &meant {
            self.tasks[task].workers.remove(number);
            self.tasks[task].departed.insert(*number, Departed { node, exit: None });
        }
        self.outbox.pushes.insert(node);
        self.outbox.tasks.insert(task);
        if was_member {
            self.form(now, task, "workers at fault were ended");
        }
    }

    pub(super) fn isolated(&mut self, now: Now, node: usize, status: Status) {
        let known = &self.nodes[node];
        if known.lease_until_s.is_none() || known.standing == Standing::Isolated {
            // That is on record.
            return;
        }
        self.nodes[node].standing = Standing::Isolated;
        self.nodes[node].reason = status.to_string();
        self.outbox.nodes.insert(node);
        let text = format!("{status}; `unicron undrain` lets it in again");
        self.record(now, "node-isolated", None, Some(node), 0, text);
        for task in 0..self.tasks.len() {
            self.discard(now, task, node, |_| true);
        }
    }

    fn reconfigure(&mut self, now: Now, plan: &Reconfiguration) {
        *self.plans.entry(plan.source).or_default() += 1;
        let names = self.sizes(plan);
        if !names.is_empty() {
            let trigger = format!("{:?}", plan.trigger);
            let source = format!("{:?}", plan.source);
            let text = format!("{}: {}", words(&trigger), names.join(", "));
            let details = json!({
                "trigger": words(&trigger),
                "source": words(&source),
                "total_waf": plan.plan.total_waf,
                "workers": plan.plan.workers,
            });
            self.record_with(now, "plan", None, None, 0, text, details);
        }
        for change in &plan.changes {
            let Some(task) = self.tasks.get_mut(change.task) else { continue };
            if task.end.is_some() {
                continue;
            }
            let granted: BTreeMap<usize, usize> = change.nodes.iter().copied().collect();
            let is_another_world = task.file.starts_with_group() && task.granted != granted;
            task.granted = granted;
            task.reason = match change.size.workers {
                0 => "no workers are left for it".to_owned(),
                _ => String::new(),
            };
            self.outbox.tasks.insert(change.task);
            if is_another_world {
                self.leave_whole(now, change.task, "the plan changes its workers");
            }
            self.reconcile(change.task, None);
            self.dismiss(now, change.task);
        }
    }
}

/// `NodeLost` as "node lost".
fn words(name: &str) -> String {
    let mut words = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
