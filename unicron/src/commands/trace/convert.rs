//! `unicron trace convert`

use super::deliver;
use crate::trace::InfiniteHbd;
use clap::Args;
use std::path::PathBuf;

/// Convert InfiniteHBD's fault trace (fault_trace.json, or intervals as CSV)
#[derive(Debug, Args)]
#[command(after_help = "\
Every fault takes its server away until it ends, so every one is SEV1. The trace has no failures of
processes, which a restart cures; --add-process-failures draws them by the paper's shares.

Examples:
  unicron trace convert fault_trace.json --output recorded.csv
  unicron trace convert fault_trace.json --add-process-failures 3 --seed 1 --output with-3.csv")]
pub struct Convert {
    /// fault_trace.json, or a CSV file with the columns node,start_day,end_day,level,class,desc
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
}

impl Convert {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { nodes, gpus_per_node, add_process_failures: process_failures, seed, .. } = self;
        let recipe = InfiniteHbd { nodes, gpus_per_node, process_failures, seed };
        deliver(&recipe.read(&self.file)?, self.output.as_deref())
    }
}
