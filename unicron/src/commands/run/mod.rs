//! `unicron run`: torchrun's place before a training script.
//!
//! | what | file |
//! |---|---|
//! | arguments, and what they make of this process | this |
//! | torchrun's ways to say how many | `shape` |
//! | the coordinator and the agent in this process | `host` |
//! | what workers write | `output` |
//! | the task until its end | `follow` |

mod follow;
mod host;
mod output;
mod shape;

use super::connection::{Security, wait_for};
use crate::coordinator::name;
use clap::Args;
use common::command::{BadInput, print_json};
use host::Role;
use serde_json::json;
use shape::{Nodes, Processes, Rendezvous};
use std::path::PathBuf;
use std::time::Duration;

/// torchrun's port.
const PORT: u16 = 29_400;

/// Run a script as torchrun does, and see it through failures
#[derive(Debug, Args)]
#[command(after_help = "\
The same command runs on every node. The node of --rdzv-endpoint hosts the coordinator, unless one
listens there already; every node is an agent. When a worker fails, or nodes come or go, all workers
end (SIGTERM, then SIGKILL) and start again with the new world: the script goes on from its own
checkpoint. Its environment is torchrun's.

Examples:
  unicron run --standalone --nproc-per-node 2 -- python3 train.py
  unicron run --nnodes 1:4 --nproc-per-node 8 --rdzv-endpoint node0:29400 --insecure -- python3 train.py
  unicron run --coordinator 10.0.0.1:7100 --nnodes 2:8 --nproc-per-node 8 -- python3 train.py")]
pub struct Run {
    /// Nodes: as many, or MIN:MAX; a fixed number is never resized
    #[arg(long, value_name = "N|MIN:MAX", default_value = "1")]
    nnodes: Nodes,
    /// Processes of a node: a number, gpu, cpu or auto
    #[arg(long, alias = "nproc_per_node", value_name = "N", default_value = "1")]
    nproc_per_node: Processes,
    /// Failures after which it is started again; planned changes don't count. Without it, it ends when no
    /// restart helps: the same failure again and again without progress
    #[arg(long, alias = "max_restarts", value_name = "N")]
    max_restarts: Option<u64>,
    /// The host:port at which the nodes meet, on one of them
    #[arg(long, alias = "rdzv_endpoint", value_name = "ADDR", conflicts_with = "standalone")]
    rdzv_endpoint: Option<String>,
    /// The task's name
    #[arg(long, alias = "rdzv_id", value_name = "NAME", default_value = "run")]
    rdzv_id: String,
    /// join_timeout=SECONDS,last_call_timeout=SECONDS
    #[arg(long, alias = "rdzv_conf", value_name = "CONF", default_value = "")]
    rdzv_conf: Rendezvous,
    /// torchrun's; there is one here
    #[arg(long, alias = "rdzv_backend", value_name = "NAME", hide = true)]
    rdzv_backend: Option<String>,
    /// This node alone
    #[arg(long)]
    standalone: bool,
    /// Hand it in to a coordinator whose agents are elsewhere, and wait for its end
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["standalone", "rdzv_endpoint"])]
    coordinator: Option<String>,
    /// Seconds without output and without use of the processor after which a worker hangs
    #[arg(long, value_name = "SECONDS")]
    hang_after: Option<f64>,
    /// Seconds that workers have for a checkpoint after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    grace: f64,
    /// Keep the workers' output in this folder, too
    #[arg(long, alias = "log_dir", value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// keep-iteration for a script that uses unicron.Trainer; restart-all for all others
    #[arg(long, value_name = "HOW", default_value = "restart-all", value_parser = ["restart-all", "keep-iteration"])]
    recovery: String,
    /// This node's name, unique among them [default: its host name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The address by which other nodes reach this one [default: that by which it reaches the endpoint]
    #[arg(long, alias = "local_addr", value_name = "HOST")]
    local_addr: Option<String>,
    /// A folder for the coordinator's state and for checkpoints, which all nodes should see [default: one
    /// that is removed at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seconds without a word after which a node is lost
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    lease: f64,
    /// Let other machines in without certificates
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    security: Security,
    /// Print one JSON object at the end; the workers' output goes to stderr
    #[arg(long)]
    json: bool,
    /// The script and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    command: Vec<String>,
}

impl Run {
    /// Runs the command.
    // The script's own code is this process's.
    #[allow(clippy::exit)]
    pub fn run(self) -> anyhow::Result<()> {
        let bad = |problem: String| BadInput(problem);
        name::check(&self.rdzv_id).map_err(|problem| bad(format!("--rdzv-id: {problem}")))?;
        if !(0.5..=3600.0).contains(&self.lease) {
            return Err(bad(format!("--lease {}: not 0.5 to 3600 seconds", self.lease)).into());
        }
        let gpus = common::device::discover().gpus.gpus().len();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let processes = self.nproc_per_node.on(gpus, cores);
        let processes = processes.map_err(|problem| bad(format!("--nproc-per-node: {problem}")))?;
        let toml = self.task(processes)?;
        let role = self.role()?;
        let here = tokio::task::LocalSet::new();
        let ended = wait_for(here.run_until(host::take_part(&self, &role, processes, toml)))?;
        let code = match ended.state.as_str() {
            "done" => 0,
            _ => ended.exit_code.unwrap_or(1),
        };
        if self.json {
            print_json(&json!({
                "task": ended.name,
                "state": ended.state,
                "reason": ended.reason,
                "failures": ended.failures,
                "exit_code": code,
            }))?;
        }
        match code {
            0 => Ok(()),
            code => std::process::exit(code),
        }
    }

    /// The task's file.
    fn task(&self, processes: usize) -> anyhow::Result<String> {
        let mut table = toml::Table::new();
        let mut give = |key: &str, value: toml::Value| _ = table.insert(key.to_owned(), value);
        let count = |count: usize| toml::Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
        give("name", self.rdzv_id.clone().into());
        give("workers", count(self.nnodes.most.saturating_mul(processes)));
        give("min_workers", count(self.nnodes.fewest.saturating_mul(processes)));
        give("command", self.command.clone().into());
        give("recovery", self.recovery.clone().into());
        give("grace_s", self.grace.into());
        give("last_call_s", self.rdzv_conf.last_call_timeout_s.into());
        if self.recovery == "restart-all" {
            give("nproc_per_node", count(processes));
        }
        if let Some(most) = self.max_restarts {
            give("max_restarts", toml::Value::Integer(i64::try_from(most).unwrap_or(i64::MAX)));
        }
        if let Some(seconds) = self.hang_after {
            give("hang_after_s", seconds.into());
        }
        let toml = toml::to_string(&table)?;
        // A mistake is told before anything is started.
        crate::coordinator::TaskFile::parse(&toml, std::path::Path::new("the options"))?;
        Ok(toml)
    }

    fn role(&self) -> anyhow::Result<Role> {
        Ok(match (&self.coordinator, &self.rdzv_endpoint) {
            (Some(coordinator), _) => Role::Client(coordinator.clone()),
            (None, Some(endpoint)) if endpoint.contains(':') => Role::Node(endpoint.clone()),
            (None, Some(host)) => Role::Node(format!("{host}:{PORT}")),
            (None, None) if self.standalone || self.nnodes.most == 1 => Role::Alone,
            (None, None) => {
                let problem =
                    "several nodes have to meet somewhere: give --rdzv-endpoint HOST:PORT";
                return Err(BadInput(problem.to_owned()).into());
            }
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.rdzv_conf.join_timeout_s)
    }
}
