//! `unicron stop`

use super::connection::{Connection, wait_for};
use crate::proto::v1::StopRequest;
use clap::Args;
use common::command::print;

/// End a task
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unicron stop gpt")]
pub struct Stop {
    /// The task
    #[arg(value_name = "TASK")]
    task: String,
    #[command(flatten)]
    connection: Connection,
}

impl Stop {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        let request = StopRequest { task: self.task.clone() };
        wait_for(async {
            let stop = async |mut client: crate::rpc::Client| client.stop(request.clone()).await;
            Ok(endpoints.ask(stop).await?)
        })?;
        print(&format!("task {} is stopped\n", self.task))
    }
}
