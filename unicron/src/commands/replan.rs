//! `unicron replan`

use super::connection::{Connection, wait_for};
use crate::proto::v1::ReplanRequest;
use crate::rpc::Client;
use clap::Args;
use common::command::print;

/// Plan now for all tasks, and give them the workers that the plan says
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  unicron replan

A coordinator plans by itself whenever something happens, unless it was started with --advise: then this
does what it advises about the sizes of tasks.")]
pub struct Replan {
    #[command(flatten)]
    connection: Connection,
}

impl Replan {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let endpoints = self.connection.endpoints()?;
        wait_for(async {
            let replan = async |mut client: Client| client.replan(ReplanRequest {}).await;
            Ok(endpoints.ask(replan).await?)
        })?;
        print("planned; `unicron events` says what changes\n")
    }
}
