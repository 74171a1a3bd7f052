//! `unicron submit`

use super::connection::{Connection, wait_for};
use crate::coordinator::TaskFile;
use crate::proto::v1::SubmitRequest;
use clap::Args;
use common::command::{print, print_json};
use serde_json::json;
use std::path::PathBuf;

/// Hand in a task
#[derive(Debug, Args)]
#[command(after_help = "\
The file:

  name = \"gpt\"
  workers = 4               # wanted
  min_workers = 2           # fewer is worth nothing
  weight = 1.0

  [train]                   # the reference trainer; or command = [\"python3\", \"train.py\"]
  preset = \"tiny\"
  iterations = 100
  seed = 1

Example:
  unicron submit gpt.toml --coordinator 10.0.0.1:7100")]
pub struct Submit {
    /// The task's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Submit {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (_, toml) = TaskFile::read(&self.file)?;
        let endpoints = self.connection.endpoints()?;
        let request = SubmitRequest { toml };
        let reply = wait_for(async {
            let submit =
                async |mut client: crate::rpc::Client| client.submit(request.clone()).await;
            Ok(endpoints.ask(submit).await?)
        })?;
        match self.json {
            true => print_json(&json!({ "task": reply.task })),
            false => print(&format!("task {} is handed in\n", reply.task)),
        }
    }
}
