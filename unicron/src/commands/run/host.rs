//! What runs beside the workers in the process of `unicron run`: an agent, and on one node the coordinator.

use super::{Run, follow, output};
use crate::agent;
use crate::commands::agent::settings_of;
use crate::commands::notices;
use crate::coordinator::brain::Settings;
use crate::coordinator::{Setup, serve};
use crate::proto::v1::{SubmitRequest, Task, TasksRequest};
use crate::rpc::{Client, Endpoints};
use crate::store::{Embedded, KEPT_EVENTS};
use anyhow::Context;
use common::command::BadInput;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What this process is of the whole.
#[derive(Debug)]
pub enum Role {
    /// All of it.
    Alone,
    /// A node of those that meet at this `host:port`; the coordinator, too, if that is here.
    Node(String),
    /// Neither: the coordinator's agents run the workers.
    Client(String),
}

/// Whoever finds no task waits so long for somebody else to hand it in.
const SOMEBODY_ELSE: Duration = Duration::from_secs(2);

/// After the end, the coordinator stays for so long: the others ask how it ended.
const LINGER: Duration = Duration::from_secs(2);

/// `EX_TEMPFAIL`'s neighbour in shells: ended by SIGTERM.
const ENDED_BY_SIGTERM: i32 = 143;

/// A coordinator in this process.
struct Hosted {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<crate::Result<()>>,
    /// Its state, if that goes with it.
    _folder: Option<tempfile::TempDir>,
}

/// Takes part until the task's end, which is returned. The coordinator's future stays on this thread.
pub async fn take_part(run: &Run, role: &Role, slots: usize, toml: String) -> anyhow::Result<Task> {
    let (notices, printing) = notices::print_all("run");
    let listener = match role {
        Role::Alone => Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
        Role::Node(endpoint) => listen_if_here(endpoint, run).await?,
        Role::Client(_) => None,
    };
    let hosted = match listener {
        Some(listener) => Some(host(run, listener, notices.clone()).await?),
        None => None,
    };
    let address = match (&hosted, role) {
        (Some(hosted), _) => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), hosted.address.port()).to_string()
        }
        (None, Role::Node(address) | Role::Client(address)) => address.clone(),
        (None, Role::Alone) => unreachable_alone()?,
    };
    let tls = run.security.tls_files().map(|files| files.read()).transpose()?;
    let endpoints = Endpoints::new(&address, tls, run.security.token()?.as_deref())?;
    let (stop_agent, agent_stopped) = watch::channel(false);
    let attending = match role {
        Role::Client(_) => None,
        _ => Some(attend(run, slots, &endpoints, agent_stopped, notices.clone())?),
    };
    let is_first = hosted.is_some() || attending.is_none();
    let ended = tokio::select! {
        ended = see_through(run, &endpoints, toml, is_first) => ended,
        () = notices::asked_to_end() => Ok(Task {
            name: run.rdzv_id.clone(),
            state: "stopped".to_owned(),
            reason: "this process was asked to end".to_owned(),
            exit_code: Some(ENDED_BY_SIGTERM),
            ..Task::default()
        }),
    };
    stop_agent.send_replace(true);
    if let Some((attending, printing)) = attending {
        attending.await??;
        printing.await?;
    }
    if let Some(hosted) = hosted {
        if run.nnodes.most > 1 && ended.is_ok() {
            tokio::time::sleep(LINGER).await;
        }
        hosted.stop.send_replace(true);
        hosted.serving.await??;
    }
    drop(notices);
    printing.await?;
    ended
}

fn unreachable_alone() -> anyhow::Result<String> {
    anyhow::bail!("a node alone hosts its coordinator")
}

/// Hands the task in, unless somebody else does, and waits for its end.
async fn see_through(
    run: &Run,
    endpoints: &Endpoints,
    toml: String,
    is_first: bool,
) -> anyhow::Result<Task> {
    let name = &run.rdzv_id;
    let events =
        is_first.then(|| tokio::spawn(follow::print_events(endpoints.clone(), name.clone())));
    if !is_first {
        tokio::time::sleep(SOMEBODY_ELSE).await;
    }
    // Whoever answers leads.
    let is_known_already = is_known(endpoints, name, run.patience()).await?;
    if is_first || !is_known_already {
        let submit =
            async |mut client: Client| client.submit(SubmitRequest { toml: toml.clone() }).await;
        let submitted = endpoints.ask(submit).await;
        // Another may have been faster.
        if is_first || !is_known(endpoints, name, run.patience()).await? {
            submitted?;
        }
    }
    let ended = follow::until_end(endpoints, name, run.patience()).await;
    if let Some(events) = events {
        // What happened last is told, too.
        tokio::time::sleep(Duration::from_millis(300)).await;
        events.abort();
    }
    Ok(ended?)
}

/// Whether a task of this name was ever handed in.
async fn is_known(endpoints: &Endpoints, name: &str, patience: Duration) -> crate::Result<bool> {
    let tasks = async |mut client: Client| client.tasks(TasksRequest {}).await;
    let begun = std::time::Instant::now();
    loop {
        match endpoints.ask(tasks).await {
            Ok(reply) => return Ok(reply.tasks.iter().any(|task| task.name == name)),
            Err(error) if begun.elapsed() > patience => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Listens at the endpoint if it is this machine's and nobody does yet.
async fn listen_if_here(endpoint: &str, run: &Run) -> anyhow::Result<Option<TcpListener>> {
    let bad = |problem: String| BadInput(format!("--rdzv-endpoint {endpoint}: {problem}"));
    let mut addresses = endpoint.to_socket_addrs().map_err(|error| bad(error.to_string()))?;
    let address = addresses.next().ok_or_else(|| bad("no such host".to_owned()))?;
    let is_here = std::net::TcpListener::bind((address.ip(), 0)).is_ok();
    if !is_here {
        return Ok(None);
    }
    // A host's own name is often that of a loopback address on it, which others can't reach.
    let is_loopback = endpoint.starts_with("127.") || endpoint.starts_with("localhost:");
    let ip = if is_loopback { address.ip() } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let is_protected = run.security.tls_ca.is_some() && run.security.tls_cert.is_some();
    if !is_loopback && !is_protected && !run.insecure {
        let problem =
            "other machines can reach it; give --tls-ca, --tls-cert and --tls-key, or --insecure";
        return Err(bad(problem.to_owned()).into());
    }
    match TcpListener::bind((ip, address.port())).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(bad(error.to_string()).into()),
    }
}

async fn host(
    run: &Run,
    listener: TcpListener,
    notices: UnboundedSender<String>,
) -> anyhow::Result<Hosted> {
    crate::rpc::file_limit::raise();
    let temporary = match run.data {
        Some(_) => None,
        None => Some(tempfile::tempdir()?),
    };
    let data: PathBuf = match (&run.data, &temporary) {
        (Some(data), _) => std::path::absolute(data)?,
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => std::env::temp_dir(),
    };
    std::fs::create_dir_all(&data).with_context(|| data.display().to_string())?;
    let address = listener.local_addr()?;
    let setup = Setup {
        brain: Settings {
            lease_s: run.lease,
            checkpoints: data.join("tasks").display().to_string(),
            ..Settings::default()
        },
        identity: address.to_string(),
        ttl: Duration::from_secs_f64(run.lease),
        tls: run.security.tls_files().map(|files| files.read()).transpose()?,
        token: run.security.token()?,
        metrics: None,
        dashboard: None,
    };
    let store = Arc::new(Embedded::open(&data, KEPT_EVENTS).await?);
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::task::spawn_local(serve(setup, listener, store, stopped, notices));
    Ok(Hosted { address, stop, serving, _folder: temporary })
}

type Attending = (JoinHandle<crate::Result<()>>, JoinHandle<()>);

fn attend(
    run: &Run,
    slots: usize,
    endpoints: &Endpoints,
    mut stopped: watch::Receiver<bool>,
    notices: UnboundedSender<String>,
) -> anyhow::Result<Attending> {
    let node = match &run.node {
        Some(node) => node.clone(),
        None => host_name(),
    };
    crate::coordinator::name::check(&node)
        .map_err(|problem| BadInput(format!("--node: {problem}")))?;
    let host = match &run.local_addr {
        Some(host) => host.clone(),
        None => own_address(endpoints.addresses()).to_string(),
    };
    let (output, lines) = mpsc::unbounded_channel();
    let gpus = common::device::discover().gpus;
    let settings = agent::Settings {
        grace: Duration::from_secs_f64(run.grace),
        output: Some(output),
        ..settings_of(
            &node,
            slots,
            &host,
            gpus.gpus().iter().map(|gpu| gpu.name.clone()).collect(),
        )?
    };
    let printing = tokio::spawn(output::print_all(lines, run.log_dir.clone(), run.json));
    let endpoints = endpoints.clone();
    let attending = tokio::spawn(async move {
        let shutdown = async move {
            // An error means that nobody will ever say so.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        agent::run(settings, endpoints, shutdown, notices).await
    });
    Ok((attending, printing))
}

/// The machine's name, as far as it can be a node's.
fn host_name() -> String {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let is_fit =
        |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let name: String = name.trim().chars().filter(is_fit).collect();
    if name.is_empty() { "node".to_owned() } else { name }
}

/// The address by which this machine reaches the coordinator: others reach it by the same, mostly.
fn own_address(coordinators: &[String]) -> IpAddr {
    let of = |address: &String| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // Nothing is sent: the system chooses the way.
        socket.connect(address.as_str()).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    coordinators.iter().find_map(of).unwrap_or(Ipv4Addr::LOCALHOST.into())
}
