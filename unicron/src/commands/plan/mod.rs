//! `unicron plan`

use clap::Args;
use common::command::{BadInput, print, print_json};
use common::report::{Align, Table};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;
use unicron::cluster::ClusterFile;
use unicron::plan::explain::{Reason, explain};
use unicron::plan::placed::Placed;
use unicron::plan::{Fleet, Rule};
use unicron::throughput::Constants;

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
  unicron plan cluster.toml --rule paper --what-if lose-domain rack0")]
pub struct Plan {
    /// The cluster and its tasks
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// By which rule plans are valued: ours, the paper's, or ours without one of its parts
    #[arg(long, value_name = "RULE", default_value = "ours", value_parser = Rule::NAMES)]
    rule: String,
    /// Plan, then see what happens: lose-node N, lose-domain NAME
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
        let lost = self.lost_nodes(&file)?;
        let clock = Instant::now();
        let fleet = Fleet::of(&file, &Constants::default())?;
        let placed = fleet.plan(&rule);
        let planning_ms = clock.elapsed().as_secs_f64() * 1e3;
        let report = Report::new(&fleet, &rule, placed, planning_ms);
        let hit = lost.map(|nodes| fleet.clone().after(&report.placed).without(&nodes));
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

    fn lost_nodes(&self, file: &ClusterFile) -> anyhow::Result<Option<BTreeSet<usize>>> {
        let [what, which] = &self.what_if[..] else { return Ok(None) };
        let bad =
            |problem: String| Err(BadInput(format!("--what-if {what} {which}: {problem}")).into());
        match what.as_str() {
            "lose-node" => match which.parse::<usize>() {
                Ok(node) if node < file.cluster.nodes() => Ok(Some(BTreeSet::from([node]))),
                _ => bad(format!("nodes are 0 to {}", file.cluster.nodes() - 1)),
            },
            "lose-domain" => {
                let found = file.cluster.domains().iter().find(|domain| domain.name == *which);
                match found {
                    Some(domain) => Ok(Some(domain.nodes.iter().copied().collect())),
                    None => {
                        let domains =
                            file.cluster.domains().iter().map(|domain| domain.name.as_str());
                        bad(format!("domains are {}", domains.collect::<Vec<_>>().join(", ")))
                    }
                }
            }
            _ => bad("there are lose-node N and lose-domain NAME".to_owned()),
        }
    }
}

/// A plan as people and scripts see it.
struct Report<'a> {
    fleet: &'a Fleet,
    reasons: Vec<String>,
    /// Nodes by task.
    nodes: Vec<Vec<usize>>,
    placed: Placed,
    planning_ms: f64,
}

impl<'a> Report<'a> {
    fn new(fleet: &'a Fleet, rule: &Rule, placed: Placed, planning_ms: f64) -> Self {
        let situation = fleet.situation();
        let reasons = explain(&situation, rule, &placed.plan).iter().map(Reason::to_text).collect();
        let by_task = placed.placement.by_task(fleet.tasks().len()).into_iter();
        let nodes =
            by_task.map(|nodes| nodes.into_iter().map(|(node, _)| node).collect()).collect();
        Self { fleet, reasons, nodes, placed, planning_ms }
    }

    fn parallel(&self, task: usize) -> String {
        let shape = self.placed.plan.tasks[task].size.step.and_then(|step| step.shape);
        shape.map_or(String::new(), |shape| shape.to_string())
    }

    fn json(&self) -> Value {
        let tasks: Vec<Value> = self
            .fleet
            .tasks()
            .iter()
            .zip(&self.placed.plan.tasks)
            .enumerate()
            .map(|(index, (task, assignment))| {
                json!({
                    "name": task.name,
                    "workers": assignment.size.workers,
                    "waf": assignment.waf,
                    "parallel": self.parallel(index),
                    "reason": self.reasons[index],
                    "from": task.present.workers,
                    "nodes": self.nodes[index],
                    "overlapped_s": assignment.size.interruption.overlapped_s,
                    "stopped_s": assignment.size.interruption.stopped_s,
                    "floor_is_dropped": assignment.floor_is_dropped,
                })
            })
            .collect();
        let plan = &self.placed.plan;
        json!({
            "planning_time_ms": self.planning_ms,
            "total_waf": plan.total_waf,
            "objective": plan.objective,
            "workers": plan.workers,
            "horizon_s": plan.horizon_s,
            "placement_loss": self.placed.loss,
            "starved_tasks": plan.tasks.iter().filter(|task| task.is_starved()).count(),
            "tasks": tasks,
        })
    }

    fn text(&self) -> String {
        let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
        let mut table = Table::new(&[
            left("task"),
            right("workers"),
            right("nodes"),
            right("PFLOP/s"),
            right("WAF"),
            left("arrangement"),
            left("why"),
        ]);
        for (index, task) in self.fleet.tasks().iter().enumerate() {
            let assignment = &self.placed.plan.tasks[index];
            table.row([
                task.name.clone(),
                assignment.size.workers.to_string(),
                self.nodes[index].len().to_string(),
                format!("{:.2}", assignment.size.flops() / 1e15),
                format!("{:.2}", assignment.waf / 1e15),
                self.parallel(index),
                self.reasons[index].clone(),
            ]);
        }
        let plan = &self.placed.plan;
        let gpus = self.fleet.situation().workers;
        let mut text = table.to_text();
        text.push_str(&format!(
            "\n{:.2} PFLOP/s weighted on {} of {gpus} GPUs, planned in {:.2} ms; expected to hold for {:.1} h\n",
            plan.total_waf / 1e15,
            plan.workers,
            self.planning_ms,
            plan.horizon_s / 3600.0,
        ));
        if self.placed.loss > 0.0 {
            let percent = 100.0 * self.placed.loss / plan.objective.abs().max(f64::MIN_POSITIVE);
            text.push_str(&format!("places cost {percent:.3} % of the best plan by counts\n"));
        }
        text
    }
}
