//! Every policy through 348 days of 400 servers: the public InfiniteHBD trace with failures of processes
//! added, eight tasks.

use super::efficiency::{PolicyRow, Runs};
use crate::experiment::{Experiment, Size};
use common::command::store;
use common::progress::{Progress, Unit};
use common::report::Claim;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Instant;
use unicron::cluster::{Cluster, Hardware, TaskSpec};
use unicron::model::LanguageModel;
use unicron::plan::Rule;
use unicron::simulate::cases::tasks_of;
use unicron::simulate::policy::managed;
use unicron::simulate::rivals::Detection;
use unicron::simulate::{Scenario, SimulatedTask};
use unicron::trace::{Source, Trace};

/// Three failures of processes for each of a node: three quarters of all failures are cured by a restart
/// (the field notes, 5.5).
const TRACE: &str = "infinitehbd:process-failures=3";
const SEEDS: Range<u64> = 0..100;
const QUICK_SEEDS: Range<u64> = 0..1;
const SELECTION_SEEDS: Range<u64> = 1000..1003;
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
        let tasks = tasks(&cluster)?;
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

fn tasks(cluster: &Cluster) -> anyhow::Result<Vec<SimulatedTask>> {
    let spec = |(index, (model, weight)): (usize, (&str, f64))| {
        anyhow::Ok(TaskSpec {
            name: format!("{}-{model}", index + 1),
            model: Some(LanguageModel::preset(model)?),
            weight,
            min_workers: 0,
            guaranteed_workers: None,
            current: 0,
            throughput: None,
            whole_nodes: false,
            work_flops: None,
        })
    };
    let specs: Vec<TaskSpec> =
        TASKS.into_iter().enumerate().map(spec).collect::<anyhow::Result<_>>()?;
    Ok(tasks_of(&specs, cluster)?)
}

fn events_per_s(policy: &str, scenario: &Scenario<'_>) -> anyhow::Result<f64> {
    use anyhow::Context;
    let setup = managed(policy, Rule::ours()).context("a policy")?;
    let clock = Instant::now();
    let outcome = setup.run(scenario)?;
    Ok(outcome.events as f64 / clock.elapsed().as_secs_f64())
}
