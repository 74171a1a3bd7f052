//! Every policy through 348 days of 400 servers: the public InfiniteHBD trace with failures of processes
//! added, eight tasks.

use super::efficiency::metrics::PolicyRow;
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

/// Three failures of processes for each of a node: three quarters of all failures are cured by a restart
/// (the field notes, 5.5).
const TRACE: &str = "infinitehbd:process-failures=3";
const SEEDS: Range<u64> = 0..100;
const QUICK_SEEDS: Range<u64> = 0..1;
const SELECTION_SEEDS: Range<u64> = 1000..1003;
const BUILD_S: f64 = 1.0;
/// Models and weights.
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

/// The InfiniteHBD replay.
pub struct InfiniteHbd;

#[derive(Debug, Serialize, Deserialize)]
pub struct InfiniteHbdMetrics {
    pub rows: Vec<PolicyRow>,
    pub seeds: usize,
    /// For all policies on all seeds, on all threads.
    pub seconds: f64,
    /// On one seed and one thread: every failure of a node and every repair plans the cluster anew.
    pub events_per_s_with_replanning: f64,
    /// Each task by itself.
    pub events_per_s_without_replanning: f64,
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

impl Experiment for InfiniteHbd {
    type Metrics = InfiniteHbdMetrics;

    fn name(&self) -> String {
        "unicron-infinitehbd".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(InfiniteHbdMetrics, Value)> {
        let seeds = if size == Size::Quick { QUICK_SEEDS } else { SEEDS };
        let (reported, other) =
            (traces(seeds.clone(), progress)?, traces(SELECTION_SEEDS, progress)?);
        let extent = reported[0].1.extent();
        let hardware = Hardware::kind(Hardware::DEFAULT_KIND)?;
        let cluster = Cluster::new(extent.nodes, extent.gpus_per_node, hardware)?;
        let tasks = tasks(TASKS.len(), &cluster)?;
        let runs = Runs { cluster: &cluster, tasks: &tasks };
        let bar = progress.bar("infinitehbd", Some(1), Unit::Items("parts"));
        let rows = runs.policies(&reported, &other, Detection::Torchrun)?;
        bar.advance(1);
        bar.finish();
        let seconds = rows.seconds;
        let scenario = Scenario::new(&cluster, &tasks, &reported[0].1, reported[0].0)?;
        let metrics = InfiniteHbdMetrics {
            rows: rows.rows,
            seeds: reported.len(),
            seconds,
            events_per_s_with_replanning: events_per_s("unicron", &scenario)?,
            events_per_s_without_replanning: events_per_s("unicron-alone", &scenario)?,
            table: table_use(&cluster, &tasks, &reported[0].1),
        };
        let configuration = json!({
            "trace": TRACE,
            "seeds": [seeds.start, seeds.end],
            "selection_seeds": [SELECTION_SEEDS.start, SELECTION_SEEDS.end],
            "tasks": TASKS,
        });
        Ok((metrics, configuration))
    }

    /// The paper has no such trace.
    fn claims(&self, _: &InfiniteHbdMetrics) -> Vec<Claim> {
        Vec::new()
    }

    fn open_claims(&self, _: &str) -> Vec<Claim> {
        Vec::new()
    }
}

fn traces(seeds: Range<u64>, progress: &Progress) -> anyhow::Result<Vec<(u64, Trace)>> {
    let store = store(None);
    seeds
        .map(|seed| {
            let mut source = Source::parse(TRACE)?;
            source.set("seed", &seed.to_string())?;
            Ok((seed, source.open(&store, progress)?))
        })
        .collect()
}

/// So many tasks: those of the replay, again and again.
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
