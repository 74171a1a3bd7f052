//! What is stored of nodes and tasks, and taking over from it.
//!
//! A coordinator that takes over finds workers at work that know nothing of its predecessor's end. It
//! adopts them: they keep their numbers and their group, and no lease ends before the new coordinator has
//! led for the length of one.

use super::accounts::SlotTime;
use super::node::{Node, Standing};
use super::task::{End, Progress, Task, Worker};
use super::{Brain, NUMBERS_OF_A_TERM, Now, Outbox, Settings, no_nodes};
use crate::cluster::Cluster;
use crate::coordinator::TaskFile;
use crate::coordinator::account::Account;
use crate::core::{Core, Resumed};
use crate::worker::protocol::{Checkpoint, Group};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Keys of nodes in the store; a number of six digits follows, in the order in which they came.
pub const NODES: &str = "nodes/";
/// Keys of tasks, likewise.
pub const TASKS: &str = "tasks/";

/// A node as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NodeRecord {
    name: String,
    slots: usize,
    host: String,
    standing: Standing,
    reason: String,
    /// Whether it had a lease.
    is_attended: bool,
    slot_time: SlotTime,
}

/// A task as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TaskRecord {
    toml: String,
    end: Option<End>,
    reason: String,
    granted: BTreeMap<usize, usize>,
    workers: BTreeMap<u64, WorkerRecord>,
    group: Option<Group>,
    checkpoint: Option<Checkpoint>,
    progress: Progress,
    account: Account,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct WorkerRecord {
    node: usize,
    stage: u32,
    pid: u32,
    address: Option<String>,
    fingerprint: String,
    is_leaving: bool,
}

impl Brain {
    /// A node's key and what is stored of it.
    #[must_use]
    pub fn node_record(&self, node: usize) -> (String, Vec<u8>) {
        let Node { name, slots, host, standing, reason, lease_until_s, slot_time, .. } =
            &self.nodes[node];
        let record = NodeRecord {
            name: name.clone(),
            slots: *slots,
            host: host.clone(),
            standing: *standing,
            reason: reason.clone(),
            is_attended: lease_until_s.is_some(),
            slot_time: *slot_time,
        };
        (format!("{NODES}{node:06}"), to_json(&record))
    }

    /// A task's key and what is stored of it.
    #[must_use]
    pub fn task_record(&self, task: usize) -> (String, Vec<u8>) {
        let task_ = &self.tasks[task];
        let worker = |worker: &Worker| WorkerRecord {
            node: worker.node,
            stage: worker.stage,
            pid: worker.pid,
            address: worker.address.clone(),
            fingerprint: worker.fingerprint.clone(),
            is_leaving: worker.is_leaving,
        };
        let record = TaskRecord {
            toml: task_.toml.clone(),
            end: task_.end,
            reason: task_.reason.clone(),
            granted: task_.granted.clone(),
            workers: task_.workers.iter().map(|(&number, w)| (number, worker(w))).collect(),
            group: task_.group.clone(),
            checkpoint: task_.checkpoint.clone(),
            progress: task_.progress.clone(),
            account: task_.account.clone(),
        };
        (format!("{TASKS}{task:06}"), to_json(&record))
    }

    /// Takes over from what is stored, in the order of its keys.
    ///
    /// # Errors
    /// If something stored isn't what a coordinator of this version writes.
    pub fn resume(
        settings: Settings,
        term: u64,
        now: Now,
        nodes: &[(String, Vec<u8>)],
        tasks: &[(String, Vec<u8>)],
    ) -> Result<Self> {
        let nodes: Vec<NodeRecord> = nodes.iter().map(from_json).collect::<Result<_>>()?;
        let records: Vec<TaskRecord> = tasks.iter().map(from_json).collect::<Result<_>>()?;
        let lease_until_s = now.s + settings.lease_s;
        let nodes: Vec<Node> =
            nodes.into_iter().map(|record| record.into_node(lease_until_s)).collect();
        let tasks: Vec<Task> = records
            .into_iter()
            .map(|record| record.into_task(nodes.len(), now.s))
            .collect::<Result<_>>()?;
        let is_in =
            |node: &Node| node.lease_until_s.is_some() && node.standing == Standing::Healthy;
        let healthy: Vec<usize> =
            nodes.iter().map(|node| if is_in(node) { node.slots } else { 0 }).collect();
        let resumed = tasks.iter().map(|task| {
            Ok(Resumed {
                task: task.file.to_task()?,
                nodes: task.granted.iter().map(|(&node, &workers)| (node, workers)).collect(),
                has_ended: task.end.is_some(),
            })
        });
        let core = Core::resume(
            cluster(&nodes)?,
            settings.rule,
            settings.core,
            now.s,
            &healthy,
            resumed.collect::<Result<_>>()?,
        );
        let core = super::with_table(core, &settings);
        let mut brain = Self {
            settings,
            core,
            term,
            next_number: term * NUMBERS_OF_A_TERM,
            nodes,
            tasks,
            outbox: Outbox::default(),
            stored_s: now.s,
            zero_s: now.zero_s(),
            plans: BTreeMap::new(),
            endings: Vec::new(),
            advice: BTreeMap::new(),
        };
        let count = brain.nodes.iter().filter(|node| node.lease_until_s.is_some()).count();
        let text = format!("leads in term {term}, with {count} nodes");
        brain.record(now, "coordinator", None, None, 0, text);
        Ok(brain)
    }
}

impl NodeRecord {
    fn into_node(self, lease_until_s: f64) -> Node {
        Node {
            name: self.name,
            slots: self.slots,
            host: self.host,
            gpus: Vec::new(),
            standing: self.standing,
            reason: self.reason,
            session: None,
            incarnation: String::new(),
            lease_until_s: self.is_attended.then_some(lease_until_s),
            slot_time: self.slot_time,
        }
    }
}

impl TaskRecord {
    fn into_task(self, nodes: usize, now_s: f64) -> Result<Task> {
        let file = TaskFile::parse(&self.toml, Path::new("the store"))?;
        let worker = |(number, record): (u64, WorkerRecord)| {
            let WorkerRecord { node, stage, pid, address, fingerprint, is_leaving } = record;
            let worker =
                Worker { pid, address, fingerprint, is_leaving, ..Worker::new(node, stage) };
            (number, worker)
        };
        let workers = self.workers.into_iter().filter(|(_, worker)| worker.node < nodes);
        Ok(Task {
            end: self.end,
            reason: self.reason,
            granted: self.granted.into_iter().filter(|(node, _)| *node < nodes).collect(),
            workers: workers.map(worker).collect(),
            group: self.group,
            checkpoint: self.checkpoint,
            progress: self.progress,
            account: self.account,
            formed_s: now_s,
            ..Task::new(file, self.toml)
        })
    }
}

fn cluster(nodes: &[Node]) -> Result<Cluster> {
    let slots = nodes.iter().map(|node| node.slots).max().unwrap_or(1);
    no_nodes().grown(nodes.len(), slots)
}

fn to_json(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys and no custom serialisers")
}

fn from_json<R: for<'de> Deserialize<'de>>((key, value): &(String, Vec<u8>)) -> Result<R> {
    serde_json::from_slice(value).map_err(|error| Error::Setting {
        setting: format!("{key} in the store"),
        problem: format!("{error}; it was written by another version"),
    })
}
