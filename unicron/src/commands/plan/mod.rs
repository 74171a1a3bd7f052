//! `unicron plan`

mod report;
mod what_if;

use crate::cluster::ClusterFile;
use crate::plan::{Fleet, Rule};
use crate::throughput::Constants;
use clap::Args;
use common::command::{print, print_json};
use report::Report;
use std::path::PathBuf;
use std::time::Instant;
use what_if::WhatIf;

/// Plan workers for all tasks of a cluster by weighted achieved FLOP/s
#[derive(Debug, Args)]
#[command(after_help = "\
The file has [cluster] with nodes and gpus_per_node, and [[tasks]] with name, model and weight:

  [cluster]
  nodes = 16
  gpus_per_node = 8
  hardware = \"a800-80gb\"

  [[tasks]]
  name = \"pretrain\"
  model = \"gpt3-7b\"       # or layers, hidden, heads, batch; or throughput = [[8, 1.4e15], …]
  weight = 1.5            # also min_workers, guaranteed_workers, current, whole_nodes

Examples:
  unicron plan cluster.toml
  unicron plan cluster.toml --what-if lose-node 3 --json
  unicron plan cluster.toml --rule paper --what-if lose-domain rack0
  unicron plan cluster.toml --what-if finish pretrain")]
pub struct Plan {
    /// The cluster and its tasks
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// By which rule plans are valued: ours, the paper's, or ours without one of its parts
    #[arg(long, value_name = "RULE", default_value = "ours", value_parser = Rule::NAMES)]
    rule: String,
    /// Plan, then see what happens: lose-node N, lose-domain NAME, drain-node N, finish TASK,
    /// add-nodes N
    #[arg(long, num_args = 2, value_names = ["WHAT", "WHICH"])]
    what_if: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let file = ClusterFile::read(&self.file)?;
        let rule = Rule::named(&self.rule).expect("the argument's parser knows the names");
        let what_if = match &self.what_if[..] {
            [what, which] => Some(WhatIf::parse(what, which, &file)?),
            _ => None,
        };
        let clock = Instant::now();
        let fleet = Fleet::of(&file, &Constants::default())?;
        let placed = fleet.plan(&rule);
        let planning_ms = clock.elapsed().as_secs_f64() * 1e3;
        let report = Report::new(&fleet, &rule, placed, planning_ms);
        let hit = what_if.map(|what_if| what_if.apply(&file, &fleet, &report.placed));
        let hit = hit.transpose()?;
        let after = hit.as_ref().map(|fleet| {
            let clock = Instant::now();
            let placed = fleet.plan(&rule);
            Report::new(fleet, &rule, placed, clock.elapsed().as_secs_f64() * 1e3)
        });
        if self.json {
            let mut json = report.json();
            if let Some(after) = &after {
                json["what_if"] = after.json();
            }
            return print_json(&json);
        }
        print(&report.text())?;
        match after {
            Some(after) => print(&format!("\nafter {}:\n{}", self.what_if.join(" "), after.text())),
            None => Ok(()),
        }
    }
}
