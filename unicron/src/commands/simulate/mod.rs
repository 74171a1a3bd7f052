//! `unicron simulate`

mod report;

use crate::cluster::{Cluster, ClusterFile, Hardware, Measured};
use crate::plan::Rule;
use crate::simulate::allocation::Strategy;
use crate::simulate::cases::{Case, tasks_of};
use crate::simulate::plot::{plot, stack};
use crate::simulate::rivals::{Detection, Steady};
use crate::simulate::{Choices, Contender, Scenario, SimulatedTask, Sweep};
use crate::trace::{Source, Trace};
use anyhow::Context;
use clap::{Args, ValueEnum};
use common::command::{BadInput, InputContext, print, print_json, store};
use common::files::replace;
use common::progress::{Progress, Unit};
use report::{Report, TraceReport};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Let a trace of failures happen to a cluster under Unicron and under other policies
#[derive(Debug, Args)]
#[command(after_help = "\
Every failure of a trace happens to every policy in the same way. Other policies look after one job:
each job has whole nodes, those at which most WAF is expected, and keeps them. GPU time is counted as useful,
detecting, in transition, redone and idle. The clairvoyant is a bound, no policy.

Policies: unicron, unicron-alone (every task by itself), greedy (plans by marginal gain), clairvoyant,
megatron, oobleck, varuna, bamboo, recycle, torchft, nvrx, dlrover.

Examples:
  unicron simulate
  unicron simulate --trace b --policy unicron,megatron --spares 1 --seeds 20
  unicron simulate --trace infinitehbd:process-failures=3 --tasks cluster.toml --plot waf.svg
  unicron simulate --trace a --tasks case2 --rule paper --detection paper --json")]
pub struct Simulate {
    /// Traces: names with options, or files (see unicron trace --help)
    #[arg(long, value_name = "TRACES", default_values = ["a", "b"], num_args = 1..)]
    trace: Vec<String>,
    /// Policies
    #[arg(
        long,
        value_name = "POLICIES",
        value_delimiter = ',',
        default_values_t = Contender::names().into_iter().map(str::to_owned)
    )]
    policy: Vec<String>,
    /// case1 to case5, or a cluster file (see unicron plan --help)
    #[arg(long, value_name = "TASKS", default_value = "case5")]
    tasks: String,
    /// Decides the trace, if it is made up, and all else that varies
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How many seeds, from that one on
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=100_000)
    )]
    seeds: u64,
    /// By which rule Unicron plans: ours, the paper's, or ours without one of its parts
    #[arg(long, value_name = "RULE", default_value = "ours", value_parser = Rule::NAMES)]
    rule: String,
    /// How others notice failures: PyTorch's real defaults, or the paper's 30 minutes and restarts
    #[arg(long, value_enum, default_value_t = DetectionName::Torchrun)]
    detection: DetectionName,
    /// How fast others train while nothing fails: as published, as Megatron-LM, or a row for each
    #[arg(long, value_enum, default_value_t = ThroughputName::Both)]
    throughput: ThroughputName,
    /// Spare nodes of others [default: several rows for who waits for nodes, else 0]
    #[arg(long, value_name = "N")]
    spares: Option<usize>,
    /// How others' jobs share the nodes at the start: plan, equal, weighted, sized
    #[arg(long, value_name = "STRATEGY", default_value_t = Strategy::Plan)]
    allocation: Strategy,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Draw momentary and accumulated WAF on the first seed
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// What a trace happens to.
struct ClusterAndTasks {
    cluster: Cluster,
    tasks: Vec<SimulatedTask>,
    measured: Option<Measured>,
}

/// Detection by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DetectionName {
    /// An exit in a second, a hang in 10 to 18 minutes
    Torchrun,
    /// 30 minutes for all but a lost node, 23 minutes to restart
    Paper,
}

/// Throughput by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ThroughputName {
    /// As an independent source has it
    Published,
    /// As Megatron-LM: what their recovery is worth
    Megatron,
    /// Both, where they differ
    Both,
}

impl Simulate {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let progress = Progress::stderr();
        let mut report = Report::new(&self.tasks, &self.rule, self.seed, self.seeds);
        let mut pictures = Vec::new();
        for name in self.trace.iter().flat_map(|names| split(names)) {
            let traces = self.open(name, &progress)?;
            let ClusterAndTasks { cluster, tasks, measured } =
                self.cluster_and_tasks(&traces[0].1)?;
            let choices = self.choices(measured);
            let (seed, first) = &traces[0];
            let scenario = Scenario::new(&cluster, &tasks, first, *seed)?;
            let contenders = Contender::of(&self.policy, &choices, &scenario, first)?;
            let runs = (contenders.len() * traces.len()) as u64;
            let bar = progress.bar(name, Some(runs), Unit::Items("runs"));
            let has_series = self.plot.is_some();
            let sweep = Sweep { cluster: &cluster, tasks: &tasks, traces: &traces, has_series };
            let clock = Instant::now();
            let columns = sweep.run(&contenders, || bar.advance(1))?;
            let seconds = clock.elapsed().as_secs_f64();
            bar.finish();
            let of_trace = TraceReport::new(name, first, &contenders, columns)
                .beside(measured.and_then(|measured| measured.accumulated_waf));
            if has_series {
                pictures.push(plot(name, first.extent().duration_s, &of_trace.lines())?);
            }
            report.add(of_trace, seconds);
        }
        if let Some(path) = &self.plot {
            let svg = stack(&pictures);
            replace(path, |file| file.write_all(svg.as_str().as_bytes()))
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        match self.json {
            true => print_json(&report.json()),
            false => print(&report.text()),
        }
    }

    fn choices(&self, measured: Option<Measured>) -> Choices {
        Choices {
            measured: measured.unwrap_or_default(),
            rule: Rule::named(&self.rule).expect("the argument's parser knows the names"),
            steady: match self.throughput {
                ThroughputName::Published => vec![Steady::Published],
                ThroughputName::Megatron => vec![Steady::Megatron],
                ThroughputName::Both => vec![Steady::Published, Steady::Megatron],
            },
            detection: match self.detection {
                DetectionName::Torchrun => Detection::Torchrun,
                DetectionName::Paper => Detection::Paper,
            },
            spares: self.spares,
            strategy: self.allocation,
        }
    }

    /// The trace for every seed. One that is read is the same for all.
    fn open(&self, name: &str, progress: &Progress) -> anyhow::Result<Vec<(u64, Trace)>> {
        let mut source = Source::parse(name)?;
        let store = store(None);
        let last = self.seed.checked_add(self.seeds - 1);
        let last = last.bad_input("--seed and --seeds go beyond the last seed")?;
        let mut traces = Vec::new();
        for seed in self.seed..=last {
            if !matches!(source, Source::Path(_)) {
                source.set("seed", &seed.to_string())?;
            } else if let Some((_, read)) = traces.first() {
                let read = Trace::clone(read);
                traces.push((seed, read));
                continue;
            }
            traces.push((seed, source.open(&store, progress)?));
        }
        Ok(traces)
    }

    /// A case runs on a cluster of the trace's size, of the paper's hardware.
    fn cluster_and_tasks(&self, trace: &Trace) -> anyhow::Result<ClusterAndTasks> {
        if let Ok(case) = self.tasks.parse::<Case>() {
            let extent = trace.extent();
            let hardware = Hardware::kind(Hardware::DEFAULT_KIND)?;
            let cluster = Cluster::new(extent.nodes, extent.gpus_per_node, hardware)?;
            let tasks = case.tasks(&cluster)?;
            return Ok(ClusterAndTasks { cluster, tasks, measured: None });
        }
        if !self.tasks.contains(['.', '/', '\\']) {
            let problem =
                format!("--tasks {}: no case (case1 to case5), nor a path as ./FILE", self.tasks);
            return Err(BadInput(problem).into());
        }
        let file = ClusterFile::read(Path::new(&self.tasks))?;
        let tasks = tasks_of(&file.tasks, &file.cluster)?;
        let ClusterFile { cluster, measured, .. } = file;
        Ok(ClusterAndTasks { cluster, tasks, measured })
    }
}

/// Names between commas; options of a trace have commas, too: `a,b:seed=3,llama3:nodes=64,days=30`.
fn split(names: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut from = 0;
    for (at, _) in names.match_indices(',') {
        // What goes on as `option=value` belongs to the name before it.
        let rest = &names[at + 1..];
        let next = rest.split(',').next().unwrap_or(rest);
        let is_option = next.contains('=') && !next.contains(':');
        if !is_option {
            found.push(&names[from..at]);
            from = at + 1;
        }
    }
    found.push(&names[from..]);
    found
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn commas_part_traces_and_options() {
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split("a"), ["a"]);
        assert_eq!(
            split("a,llama3:nodes=64,days=30,b:seed=3,./x.csv"),
            ["a", "llama3:nodes=64,days=30", "b:seed=3", "./x.csv"]
        );
    }
}
