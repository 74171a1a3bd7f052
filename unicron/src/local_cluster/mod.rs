//! A whole cluster on this machine: a coordinator and agents as processes, with real workers. For
//! demonstrations, tests and benchmarks.
//!
//! | what | file |
//! |---|---|
//! | starting, asking, and ending it | this |
//! | what goes wrong on purpose | [`fault`] |
//! | many things that go wrong at once | [`chaos`] |
//! | nodes that can be cut off from each other | [`network`] |
//! | thousands of agents that are made up | [`swarm`] |
//! | connections that are reset | [`reset`] |
//! | a browser that looks at the dashboard | [`browser`] |
//! | a process that ends with us | `child` |

pub mod browser;
pub mod chaos;
mod child;
pub mod fault;
pub mod network;
pub mod reset;
pub mod swarm;

use crate::proto::v1;
use crate::rpc::{Client, Endpoints, TlsFiles};
use crate::{Error, Result};
use child::Child;
use network::Network;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How a cluster is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program `unicron`.
    pub program: PathBuf,
    /// Its own folder: state, checkpoints, logs of its processes.
    pub folder: PathBuf,
    /// Seconds that a node's lease lasts.
    pub lease_s: f64,
    /// In the environment of every process.
    pub run_id: String,
    /// etcd's URL, if the coordinators keep their state there.
    pub etcd: Option<String>,
    /// Whether nodes have networks of their own, which takes root: see [`network`].
    pub has_networks: bool,
}

impl Options {
    /// Of one coordinator that keeps its state in its folder, which is no other cluster's.
    #[must_use]
    pub fn new(program: PathBuf, folder: &Path, lease_s: f64) -> Self {
        let run_id =
            folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let folder = folder.to_owned();
        Self { program, folder, lease_s, run_id, etcd: None, has_networks: false }
    }
}

/// Certificates of both sides, where a cluster's connections are encrypted.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// The coordinators'.
    pub coordinator: TlsFiles,
    /// Of everybody who talks to them.
    pub client: TlsFiles,
}

/// A cluster that runs.
#[derive(Debug)]
pub struct LocalCluster {
    options: Options,
    encryption: Option<Encryption>,
    /// Whether coordinators say only what they would do.
    advises: bool,
    /// By address.
    coordinators: BTreeMap<String, Child>,
    /// Of the coordinator that is started again where it was.
    first_address: String,
    /// Where that one tells its metrics, and shows the dashboard: host:port.
    metrics_address: String,
    dashboard_address: String,
    agents: BTreeMap<String, Child>,
    endpoints: Endpoints,
    network: Option<Network>,
}

/// Starting a process takes a second on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked whether something has come true.
const POLL: Duration = Duration::from_millis(20);

impl LocalCluster {
    /// Starts a coordinator.
    ///
    /// # Errors
    /// If it doesn't come up.
    pub async fn start(options: Options) -> Result<Self> {
        Self::start_with(options, None, false).await
    }

    /// Starts a coordinator and agents of so many slots, and waits until all are there.
    ///
    /// # Errors
    /// If one doesn't come up in time.
    pub async fn start_with_agents(
        options: Options,
        nodes: &[&str],
        slots: usize,
        patience: Duration,
    ) -> Result<Self> {
        let mut cluster = Self::start(options).await?;
        for node in nodes {
            cluster.add_agent(node, slots).await?;
        }
        cluster.until_ready(nodes.len(), patience).await?;
        Ok(cluster)
    }

    /// Starts a coordinator, with certificates on both sides of every connection.
    ///
    /// # Errors
    /// If it doesn't come up, or a certificate can't be read.
    pub async fn start_encrypted(options: Options, encryption: Encryption) -> Result<Self> {
        Self::start_with(options, Some(encryption), false).await
    }

    /// Starts a coordinator that says what it would do.
    ///
    /// # Errors
    /// If it doesn't come up.
    pub async fn start_advising(options: Options) -> Result<Self> {
        Self::start_with(options, None, true).await
    }

    async fn start_with(
        options: Options,
        encryption: Option<Encryption>,
        advises: bool,
    ) -> Result<Self> {
        std::fs::create_dir_all(&options.folder).map_err(Error::io(&options.folder))?;
        let network = options.has_networks.then(Network::new).transpose()?;
        let mut cluster = Self {
            options,
            encryption,
            advises,
            coordinators: BTreeMap::new(),
            first_address: String::new(),
            metrics_address: String::new(),
            dashboard_address: String::new(),
            agents: BTreeMap::new(),
            // Of nobody yet.
            endpoints: Endpoints::new("127.0.0.1:0", None, None)?,
            network,
        };
        let (coordinator, address) = cluster.start_coordinator(&cluster.any_port()).await?;
        coordinator.says("leads in term ", START_PATIENCE).await?;
        cluster.metrics_address = metrics_address(&coordinator).await?;
        cluster.dashboard_address = dashboard_address(&coordinator).await?;
        cluster.first_address.clone_from(&address);
        cluster.coordinators.insert(address, coordinator);
        cluster.endpoints = cluster.reachable()?;
        Ok(cluster)
    }

    /// Endpoints of all coordinators.
    fn reachable(&self) -> Result<Endpoints> {
        let client = self.encryption.as_ref().map(|encryption| encryption.client.read());
        Endpoints::new(&self.addresses(), client.transpose()?, None)
    }

    /// Where the coordinators are, and how they know us.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The processor's time that the coordinator has used which was started first.
    #[must_use]
    pub fn coordinator_cpu(&self) -> Option<Duration> {
        let pid = self.coordinators.get(&self.first_address)?.pid()?;
        Some(crate::agent::proc_stat::read(Path::new(&format!("/proc/{pid}")))?.cpu)
    }

    /// Starts another coordinator on the same etcd. Agents that are started afterwards know of it.
    ///
    /// # Errors
    /// If it doesn't come up.
    pub async fn add_coordinator(&mut self) -> Result<()> {
        let (coordinator, address) = self.start_coordinator(&self.any_port()).await?;
        self.coordinators.insert(address, coordinator);
        self.endpoints = self.reachable()?;
        Ok(())
    }

    /// `host:port` of all coordinators, separated by commas.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses: Vec<&str> = self.coordinators.keys().map(String::as_str).collect();
        addresses.join(",")
    }

    /// Where the coordinator that was started first tells its metrics, in HTTP: `host:port`.
    #[must_use]
    pub fn metrics_address(&self) -> &str {
        &self.metrics_address
    }

    /// Where it shows the dashboard: `host:port`.
    #[must_use]
    pub fn dashboard_address(&self) -> &str {
        &self.dashboard_address
    }

    /// The folder of the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Starts an agent of so many slots.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn add_agent(&mut self, node: &str, slots: usize) -> Result<()> {
        let (slots, addresses) = (slots.to_string(), self.addresses());
        let host = self.network.as_mut().map(|network| network.add(node)).transpose()?;
        let host = host.unwrap_or(Ipv4Addr::LOCALHOST).to_string();
        let entry = self.network.as_ref().map(|network| network.entry(node)).unwrap_or_default();
        let connection = ["agent", "--coordinator", &addresses, "--node", node, "--slots", &slots];
        let arguments = [&connection[..], &["--host", &host, "--grace", "2"]].concat();
        let agent = Child::start(&self.options, &format!("agent-{node}"), &entry, &arguments)?;
        self.agents.insert(node.to_owned(), agent);
        Ok(())
    }

    /// The process of a node's agent.
    #[must_use]
    pub fn agent_pid(&self, node: &str) -> Option<u32> {
        self.agents.get(node)?.pid()
    }

    /// The nodes' networks, if they have any of their own.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Kills a node's agent at once.
    pub async fn kill_agent(&mut self, node: &str) {
        if let Some(mut agent) = self.agents.remove(node) {
            agent.kill().await;
        }
    }

    /// Kills the coordinator that was started first, at once.
    pub async fn kill_coordinator(&mut self) {
        if let Some(mut coordinator) = self.coordinators.remove(&self.first_address) {
            coordinator.kill().await;
        }
    }

    /// Starts a coordinator anew where the first one listened, with its state.
    ///
    /// # Errors
    /// If it doesn't come up.
    pub async fn restart_coordinator(&mut self) -> Result<()> {
        let (coordinator, address) = self.start_coordinator(&self.first_address).await?;
        coordinator.says("leads in term ", START_PATIENCE).await?;
        self.metrics_address = metrics_address(&coordinator).await?;
        self.dashboard_address = dashboard_address(&coordinator).await?;
        self.coordinators.insert(address, coordinator);
        Ok(())
    }

    /// Hands in a task.
    ///
    /// # Errors
    /// If the coordinator refuses it or can't be reached.
    pub async fn submit(&self, toml: &str) -> Result<()> {
        let request = v1::SubmitRequest { toml: toml.to_owned() };
        let submit = async |mut client: Client| client.submit(request.clone()).await;
        self.endpoints.ask(submit).await.map(|_| ())
    }

    /// All tasks.
    ///
    /// # Errors
    /// If the coordinator can't be reached.
    pub async fn tasks(&self) -> Result<Vec<v1::Task>> {
        let tasks = async |mut client: Client| client.tasks(v1::TasksRequest {}).await;
        Ok(self.endpoints.ask(tasks).await?.tasks)
    }

    /// A task.
    ///
    /// # Errors
    /// If there is none of this name, or the coordinator can't be reached.
    pub async fn task(&self, name: &str) -> Result<v1::Task> {
        let found = self.tasks().await?.into_iter().find(|task| task.name == name);
        found.ok_or_else(|| Error::Refused { problem: format!("there is no task {name}") })
    }

    /// All nodes.
    ///
    /// # Errors
    /// If the coordinator can't be reached.
    pub async fn nodes(&self) -> Result<Vec<v1::Node>> {
        let nodes = async |mut client: Client| client.nodes(v1::NodesRequest {}).await;
        Ok(self.endpoints.ask(nodes).await?.nodes)
    }

    /// Frees a node, or lets it have tasks again.
    ///
    /// # Errors
    /// If the coordinator refuses or can't be reached.
    pub async fn set_drained(&self, node: &str, is_drained: bool) -> Result<()> {
        let node = node.to_owned();
        if is_drained {
            let request = v1::DrainRequest { node };
            let drain = async |mut client: Client| client.drain(request.clone()).await;
            return self.endpoints.ask(drain).await.map(|_| ());
        }
        let request = v1::UndrainRequest { node };
        let undrain = async |mut client: Client| client.undrain(request.clone()).await;
        self.endpoints.ask(undrain).await.map(|_| ())
    }

    /// The events after the one of that number.
    ///
    /// # Errors
    /// If the coordinator can't be reached.
    pub async fn events(&self, after: u64) -> Result<Vec<v1::Event>> {
        let request = v1::EventsRequest { after, follow: false };
        let events = async |mut client: Client| client.events(request).await;
        let mut stream = self.endpoints.ask(events).await?;
        let mut all = Vec::new();
        while let Some(event) =
            stream.message().await.map_err(|status| crate::rpc::client::refused(&status))?
        {
            all.push(event);
        }
        Ok(all)
    }

    /// Waits until a task is as wanted.
    ///
    /// # Errors
    /// If that takes longer than `patience`, with what the task is like; if there is no such task.
    pub async fn until(
        &self,
        name: &str,
        patience: Duration,
        is_wanted: impl Fn(&v1::Task) -> bool,
    ) -> Result<v1::Task> {
        let deadline = Instant::now() + patience;
        loop {
            // A coordinator that is being restarted is waited for.
            let task = self.task(name).await;
            match &task {
                Ok(found) if is_wanted(found) => return task,
                Ok(_) | Err(Error::Unreachable { .. }) if Instant::now() < deadline => {}
                Ok(found) => {
                    let problem = format!("after {patience:?} it is still {found:?}");
                    return Err(Error::Unreachable { what: format!("task {name}"), problem });
                }
                Err(_) => return task,
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until so many nodes may have tasks.
    ///
    /// # Errors
    /// If that takes longer than `patience`.
    pub async fn until_ready(&self, count: usize, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let nodes = self.nodes().await.unwrap_or_default();
            if nodes.iter().filter(|node| node.state == "ready").count() >= count {
                return Ok(());
            }
            if Instant::now() > deadline {
                let problem = format!("after {patience:?} there are {nodes:?}");
                return Err(Error::Unreachable { what: format!("{count} nodes"), problem });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends agents and coordinator, each as a person would, and waits for them.
    pub async fn end(mut self) {
        for agent in self.agents.values() {
            agent.signal(nix::sys::signal::Signal::SIGCONT);
            agent.signal(nix::sys::signal::Signal::SIGTERM);
        }
        for agent in self.agents.values_mut() {
            agent.wait_or_kill().await;
        }
        for coordinator in self.coordinators.values_mut() {
            coordinator.signal(nix::sys::signal::Signal::SIGTERM);
            coordinator.wait_or_kill().await;
        }
    }

    /// Where a coordinator listens that doesn't care.
    fn any_port(&self) -> String {
        let address = self.network.as_ref().map_or(Ipv4Addr::LOCALHOST, Network::address);
        format!("{address}:0")
    }

    async fn start_coordinator(&self, listen: &str) -> Result<(Child, String)> {
        let data = self.options.folder.join("coordinator").display().to_string();
        let lease = self.options.lease_s.to_string();
        let mut arguments =
            vec!["coordinator", "--listen", listen, "--data", &data, "--lease", &lease];
        if self.options.has_networks {
            // Others than the nodes have no way there.
            arguments.push("--insecure");
        }
        if self.advises {
            arguments.push("--advise");
        }
        arguments.extend(["--metrics", "127.0.0.1:0", "--dashboard", "127.0.0.1:0"]);
        if let Some(etcd) = &self.options.etcd {
            arguments.extend(["--etcd", etcd]);
        }
        let files =
            self.encryption.as_ref().map(|encryption| arguments_of(&encryption.coordinator));
        let files = files.unwrap_or_default();
        arguments.extend(files.iter().map(String::as_str));
        let coordinator = Child::start(&self.options, "coordinator", &[], &arguments)?;
        let address = coordinator.says("listens on ", START_PATIENCE).await?;
        Ok((coordinator, address))
    }
}

/// Certificates as arguments of a command.
fn arguments_of(files: &TlsFiles) -> Vec<String> {
    let given = [
        ("--tls-ca", Some(&files.ca)),
        ("--tls-cert", files.certificate.as_ref()),
        ("--tls-key", files.key.as_ref()),
    ];
    let given = given.into_iter().filter_map(|(name, path)| Some((name, path?)));
    given.flat_map(|(name, path)| [name.to_owned(), path.display().to_string()]).collect()
}

async fn metrics_address(coordinator: &Child) -> Result<String> {
    let url = coordinator.says("metrics at http://", START_PATIENCE).await?;
    Ok(url.trim_end_matches("/metrics").to_owned())
}

async fn dashboard_address(coordinator: &Child) -> Result<String> {
    let url = coordinator.says("dashboard at http://", START_PATIENCE).await?;
    Ok(url.trim_end_matches('/').to_owned())
}
