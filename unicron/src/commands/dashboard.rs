//! `unicron dashboard`

use super::connection::{Connection, wait_on_one_thread};
use super::notices;
use crate::dashboard::{Dashboard as Pages, Source};
use crate::http::listener;
use clap::Args;
use common::command::{BadInput, InputContext};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Show a cluster as it is in a browser: nodes, tasks, the plan and why, what happens
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unicron dashboard
  unicron dashboard --coordinator 10.0.0.1:7100 --tls-ca ca.pem --tls-cert me.pem --tls-key me.key

It asks a coordinator by your token and certificates, and shows the page on this machine. A
coordinator shows the same page itself if it is started with --dashboard.")]
pub struct Dashboard {
    /// Where to show it; port 0 takes a free one, which stderr names
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7180")]
    listen: SocketAddr,
    /// Show it to others than this machine, without a password
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Dashboard {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if !self.listen.ip().is_loopback() && !self.insecure {
            let problem = format!(
                "--listen {}: others can read it, in clear; give an address of this machine, as \
                 127.0.0.1:7180, or --insecure",
                self.listen
            );
            return Err(BadInput(problem).into());
        }
        let endpoints = self.connection.endpoints()?;
        wait_on_one_thread(async move {
            // A mistake is told now, not on the page.
            endpoints.client().await?;
            let listener = TcpListener::bind(self.listen).await;
            let listener = listener.bad_input(format!("--listen {}", self.listen))?;
            let (notices, printing) = notices::print_all("dashboard");
            notices.send(format!("open http://{}/", listener.local_addr()?))?;
            tokio::select! {
                () = listener::listen(listener, Pages::new(Source::There(endpoints))) => {}
                () = notices::asked_to_end() => {}
            }
            drop(notices);
            printing.await?;
            Ok(())
        })
    }
}
