//! What nodes are told to have. A burst of failures concerns thousands of nodes at once: all are told in one
//! pass over the tasks, what is the same for a task's workers is there once, and a message is only made of
//! it when it is sent, if nothing newer has come by then.

use super::Brain;
use super::task::Task;
use crate::proto::v1;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a node is to have.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Greater than that of anything told before.
    pub version: u64,
    workers: Vec<Wanted>,
    endings: Vec<v1::Ending>,
}

#[derive(Debug, Clone)]
struct Wanted {
    worker: u64,
    stage: u32,
    /// Workers of a task, which come one after another, have the same one.
    task: Arc<OfTask>,
}

#[derive(Debug)]
struct OfTask {
    name: String,
    launch: v1::Launch,
    group: Option<v1::Group>,
}

/// What a script reads as torchrun's bound on restarts where there is none.
const UNBOUNDED_RESTARTS: u64 = i32::MAX as u64;

impl Told {
    /// That of a node without workers.
    #[must_use]
    pub fn nothing(version: u64) -> Self {
        Self { version, workers: Vec::new(), endings: Vec::new() }
    }

    /// As it is on the wire.
    #[must_use]
    pub fn to_wire(&self) -> v1::NodeState {
        let worker = |wanted: &Wanted| v1::WantedWorker {
            worker: wanted.worker,
            task: wanted.task.name.clone(),
            stage: wanted.stage,
            launch: Some(wanted.task.launch.clone()),
        };
        let tasks = self.workers.chunk_by(|a, b| Arc::ptr_eq(&a.task, &b.task));
        v1::NodeState {
            version: self.version,
            workers: self.workers.iter().map(worker).collect(),
            groups: tasks.filter_map(|workers| workers[0].task.group.clone()).collect(),
            endings: self.endings.clone(),
        }
    }
}

impl Brain {
    /// What these nodes are to have, newer than what this gave before.
    pub fn tell(&mut self, nodes: &BTreeSet<usize>) -> BTreeMap<usize, Told> {
        let mut told: BTreeMap<usize, Told> =
            nodes.iter().map(|&node| (node, Told::nothing(self.number()))).collect();
        if told.is_empty() {
            return told;
        }
        for ending in &self.endings {
            if let Some(told) = told.get_mut(&ending.node) {
                let (worker, grace_s) = (ending.worker, ending.grace_s);
                told.endings.push(v1::Ending { worker, grace_s });
            }
        }
        for task in self.tasks.iter().filter(|task| !task.workers.is_empty()) {
            let (name, launch) = (task.file.name.clone(), self.launch(task));
            let group = task.group.as_ref().map(|group| v1::Group::of(&name, group));
            let of_task = Arc::new(OfTask { name, launch, group });
            for (&worker, known) in &task.workers {
                if let Some(told) = told.get_mut(&known.node) {
                    let (stage, task) = (known.stage, Arc::clone(&of_task));
                    told.workers.push(Wanted { worker, stage, task });
                }
            }
        }
        told
    }

    fn launch(&self, task: &Task) -> v1::Launch {
        let folder = match &task.file.checkpoints {
            Some(folder) => folder.clone(),
            None => format!("{}/{}", self.settings.checkpoints, task.file.name),
        };
        let mut environment: BTreeMap<String, String> = task.file.environment.clone();
        environment.insert(crate::worker::protocol::env::CHECKPOINTS.to_owned(), folder);
        let (command, is_unicron) = match task.file.train_arguments() {
            Some(arguments) => (arguments, true),
            None => (task.file.command.clone().unwrap_or_default(), false),
        };
        let starts_with_group = task.file.starts_with_group();
        if starts_with_group {
            let most = task.file.max_restarts.unwrap_or(UNBOUNDED_RESTARTS);
            environment.insert("TORCHELASTIC_RUN_ID".to_owned(), task.file.name.clone());
            environment.insert("TORCHELASTIC_MAX_RESTARTS".to_owned(), most.to_string());
        }
        v1::Launch {
            command,
            environment: environment.into_iter().collect(),
            is_unicron,
            starts_with_group,
            hang_after_s: task.file.hang_after_s.unwrap_or(0.0),
            grace_s: task.file.grace_s.unwrap_or(0.0),
        }
    }
}
