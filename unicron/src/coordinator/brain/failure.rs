//! What fails, and whose it is.

use super::advice::Subject;
use super::node::Standing;
use super::task::{Departed, LostConnection, Task, Worker};
use super::{Brain, Now};
use crate::coordinator::task_file::Recovery;
use crate::core::Event;
use crate::detect::{
    ConnectionVerdict, Convention, Exit, Finding, Observation, Peer, Role, Severity, Status,
    judge_connection, root_cause,
};
use crate::proto::v1;
use std::collections::BTreeSet;

/// Signs this close together may be of one failure, in seconds.
pub(super) const ONE_FAILURE_S: f64 = 5.0;

/// After the first worker is said to hang, the others are waited for so long: who waits says so.
const HANG_GRACE_S: f64 = 0.3;

/// Signs of a task that are kept.
const MOST_OBSERVATIONS: usize = 256;

/// How a worker went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone<'a> {
    /// How it ended, where anybody knows.
    pub exit: Option<Exit>,
    /// For people.
    pub text: &'a str,
    /// The last that it said.
    pub last_lines: &'a [String],
    /// How long ago it ended at most, in seconds.
    pub after_s: f64,
}

/// A failure that is noticed.
#[derive(Debug, Clone, Copy)]
struct Noticed<'a> {
    task: usize,
    node: usize,
    /// 0 where the whole node is concerned.
    worker: u64,
    status: Status,
    text: &'a str,
    /// How long ago it happened, in seconds, as far as anybody knows.
    after_s: f64,
}

impl Brain {
    /// A worker's process has ended, or never began.
    pub(super) fn worker_ended(&mut self, now: Now, node: usize, ended: &v1::WorkerEnded) {
        let Some((task, worker)) = self.find(ended.worker) else { return };
        if worker.node != node {
            return;
        }
        let exit = ended.code.map(Exit::from_shell);
        let text = match exit {
            Some(exit) => exit.to_string(),
            None => format!("could not be started: {}", ended.problem),
        };
        let after_s = now.since_ms(ended.at_ms);
        let gone = Gone { exit, text: &text, last_lines: &ended.last_lines, after_s };
        self.worker_gone(now, task, ended.worker, gone);
    }

    /// A worker isn't there any more: the others go on, and somebody takes its place.
    pub(super) fn worker_gone(&mut self, now: Now, task: usize, number: u64, gone: Gone<'_>) {
        let Gone { exit, .. } = gone;
        let has_failed = !exit.is_some_and(Exit::is_success);
        if has_failed && self.tasks[task].file.starts_with_group() {
            return self.exited(now, task, number, gone);
        }
        let Some(worker) = self.tasks[task].workers.remove(&number) else { return };
        let node = worker.node;
        self.outbox.tasks.insert(task);
        self.outbox.pushes.insert(node);
        let task_ = &mut self.tasks[task];
        task_.departed.insert(number, Departed { node, exit });
        let was_member = task_.is_member(number);
        if !has_failed {
            return self.worker_finished(now, task, number, node);
        }
        if self.tasks[task].file.recovery() == Recovery::RestartAll {
            self.discard_all(task);
        }
        if was_member {
            self.form(now, task, &format!("worker {number} is gone"));
        }
        if !worker.is_leaving {
            self.blame(now, task, node, number, worker.incident, gone, &[]);
        }
    }

    /// A worker has failed by itself; others may have fallen with it.
    #[allow(clippy::too_many_arguments, reason = "a failure has these parts")]
    pub(super) fn blame(
        &mut self,
        now: Now,
        task: usize,
        node: usize,
        number: u64,
        incident: Option<u64>,
        gone: Gone<'_>,
        fallen: &[u64],
    ) {
        let Gone { exit, text, last_lines, after_s } = gone;
        self.tasks[task].progress.exit_code = exit.map(Exit::to_shell);
        let exit = exit.unwrap_or(Exit::Code(1));
        let name = self.nodes[node].name.clone();
        let observed =
            Observation::of_exit(now.s, &name, number as u32, exit, Convention::Plain, false);
        let Some(observation) = observed else { return };
        // An exit is told with what it means.
        let text = if gone.exit.is_some() { observation.text.clone() } else { text.to_owned() };
        let text = text.as_str();
        self.tasks[task].note(observation);
        let status = self.tasks[task].status_of(&name, now.s, Status::ExitedAbnormally);
        let mut details = serde_json::json!({ "status": status, "last_lines": last_lines });
        if !fallen.is_empty() {
            details["fallen"] = serde_json::json!(fallen);
        }
        let noticed = Noticed { task, node, worker: number, status, text, after_s };
        self.detected(now, noticed, details);
        let file = &self.tasks[task].file;
        if file.command.is_some() && exit == Exit::Code(file.no_restart_exit_code) {
            let code = file.no_restart_exit_code;
            let reason = format!("exit code {code} asks that it is not started again");
            self.tasks[task].progress.failures += 1;
            return self.end(now, task, super::task::End::Failed, &reason);
        }
        self.fail(now, task, node, status, incident);
    }

    /// Ends all workers of a task that starts again as a whole.
    fn discard_all(&mut self, task: usize) {
        let workers = std::mem::take(&mut self.tasks[task].workers);
        self.outbox.pushes.extend(workers.values().map(|worker| worker.node));
    }

    /// A worker has done its part: its task is done when all have.
    fn worker_finished(&mut self, now: Now, task: usize, number: u64, node: usize) {
        let text = "has done its part";
        self.record(now, "worker-finished", Some(task), Some(node), number, text);
        let task_ = &mut self.tasks[task];
        if let Some(granted) =
            task_.granted.get_mut(&node).filter(|_| !task_.file.starts_with_group())
        {
            *granted = granted.saturating_sub(1);
        }
        // Whoever is started again as a whole needs those that have done their part, too.
        let has_failed = !task_.exits.is_empty();
        if task_.workers.is_empty() && task_.file.train.is_none() && !has_failed {
            self.end(now, task, super::task::End::Done, "its program has ended with code 0");
        }
    }

    /// An agent has seen something.
    pub(super) fn observed(&mut self, now: Now, node: usize, seen: &v1::Observation) {
        let Ok(status) = seen.status.parse::<Status>() else { return };
        let role = match seen.role.as_str() {
            "root" => Role::Root,
            "cascade" => Role::Cascade,
            _ => Role::Confirmation,
        };
        let name = self.nodes[node].name.clone();
        let finding = Finding::new(status, role);
        let observation =
            Observation::new(now.s, &name, Some(seen.worker as u32), finding, &seen.text);
        let found = self.find(seen.worker).map(|(task, worker)| (task, worker.node));
        let Some((task, worker_node)) = found else {
            // The node's own: every task on it is concerned.
            if seen.worker == 0 && role == Role::Root {
                self.node_at_fault(now, node, status, seen);
            }
            return;
        };
        if worker_node != node {
            return;
        }
        self.tasks[task].note(observation);
        if role != Role::Root {
            return;
        }
        if status == Status::StorageError {
            // A checkpoint that can't be written ends no training.
            let text = format!("{status}: {}", seen.text);
            return self.record(now, "warning", Some(task), Some(node), seen.worker, text);
        }
        let details = serde_json::json!({ "status": status, "last_lines": seen.last_lines });
        let after_s = now.since_ms(seen.at_ms);
        let noticed =
            Noticed { task, node, worker: seen.worker, status, text: &seen.text, after_s };
        self.detected(now, noticed, details);
        let incident = self.tasks[task].workers.get(&seen.worker).and_then(|w| w.incident);
        self.doom(task, seen.worker, status);
        self.fail(now, task, node, status, incident);
    }

    /// A fault of the node that no worker has told of.
    fn node_at_fault(&mut self, now: Now, node: usize, status: Status, seen: &v1::Observation) {
        let tasks: Vec<usize> = (0..self.tasks.len())
            .filter(|&task| self.tasks[task].workers.values().any(|w| w.node == node))
            .collect();
        let isolates = status.severity() == Some(Severity::Sev1);
        if tasks.is_empty() && isolates && self.nodes[node].standing == Standing::Healthy {
            if self.advises() {
                return self.advise_to_leave(now, node, None, &status.to_string());
            }
            // Nobody is hurt yet; the core leaves the node out, and its command says why.
            let commands = self.core.step(now.s, Event::NodeLost { node });
            self.isolated(now, node, status);
            return self.carry_out(now, commands);
        }
        for task in tasks {
            let after_s = now.since_ms(seen.at_ms);
            let noticed = Noticed { task, node, worker: 0, status, text: &seen.text, after_s };
            self.detected(now, noticed, serde_json::json!({}));
            self.fail(now, task, node, status, None);
        }
    }

    /// A worker that has raised something doesn't go on, except where the network alone is at fault.
    fn doom(&mut self, task: usize, number: u64, status: Status) {
        if status.is_about_a_peer() {
            return;
        }
        if let Some(worker) = self.tasks[task].workers.get_mut(&number) {
            worker.is_doomed = true;
        }
    }

    /// Tells the core, or that the attempt to cure an earlier failure has failed.
    fn fail(&mut self, now: Now, task: usize, node: usize, status: Status, incident: Option<u64>) {
        self.tasks[task].progress.failures += 1;
        if self.has_used_up_restarts(now, task) {
            return;
        }
        let event = match incident {
            Some(incident) => Event::Attempted { incident, succeeded: false },
            None => Event::Failed { task, node, status },
        };
        let commands = self.core.step(now.s, event);
        self.carry_out(now, commands);
        if self.tasks[task].end.is_none() && !self.tasks[task].is_paused() {
            self.end_doomed(now, task, node);
            self.reconcile(task, None);
        }
    }

    /// Where a restart is under way on the node, the core takes another failure there for a sign of the same:
    /// it decides nothing. But who is at fault would stand in everybody's way until the restart is given up.
    fn end_doomed(&mut self, now: Now, task: usize, node: usize) {
        let is_doomed = |worker: &Worker| worker.node == node && worker.is_doomed;
        if self.tasks[task].workers.values().any(is_doomed) {
            self.discard(now, task, node, |worker| worker.is_doomed);
            let text = "its process is started again, beside the one of before";
            self.record(now, "restart", Some(task), Some(node), 0, text);
        }
    }

    fn detected(&mut self, now: Now, noticed: Noticed<'_>, mut details: serde_json::Value) {
        let Noticed { task, node, worker, status, text, after_s } = noticed;
        let now_s = self.epoch_s(now);
        let account = &mut self.tasks[task].account;
        let after_s = after_s.min(account.since_commit_s(now_s));
        account.failed(now_s, status, after_s);
        if let Some(details) = details.as_object_mut() {
            details.insert("severity".to_owned(), serde_json::json!(status.severity()));
            details.insert("method".to_owned(), serde_json::json!(status.method().to_string()));
            details.insert("detected_after_s".to_owned(), serde_json::json!(after_s));
        }
        let text = format!("{status}: {text}");
        self.record_with(now, "failure", Some(task), Some(node), worker, text, details);
    }

    /// All workers of a node are gone with it.
    pub(super) fn node_gone(&mut self, now: Now, node: usize, after_s: f64) {
        for task in 0..self.tasks.len() {
            let here = self.tasks[task].workers.iter().filter(|(_, worker)| worker.node == node);
            let gone: Vec<u64> = here.map(|(&number, _)| number).collect();
            if gone.is_empty() {
                continue;
            }
            let was_member = gone.iter().any(|&number| self.tasks[task].is_member(number));
            for number in gone {
                self.tasks[task].workers.remove(&number);
                self.tasks[task].departed.insert(number, Departed { node, exit: None });
            }
            self.tasks[task].granted.remove(&node);
            if self.tasks[task].file.starts_with_group() {
                self.end_whole(now, task, "a node is lost");
            } else if self.tasks[task].file.recovery() == Recovery::RestartAll {
                self.discard_all(task);
            }
            self.tasks[task].progress.failures += 1;
            let now_s = self.epoch_s(now);
            self.tasks[task].account.failed(now_s, Status::LostConnection, after_s);
            self.outbox.tasks.insert(task);
            if was_member {
                let why = format!("node {} is lost", self.nodes[node].name);
                self.form(now, task, &why);
            }
        }
        let commands = self.core.step(now.s, Event::NodeLost { node });
        self.carry_out(now, commands);
        for task in 0..self.tasks.len() {
            self.has_used_up_restarts(now, task);
        }
    }

    /// A worker says that another can't be reached any more.
    pub(super) fn lost_peer(&mut self, now: Now, lost: &v1::LostPeer) {
        let Some((task, _)) = self.find(lost.worker) else { return };
        let task = &mut self.tasks[task];
        let is_new = lost.epoch == task.epoch() && task.is_member(lost.peer);
        if is_new && task.lost_connections.len() < MOST_OBSERVATIONS {
            task.lost_connections.push(LostConnection {
                epoch: lost.epoch,
                worker: lost.worker,
                peer: lost.peer,
                at_s: now.s,
            });
        }
    }

    /// A connection whose ends both live is tried again; one with a dead end is put down to that.
    pub(super) fn judge_connections(&mut self, now: Now, task: usize) {
        let lost = std::mem::take(&mut self.tasks[task].lost_connections);
        let mut failed = None;
        for connection in lost {
            let ends = [connection.worker, connection.peer].map(|end| self.peer(task, end));
            let verdict = judge_connection(
                Status::ConnectionReset,
                ends,
                connection.at_s,
                now.s,
                self.settings.connection_grace_s,
            );
            match verdict {
                ConnectionVerdict::Wait { .. } => {
                    self.tasks[task].lost_connections.push(connection);
                }
                ConnectionVerdict::Failure(_) => failed = Some(connection),
                ConnectionVerdict::Cascade { .. } | ConnectionVerdict::Finished => {}
            }
        }
        let Some(LostConnection { worker, peer, at_s, .. }) = failed else { return };
        let Some(node) = self.tasks[task].workers.get(&worker).map(|worker| worker.node) else {
            return;
        };
        self.tasks[task].lost_connections.clear();
        let text = format!("the connection to worker {peer} is gone, and both live");
        let status = Status::ConnectionReset;
        let details = serde_json::json!({ "status": status });
        let noticed = Noticed { task, node, worker, status, text: &text, after_s: now.s - at_s };
        self.detected(now, noticed, details);
        self.fail(now, task, node, status, None);
    }

    /// What is known of one end of a connection.
    fn peer(&self, task: usize, number: u64) -> Peer {
        let task = &self.tasks[task];
        match (task.workers.get(&number), task.departed.get(&number)) {
            (Some(worker), _) => {
                let until_s = self.nodes[worker.node].lease_until_s;
                let last_alive_s = until_s.map_or(f64::NAN, |s| s - self.settings.lease_s);
                Peer { last_alive_s, exit: None, is_node_lost: until_s.is_none() }
            }
            (None, Some(departed)) => Peer {
                last_alive_s: f64::NAN,
                exit: departed.exit,
                is_node_lost: departed.exit.is_none(),
            },
            (None, None) => Peer { last_alive_s: f64::NAN, exit: None, is_node_lost: true },
        }
    }

    /// A worker waits for others.
    pub(super) fn waiting(&mut self, waiting: v1::Waiting) {
        let Some((task, _)) = self.find(waiting.worker) else { return };
        let task = &mut self.tasks[task];
        if waiting.epoch == task.epoch()
            && let Some(worker) = task.workers.get_mut(&waiting.worker)
        {
            worker.waiting = Some((waiting.epoch, waiting.for_workers));
        }
    }

    /// A worker's step takes longer than it may. All of a group's do: one of them is to blame.
    pub(super) fn hung(&mut self, now: Now, hung: &v1::Hung) {
        let Some((task, _)) = self.find(hung.worker) else { return };
        let task = &mut self.tasks[task];
        if hung.epoch != task.epoch() {
            return;
        }
        if let Some(worker) = task.workers.get_mut(&hung.worker) {
            worker.hung = Some(hung.process_state.chars().next().unwrap_or('S'));
            task.hung_since_s.get_or_insert(now.s);
            let overdue_s = hung.since_s - hung.usual_s;
            if overdue_s.is_finite() && overdue_s >= 0.0 {
                task.still_since_s.get_or_insert(now.s - overdue_s);
            }
        }
    }

    /// Who hangs, once everybody had time to say for whom they wait: it is ended, so that the others see
    /// a reset, and takes part again as a new process.
    pub(super) fn judge_hang(&mut self, now: Now, task: usize) {
        let task_ = &self.tasks[task];
        if task_.hung_since_s.is_none_or(|since_s| now.s < since_s + HANG_GRACE_S) {
            return;
        }
        let culprits = task_.culprits();
        // It lives, and may be slow only.
        let is_advice = self.advises();
        self.tasks[task].hung_since_s = None;
        let still_since_s = self.tasks[task].still_since_s.take().unwrap_or(now.s);
        for number in culprits {
            if is_advice && self.is_said(Subject::Worker(task, number)) {
                continue;
            }
            let Some(worker) = self.tasks[task].workers.get_mut(&number) else { continue };
            let (node, incident) = (worker.node, worker.incident);
            let is_stopped = worker.hung == Some('T');
            worker.is_doomed = !is_advice;
            let text = match is_stopped {
                true => "others wait for it, and its process is stopped",
                false => "others wait for it, and it makes no progress",
            };
            let status = Status::TaskHang;
            let details = serde_json::json!({ "status": status });
            let after_s = now.s - still_since_s;
            let noticed = Noticed { task, node, worker: number, status, text, after_s };
            self.detected(now, noticed, details);
            match is_advice {
                true => self.advise_to_end(now, task, number, status),
                false => self.fail(now, task, node, status, incident),
            }
        }
    }
}

impl Task {
    fn note(&mut self, observation: Observation) {
        if self.observations.len() < MOST_OBSERVATIONS {
            self.observations.push(observation);
        }
    }

    /// What the signs on a node that are of one failure say together.
    fn status_of(&self, node: &str, now_s: f64, otherwise: Status) -> Status {
        let recent = self.observations.iter().filter(|observation| {
            observation.node == node && observation.time_s >= now_s - ONE_FAILURE_S
        });
        let recent: Vec<Observation> = recent.cloned().collect();
        root_cause(&recent).map_or(otherwise, |cause| cause.status)
    }

    /// Of a group that stands still: whose processes are stopped; else for whom others wait and who waits
    /// for nobody; else who has said nothing.
    fn culprits(&self) -> Vec<u64> {
        let Some(group) = &self.group else { return Vec::new() };
        let numbers = || group.members.iter().map(|member| member.worker);
        let of = |number: u64| self.workers.get(&number);
        let is_stopped =
            |&number: &u64| of(number).is_some_and(|w| matches!(w.hung, Some('T' | 't')));
        let stopped: Vec<u64> = numbers().filter(is_stopped).collect();
        if !stopped.is_empty() {
            return stopped;
        }
        let waits = |number: u64| of(number).is_some_and(|worker| worker.waiting.is_some());
        let waited_for: BTreeSet<u64> = self
            .workers
            .values()
            .filter_map(|worker| worker.waiting.as_ref())
            .flat_map(|(_, others)| others.iter().copied())
            .collect();
        let blamed: Vec<u64> =
            numbers().filter(|number| waited_for.contains(number) && !waits(*number)).collect();
        if !blamed.is_empty() {
            return blamed;
        }
        let silent: Vec<u64> = numbers().filter(|&number| !waits(number)).collect();
        // Of those that never say for whom they wait, some may be at work: in vain, in a loop of a
        // collective operation.
        let has_hung = |&number: &u64| of(number).is_some_and(|worker| worker.hung.is_some());
        let told: Vec<u64> = silent.iter().copied().filter(has_hung).collect();
        if !told.is_empty() {
            return told;
        }
        match silent.is_empty() {
            // Everybody waits: whoever is restarted, all begin a new exchange.
            true => numbers().take(1).collect(),
            false => silent,
        }
    }
}
