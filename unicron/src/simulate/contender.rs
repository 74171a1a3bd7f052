//! Policies that are compared, by name: what a user asks for becomes rows of a table.

use super::allocation::Strategy;
use super::managed::Setup;
use super::policy::{MANAGED, Policy, managed};
use super::rival::Rival;
use super::rivals::{self, Detection, Options, Steady};
use super::scenario::Scenario;
use super::standalone::steady_waf;
use crate::cluster::Measured;
use crate::plan::Rule;
use crate::trace::Trace;
use crate::{Error, Result};
use std::collections::BTreeSet;

/// The name of the bound.
const CLAIRVOYANT: &str = "clairvoyant";

/// A policy with all that its row says of it.
pub struct Contender {
    /// Its name.
    pub policy: String,
    /// How fast it trains while nothing fails.
    pub steady: Steady,
    /// Spare nodes.
    pub spares: usize,
    kind: Kind,
}

enum Kind {
    Managed(Setup),
    Clairvoyant,
    Rival { rival: Box<dyn Rival + Send>, strategy: Strategy },
}

/// What holds for all contenders.
#[derive(Debug, Clone)]
pub struct Choices {
    /// By which rule Unicron plans.
    pub rule: Rule,
    /// At which throughput rivals run: one row for each that differs from the others.
    pub steady: Vec<Steady>,
    /// How those rivals notice failures that leave it to PyTorch.
    pub detection: Detection,
    /// Spare nodes of rivals; `None` for several numbers of those that wait for nodes, and none of the
    /// others.
    pub spares: Option<usize>,
    /// How nodes are shared out among rivals' jobs.
    pub strategy: Strategy,
    /// What a live run has measured of Unicron.
    pub measured: Measured,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            rule: Rule::ours(),
            steady: vec![Steady::Published, Steady::Megatron],
            detection: Detection::default(),
            spares: None,
            strategy: Strategy::Plan,
            measured: Measured::default(),
        }
    }
}

impl Contender {
    /// All names.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        let rivals = rivals::all(&Options::default()).into_iter().map(|rival| rival.name());
        MANAGED.into_iter().chain([CLAIRVOYANT]).chain(rivals).collect()
    }

    /// The rows of some names on a scenario. Rivals know how often the trace fails.
    ///
    /// # Errors
    /// If a name isn't known.
    pub fn of(
        names: &[String],
        choices: &Choices,
        scenario: &Scenario<'_>,
        trace: &Trace,
    ) -> Result<Vec<Self>> {
        let mut contenders = Vec::new();
        for name in names {
            match (managed(name, choices.rule), name.as_str()) {
                (Some(setup), _) => {
                    let setup = setup.measured(&choices.measured);
                    contenders.push(Self::single(name, Kind::Managed(setup)));
                }
                (None, CLAIRVOYANT) => contenders.push(Self::single(name, Kind::Clairvoyant)),
                (None, _) => contenders.extend(rows_of_rival(name, choices, scenario, trace)?),
            }
        }
        Ok(contenders)
    }

    fn single(policy: &str, kind: Kind) -> Self {
        Self { policy: policy.to_owned(), steady: Steady::Megatron, spares: 0, kind }
    }

    /// For the simulator.
    #[must_use]
    pub fn policy(&self) -> Policy<'_> {
        match &self.kind {
            Kind::Managed(setup) => Policy::Managed(setup),
            Kind::Clairvoyant => Policy::Clairvoyant,
            Kind::Rival { rival, strategy } => {
                let (rival, strategy) = (rival.as_ref(), *strategy);
                Policy::Rival { rival, spares: self.spares, strategy }
            }
        }
    }

    /// What its throughput is called in tables and JSON.
    #[must_use]
    pub fn throughput(&self) -> &'static str {
        match self.steady {
            Steady::PublishedLow => "published-low",
            Steady::Published => "published",
            Steady::PublishedHigh => "published-high",
            Steady::Megatron => "megatron",
        }
    }
}

fn rows_of_rival(
    name: &str,
    choices: &Choices,
    scenario: &Scenario<'_>,
    trace: &Trace,
) -> Result<Vec<Contender>> {
    let base = match choices.detection {
        Detection::Torchrun => Options::default(),
        Detection::Paper => Options::paper(),
    };
    let felt = scenario.failures();
    let failures_per_node_day = (felt.sev1 + felt.other) as f64 / trace.extent().node_days();
    let mut rows: Vec<Contender> = Vec::new();
    let mut seen: Vec<Vec<f64>> = Vec::new();
    for &steady in &choices.steady {
        let options = Options { steady, failures_per_node_day, ..base };
        let make = || {
            rivals::find(name, &options).map_err(|_| {
                let problem = format!("`{name}` is none of {}", Contender::names().join(", "));
                Error::Setting { setting: "policy".into(), problem }
            })
        };
        let rival = make()?;
        let wafs = steady_wafs(scenario, rival.as_ref());
        if seen.contains(&wafs) {
            // What is published of it is Megatron's pace.
            rows.iter_mut().for_each(|row| row.steady = steady);
            continue;
        }
        seen.push(wafs);
        let spares = match choices.spares {
            Some(spares) => vec![spares],
            None if waits_for_nodes(scenario, rival.as_ref()) => usual_spares(scenario),
            None => vec![0],
        };
        let nodes = scenario.cluster().nodes();
        // More than there are is an error only of who asked for them.
        for spares in spares.into_iter().filter(|&n| n < nodes || choices.spares.is_some()) {
            let kind = Kind::Rival { rival: make()?, strategy: choices.strategy };
            rows.push(Contender { policy: name.to_owned(), steady, spares, kind });
        }
    }
    Ok(rows)
}

/// What a rival achieves with each task by nodes: what tells two throughputs apart.
fn steady_wafs(scenario: &Scenario<'_>, rival: &dyn Rival) -> Vec<f64> {
    let tasks = scenario.tasks().iter();
    let most = scenario.cluster().nodes().min(64);
    tasks
        .flat_map(|task| (1..=most).map(move |nodes| (task, nodes)))
        .map(|(task, nodes)| steady_waf(scenario, rival, &task.task, nodes))
        .collect()
}

/// None, one, two, as many as are away on average, and as many as are rarely exceeded.
fn usual_spares(scenario: &Scenario<'_>) -> Vec<usize> {
    let away = scenario.node_time_lost() * scenario.cluster().nodes() as f64;
    let rarely = away + 2.0 * away.sqrt();
    let numbers = BTreeSet::from([0, 1, 2, away.ceil() as usize, rarely.ceil() as usize]);
    numbers.into_iter().collect()
}

/// Whether a job of it that lacks a node does nothing.
fn waits_for_nodes(scenario: &Scenario<'_>, rival: &dyn Rival) -> bool {
    scenario.tasks().iter().all(|task| {
        let job = super::standalone::job_of(scenario, &task.task, scenario.cluster().nodes());
        rival.flops(&job, job.workers) > 0.0
            && rival.flops(&job, job.workers - job.gpus_per_node) <= 0.0
    })
}
