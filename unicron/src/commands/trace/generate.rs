//! `unicron trace generate`

use super::deliver;
use crate::trace::Source;
use clap::{Args, ValueEnum};
use common::command::store;
use common::progress::Progress;
use std::path::PathBuf;

/// Make up a trace: one of the paper's, Llama 3's interruptions, or by published rates
#[derive(Debug, Args)]
#[command(after_help = "\
Presets a and b take only --seed, llama3 also --nodes, --gpus-per-node and --days. Without a preset
all options hold, and these are the defaults: 16 nodes of 8 GPUs, 56 days, 4.2 node faults per 1000
node-days, per node fault 3 SEV2 and 1.73 SEV3 failures, gaps with a coefficient of variation of
1.8, 5 % lemons that fail 10 times as often, repairs log-normal with median 22 h and sigma 1.9.

The file is CSV below comments with the name, nodes, GPUs of a node and duration:
  # unicron-trace: 1
  # name: two weeks in May
  # nodes: 16
  # gpus_per_node: 8
  # duration_s: 1209600
  at_s,node,gpu,status,severity,repair_s,group,note
  30.5,3,7,ecc-error,sev1,93600,,row remapping failed
  4000,11,,task-hang,sev2,,,

Examples:
  unicron trace generate --preset a --seed 3 --output a3.csv
  unicron trace generate --preset llama3 --nodes 128 --days 30 --output llama3.csv
  unicron trace generate --nodes 1024 --days 90 --correlated 0.02 --domain 16 --output large.csv")]
pub struct Generate {
    /// A trace with a name
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Nodes
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// GPUs of a node
    #[arg(long, value_name = "N")]
    gpus_per_node: Option<usize>,
    /// Length of the trace
    #[arg(long, value_name = "D")]
    days: Option<f64>,
    /// Node faults (SEV1) per 1000 node-days
    #[arg(long, value_name = "RATE")]
    node_faults: Option<f64>,
    /// SEV2 failures per node fault
    #[arg(long, value_name = "RATIO")]
    sev2: Option<f64>,
    /// SEV3 failures per node fault
    #[arg(long, value_name = "RATIO")]
    sev3: Option<f64>,
    /// Coefficient of variation of the gaps between failures of one severity, from 1
    #[arg(long, value_name = "CV")]
    burstiness: Option<f64>,
    /// Part of the nodes that fail more often, 0 to 1
    #[arg(long, value_name = "PART")]
    lemons: Option<f64>,
    /// How much more often they fail
    #[arg(long, value_name = "FACTOR")]
    lemon_factor: Option<f64>,
    /// Probability that a node fault takes its failure domain along
    #[arg(long, value_name = "P")]
    correlated: Option<f64>,
    /// Nodes of a failure domain
    #[arg(long, value_name = "N")]
    domain: Option<usize>,
    /// Median repair time in hours
    #[arg(long, value_name = "HOURS")]
    repair_hours: Option<f64>,
    /// Sigma of the log-normal repair times
    #[arg(long, value_name = "SIGMA")]
    repair_sigma: Option<f64>,
    /// The same seed gives the same trace
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the trace goes [default: stdout]
    #[arg(long, value_name = "FILE.csv")]
    output: Option<PathBuf>,
}

/// The made up traces with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// The paper's longer trace: 8 weeks, 10 node faults, 33 other failures
    A,
    /// The paper's denser trace: 7 days, 26 node faults, 80 other failures
    B,
    /// The 419 interruptions of the Llama 3 405B run, scaled by node-days
    Llama3,
}

impl Generate {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let mut source = Source::parse(match self.preset {
            Some(Preset::A) => "a",
            Some(Preset::B) => "b",
            Some(Preset::Llama3) => "llama3",
            None => "synthetic",
        })?;
        for (option, value) in self.options() {
            if let Some(value) = value {
                source.set(option, &value)?;
            }
        }
        let trace = source.open(&store(None), &Progress::silent())?;
        deliver(&trace, self.output.as_deref())
    }

    /// The options of recipes, as far as they are given.
    fn options(&self) -> [(&'static str, Option<String>); 14] {
        let count = |count: Option<usize>| count.map(|count| count.to_string());
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        [
            ("nodes", count(self.nodes)),
            ("gpus-per-node", count(self.gpus_per_node)),
            ("days", number(self.days)),
            ("node-faults", number(self.node_faults)),
            ("sev2", number(self.sev2)),
            ("sev3", number(self.sev3)),
            ("burstiness", number(self.burstiness)),
            ("lemons", number(self.lemons)),
            ("lemon-factor", number(self.lemon_factor)),
            ("correlated", number(self.correlated)),
            ("domain", count(self.domain)),
            ("repair-hours", number(self.repair_hours)),
            ("repair-sigma", number(self.repair_sigma)),
            ("seed", Some(self.seed.to_string())),
        ]
    }
}
