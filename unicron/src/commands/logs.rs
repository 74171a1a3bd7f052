//! `unicron logs`

use super::connection::{Connection, wait_for};
use crate::proto::v1::LogsRequest;
use clap::Args;
use common::command::print;

/// Print the last lines of a task's workers
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unicron logs gpt --lines 50")]
pub struct Logs {
    /// The task
    #[arg(value_name = "TASK")]
    task: String,
    /// Lines of each worker; at most 200 are kept
    #[arg(long, value_name = "N", default_value_t = 20)]
    lines: u32,
    #[command(flatten)]
    connection: Connection,
}

impl Logs {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        let request = LogsRequest { task: self.task.clone(), lines: self.lines };
        let reply = wait_for(async {
            let logs = async |mut client: crate::rpc::Client| client.logs(request.clone()).await;
            Ok(endpoints.ask(logs).await?)
        })?;
        for log in reply.logs {
            for line in log.lines {
                print(&format!("[worker {:x}] {line}\n", log.worker))?;
            }
        }
        Ok(())
    }
}
