//! `unicron tasks`

use super::connection::{Connection, wait_for};
use crate::proto::v1::{Task, TasksRequest};
use clap::Args;
use common::command::{print, print_json};
use common::report::{Align, Table};
use serde_json::{Value, json};

/// List tasks: how far they are, and who works on them
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unicron tasks --coordinator 10.0.0.1:7100 --json

The column `gives way` is the order in which tasks would have to give workers up; `why` tells of a task
that waits what it waits for, and its place in the line.")]
pub struct Tasks {
    #[command(flatten)]
    connection: Connection,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Tasks {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        let reply = wait_for(async {
            let tasks = async |mut client: crate::rpc::Client| client.tasks(TasksRequest {}).await;
            Ok(endpoints.ask(tasks).await?)
        })?;
        match self.json {
            true => {
                let tasks: Vec<Value> = reply.tasks.iter().map(to_json).collect();
                print_json(&json!({ "tasks": tasks }))
            }
            false => print(&to_text(&reply.tasks)),
        }
    }
}

/// A task for scripts.
pub fn to_json(task: &Task) -> Value {
    let workers = task.workers.iter().map(|worker| {
        json!({
            "rank": worker.rank,
            "node": worker.node,
            "pid": worker.pid,
            "worker": worker.worker,
            "stage": worker.stage,
            "state": worker.state,
        })
    });
    let mut object = json!({
        "name": task.name,
        "state": task.state,
        "iteration": task.iteration,
        "epoch": task.epoch,
        "workers": workers.collect::<Vec<_>>(),
        "wanted": task.wanted,
        "weight": task.weight,
        "loss": task.loss,
        "failures": task.failures,
        "effective_time_ratio": task.effective_time_ratio,
        "waf": task.waf,
        "queue_position": task.queue_position,
        "preemption_position": task.preemption_position,
        "last_worker_waf": task.last_worker_waf,
        "accumulated_waf": task.accumulated_waf,
        "worker_seconds": worker_seconds(task),
        "recomputed_micro_batches": task.recomputed_micro_batches,
        "recomputed_stage_passes": task.recomputed_stage_passes,
        "iterations_committed_twice": task.committed_twice,
    });
    for (key, text) in [
        ("reason", &task.reason),
        ("weights_file", &task.weights_file),
        ("weights_sha256", &task.weights_sha256),
    ] {
        if !text.is_empty() {
            object[key] = json!(text);
        }
    }
    object
}

/// What its workers' time was spent on.
fn worker_seconds(task: &Task) -> Value {
    let bins = task.worker_seconds.unwrap_or_default();
    json!({
        "useful": bins.useful,
        "detecting": bins.detecting,
        "in_transition": bins.in_transition,
        "redone": bins.redone,
        "idle": bins.idle,
        "uncommitted": task.uncommitted_worker_seconds,
    })
}

fn to_text(tasks: &[Task]) -> String {
    let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
    let mut table = Table::new(&[
        left("task"),
        left("state"),
        right("iteration"),
        right("loss"),
        right("workers"),
        left("nodes"),
        right("failures"),
        right("effective"),
        right("gives way"),
        left("why"),
    ]);
    for task in tasks {
        let mut nodes: Vec<&str> = task.workers.iter().map(|worker| &*worker.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        table.row([
            task.name.clone(),
            task.state.clone(),
            task.iteration.to_string(),
            task.loss.map_or(String::new(), |loss| format!("{loss:.4}")),
            format!("{} of {}", task.workers.len(), task.wanted),
            nodes.join(" "),
            task.failures.to_string(),
            format!("{:.0} %", 100.0 * task.effective_time_ratio),
            task.preemption_position.map_or(String::new(), |place| format!("{place}.")),
            task.reason.clone(),
        ]);
    }
    table.to_text()
}
