//! Who works together.
//!
//! A group is formed of the workers that are ready, as long as every stage has one. It is formed anew
//! whenever that changes, at once: members keep what they have computed, so nothing is lost by it.

use super::{Brain, Now};
use crate::coordinator::task_file::Recovery;
use crate::worker::protocol::{Group, Member};

/// How long a task's first group waits for workers that are still starting, once some are ready.
const FIRST_GROUP_S: f64 = 5.0;

impl Brain {
    /// A worker can be part of a group.
    pub(super) fn worker_ready(
        &mut self,
        now: Now,
        task: usize,
        worker: u64,
        address: String,
        fingerprint: String,
    ) {
        let task_ = &mut self.tasks[task];
        let Some(ready) = task_.workers.get_mut(&worker) else { return };
        if ready.address.as_ref() == Some(&address) {
            return;
        }
        (ready.address, ready.fingerprint) = (Some(address), fingerprint);
        self.outbox.tasks.insert(task);
        let are_all_ready = task_.staying(None).all(|(_, worker)| worker.address.is_some());
        if task_.file.starts_with_group() {
            return self.ready_as_a_whole(now, task, are_all_ready);
        }
        let starts_as_a_whole =
            task_.progress.iteration == 0 || task_.file.recovery() == Recovery::RestartAll;
        let is_first = task_.group.is_none() && starts_as_a_whole;
        if !is_first || are_all_ready {
            self.form(now, task, &format!("worker {worker} is ready"));
        } else {
            task_.form_at_s.get_or_insert(now.s + FIRST_GROUP_S);
        }
    }

    /// One more process could be started. All are, when all can be.
    fn ready_as_a_whole(&mut self, now: Now, task: usize, are_all_ready: bool) {
        if self.tasks[task].group.is_some() {
            // Its agent is another one than when the group was formed: the others wait for it in vain.
            self.end_whole(now, task, "an agent was started anew");
            self.reconcile(task, None);
        } else if are_all_ready {
            let task_ = &mut self.tasks[task];
            let is_complete = task_.staying(None).count() >= task_.file.workers;
            match task_.progress.groups == 0 && !is_complete {
                true => _ = task_.form_at_s.get_or_insert(now.s + task_.file.last_call_s),
                false => self.form(now, task, "all can start"),
            }
        }
    }

    /// A task's first group has waited for more workers as long as it may.
    pub(super) fn form_late(&mut self, now: Now, task: usize) {
        if !self.tasks[task].file.starts_with_group() {
            return self.form(now, task, "not everybody is ready, but every stage is");
        }
        let are_all_ready =
            self.tasks[task].staying(None).all(|(_, worker)| worker.address.is_some());
        if are_all_ready {
            self.form(now, task, "nobody else has come");
        }
    }

    /// Forms a task's group of who is ready; without one if a stage has nobody.
    pub(super) fn form(&mut self, now: Now, task: usize, why: &str) {
        let epoch = self.number();
        let task_ = &mut self.tasks[task];
        if task_.end.is_some() {
            return;
        }
        task_.form_at_s = None;
        (task_.has_committed, task_.hung_since_s, task_.still_since_s) = (false, None, None);
        task_.account.regrouped();
        task_.lost_connections.clear();
        for worker in task_.workers.values_mut() {
            (worker.waiting, worker.hung) = (None, None);
        }
        let fingerprint = self.usual_fingerprint(task);
        let task_ = &mut self.tasks[task];
        let nodes = &self.nodes;
        let ready = task_.workers.iter().filter(|(_, worker)| worker.fingerprint == fingerprint);
        let members: Vec<Member> = ready
            .filter_map(|(&number, worker)| {
                Some(Member {
                    worker: number,
                    stage: worker.stage,
                    node: nodes[worker.node].name.clone(),
                    address: worker.address.clone()?,
                })
            })
            .collect();
        let has = |stage| members.iter().any(|member| member.stage == stage);
        let stages = task_.file.stages() as u32;
        let is_whole = (0..stages).all(has);
        self.outbox.tasks.insert(task);
        let involved = task_.workers.values().map(|worker| worker.node);
        self.outbox.pushes.extend(involved);
        if !is_whole {
            task_.group = None;
            let missing = if stages == 1 { "a worker" } else { "a worker of every stage" };
            let text = format!("{why}; waits for {missing}");
            self.record(now, "group", Some(task), None, 0, text);
            return;
        }
        let text = format!("{why}; {} workers go on", members.len());
        let numbers: Vec<u64> = members.iter().map(|member| member.worker).collect();
        task_.formed_s = now.s;
        task_.progress.groups += 1;
        let (attempt, checkpoint) = (task_.progress.groups, task_.checkpoint.clone());
        task_.group = Some(Group { epoch, attempt, members, checkpoint });
        let details = serde_json::json!({ "epoch": epoch, "workers": numbers });
        self.record_with(now, "group", Some(task), None, 0, text, details);
        self.announce_world(now, task, numbers.len());
    }

    /// Workers whose arithmetic differs from that of most can't take part: bits would differ.
    fn usual_fingerprint(&self, task: usize) -> String {
        let workers = self.tasks[task].workers.values().filter(|worker| worker.address.is_some());
        let mut counts: Vec<(usize, &String)> = Vec::new();
        for worker in workers {
            match counts.iter_mut().find(|(_, other)| **other == worker.fingerprint) {
                Some((count, _)) => *count += 1,
                None => counts.push((1, &worker.fingerprint)),
            }
        }
        let usual = counts.into_iter().max_by_key(|(count, _)| *count);
        usual.map_or(String::new(), |(_, fingerprint)| fingerprint.clone())
    }

    /// Lets go of those who leave, once everybody who stays has taken part in an iteration.
    pub(super) fn dismiss(&mut self, now: Now, task: usize) {
        let task_ = &self.tasks[task];
        let is_one_leaving = task_.workers.values().any(|worker| worker.is_leaving);
        let have_all_joined = task_.staying(None).all(|(&number, _)| task_.is_member(number));
        if !is_one_leaving || !have_all_joined || !task_.has_committed {
            return;
        }
        let leavers = task_.workers.values().filter(|worker| worker.is_leaving);
        self.outbox.pushes.extend(leavers.map(|worker| worker.node));
        self.tasks[task].workers.retain(|_, worker| !worker.is_leaving);
        self.form(now, task, "workers have left");
    }
}
