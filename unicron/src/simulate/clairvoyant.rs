//! A bound that no policy passes: at every moment the most WAF of the nodes that are there, as if tasks
//! changed at no cost the moment something happens.
//!
//! It is a bound on WAF and no policy: nobody knows failures to come, moves tasks in no time, or fits every
//! number of workers. Tasks have no floors in it. Where all tasks have an end, all their work is a bound,
//! too; a task that is done still counts until then.

use super::ledger::{Ledger, Occupancy};
use super::outcome::Outcome;
use super::scenario::{Happening, Scenario, SimulatedTask};
use super::timers::{System, Timers, run};
use crate::plan::knapsack::{self, Choice};
use std::collections::HashMap;

/// The bound on a scenario.
#[must_use]
pub fn bound(scenario: &Scenario<'_>) -> Outcome {
    let endless: Vec<(f64, Option<f64>)> =
        scenario.tasks().iter().map(|task| (task.task.weight, None)).collect();
    let ledger = Ledger::new(scenario.cluster().gpus(), endless);
    let mut bound = Bound {
        tasks: scenario.tasks(),
        ledger: if scenario.has_series() { ledger.with_series() } else { ledger },
        timers: Timers::new(),
        gpus_per_node: scenario.cluster().gpus_per_node(),
        is_up: vec![true; scenario.cluster().nodes()],
        best: HashMap::new(),
    };
    bound.refresh(0.0);
    let events = run(scenario, &mut bound);
    let mut outcome = Outcome::new(scenario, bound.ledger.close(scenario.duration_s()), events);
    let works: Option<Vec<f64>> =
        scenario.tasks().iter().map(|task| Some(task.task.weight * task.work_flops?)).collect();
    if let Some(works) = works {
        outcome.accumulated_waf = outcome.accumulated_waf.min(works.iter().sum());
    }
    outcome
}

struct Bound<'a> {
    tasks: &'a [SimulatedTask],
    ledger: Ledger,
    timers: Timers<()>,
    gpus_per_node: usize,
    is_up: Vec<bool>,
    /// By nodes that are there.
    best: HashMap<usize, Vec<Occupancy>>,
}

impl Bound<'_> {
    fn refresh(&mut self, now_s: f64) {
        let nodes = self.is_up.iter().filter(|is_up| **is_up).count();
        let (tasks, gpus) = (self.tasks, nodes * self.gpus_per_node);
        let best = self.best.entry(nodes).or_insert_with(|| best_of(tasks, gpus));
        for (task, &occupancy) in best.iter().enumerate() {
            self.ledger.set(now_s, task, Occupancy::default());
            self.ledger.set(now_s, task, occupancy);
        }
    }
}

/// What every task does where the sum of WAF is the largest that so many GPUs allow.
fn best_of(tasks: &[SimulatedTask], gpus: usize) -> Vec<Occupancy> {
    let choices: Vec<Vec<Choice>> = tasks
        .iter()
        .map(|SimulatedTask { task, .. }| {
            let none = Choice { workers: 0, value: 0.0 };
            let steps = task.throughput.steps().iter().map(|step| Choice {
                workers: step.workers.max(task.min_workers),
                value: task.waf(step.flops),
            });
            std::iter::once(none).chain(steps).collect()
        })
        .collect();
    let picks = knapsack::solve(&choices, gpus).map_or(vec![0; tasks.len()], |found| found.picks);
    let occupancy = |(task, pick): (&SimulatedTask, usize)| match pick.checked_sub(1) {
        None => Occupancy { is_starved: true, ..Occupancy::default() },
        Some(step) => {
            let step = &task.task.throughput.steps()[step];
            Occupancy {
                useful: step.workers,
                idle: task.task.min_workers.saturating_sub(step.workers),
                flops: step.flops,
                ..Occupancy::default()
            }
        }
    };
    tasks.iter().zip(picks).map(occupancy).collect()
}

impl System for Bound<'_> {
    type Timer = ();

    fn timers(&mut self) -> &mut Timers<()> {
        &mut self.timers
    }

    fn happens(&mut self, now_s: f64, happening: &Happening<'_>) {
        match *happening {
            Happening::Failure { failure, .. } if failure.repair_s.is_some() => {
                self.is_up[failure.node] = false;
            }
            Happening::Failure { .. } => return,
            Happening::NodeBack { node, .. } => self.is_up[node] = true,
        }
        self.refresh(now_s);
    }

    fn wakes(&mut self, _now_s: f64, (): ()) -> bool {
        false
    }
}
