//! A node: its agent and its lease.
//!
//! A lease is how an agent and the coordinator agree on the agent's death without talking: the agent stops
//! its workers before its lease ends, counted from when it sent the heartbeat that was last answered; the
//! coordinator hands their work on after it has ended, counted from when it received that heartbeat, which
//! is later. The end of a connection proves nothing.

use super::accounts::SlotTime;
use super::failure::Gone;
use super::task::Task;
use super::{Brain, Now};
use crate::coordinator::name;
use crate::core::Event;
use crate::proto::v1;
use crate::worker::protocol::PROTOCOL;
use serde::{Deserialize, Serialize};

/// A machine with an agent.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Workers that it can have.
    pub slots: usize,
    /// Where other nodes reach its workers.
    pub host: String,
    /// For people.
    pub gpus: Vec<String>,
    /// Whether it may have workers.
    pub standing: Standing,
    /// Why not.
    pub reason: String,
    /// The agent's connection, while there is one.
    pub session: Option<u64>,
    /// The agent's start.
    pub incarnation: String,
    /// When its lease ends, in seconds; `None` of a node that has none.
    pub lease_until_s: Option<f64>,
    /// Seconds of its slots.
    pub slot_time: SlotTime,
}

/// Whether a node may have workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may.
    Healthy,
    /// A person wants it to be free.
    Drained,
    /// It is at fault.
    Isolated,
}

impl Node {
    /// For people and scripts.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.lease_until_s, self.standing) {
            (None, _) => "lost",
            (Some(_), Standing::Healthy) => "ready",
            (Some(_), Standing::Drained) => "drained",
            (Some(_), Standing::Isolated) => "isolated",
        }
    }
}

impl Brain {
    /// An agent has connected and says who it is: the node's index, and the answer.
    ///
    /// # Errors
    /// The reason for which it is refused.
    pub fn attend(
        &mut self,
        now: Now,
        session: u64,
        hello: &v1::Hello,
    ) -> Result<(usize, v1::Welcome), String> {
        check(hello)?;
        let found = self.nodes.iter().position(|node| node.name == hello.node);
        let node = match found {
            Some(node) => node,
            None => self.add_node(now, hello)?,
        };
        let now_s = self.epoch_s(now);
        let known = &self.nodes[node];
        let is_other = known.incarnation != hello.incarnation && !known.incarnation.is_empty();
        if known.session.is_some() && is_other {
            return Err(format!(
                "another agent attends as node {}; stop it, or choose another --node",
                hello.node
            ));
        }
        let last_heard_s = known.lease_until_s.map(|until_s| until_s - self.settings.lease_s);
        let was_lost = known.lease_until_s.is_none();
        let slots = hello.slots as usize;
        let node_ = &mut self.nodes[node];
        (node_.slots, node_.host, node_.gpus) = (slots, hello.host.clone(), hello.gpus.clone());
        node_.slot_time.set(now_s, slots);
        (node_.session, node_.incarnation) = (Some(session), hello.incarnation.clone());
        node_.lease_until_s = Some(now.s + self.settings.lease_s);
        self.outbox.nodes.insert(node);
        self.outbox.pushes.insert(node);
        if was_lost {
            let details = serde_json::json!({ "slots": slots });
            let text = format!("{slots} workers");
            self.record_with(now, "node-joined", None, Some(node), 0, text, details);
        }
        self.reunite(now, node, &hello.workers, last_heard_s.unwrap_or(now.s));
        self.let_in(now, node);
        self.keep_accounts(now);
        let lease_s = self.settings.lease_s;
        Ok((node, v1::Welcome { protocol: PROTOCOL, lease_s, term: self.term }))
    }

    fn add_node(&mut self, now: Now, hello: &v1::Hello) -> Result<usize, String> {
        let node = self.nodes.len();
        let slots = hello.slots as usize;
        self.core.grow(node + 1, slots, now.s).map_err(|error| error.to_string())?;
        self.nodes.push(Node {
            name: hello.node.clone(),
            slots,
            host: String::new(),
            gpus: Vec::new(),
            standing: Standing::Healthy,
            reason: String::new(),
            session: None,
            incarnation: String::new(),
            lease_until_s: None,
            slot_time: SlotTime::default(),
        });
        Ok(node)
    }

    /// Tells the core of a node that may have workers.
    pub(super) fn let_in(&mut self, now: Now, node: usize) {
        let Node { slots, standing, lease_until_s, .. } = self.nodes[node];
        if standing != Standing::Healthy || lease_until_s.is_none() {
            return;
        }
        if self.core.grow(self.nodes.len(), slots, now.s).is_ok() {
            let commands = self.core.step(now.s, Event::NodeJoined { node, workers: slots });
            self.carry_out(now, commands);
        }
    }

    /// An agent says what still runs: what it doesn't name is gone, since it was last heard of at most.
    fn reunite(&mut self, now: Now, node: usize, running: &[v1::RunningWorker], last_heard_s: f64) {
        let gone: Vec<(usize, u64)> = self
            .tasks
            .iter()
            .enumerate()
            .flat_map(|(index, task)| {
                let here = task.workers.iter().filter(|(_, worker)| worker.node == node);
                // A process that never started is started by the next push.
                let was_there = here.filter(|(_, worker)| worker.pid != 0);
                let gone = was_there
                    .filter(|(number, _)| !running.iter().any(|run| run.worker == **number));
                gone.map(move |(&number, _)| (index, number)).collect::<Vec<_>>()
            })
            .collect();
        for run in running {
            let Some((task, worker)) = self.find(run.worker) else { continue };
            if worker.node != node {
                continue;
            }
            if let Some(worker) = self.tasks[task].workers.get_mut(&run.worker) {
                worker.pid = run.pid;
            }
            if !run.address.is_empty() {
                let (address, fingerprint) = (run.address.clone(), run.fingerprint.clone());
                self.worker_ready(now, task, run.worker, address, fingerprint);
            }
        }
        for (task, worker) in gone {
            let text = "its agent was started anew, and its workers ended with the old one";
            let after_s = now.s - last_heard_s;
            self.worker_gone(
                now,
                task,
                worker,
                Gone { exit: None, text, last_lines: &[], after_s },
            );
        }
    }

    /// An agent's connection is gone. Its lease decides.
    pub fn left(&mut self, now: Now, node: usize, session: u64) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        if known.session == Some(session) {
            known.session = None;
            let text = "the connection to its agent is gone; its lease decides";
            self.record(now, "node-silent", None, Some(node), 0, text);
        }
    }

    /// A heartbeat: the lease is renewed, unless it has ended.
    pub fn heartbeat(&mut self, now: Now, node: usize, session: u64) -> bool {
        let Some(known) = self.nodes.get_mut(node) else { return false };
        let counts = known.session == Some(session) && known.lease_until_s.is_some();
        if counts {
            known.lease_until_s = Some(now.s + self.settings.lease_s);
        }
        counts
    }

    /// Nodes whose leases have ended are lost.
    pub(super) fn end_leases(&mut self, now: Now) {
        let ended = |node: &Node| node.lease_until_s.is_some_and(|until_s| until_s <= now.s);
        let lost: Vec<usize> =
            (0..self.nodes.len()).filter(|&node| ended(&self.nodes[node])).collect();
        for node in lost {
            (self.nodes[node].lease_until_s, self.nodes[node].session) = (None, None);
            self.outbox.nodes.insert(node);
            let after_s = self.unnoticed_s(now, node);
            let details = serde_json::json!({ "detected_after_s": after_s });
            let text = "its lease has ended";
            self.record_with(now, "node-lost", None, Some(node), 0, text, details);
            self.node_gone(now, node, after_s);
        }
    }

    /// For how long a node is lost whose lease has just ended: since it was last heard of, or since its
    /// workers last took part in an iteration.
    fn unnoticed_s(&self, now: Now, node: usize) -> f64 {
        let now_s = self.epoch_s(now);
        let is_on = |task: &&Task| task.workers.values().any(|worker| worker.node == node);
        let tasks = self.tasks.iter().filter(is_on);
        let since_s = tasks.map(|task| task.account.since_commit_s(now_s));
        since_s.fold(self.settings.lease_s, f64::min)
    }

    /// What a node's health check says. An unhealthy node is left, alive; a healthy one that was left for
    /// its health comes back.
    pub(super) fn health(&mut self, now: Now, node: usize, health: &v1::Health) {
        let standing = self.nodes[node].standing;
        match (health.is_healthy, standing) {
            (false, Standing::Healthy) if self.advises() => {
                let why = format!("its health check says: {}", health.text);
                self.advise_to_leave(now, node, None, &why);
            }
            (true, Standing::Healthy) if self.advises() => self.advice_on_node_over(now, node),
            (false, Standing::Healthy) => {
                self.nodes[node].standing = Standing::Isolated;
                self.nodes[node].reason = format!("its health check says: {}", health.text);
                let text = self.nodes[node].reason.clone();
                self.record(now, "node-isolated", None, Some(node), 0, text);
                self.outbox.nodes.insert(node);
                let commands = self.core.step(now.s, Event::DrainAsked { node });
                self.carry_out(now, commands);
            }
            (true, Standing::Isolated) if self.nodes[node].reason.starts_with("its health") => {
                self.readmit(now, node, "its health check is content again");
            }
            _ => {}
        }
    }

    /// A node may have workers again.
    pub(super) fn readmit(&mut self, now: Now, node: usize, why: &str) {
        (self.nodes[node].standing, self.nodes[node].reason) = (Standing::Healthy, String::new());
        self.outbox.nodes.insert(node);
        self.record(now, "node-readmitted", None, Some(node), 0, why);
        self.let_in(now, node);
    }
}

/// Far above what a machine has.
const MAX_SLOTS: u32 = 256;

fn check(hello: &v1::Hello) -> Result<(), String> {
    if hello.protocol != PROTOCOL {
        let theirs = hello.protocol;
        return Err(format!("this coordinator speaks protocol {PROTOCOL}, the agent {theirs}"));
    }
    name::check(&hello.node).map_err(|problem| format!("node {problem}"))?;
    if !(1..=MAX_SLOTS).contains(&hello.slots) {
        return Err(format!("{} slots; a node has 1 to {MAX_SLOTS}", hello.slots));
    }
    if hello.incarnation.is_empty() {
        return Err("an agent says of which start it is".to_owned());
    }
    Ok(())
}
