//! `unicron nodes`, `drain` and `undrain`

use super::connection::{Connection, wait_for};
use crate::proto::v1::{DrainRequest, Node, NodesRequest, UndrainRequest};
use crate::rpc::Client;
use clap::Args;
use common::command::{print, print_json};
use common::report::{Align, Table};
use serde_json::{Value, json};

/// List nodes: which may have tasks, and which have
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unicron nodes --coordinator 10.0.0.1:7100")]
pub struct Nodes {
    #[command(flatten)]
    connection: Connection,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Nodes {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        let reply = wait_for(async {
            let nodes = async |mut client: Client| client.nodes(NodesRequest {}).await;
            Ok(endpoints.ask(nodes).await?)
        })?;
        match self.json {
            true => {
                let nodes: Vec<Value> = reply.nodes.iter().map(to_json).collect();
                print_json(&json!({ "nodes": nodes }))
            }
            false => print(&to_text(&reply.nodes)),
        }
    }
}

fn to_json(node: &Node) -> Value {
    json!({
        "name": node.name,
        "state": node.state,
        "slots": node.slots,
        "used": node.used,
        "reason": node.reason,
        "lease_left_s": node.lease_left_s,
        "gpus": node.gpus,
    })
}

fn to_text(nodes: &[Node]) -> String {
    let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
    let mut table =
        Table::new(&[left("node"), left("state"), right("workers"), right("slots"), left("why")]);
    for node in nodes {
        table.row([
            node.name.clone(),
            node.state.clone(),
            node.used.to_string(),
            node.slots.to_string(),
            node.reason.clone(),
        ]);
    }
    table.to_text()
}

/// Free a node of tasks, which move first
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unicron drain gpu-17")]
pub struct Drain {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    connection: Connection,
}

impl Drain {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        let request = DrainRequest { node: self.node.clone() };
        wait_for(async {
            let drain = async |mut client: Client| client.drain(request.clone()).await;
            Ok(endpoints.ask(drain).await?)
        })?;
        print(&format!("tasks leave {}\n", self.node))
    }
}

/// Let a node have tasks again, drained or isolated
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unicron undrain gpu-17")]
pub struct Undrain {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    connection: Connection,
}

impl Undrain {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        let request = UndrainRequest { node: self.node.clone() };
        wait_for(async {
            let undrain = async |mut client: Client| client.undrain(request.clone()).await;
            Ok(endpoints.ask(undrain).await?)
        })?;
        print(&format!("{} may have tasks again\n", self.node))
    }
}
