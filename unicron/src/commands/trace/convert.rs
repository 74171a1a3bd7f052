//! `unicron trace convert`

use super::deliver;
use crate::trace::{InfiniteHbd, live};
use anyhow::Context;
use clap::Args;
use common::command::BadInput;
use common::files::replace;
use std::io::Write;
use std::path::PathBuf;

/// Convert InfiniteHBD's fault trace, or the log of a live cluster
#[derive(Debug, Args)]
#[command(after_help = "\
Every fault takes its server away until it ends, so every one is SEV1. The trace has no failures of
processes, which a restart cures; --add-process-failures draws them by the paper's shares.

The log of a live cluster, as `unicron events --json` prints it, becomes a trace and, with
--tasks, a cluster file: nodes, tasks, how soon failures were noticed and what curing one has cost.

Examples:
  unicron trace convert fault_trace.json --output recorded.csv
  unicron trace convert fault_trace.json --add-process-failures 3 --seed 1 --output with-3.csv
  unicron trace convert events.json --output live.csv --tasks live.toml
  unicron simulate --trace live.csv --tasks live.toml --policy unicron")]
pub struct Convert {
    /// fault_trace.json, a CSV file with the columns node,start_day,end_day,level,class,desc, or a live log
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// SEV2 and SEV3 failures to add per recorded fault
    #[arg(long, value_name = "RATIO", default_value_t = InfiniteHbd::default().process_failures)]
    add_process_failures: f64,
    /// Decides what is added
    #[arg(long, default_value_t = InfiniteHbd::default().seed)]
    seed: u64,
    /// Servers, with those that had no fault
    #[arg(long, value_name = "N", default_value_t = InfiniteHbd::default().nodes)]
    nodes: usize,
    /// GPUs of a server
    #[arg(long, value_name = "N", default_value_t = InfiniteHbd::default().gpus_per_node)]
    gpus_per_node: usize,
    /// Where the trace goes [default: stdout]
    #[arg(long, value_name = "FILE.csv")]
    output: Option<PathBuf>,
    /// Where the cluster file of a live log goes
    #[arg(long, value_name = "FILE.toml")]
    tasks: Option<PathBuf>,
}

impl Convert {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { nodes, gpus_per_node, add_process_failures: process_failures, seed, .. } = self;
        if live::is_log(&self.file)? {
            return self.convert_log();
        }
        if let Some(path) = &self.tasks {
            let problem = format!("--tasks {}: only a live log tells of tasks", path.display());
            return Err(BadInput(problem).into());
        }
        let recipe = InfiniteHbd { nodes, gpus_per_node, process_failures, seed };
        deliver(&recipe.read(&self.file)?, self.output.as_deref())
    }

    fn convert_log(&self) -> anyhow::Result<()> {
        let run = live::LiveRun::read(&self.file)?;
        if let Some(path) = &self.tasks {
            replace(path, |file| file.write_all(run.cluster_file.as_bytes()))
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        deliver(&run.trace, self.output.as_deref())
    }
}
