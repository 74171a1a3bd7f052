//! `unicron coordinator`

use super::connection::{Security, wait_for};
use super::notices;
use crate::coordinator::brain::Settings;
use crate::coordinator::{Setup, serve};
use crate::core::{Authority, Config};
use crate::plan::Rule;
use crate::store::{Embedded, Etcd, EtcdSettings, KEPT_EVENTS, Store};
use clap::Args;
use common::command::{BadInput, InputContext};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Coordinate a cluster: take in agents and tasks, plan, and recover what fails
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unicron coordinator --data /var/lib/unicron
  unicron coordinator --data /var/lib/unicron --advise --dashboard 127.0.0.1:7180
  unicron coordinator --listen 10.0.0.1:7100 --data /srv/unicron --tls-ca ca.pem --tls-cert c.pem --tls-key c.key
  unicron coordinator --listen 10.0.0.1:7100 --data /srv/unicron --etcd http://10.0.0.9:2379 --insecure

With --advise a coordinator does what people ask for (submit, stop, drain, replan), and starts again what
has ended in its place, as any launcher does. It leaves alone what lives: it leaves no node, ends no worker
that hangs, moves, grows or shrinks no task and stops none. What it would do is an event `advice`, with the
command that does it; the dashboard shows what stands.

An address other than this machine's own asks for certificates, or for --insecure: whoever reaches a
coordinator may run programs on every node. Metrics and dashboard are told in clear to whoever asks, so
that another address for them asks for --insecure in any case.")]
pub struct Coordinator {
    /// Where to listen; port 0 takes a free one, which stderr names
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7100")]
    listen: SocketAddr,
    /// A folder for its state and for checkpoints, which all nodes should see
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Keep the state in etcd, which several coordinators share: URLs separated by commas
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
    /// The host:port by which others reach this coordinator, if not --listen
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Seconds without a word after which a node is lost
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    lease: f64,
    /// By which rule plans are valued: ours, the paper's, or ours without one of its parts
    #[arg(long, value_name = "RULE", default_value = "ours", value_parser = Rule::NAMES)]
    rule: String,
    /// Tell Prometheus at http://ADDR/metrics; port 0 takes a free one, which stderr names
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Show the dashboard at http://ADDR/, with the metrics at /metrics; port 0 likewise
    #[arg(long, value_name = "ADDR")]
    dashboard: Option<SocketAddr>,
    /// Say what it would do, and leave alone what lives: see below
    #[arg(long)]
    advise: bool,
    /// Listen to others than this machine without certificates
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    security: Security,
}

impl Coordinator {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        self.check()?;
        // Every agent is a connection.
        crate::rpc::file_limit::raise();
        wait_for(async move {
            std::fs::create_dir_all(&self.data).bad_input(self.data.display())?;
            let listener = TcpListener::bind(self.listen).await;
            let listener = listener.bad_input(format!("--listen {}", self.listen))?;
            let address = listener.local_addr()?;
            let metrics = bind("--metrics", self.metrics).await?;
            let dashboard = bind("--dashboard", self.dashboard).await?;
            let at = |listener: &Option<TcpListener>| {
                listener.as_ref().map(TcpListener::local_addr).transpose()
            };
            let addresses = (at(&metrics)?, at(&dashboard)?);
            let setup = self.setup(address, metrics, dashboard)?;
            let store = self.store().await?;
            let (stop, stopped) = watch::channel(false);
            tokio::spawn(async move {
                notices::asked_to_end().await;
                stop.send_replace(true);
            });
            let (notices, printing) = notices::print_all("coordinator");
            if let Some(address) = addresses.0 {
                notices.send(format!("metrics at http://{address}/metrics"))?;
            }
            if let Some(address) = addresses.1 {
                notices.send(format!("dashboard at http://{address}/"))?;
            }
            notices.send(format!("listens on {address}"))?;
            serve(setup, listener, store, stopped, notices).await?;
            printing.await?;
            Ok(())
        })
    }

    fn check(&self) -> anyhow::Result<()> {
        if !(0.5..=3600.0).contains(&self.lease) {
            let problem = format!("--lease {}: not 0.5 to 3600 seconds", self.lease);
            return Err(BadInput(problem).into());
        }
        for (name, address) in [("--metrics", self.metrics), ("--dashboard", self.dashboard)] {
            if let Some(address) = address.filter(|it| !it.ip().is_loopback() && !self.insecure) {
                let problem = format!(
                    "{name} {address}: others can read it, in clear; give an address of this machine, \
                     as 127.0.0.1:9464, or --insecure"
                );
                return Err(BadInput(problem).into());
            }
        }
        let is_protected = self.security.tls_ca.is_some() && self.security.tls_cert.is_some();
        if self.listen.ip().is_loopback() || is_protected || self.insecure {
            return Ok(());
        }
        Err(BadInput(format!(
            "--listen {}: others can reach it; give --tls-ca, --tls-cert and --tls-key, or --insecure",
            self.listen
        ))
        .into())
    }

    fn setup(
        &self,
        address: SocketAddr,
        metrics: Option<TcpListener>,
        dashboard: Option<TcpListener>,
    ) -> anyhow::Result<Setup> {
        let data = std::path::absolute(&self.data)?;
        let rule = Rule::named(&self.rule).expect("the argument's parser knows the names");
        let brain = Settings {
            lease_s: self.lease,
            rule,
            core: Config {
                authority: if self.advise { Authority::Advise } else { Authority::Act },
                ..Config::default()
            },
            checkpoints: data.join("tasks").display().to_string(),
            ..Settings::default()
        };
        Ok(Setup {
            brain,
            identity: self.advertise.clone().unwrap_or_else(|| address.to_string()),
            ttl: Duration::from_secs_f64(self.lease),
            tls: self.security.tls_files().map(|files| files.read()).transpose()?,
            token: self.security.token()?,
            metrics,
            dashboard,
        })
    }

    async fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        Ok(match &self.etcd {
            Some(endpoints) => Arc::new(Etcd::new(&EtcdSettings::new(endpoints))?),
            None => Arc::new(Embedded::open(&self.data, KEPT_EVENTS).await?),
        })
    }
}

async fn bind(name: &str, address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    Ok(Some(listener.bad_input(format!("{name} {address}"))?))
}
