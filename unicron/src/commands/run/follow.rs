//! A task that was handed in, until its end: what happens to it, for people, and how it ends.

use crate::proto::v1::{Event, EventsRequest, Task, TasksRequest};
use crate::rpc::{Client, Endpoints};
use crate::{Error, Result};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often it is asked how the task is.
const POLL: Duration = Duration::from_millis(200);

/// Kinds of events that whoever waits for a script wants to see.
const SHOWN: [&str; 12] = [
    "failure",
    "warning",
    "restart",
    "world-size",
    "group",
    "plan",
    "node-joined",
    "node-lost",
    "node-isolated",
    "task-done",
    "task-failed",
    "task-stopped",
];

/// Waits for the end of a task; `patience` is for its coordinator, and for the task to appear.
pub async fn until_end(endpoints: &Endpoints, name: &str, patience: Duration) -> Result<Task> {
    let mut heard = Instant::now();
    loop {
        let tasks = async |mut client: Client| client.tasks(TasksRequest {}).await;
        let asked = tokio::time::timeout(patience, endpoints.ask(tasks)).await;
        match asked {
            Ok(Ok(reply)) => {
                let task = reply.tasks.into_iter().rev().find(|task| task.name == name);
                match task {
                    Some(task) if task.has_ended() => return Ok(task),
                    Some(_) => heard = Instant::now(),
                    None => {}
                }
            }
            Ok(Err(error)) if heard.elapsed() > patience => return Err(error),
            _ => {}
        }
        if heard.elapsed() > patience {
            return Err(Error::Unreachable {
                what: format!("task {name}"),
                problem: format!("nobody has handed it in for {} s", patience.as_secs()),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Prints what happens to a task, for ever.
pub async fn print_events(endpoints: Endpoints, name: String) {
    let mut after = 0;
    loop {
        let request = EventsRequest { after, follow: true };
        let events = async |mut client: Client| client.events(request).await;
        if let Ok(mut stream) = endpoints.ask(events).await {
            while let Ok(Some(event)) = stream.message().await {
                after = event.sequence;
                show(&event, &name);
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

fn show(event: &Event, name: &str) {
    let is_about_it = event.task.is_empty() || event.task == name;
    if !is_about_it || !SHOWN.contains(&event.kind.as_str()) {
        return;
    }
    let place = match event.node.as_str() {
        "" => String::new(),
        node => format!(" on {node}"),
    };
    // A terminal that is gone ends nobody's training.
    let _ = writeln!(std::io::stderr(), "run: {}{place}: {}", event.kind, event.text);
}
