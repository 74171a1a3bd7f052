//! How workers are shared out once and for all: the simple strategies that the paper compares its plan
//! with (section 7.4), and the plan in whole nodes.

use crate::cluster::Cluster;
use crate::plan::knapsack::{self, Choice};
use crate::plan::rule::usual_hazard;
use crate::plan::{Present, Rule, Situation, Task};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A way to share out workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The most WAF, every task that can run at least on what it needs.
    Plan,
    /// The same for all.
    Equal,
    /// By weight.
    Weighted,
    /// By the model's parameters.
    Sized,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Equal, Self::Weighted, Self::Sized];

    /// Its name in arguments and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Equal => "equal",
            Self::Weighted => "weighted",
            Self::Sized => "sized",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name).ok_or_else(|| {
            let problem = format!("{name:?} is none of {}", Self::ALL.map(Self::name).join(", "));
            Error::Setting { setting: "allocation".to_owned(), problem }
        })
    }
}

/// What a strategy gives and achieves on a cluster where nothing fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// How workers were shared out.
    pub strategy: Strategy,
    /// By task.
    pub workers: Vec<usize>,
    /// By task, in weighted FLOP/s.
    pub waf: Vec<f64>,
}

impl Allocation {
    /// All workers of a cluster shared out by a strategy, one by one: the comparison of section 7.4 of the
    /// paper. The plan is the rule's, for tasks that have nothing yet.
    #[must_use]
    pub fn of(strategy: Strategy, tasks: &[Task], cluster: &Cluster, rule: &Rule) -> Self {
        let all: Vec<&Task> = tasks.iter().collect();
        let parts = match strategy {
            Strategy::Plan => return Self::planned(tasks, cluster, rule),
            other => parts(other, &all),
        };
        let workers = in_proportion(cluster.gpus(), &parts);
        let waf = |(task, &workers): (&Task, &usize)| match workers < task.min_workers {
            true => 0.0,
            false => task.waf(task.throughput.at(workers)),
        };
        let waf = tasks.iter().zip(&workers).map(waf).collect();
        Self { strategy, workers, waf }
    }

    fn planned(tasks: &[Task], cluster: &Cluster, rule: &Rule) -> Self {
        let tasks: Vec<Task> =
            tasks.iter().map(|task| Task { present: Present::default(), ..task.clone() }).collect();
        let situation = Situation {
            tasks: &tasks,
            workers: cluster.gpus(),
            hazard: usual_hazard() * cluster.nodes() as f64,
            cluster,
        };
        let plan = situation.plan(rule);
        Self {
            strategy: Strategy::Plan,
            workers: plan.tasks.iter().map(|task| task.size.workers).collect(),
            waf: plan.tasks.iter().map(|task| task.waf).collect(),
        }
    }

    /// Weighted FLOP/s of all tasks.
    #[must_use]
    pub fn total_waf(&self) -> f64 {
        self.waf.iter().sum()
    }
}

/// Nodes for each task, all of them whole. `waf` is what a task achieves on so many, for the plan; it
/// doesn't fall.
#[must_use]
pub fn whole_nodes(
    strategy: Strategy,
    tasks: &[&Task],
    nodes: usize,
    waf: impl Fn(usize, usize) -> f64,
) -> Vec<usize> {
    match strategy {
        Strategy::Plan => planned(tasks.len(), nodes, waf),
        other => in_proportion(nodes, &parts(other, tasks)),
    }
}

/// In which proportion a simple strategy shares out.
fn parts(strategy: Strategy, tasks: &[&Task]) -> Vec<f64> {
    match strategy {
        Strategy::Plan | Strategy::Equal => vec![1.0; tasks.len()],
        Strategy::Weighted => tasks.iter().map(|task| task.weight).collect(),
        Strategy::Sized => sizes(tasks),
    }
}

/// Which nodes those are: the first ones for the first task, and so on.
pub(super) fn deal(shares: &[usize]) -> impl Iterator<Item = (usize, Vec<usize>)> {
    let mut next = 0;
    let dealt = shares.iter().enumerate().filter(|(_, share)| **share > 0);
    dealt.map(move |(task, &share)| {
        let first = next;
        next += share;
        (task, (first..next).collect())
    })
}

fn planned(tasks: usize, nodes: usize, waf: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let choices = |task: usize| {
        let mut choices: Vec<Choice> = Vec::new();
        for workers in 0..=nodes {
            let value = waf(task, workers);
            if choices.last().is_none_or(|last| value > last.value) {
                choices.push(Choice { workers, value });
            }
        }
        choices
    };
    let all: Vec<Vec<Choice>> = (0..tasks).map(choices).collect();
    // Without what runs nobody, unless then some have to wait.
    let running: Vec<Vec<Choice>> = all
        .iter()
        .map(|choices| if choices.len() > 1 { choices[1..].to_vec() } else { choices.clone() })
        .collect();
    let picked = |choices: &[Vec<Choice>]| {
        let solution = knapsack::solve(choices, nodes)?;
        let of = |(choices, pick): (&Vec<Choice>, usize)| choices[pick].workers;
        Some(choices.iter().zip(solution.picks).map(of).collect())
    };
    picked(&running).or_else(|| picked(&all)).unwrap_or_else(|| vec![0; tasks])
}

/// Parameters of the models; a task without one counts as the mean of the others.
fn sizes(tasks: &[&Task]) -> Vec<f64> {
    let of = |task: &&Task| task.model.as_ref().map(|model| model.parameters());
    let known: Vec<f64> = tasks.iter().filter_map(of).collect();
    let mean = if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
    tasks.iter().map(|task| of(task).unwrap_or(mean)).collect()
}

/// Whole units in proportion to parts: rounded down, then one each to the largest remainders.
#[must_use]
pub fn in_proportion(units: usize, parts: &[f64]) -> Vec<usize> {
    let sum: f64 = parts.iter().sum();
    let exact: Vec<f64> = parts.iter().map(|part| units as f64 * part / sum).collect();
    let mut shares: Vec<usize> = exact.iter().map(|share| share.floor() as usize).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let remainder = |task: usize| exact[task] - exact[task].floor();
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)).then(a.cmp(&b)));
    let left = units.saturating_sub(shares.iter().sum());
    for &task in order.iter().take(left) {
        shares[task] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::super::cases::Case;
    use super::*;

    /// Section 7.4 of the paper: the plan has the highest WAF in all cases, or the same.
    #[test]
    fn the_plan_is_never_below_a_simple_strategy() {
        let cluster = Cluster::paper();
        for case in Case::ALL {
            let tasks: Vec<Task> =
                case.tasks(&cluster).unwrap().into_iter().map(|task| task.task).collect();
            for rule in [Rule::paper(), Rule::ours()] {
                let of = |strategy| Allocation::of(strategy, &tasks, &cluster, &rule);
                let plan = of(Strategy::Plan);
                assert!(plan.workers.iter().sum::<usize>() <= 128);
                for strategy in [Strategy::Equal, Strategy::Weighted, Strategy::Sized] {
                    let simple = of(strategy);
                    assert_eq!(simple.workers.iter().sum::<usize>(), 128);
                    let ratio = plan.total_waf() / simple.total_waf();
                    assert!(ratio >= 1.0, "{case}, {strategy}: {ratio}");
                }
            }
        }
    }

    #[test]
    fn shares_are_whole_and_add_up() {
        assert_eq!(in_proportion(16, &[1.0; 6]), [3, 3, 3, 3, 2, 2]);
        assert_eq!(in_proportion(10, &[3.0, 1.0, 1.0]), [6, 2, 2]);
        assert_eq!(in_proportion(0, &[1.0, 2.0]), [0, 0]);
    }

    #[test]
    fn the_plan_lets_everybody_run_if_it_can() {
        // The first gains 2 a node, the second 1 from its second node on.
        let waf = |task: usize, nodes: usize| match task {
            0 => 2.0 * nodes as f64,
            _ if nodes < 2 => 0.0,
            _ => nodes as f64,
        };
        assert_eq!(planned(2, 6, waf), [4, 2]);
        assert_eq!(planned(2, 2, waf), [2, 0], "both can't run");
    }

    #[test]
    fn nodes_are_dealt_in_order() {
        let dealt: Vec<_> = deal(&[2, 0, 1]).collect();
        assert_eq!(dealt, [(0, vec![0, 1]), (2, vec![2])]);
    }
}
