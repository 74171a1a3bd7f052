//! `unicron events`

use super::connection::{Connection, wait_for};
use crate::proto::v1::{Event, EventsRequest};
use clap::Args;
use common::command::{print, print_json};
use common::report::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

/// Tell what has happened
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unicron events --follow
  unicron events --after 100 --json")]
pub struct Events {
    /// Only later ones than the event of this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// Go on with what happens
    #[arg(long, conflicts_with = "json")]
    follow: bool,
    #[command(flatten)]
    connection: Connection,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Events {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        let request = EventsRequest { after: self.after, follow: self.follow };
        wait_for(async {
            let events = async |mut client: crate::rpc::Client| client.events(request).await;
            let mut stream = endpoints.ask(events).await?;
            let mut all = Vec::new();
            while let Some(event) =
                stream.message().await.map_err(|status| crate::rpc::client::refused(&status))?
            {
                match self.json {
                    true => all.push(to_json(&event)),
                    false => print(&to_text(&event))?,
                }
            }
            match self.json {
                true => print_json(&json!({ "events": all })),
                false => Ok(()),
            }
        })
    }
}

fn to_json(event: &Event) -> Value {
    let details: Value = serde_json::from_str(&event.details).unwrap_or(Value::Null);
    json!({
        "sequence": event.sequence,
        "at_ms": event.at_ms,
        "kind": event.kind,
        "task": event.task,
        "node": event.node,
        "worker": event.worker,
        "text": event.text,
        "details": details,
    })
}

fn to_text(event: &Event) -> String {
    let about = [&event.task, &event.node].map(String::as_str).join(" ");
    let time =
        Timestamp::from(UNIX_EPOCH + Duration::from_millis(event.at_ms.max(0).unsigned_abs()));
    format!("{:>6} {time} {:<16} {:<24} {}\n", event.sequence, event.kind, about.trim(), event.text)
}
