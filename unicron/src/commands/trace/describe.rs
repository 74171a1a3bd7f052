//! `unicron trace describe`

use crate::trace::{Count, Description, Source};
use anyhow::Context;
use clap::Args;
use common::command::{print, print_json, store};
use common::files::replace;
use common::progress::Progress;
use common::report::{Align, Table};
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

/// Show what a trace is like: rates, bursts, repairs, the nodes that fail most
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  unicron trace describe a --seed 3
  unicron trace describe infinitehbd --plot infinitehbd.svg
  unicron trace describe my-trace.csv --json")]
pub struct Describe {
    /// A name, a name with options, or a file (see unicron trace --help)
    #[arg(value_name = "TRACE")]
    trace: String,
    /// The seed of a trace that is made up
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Draw failures and nodes that are away, day by day
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Describe {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let mut source = Source::parse(&self.trace)?;
        if let Some(seed) = self.seed {
            source.set("seed", &seed.to_string())?;
        }
        let description = Description::of(&source.open(&store(None), &Progress::stderr())?);
        if let Some(path) = &self.plot {
            let svg = description.plot().to_svg()?;
            replace(path, |file| file.write_all(svg.as_str().as_bytes()))
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        match self.json {
            true => print_json(&description),
            false => print(&text(&description)),
        }
    }
}

fn text(description: &Description) -> String {
    let Description { name, nodes, gpus_per_node, duration_days, failures, .. } = description;
    format!(
        "{name}: {failures} failures on {nodes} nodes of {gpus_per_node} GPUs in {duration_days:.1} \
         days\n\n{}\n{}\n{}\n{}",
        figures(description).to_text(),
        counts("severity", &description.severities).to_text(),
        counts("status", &description.statuses).to_text(),
        worst_nodes(description).to_text()
    )
}

fn figures(description: &Description) -> Table {
    let mut table = Table::new(&[("figure", Align::Left), ("value", Align::Right)]);
    let mut row = |figure: &str, value: String| {
        table.row([figure.to_owned(), value]);
    };
    row("failures per 1000 node-days", format!("{:.2}", description.failures_per_1000_node_days));
    row("SEV1 per 1000 node-days", format!("{:.2}", description.node_faults_per_1000_node_days));
    let (all, node_faults) = (&description.gaps_hours, &description.node_fault_gaps_hours);
    // Where there are only node faults, these are the same.
    let node_faults = node_faults.as_ref().filter(|_| node_faults != all);
    let gaps = [("gap", all.as_ref()), ("SEV1 gap", node_faults)];
    for (of, gaps) in gaps.into_iter().filter_map(|(of, gaps)| Some((of, gaps?))) {
        row(&format!("{of}, mean"), hours(gaps.mean));
        row(&format!("{of}, median"), hours(gaps.median));
        let variation = gaps.coefficient_of_variation.map(|variation| format!("{variation:.2}"));
        row(&format!("{of}, coefficient of variation"), variation.unwrap_or("-".to_owned()));
    }
    if let Some(repairs) = &description.repairs_hours {
        row("repairs that take time", repairs.count.to_string());
        row("repair, mean", hours(repairs.mean));
        row("repair, median", hours(repairs.median));
        row("repair, 90 % within", hours(repairs.p90));
        row("repair, longest", hours(repairs.longest));
    }
    row("node time lost", percent(description.node_time_lost));
    row("nodes away at once, at most", description.most_nodes_away.to_string());
    row("nodes with a failure", description.nodes_hit.to_string());
    row("incidents of several nodes", description.groups.to_string());
    table
}

fn counts<T: Display>(of: &str, counts: &[Count<T>]) -> Table {
    let mut table =
        Table::new(&[(of, Align::Left), ("failures", Align::Right), ("share", Align::Right)]);
    for count in counts {
        table.row([count.of.to_string(), count.failures.to_string(), percent(count.share)]);
    }
    table
}

fn worst_nodes(description: &Description) -> Table {
    let right = |name| (name, Align::Right);
    let mut table = Table::new(&[right("node"), right("failures"), right("away")]);
    for node in &description.worst_nodes {
        table.row([node.node.to_string(), node.failures.to_string(), hours(node.hours_away)]);
    }
    table
}

/// Hours, or minutes where the hours would have no digits to tell.
fn hours(hours: f64) -> String {
    if hours < 1.0 { format!("{:.1} min", 60.0 * hours) } else { format!("{hours:.1} h") }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
