//! How workers are shared out once and for all: the simple strategies that the paper compares its plan
//! with (section 7.4), and the plan in whole nodes.

use crate::plan::Task;
use crate::plan::knapsack::{self, Choice};
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

/// Nodes for each task, all of them whole. `waf` is what a task achieves on so many, for the plan; it
/// doesn't fall.
#[must_use]
pub fn whole_nodes(
    strategy: Strategy,
    tasks: &[&Task],
    nodes: usize,
    waf: impl Fn(usize, usize) -> f64,
) -> Vec<usize> {
    let parts: Vec<f64> = match strategy {
        Strategy::Plan => return planned(tasks.len(), nodes, waf),
        Strategy::Equal => vec![1.0; tasks.len()],
        Strategy::Weighted => tasks.iter().map(|task| task.weight).collect(),
        Strategy::Sized => sizes(tasks),
    };
    in_proportion(nodes, &parts)
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
    use super::*;

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
