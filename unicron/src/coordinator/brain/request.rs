//! What people ask.

use super::accounts::to_wire;
use super::line::Places;
use super::node::Standing;
use super::task::{End, Task};
use super::{Brain, Now};
use crate::coordinator::TaskFile;
use crate::coordinator::account::Account;
use crate::core::{Advice, Event};
use crate::proto::v1;

/// Tasks that a coordinator keeps, those that have ended included.
const MAX_TASKS: usize = 10_000;

impl Brain {
    /// Somebody wants a task to run.
    ///
    /// # Errors
    /// If there is one of this name that runs, or too many.
    pub fn submit(&mut self, now: Now, file: TaskFile, toml: String) -> Result<(), String> {
        let same = |task: &Task| task.file.name == file.name && task.end.is_none();
        if self.tasks.iter().any(same) {
            let name = &file.name;
            return Err(format!("task {name} runs already; stop it, or choose another name"));
        }
        if self.tasks.len() >= MAX_TASKS {
            return Err(format!("there are {MAX_TASKS} tasks; a coordinator keeps no more"));
        }
        let task = file.to_task().map_err(|error| error.to_string())?;
        let index = self.tasks.len();
        let account = Account::new(self.epoch_s(now));
        let reason = "waits for workers".to_owned();
        self.tasks.push(Task { reason, account, ..Task::new(file, toml) });
        self.outbox.tasks.insert(index);
        let details = self.wanted_details(index);
        self.record_with(now, "task-submitted", Some(index), None, 0, "", details);
        let commands = self.core.step(now.s, Event::TaskSubmitted { task: Box::new(task) });
        self.carry_out(now, commands);
        self.keep_accounts(now);
        Ok(())
    }

    /// Somebody wants a task to end.
    ///
    /// # Errors
    /// If there is none of this name that runs.
    pub fn stop(&mut self, now: Now, name: &str) -> Result<(), String> {
        let running = |task: &Task| task.file.name == name && task.end.is_none();
        let Some(task) = self.tasks.iter().position(running) else {
            return Err(format!("no task {name:?} runs; `unicron tasks` lists them"));
        };
        self.end(now, task, End::Stopped, "somebody has stopped it");
        self.keep_accounts(now);
        Ok(())
    }

    /// Somebody wants a node to be free of tasks.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn drain(&mut self, now: Now, name: &str) -> Result<(), String> {
        let node = self.node_named(name)?;
        self.nodes[node].standing = Standing::Drained;
        self.nodes[node].reason = "somebody has drained it".to_owned();
        self.outbox.nodes.insert(node);
        self.record(now, "node-drained", None, Some(node), 0, "");
        let commands = self.core.step(now.s, Event::DrainAsked { node });
        self.carry_out(now, commands);
        self.keep_accounts(now);
        Ok(())
    }

    /// Somebody lets a node have tasks again, drained or isolated.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn undrain(&mut self, now: Now, name: &str) -> Result<(), String> {
        let node = self.node_named(name)?;
        self.readmit(now, node, "somebody lets it in");
        self.keep_accounts(now);
        Ok(())
    }

    /// Somebody wants what is advised to be done: a plan for all, now.
    pub fn replan(&mut self, now: Now) {
        let commands = self.core.step(now.s, Event::PlanAsked);
        self.carry_out(now, commands);
        self.advise(now, Advice::Plan(None));
        self.keep_accounts(now);
    }

    fn node_named(&self, name: &str) -> Result<usize, String> {
        let found = self.nodes.iter().position(|node| node.name == name);
        found.ok_or_else(|| format!("there is no node {name:?}; `unicron nodes` lists them"))
    }

    /// Nodes that a task has workers on, and that have agents.
    #[must_use]
    pub fn nodes_of(&self, name: &str) -> Vec<usize> {
        let tasks = self.tasks.iter().filter(|task| task.file.name == name);
        let mut nodes: Vec<usize> =
            tasks.flat_map(|task| task.workers.values().map(|worker| worker.node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether a task of this name was ever submitted.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.tasks.iter().any(|task| task.file.name == name)
    }

    /// All tasks, as people see them.
    #[must_use]
    pub fn tasks_reply(&self, now: Now) -> v1::TasksReply {
        let places = self.places(now);
        let tasks = (0..self.tasks.len()).map(|task| self.task_reply(now, task, &places));
        v1::TasksReply { tasks: tasks.collect() }
    }

    fn task_reply(&self, now: Now, index: usize, places: &Places) -> v1::Task {
        let task = &self.tasks[index];
        let (waiting, giving) = (places.waiting(index), places.giving(index));
        let progress = &task.progress;
        let account = self.account(now, task);
        let workers = task.workers.iter().enumerate().map(|(index, (&number, worker))| {
            let state = match (&worker.address, worker.is_leaving) {
                (_, true) => "leaving",
                (None, _) if worker.pid == 0 => "wanted",
                (None, _) => "starting",
                (Some(_), _) if task.is_member(number) => "working",
                (Some(_), _) => "ready",
            };
            let members = task.group.iter().flat_map(|group| &group.members);
            let rank = members.map(|member| member.worker).position(|member| member == number);
            v1::TaskWorker {
                rank: rank.unwrap_or(index) as u32,
                node: self.nodes[worker.node].name.clone(),
                pid: worker.pid,
                worker: number,
                stage: worker.stage,
                state: state.to_owned(),
            }
        });
        v1::Task {
            name: task.file.name.clone(),
            state: task.state().to_owned(),
            reason: waiting.map_or(task.reason.as_str(), |(_, why)| why).to_owned(),
            iteration: progress.iteration,
            epoch: task.epoch(),
            workers: workers.collect(),
            weights_file: progress.weights_file.clone(),
            weights_sha256: progress.weights_sha256.clone(),
            weight: task.file.weight,
            wanted: task.file.workers as u32,
            recomputed_micro_batches: progress.redone.micro_batches,
            recomputed_stage_passes: progress.redone.stage_passes,
            loss: progress.loss,
            failures: progress.failures,
            committed_twice: progress.committed_twice,
            exit_code: progress.exit_code,
            worker_seconds: Some(to_wire(account.bins)),
            uncommitted_worker_seconds: account.uncommitted_worker_s(),
            accumulated_waf: task.file.weight * account.flops,
            effective_time_ratio: self.effective_time_ratio(now, &account),
            queue_position: waiting.map(|(place, _)| place),
            preemption_position: giving.map(|(place, _)| place),
            last_worker_waf: giving.map(|(_, giver)| giver.worth),
            waf: task.waf(),
        }
    }

    /// All nodes, as people see them.
    #[must_use]
    pub fn nodes_reply(&self, now: Now) -> v1::NodesReply {
        let mut used = vec![0; self.nodes.len()];
        for worker in self.tasks.iter().flat_map(|task| task.workers.values()) {
            used[worker.node] += 1;
        }
        let nodes = self.nodes.iter().enumerate().map(|(index, node)| v1::Node {
            name: node.name.clone(),
            state: node.state().to_owned(),
            slots: node.slots as u32,
            used: used[index],
            reason: node.reason.clone(),
            lease_left_s: node.lease_until_s.map(|until_s| until_s - now.s),
            gpus: node.gpus.clone(),
        });
        v1::NodesReply { nodes: nodes.collect() }
    }
}
