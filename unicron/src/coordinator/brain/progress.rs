//! What gets done: iterations, checkpoints, the end.

use super::task::End;
use super::{Brain, Now};
use crate::coordinator::account::Commit;
use crate::core::Event;
use crate::proto::v1;
use crate::proto::v1::to_agent::Message;
use crate::worker::protocol::Checkpoint;

impl Brain {
    /// What an agent says in a session that counts.
    pub fn said(&mut self, now: Now, node: usize, message: v1::from_agent::Message) {
        use v1::from_agent::Message as Said;
        match message {
            // The connection's first word, and what the driver answers itself.
            Said::Hello(_) | Said::Heartbeat(_) | Said::LogTail(_) | Said::StateSeen(_) => {}
            Said::Started(started) => self.worker_started(now, node, &started),
            Said::Ready(ready) => {
                let found = self.find(ready.worker).map(|(task, worker)| (task, worker.node));
                if let Some((task, at)) = found.filter(|(_, at)| *at == node) {
                    let (address, fingerprint) = (ready.address, ready.fingerprint);
                    self.record(now, "worker-ready", Some(task), Some(at), ready.worker, "");
                    self.worker_ready(now, task, ready.worker, address, fingerprint);
                }
            }
            Said::Ended(ended) => self.worker_ended(now, node, &ended),
            Said::Observation(seen) => self.observed(now, node, &seen),
            Said::Committed(committed) => self.committed(now, &committed),
            Said::RolledBack(back) => self.rolled_back(now, &back),
            Said::LostPeer(lost) => self.lost_peer(now, &lost),
            Said::Waiting(waiting) => self.waiting(waiting),
            Said::Hung(hung) => self.hung(now, &hung),
            Said::Checkpoint(written) => self.checkpoint(now, node, written),
            Said::Done(done) => self.done(now, done),
            Said::Health(health) => self.health(now, node, &health),
        }
        self.keep_accounts(now);
    }

    fn worker_started(&mut self, now: Now, node: usize, started: &v1::WorkerStarted) {
        let Some((task, worker)) = self.find(started.worker) else { return };
        // Its guardian says so, and it says so itself.
        if worker.node != node || worker.pid == started.pid {
            return;
        }
        if let Some(worker) = self.tasks[task].workers.get_mut(&started.worker) {
            worker.pid = started.pid;
        }
        self.outbox.tasks.insert(task);
        let text = format!("process {}", started.pid);
        self.record(now, "worker-started", Some(task), Some(node), started.worker, text);
    }

    /// A group has voted for an iteration. Every member says so; the first counts.
    fn committed(&mut self, now: Now, committed: &v1::Committed) {
        let Some((task, _)) = self.find(committed.worker) else { return };
        let now_s = self.epoch_s(now);
        let task_ = &mut self.tasks[task];
        let epoch = task_.epoch();
        let Some(worker) = task_.workers.get_mut(&committed.worker) else { return };
        let progress = &mut task_.progress;
        if committed.iteration <= worker.committed {
            progress.committed_twice += 1;
            return;
        }
        worker.committed = committed.iteration;
        if committed.loss.is_some() && committed.iteration >= progress.iteration {
            progress.loss = committed.loss;
        }
        let count = committed.iteration.saturating_sub(progress.iteration);
        let is_first = count > 0;
        progress.iteration = progress.iteration.max(committed.iteration);
        if is_first {
            // Every member tells what the whole group has done again.
            progress.redone.micro_batches += committed.redone_micro_batches;
            progress.redone.stage_passes += committed.redone_stage_passes;
            task_.account.committed(
                now_s,
                Commit {
                    iteration: committed.iteration,
                    count,
                    epoch: committed.epoch,
                    is_late: committed.epoch != epoch,
                    redone: committed.redone_stage_passes as f64 / task_.file.stage_passes(),
                },
            );
        }
        if committed.epoch != epoch {
            return;
        }
        if is_first || !task_.has_committed {
            self.group_works(now, task);
        }
    }

    /// The present group has committed an iteration: what was tried has helped.
    pub(super) fn group_works(&mut self, now: Now, task: usize) {
        let task_ = &mut self.tasks[task];
        let is_news = !task_.has_committed;
        task_.has_committed = true;
        let commands = self.core.step(now.s, Event::Progressed { task });
        self.carry_out(now, commands);
        self.advice_helped(now, task);
        if !is_news {
            return;
        }
        let task_ = &mut self.tasks[task];
        task_.observations.clear();
        task_.departed.clear();
        let members = task_.group.iter().flat_map(|group| &group.members);
        let members: Vec<u64> = members.map(|member| member.worker).collect();
        let cured =
            members.iter().filter_map(|member| task_.workers.get_mut(member)?.incident.take());
        let cured: Vec<u64> = cured.chain(task_.reattempt.take()).collect();
        for incident in cured {
            let succeeded = Event::Attempted { incident, succeeded: true };
            let commands = self.core.step(now.s, succeeded);
            self.carry_out(now, commands);
        }
        let iteration = self.tasks[task].progress.iteration;
        let text = match iteration {
            0 => format!("{} workers have run for a while", members.len()),
            _ => format!("iteration {iteration} by {} workers", members.len()),
        };
        let details = serde_json::json!({
            "iteration": iteration,
            "epoch": self.tasks[task].epoch(),
            "account": self.account_details(task),
        });
        self.record_with(now, "progress", Some(task), None, 0, text, details);
        self.outbox.tasks.insert(task);
        self.dismiss(now, task);
    }

    fn rolled_back(&mut self, now: Now, back: &v1::RolledBack) {
        let Some((task, _)) = self.find(back.worker) else { return };
        let task_ = &mut self.tasks[task];
        if back.epoch != task_.epoch() {
            return;
        }
        if let Some(worker) = task_.workers.get_mut(&back.worker) {
            worker.committed = worker.committed.min(back.iteration);
        }
        if back.iteration < task_.progress.iteration {
            let lost = task_.progress.iteration - back.iteration;
            task_.progress.iteration = back.iteration;
            self.outbox.tasks.insert(task);
            let text = format!("goes back {lost} iterations, to {}", back.iteration);
            self.record(now, "rolled-back", Some(task), None, 0, text);
        }
    }

    /// A checkpoint counts if the present group wrote it.
    fn checkpoint(&mut self, now: Now, node: usize, written: v1::CheckpointWritten) {
        let Some((task, _)) = self.find(written.worker) else {
            return self.answer(
                node,
                written.worker,
                written.iteration,
                "the worker is not wanted",
            );
        };
        let task_ = &mut self.tasks[task];
        let epoch = task_.epoch();
        if written.epoch != epoch {
            let (theirs, iteration) = (written.epoch, written.iteration);
            let reason = format!("epoch {theirs} is over; it is {epoch}");
            self.record(now, "refused", Some(task), Some(node), written.worker, &*reason);
            return self.answer(node, written.worker, iteration, &reason);
        }
        let checkpoint = Checkpoint { iteration: written.iteration, path: written.path };
        task_.checkpoint = Some(checkpoint.clone());
        if let Some(group) = &mut task_.group {
            // Groups to come carry it; this one's members know.
            group.checkpoint = Some(checkpoint);
        }
        self.outbox.tasks.insert(task);
        let text = format!("iteration {}", written.iteration);
        self.record(now, "checkpoint", Some(task), Some(node), written.worker, text);
        self.answer(node, written.worker, written.iteration, "");
    }

    fn answer(&mut self, node: usize, worker: u64, iteration: u64, refused: &str) {
        let answer = v1::CheckpointAnswer { worker, iteration, refused: refused.to_owned() };
        self.outbox.sends.push((node, Message::Checkpoint(answer)));
    }

    /// A worker says that the task has done its work. Whoever has written the result says where; without
    /// a result, all have to say so.
    fn done(&mut self, now: Now, done: v1::TaskDone) {
        let Some((task, _)) = self.find(done.worker) else { return };
        let task_ = &mut self.tasks[task];
        if done.epoch != task_.epoch() {
            let text = format!("done in epoch {}, which is over", done.epoch);
            return self.record(now, "refused", Some(task), None, done.worker, text);
        }
        if let Some(worker) = task_.workers.get_mut(&done.worker) {
            worker.is_done = true;
        }
        let are_all_done = task_.staying(None).all(|(_, worker)| worker.is_done);
        if done.weights_file.is_empty() && !are_all_done {
            return;
        }
        task_.progress.iteration = done.iteration;
        task_.progress.weights_file = done.weights_file;
        task_.progress.weights_sha256 = done.weights_sha256;
        self.end(now, task, End::Done, &format!("after {} iterations", done.iteration));
    }

    /// A task has ended: its workers go, and others may have their places.
    pub(super) fn end(&mut self, now: Now, task: usize, end: End, reason: &str) {
        if self.tasks[task].end.is_some() {
            return;
        }
        self.leave(now, task, end, reason);
        let commands = self.core.step(now.s, Event::TaskEnded { task });
        self.carry_out(now, commands);
    }

    /// The same, where the core knows already.
    pub(super) fn leave(&mut self, now: Now, task: usize, end: End, reason: &str) {
        let now_s = self.epoch_s(now);
        let task_ = &mut self.tasks[task];
        task_.account.end(now_s);
        (task_.end, task_.group) = (Some(end), None);
        reason.clone_into(&mut task_.reason);
        task_.granted.clear();
        let nodes: Vec<usize> = task_.workers.values().map(|worker| worker.node).collect();
        task_.workers.clear();
        self.outbox.pushes.extend(nodes);
        self.outbox.tasks.insert(task);
        let kind = match end {
            End::Done => "task-done",
            End::Stopped => "task-stopped",
            End::Failed => "task-failed",
        };
        let details = serde_json::json!({ "account": self.account_details(task) });
        self.record_with(now, kind, Some(task), None, 0, reason, details);
    }
}
