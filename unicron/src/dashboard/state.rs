//! The state and the events as the page reads them: JSON that a browser takes in within a frame. So a node
//! names its tasks, and a task its workers by their number only.

use super::source::Events;
use crate::proto::v1::{Event, Node, OverviewReply, Task};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Tasks that have ended and are shown, the newest.
const MOST_ENDED: usize = 50;

/// Lines of a failed worker's output that are shown.
const MOST_LINES: usize = 40;

/// Everything but the events.
#[must_use]
pub fn of_overview(overview: &OverviewReply) -> Vec<u8> {
    let mut tasks_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for task in &overview.tasks {
        for worker in &task.workers {
            let names = tasks_of.entry(&worker.node).or_default();
            if !names.contains(&task.name.as_str()) {
                names.push(&task.name);
            }
        }
    }
    // People look for gpu-9 before gpu-10.
    let mut nodes: Vec<&Node> = overview.nodes.iter().collect();
    nodes.sort_by_cached_key(|node| natural(&node.name));
    let nodes = nodes.into_iter().map(|node| {
        let tasks = tasks_of.get(node.name.as_str());
        of_node(node, tasks.map_or(&[], Vec::as_slice))
    });
    let bins = overview.worker_seconds.unwrap_or_default();
    let history = overview.history.clone().unwrap_or_default();
    let state = json!({
        "term": overview.term,
        "last_event": overview.last_event,
        "advises": overview.advises,
        "advice": overview.advice.iter().map(|advice| json!({
            "at_ms": advice.at_ms, "text": advice.text, "command": advice.command,
        })).collect::<Vec<_>>(),
        "nodes": nodes.collect::<Vec<_>>(),
        "tasks": tasks(overview),
        "worker_seconds": {
            "useful": bins.useful,
            "uncommitted": overview.uncommitted_worker_seconds,
            "detecting": bins.detecting,
            "in transition": bins.in_transition,
            "redone": bins.redone,
            "idle": bins.idle,
        },
        "plan": overview.plan.as_ref().map(|plan| json!({
            "at_ms": plan.at_ms,
            "text": plan.text,
            "source": plan.source,
            "total_waf": plan.total_waf,
            "reasons": plan.reasons.iter().map(|reason| json!({
                "task": reason.task, "text": reason.text,
            })).collect::<Vec<_>>(),
        })),
        "history": {
            "from_ms": history.from_ms,
            "step_s": history.step_s,
            "waf": history.waf,
            "planned": history.planned,
        },
    });
    state.to_string().into_bytes()
}

/// A name's letters and numbers in turn, so that numbers are compared as such.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = vec![(String::new(), 0_u64)];
    for letter in name.chars() {
        let (text, number) = parts.last_mut().expect("there is one from the start");
        match letter.to_digit(10) {
            Some(digit) => *number = number.saturating_mul(10).saturating_add(digit.into()),
            None if *number > 0 => parts.push((letter.to_string(), 0)),
            None => text.push(letter),
        }
    }
    parts
}

fn of_node(node: &Node, tasks: &[&str]) -> Value {
    let mut object = json!({
        "name": node.name,
        "state": node.state,
        "slots": node.slots,
        "used": node.used,
    });
    if !tasks.is_empty() {
        object["tasks"] = json!(tasks);
    }
    if !node.reason.is_empty() {
        object["reason"] = json!(node.reason);
    }
    if let Some(gpu) = node.gpus.first() {
        object["gpu"] = json!(gpu);
    }
    object
}

/// Those that live and the last of those that have ended.
fn tasks(overview: &OverviewReply) -> Vec<Value> {
    let has_ended = |task: &Task| matches!(task.state.as_str(), "done" | "stopped" | "failed");
    let mut hidden = overview.tasks.iter().filter(|task| has_ended(task)).count();
    hidden = hidden.saturating_sub(MOST_ENDED);
    let mut shown = Vec::new();
    for (number, task) in overview.tasks.iter().enumerate() {
        match has_ended(task) && hidden > 0 {
            true => hidden -= 1,
            false => shown.push(of_task(number, task)),
        }
    }
    shown
}

/// A task; names may come again, numbers don't.
fn of_task(number: usize, task: &Task) -> Value {
    json!({
        "number": number,
        "name": task.name,
        "state": task.state,
        "reason": task.reason,
        "iteration": task.iteration,
        "loss": task.loss,
        "workers": task.workers.len(),
        "working": task.workers.iter().filter(|worker| worker.state == "working").count(),
        "wanted": task.wanted,
        "weight": task.weight,
        "waf": task.waf,
        "failures": task.failures,
        "effective_time_ratio": task.effective_time_ratio,
        "queue_position": task.queue_position,
        "preemption_position": task.preemption_position,
        "last_worker_waf": task.last_worker_waf,
    })
}

/// Events, oldest first, with the last lines of what has failed.
#[must_use]
pub fn of_events(found: &Events) -> Vec<u8> {
    let events: Vec<Value> = found.events.iter().map(of_event).collect();
    json!({ "events": events, "last": found.last }).to_string().into_bytes()
}

fn of_event(event: &Event) -> Value {
    let mut details: Value = serde_json::from_str(&event.details).unwrap_or(Value::Null);
    let lines: Vec<Value> = match details["last_lines"].take() {
        Value::Array(lines) => lines,
        _ => Vec::new(),
    };
    let mut object = json!({
        "sequence": event.sequence,
        "at_ms": event.at_ms,
        "kind": event.kind,
        "text": event.text,
    });
    for (key, name) in [("task", &event.task), ("node", &event.node)] {
        if !name.is_empty() {
            object[key] = json!(name);
        }
    }
    if !lines.is_empty() {
        object["last_lines"] = json!(&lines[lines.len().saturating_sub(MOST_LINES)..]);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::TaskWorker;

    #[test]
    fn a_node_names_its_tasks() {
        let worker = |node: &str, state: &str| TaskWorker {
            node: node.to_owned(),
            state: state.to_owned(),
            ..TaskWorker::default()
        };
        let task = Task {
            name: "</script><b>".to_owned(),
            workers: vec![worker("a", "working"), worker("a", "ready")],
            ..Task::default()
        };
        let node = |name: &str| Node { name: name.to_owned(), ..Node::default() };
        let overview = OverviewReply {
            tasks: vec![task],
            nodes: vec![node("a"), node("b")],
            ..OverviewReply::default()
        };
        let state: Value = serde_json::from_slice(&of_overview(&overview)).unwrap();
        assert_eq!(state["nodes"][0]["tasks"], json!(["</script><b>"]));
        assert_eq!(state["nodes"][1].get("tasks"), None);
        assert_eq!(
            (&state["tasks"][0]["workers"], &state["tasks"][0]["working"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(state["plan"], Value::Null);
    }

    #[test]
    fn of_what_has_ended_the_last_is_shown() {
        let task = |state: &str| Task { state: state.to_owned(), ..Task::default() };
        let mut all = vec![task("running")];
        all.extend((0..MOST_ENDED + 2).map(|_| task("done")));
        let shown = tasks(&OverviewReply { tasks: all, ..OverviewReply::default() });
        let numbers: Vec<u64> = shown.iter().filter_map(|task| task["number"].as_u64()).collect();
        assert_eq!((numbers.len(), &numbers[..3]), (MOST_ENDED + 1, &[0, 3, 4][..]));
    }

    #[test]
    fn numbers_in_names_are_numbers() {
        let mut names = ["gpu-10", "gpu-9", "cpu-1-b", "gpu-9b", "cpu-1-a"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["cpu-1-a", "cpu-1-b", "gpu-9", "gpu-9b", "gpu-10"]);
    }

    #[test]
    fn the_last_lines_of_a_failure_are_told_and_no_more() {
        let lines: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        let details = json!({ "last_lines": lines, "status": "exited-abnormally" }).to_string();
        let event = Event { sequence: 7, details, ..Event::default() };
        let broken = Event { details: "{".to_owned(), ..Event::default() };
        let found = Events { events: vec![event, broken], last: 9 };
        let told: Value = serde_json::from_slice(&of_events(&found)).unwrap();
        assert_eq!(told["last"], 9);
        let told = &told["events"];
        assert_eq!(told[0]["last_lines"].as_array().unwrap().len(), MOST_LINES);
        assert_eq!(told[0]["last_lines"][MOST_LINES - 1], "99");
        assert_eq!(told[1].get("last_lines"), None);
    }
}
