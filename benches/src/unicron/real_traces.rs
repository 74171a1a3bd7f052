//! Every policy through failures that real clusters had: 348 days of 400 servers, and the interruptions of
//! Llama 3's run.

use super::efficiency::metrics::{History, PolicyRow};
use super::efficiency::runs::Runs;
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::command::store;
use common::progress::{Progress, Unit};
use common::report::Claim;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Instant;
use unicron::cluster::{Cluster, Hardware, TaskSpec};
use unicron::core::{Command, Config, Core, Event, PlanSource, Reconfiguration};
use unicron::plan::Rule;
use unicron::simulate::cases::tasks_of;
use unicron::simulate::policy::managed;
use unicron::simulate::rivals::Detection;
use unicron::simulate::{Scenario, SimulatedTask};
use unicron::trace::{Event as Happening, Source, Trace};

/// Failures, the tasks that train on the cluster (one for each 400 GPUs), and seeds.
#[derive(Debug, Serialize)]
struct Case {
    name: &'static str,
    source: &'static str,
    tasks: usize,
    seeds: u64,
}

const CASES: [Case; 2] = [
    // Three failures of processes for each of a node: three quarters of all failures are cured by a restart
    // (the field notes, 5.5).
    Case { name: "infinitehbd", source: "infinitehbd:process-failures=3", tasks: 8, seeds: 100 },
    // 2,048 nodes of 8 GPUs over 54 days. What failed and how often was published; when, and how long repairs took,
    // was not: seeds differ in that.
    Case { name: "llama3", source: "llama3", tasks: 40, seeds: 20 },
];
/// On which the best of each policy's variants is chosen.
const SELECTION_SEEDS: Range<u64> = 1000..1003;
const QUICK_SELECTION_SEEDS: Range<u64> = 1000..1001;
const BUILD_S: f64 = 1.0;
/// Models and weights; where there are more tasks, again and again.
const TASKS: [(&str, f64); 8] = [
    ("gpt3-1.3b", 2.0),
    ("gpt3-1.3b", 1.7),
    ("gpt3-7b", 1.4),
    ("gpt3-7b", 1.2),
    ("gpt3-13b", 1.0),
    ("gpt3-13b", 0.8),
    ("gpt3-70b", 0.6),
    ("gpt3-175b", 0.5),
];

/// Failures that clusters had.
pub struct RealTraces;

#[derive(Debug, Serialize, Deserialize)]
pub struct RealTracesMetrics {
    pub traces: Vec<TraceResult>,
    /// Of the first trace.
    pub replanning: Replanning,
}

/// All policies on a trace.
#[derive(Debug, Serialize, Deserialize)]
pub struct TraceResult {
    pub trace: String,
    pub gpus: usize,
    pub tasks: usize,
    pub days: f64,
    pub rows: Vec<PolicyRow>,
    pub seeds: usize,
    /// For all policies on all seeds, on all threads.
    pub seconds: f64,
    /// WAF over time on the first seed.
    pub history: History,
}

/// What planning anew after each failure costs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Replanning {
    /// On one seed and one thread: every failure of a node and every repair plans the cluster anew.
    pub events_per_s: f64,
    /// Each task by itself.
    pub events_per_s_without: f64,
    pub table: TableUse,
}

/// The table of plans over the replay of the nodes' faults and repairs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TableUse {
    /// Plans that were in the table.
    pub found: usize,
    /// Plans that were solved for because the table was being built.
    pub solved_while_building: usize,
    /// Plans that were solved for because the table had nothing like that.
    pub solved_unexpected: usize,
    /// Means over the tables.
    pub entries: f64,
    pub bytes: f64,
    pub build_ms: f64,
}

impl Experiment for RealTraces {
    type Metrics = RealTracesMetrics;

    fn name(&self) -> String {
        "unicron-real-traces".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(RealTracesMetrics, Value)> {
        let is_quick = size == Size::Quick;
        let selection = if is_quick { QUICK_SELECTION_SEEDS } else { SELECTION_SEEDS };
        let bar = progress.bar("real traces", Some(CASES.len() as u64), Unit::Items("traces"));
        let (mut results, mut replanning) = (Vec::new(), None);
        for Case { name, source, tasks: n_tasks, seeds } in CASES {
            bar.message(name.to_owned());
            let seeds = if is_quick { 1 } else { seeds };
            let reported = traces(source, 0..seeds, progress)?;
            let other = traces(source, selection.clone(), progress)?;
            let (first_seed, first) = reported.first().context("there are seeds")?;
            let extent = first.extent();
            let hardware = Hardware::kind(Hardware::DEFAULT_KIND)?;
            let cluster = Cluster::new(extent.nodes, extent.gpus_per_node, hardware)?;
            let tasks = tasks(n_tasks, &cluster)?;
            let runs = Runs { cluster: &cluster, tasks: &tasks };
            let policies = runs.policies(&reported, &other, Detection::Torchrun)?;
            let history = runs.history(name, &reported[..1], policies.spares_of("megatron"))?;
            if replanning.is_none() {
                let scenario = Scenario::new(&cluster, &tasks, first, *first_seed)?;
                replanning = Some(Replanning {
                    events_per_s: events_per_s("unicron", &scenario)?,
                    events_per_s_without: events_per_s("unicron-alone", &scenario)?,
                    table: table_use(&cluster, &tasks, first),
                });
            }
            results.push(TraceResult {
                trace: name.to_owned(),
                gpus: cluster.gpus(),
                tasks: n_tasks,
                days: extent.duration_s / DAY_S,
                rows: policies.rows,
                seeds: reported.len(),
                seconds: policies.seconds,
                history,
            });
            bar.advance(1);
        }
        bar.finish();
        let configuration = json!({
            "cases": CASES,
            "selection_seeds": [selection.start, selection.end],
            "tasks": TASKS,
        });
        let replanning = replanning.context("there are traces")?;
        Ok((RealTracesMetrics { traces: results, replanning }, configuration))
    }

    /// The paper has no such traces.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn judged(&self, _: &RealTracesMetrics) -> Vec<Claim> {
        Vec::new()
    }
}

const DAY_S: f64 = 86_400.0;

fn traces(
    source: &str,
    seeds: Range<u64>,
    progress: &Progress,
) -> anyhow::Result<Vec<(u64, Trace)>> {
    let store = store(None);
    seeds
        .map(|seed| {
            let mut source = Source::parse(source)?;
            source.set("seed", &seed.to_string())?;
            Ok((seed, source.open(&store, progress)?))
        })
        .collect()
}

/// So many tasks.
pub(super) fn tasks(count: usize, cluster: &Cluster) -> anyhow::Result<Vec<SimulatedTask>> {
    let spec = |(index, (model, weight))| TaskSpec::preset(index + 1, model, weight);
    let specs: Vec<TaskSpec> =
        TASKS.into_iter().cycle().take(count).enumerate().map(spec).collect::<Result<_, _>>()?;
    Ok(tasks_of(&specs, cluster)?)
}

/// Drives the core with a table by what happens to nodes. A table is there a second after it was asked
/// for, which is longer than building it takes.
fn table_use(cluster: &Cluster, tasks: &[SimulatedTask], trace: &Trace) -> TableUse {
    let mut core = Core::new(cluster.clone(), Rule::ours(), Config::default(), 0.0).with_table();
    core.start(0.0, tasks.iter().map(|task| task.task.clone()).collect());
    let (mut table_use, mut tables) = (TableUse::default(), 0.0);
    let mut asked_s = f64::NEG_INFINITY;
    let mut is_asked = true;
    for event in trace.events() {
        let now_s = event.at_s();
        let event = match event {
            Happening::Failure { failure, is_felt: true } if failure.repair_s.is_some() => {
                Event::NodeLost { node: failure.node }
            }
            Happening::Failure { .. } => continue,
            Happening::NodeBack { node, .. } => {
                Event::NodeJoined { node, workers: cluster.gpus_per_node() }
            }
        };
        if is_asked && now_s >= asked_s + BUILD_S {
            let clock = Instant::now();
            let table = core.build_table(now_s);
            table_use.build_ms += clock.elapsed().as_secs_f64() * 1e3;
            table_use.entries += table.len() as f64;
            table_use.bytes += table.bytes() as f64;
            tables += 1.0;
            core.step(now_s, Event::TableBuilt { epoch: core.epoch(), table });
            is_asked = false;
        }
        for command in core.step(now_s, event) {
            match command {
                Command::Reconfigure(Reconfiguration { source, .. }) => match source {
                    PlanSource::Table => table_use.found += 1,
                    PlanSource::SolvedWhileBuilding => table_use.solved_while_building += 1,
                    PlanSource::SolvedUnexpected | PlanSource::Solved => {
                        table_use.solved_unexpected += 1;
                    }
                },
                Command::BuildTable { .. } => (is_asked, asked_s) = (true, now_s),
                _ => {}
            }
        }
    }
    for mean in [&mut table_use.entries, &mut table_use.bytes, &mut table_use.build_ms] {
        *mean /= f64::max(tables, 1.0);
    }
    table_use
}

fn events_per_s(policy: &str, scenario: &Scenario<'_>) -> anyhow::Result<f64> {
    let setup = managed(policy, Rule::ours()).context("a policy")?;
    let clock = Instant::now();
    let outcome = setup.run(scenario)?;
    Ok(outcome.events as f64 / clock.elapsed().as_secs_f64())
}
