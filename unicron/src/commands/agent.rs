//! `unicron agent`

use super::connection::{Connection, wait_on_one_thread};
use super::notices;
use crate::agent::kernel_log::KERNEL_LOG;
use crate::agent::torchrun::THREADS;
use crate::agent::{HealthCheck, Settings, run};
use crate::worker::protocol::env;
use clap::Args;
use common::command::{BadInput, text_variable};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Look after a node: start its workers, watch them, and tell the coordinator
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unicron agent --coordinator 10.0.0.1:7100 --node gpu-17 --slots 8
  unicron agent --node laptop --slots 2 --health-check 'nvidia-smi > /dev/null || exit 2'

A health check's exit code says: 0 healthy; 1 or 2 not, so that tasks leave the node; anything else,
or no answer, nothing.")]
pub struct Agent {
    #[command(flatten)]
    connection: Connection,
    /// The node's name, unique in the cluster
    #[arg(long, value_name = "NAME")]
    node: String,
    /// Workers that the node can have [default: its GPUs]
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Where workers of other nodes reach this node's
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// Seconds that a worker may take to end before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = GRACE_S)]
    grace: f64,
    /// A command that says by its exit code whether the node is healthy
    #[arg(long, value_name = "COMMAND")]
    health_check: Option<String>,
    /// The kernel's log, which tells of faults of GPUs
    #[arg(long, value_name = "FILE", default_value = KERNEL_LOG)]
    kernel_log: PathBuf,
    /// GiB that the store of each task may hold: rendezvous, and its checkpoints in memory
    #[arg(long, value_name = "GIB", default_value_t = STORE_GIB)]
    store_gib: usize,
    /// Seconds between two health checks
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    health_interval: f64,
}

impl Agent {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        crate::coordinator::name::check(&self.node)
            .map_err(|problem| BadInput(format!("--node: {problem}")))?;
        let gpus = common::device::discover().gpus;
        let gpus: Vec<String> = gpus.gpus().iter().map(|gpu| gpu.name.clone()).collect();
        let slots = match self.slots.unwrap_or(gpus.len()) {
            0 => {
                let problem =
                    "no GPU was found; say with --slots how many workers the node can have";
                return Err(BadInput(problem.to_owned()).into());
            }
            slots => slots,
        };
        let settings = self.settings(slots, gpus)?;
        let endpoints = self.connection.endpoints()?;
        wait_on_one_thread(async move {
            let (notices, printing) = notices::print_all("agent");
            run(settings, endpoints, notices::asked_to_end(), notices).await?;
            printing.await?;
            Ok(())
        })
    }

    fn settings(&self, slots: usize, gpus: Vec<String>) -> anyhow::Result<Settings> {
        for (name, seconds) in [("grace", self.grace), ("health-interval", self.health_interval)] {
            if !(0.0..=86_400.0).contains(&seconds) {
                return Err(BadInput(format!("--{name} {seconds}: not 0 to 86400 seconds")).into());
            }
        }
        let health = self.health_check.clone().map(|command| HealthCheck {
            command,
            interval: Duration::from_secs_f64(self.health_interval.max(0.1)),
        });
        Ok(Settings {
            grace: Duration::from_secs_f64(self.grace),
            health,
            kernel_log: self.kernel_log.clone(),
            store_bytes: self.store_gib.saturating_mul(1 << 30),
            ..settings_of(&self.node, slots, &self.host, gpus)?
        })
    }
}

/// GiB that the store of a task may hold.
const STORE_GIB: usize = 16;

/// Seconds that a worker may take to end.
const GRACE_S: f64 = 10.0;

/// Of an agent in this process of which nothing else is said.
pub fn settings_of(
    node: &str,
    slots: usize,
    host: &str,
    gpus: Vec<String>,
) -> anyhow::Result<Settings> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let incarnation = format!("{}-{}", std::process::id(), since.as_micros());
    remove_leftovers(&std::env::temp_dir(), node);
    let folder = std::env::temp_dir().join(format!("unicron-{node}-{}", std::process::id()));
    Ok(Settings {
        node: node.to_owned(),
        slots,
        host: host.to_owned(),
        gpus,
        program: std::env::current_exe()?,
        folder: short(folder),
        run_id: text_variable(env::RUN_ID).unwrap_or_else(|| incarnation.clone()),
        incarnation,
        grace: Duration::from_secs_f64(GRACE_S),
        health: None,
        kernel_log: KERNEL_LOG.into(),
        store_bytes: STORE_GIB << 30,
        sets_threads: text_variable(THREADS).is_some(),
        output: None,
    })
}

/// Removes the folders of agents of this node that were killed and could not.
fn remove_leftovers(temporary: &Path, node: &str) {
    let prefix = format!("unicron-{node}-");
    for entry in std::fs::read_dir(temporary).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse::<u32>().ok());
        if of.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another user's stays.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The path of a socket has at most 107 bytes: a long name of a node gives way.
fn short(folder: PathBuf) -> PathBuf {
    match folder.as_os_str().len() {
        0..=80 => folder,
        _ => std::env::temp_dir().join(format!("unicron-{}", std::process::id())),
    }
}
