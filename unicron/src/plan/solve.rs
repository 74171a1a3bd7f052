//! From a situation to a plan.

use super::rule::{Horizon, Rule, Search};
use super::task::Task;
use super::value::{Size, Terms};
use super::{greedy, knapsack};
use crate::cluster::Cluster;

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The tasks; of equal ones the earlier gets more.
    pub tasks: &'a [Task],
    /// Workers that there are, `n'`.
    pub workers: usize,
    /// Failures a second that are expected of all nodes together.
    pub hazard: f64,
    /// The nodes, their GPUs and their links.
    pub cluster: &'a Cluster,
}

/// How many workers each task gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// By task.
    pub tasks: Vec<Assignment>,
    /// What was maximised: the sum of the values.
    pub objective: f64,
    /// Sum of the WAF that the tasks have after their transitions, in FLOP/s.
    pub total_waf: f64,
    /// Workers that are used, idle ones within a task's share included.
    pub workers: usize,
    /// `D_running` in seconds.
    pub horizon_s: f64,
}

/// What a task gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Its size, arrangement, and value.
    pub size: Size,
    /// WAF of this size.
    pub waf: f64,
    /// The floor that it was given.
    pub floor: usize,
    /// Whether it wanted a floor that there aren't workers for.
    pub floor_is_dropped: bool,
}

impl Assignment {
    /// Whether the task can't run.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.size.workers == 0
    }
}

impl Situation<'_> {
    /// The optimal plan by a rule.
    #[must_use]
    pub fn plan(&self, rule: &Rule) -> Plan {
        let terms = self.terms(rule);
        let floors = self.floors(rule);
        let sizes = self.sizes(&terms, &floors);
        self.solve(&terms, &sizes, &floors)
            .expect("floors are dropped until they fit, and no workers always fit")
    }

    /// The best plan of which every task's size is allowed, or none where none is. There are no floors: who
    /// may not change keeps what it has.
    #[must_use]
    pub fn plan_within(&self, rule: &Rule, is_allowed: impl Fn(usize, &Size) -> bool) -> Plan {
        let terms = self.terms(rule);
        let floors = Floors { kept: vec![0; self.tasks.len()], dropped: Vec::new() };
        let all = self.sizes(&terms, &floors);
        let allowed = |(task, sizes): (usize, &Vec<Size>)| -> Vec<Size> {
            let kept: Vec<Size> =
                sizes.iter().filter(|size| is_allowed(task, size)).copied().collect();
            if kept.is_empty() { vec![terms.none(&self.tasks[task])] } else { kept }
        };
        let sizes: Vec<Vec<Size>> = all.iter().enumerate().map(allowed).collect();
        self.solve(&terms, &sizes, &floors)
            // There are fewer workers than those that may not change have.
            .or_else(|| self.solve(&terms, &all, &floors))
            .expect("without floors, no workers at all always fit")
    }

    /// What is the same for all tasks.
    #[must_use]
    pub fn terms<'a>(&'a self, rule: &'a Rule) -> Terms<'a> {
        let horizon_s = match rule.horizon {
            Horizon::ByWorkers { mean_time_between_failures_s } => {
                mean_time_between_failures_s / self.workers.max(1) as f64
            }
            Horizon::ByNodes => 1.0 / self.hazard.max(f64::MIN_POSITIVE),
            Horizon::Fixed(seconds) => seconds,
        };
        let is_by_nodes = rule.horizon == Horizon::ByNodes;
        let worker_horizon_s = is_by_nodes.then_some(horizon_s * self.workers.max(1) as f64);
        Terms { rule, cluster: self.cluster, horizon_s, worker_horizon_s }
    }

    /// The sizes of each task above its floor.
    pub(super) fn sizes(&self, terms: &Terms<'_>, floors: &Floors) -> Vec<Vec<Size>> {
        let of = |(task, &floor): (&Task, &usize)| terms.sizes(task, floor, self.workers);
        self.tasks.iter().zip(&floors.kept).map(of).collect()
    }

    /// The best of these sizes, each task's by workers; `None` if the smallest don't fit.
    pub(super) fn solve<S: AsRef<[Size]>>(
        &self,
        terms: &Terms<'_>,
        sizes: &[S],
        floors: &Floors,
    ) -> Option<Plan> {
        let choices = |sizes: &S| -> Vec<_> {
            let fits = |size: &&Size| size.workers <= self.workers;
            sizes.as_ref().iter().take_while(fits).map(Size::choice).collect()
        };
        let choices: Vec<Vec<_>> = sizes.iter().map(choices).collect();
        let found = match terms.rule.search {
            Search::Exact => knapsack::solve(&choices, self.workers)?,
            Search::Greedy => greedy::solve(&choices, self.workers)?,
        };
        let picked = sizes.iter().zip(&found.picks).map(|(sizes, &pick)| sizes.as_ref()[pick]);
        let tasks: Vec<Assignment> = picked
            .zip(self.tasks)
            .enumerate()
            .map(|(index, (size, task))| Assignment {
                waf: task.waf(size.flops()),
                size,
                floor: floors.kept[index],
                floor_is_dropped: floors.dropped.contains(&index),
            })
            .collect();
        Some(Plan {
            total_waf: tasks.iter().map(|task| task.waf).sum(),
            objective: found.value,
            workers: found.workers,
            horizon_s: terms.horizon_s,
            tasks,
        })
    }

    /// The floors that can be kept together. Where not all can, those of tasks that are guaranteed
    /// nothing go first, then those of the least weight, then the later ones.
    pub(super) fn floors(&self, rule: &Rule) -> Floors {
        let mut kept = vec![0; self.tasks.len()];
        if !rule.has_floors {
            return Floors { kept, dropped: Vec::new() };
        }
        let (mut left, mut dropped) = (self.workers, Vec::new());
        for index in self.floor_order() {
            match self.floor(index) {
                Some(floor) if floor <= left => {
                    left -= floor;
                    kept[index] = floor;
                }
                Some(_) => dropped.push(index),
                None => {}
            }
        }
        dropped.sort_unstable();
        Floors { kept, dropped }
    }

    /// The floor that a task wants, if any.
    pub(super) fn floor(&self, task: usize) -> Option<usize> {
        let task = &self.tasks[task];
        if task.guaranteed_workers == Some(0) {
            return None;
        }
        task.fewest(self.cluster, task.guaranteed_workers.unwrap_or(0)).filter(|&floor| floor > 0)
    }

    /// All tasks, those whose floors are kept first coming first.
    pub(super) fn floor_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.sort_by(|&left, &right| {
            let (left, right) = (&self.tasks[left], &self.tasks[right]);
            let is_guaranteed = |task: &Task| task.guaranteed_workers.is_some();
            let by_guarantee = is_guaranteed(right).cmp(&is_guaranteed(left));
            by_guarantee.then(right.weight.total_cmp(&left.weight))
        });
        order
    }
}

/// The floors of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Floors {
    /// By task, 0 for none.
    pub kept: Vec<usize>,
    /// Tasks that wanted one that doesn't fit.
    pub dropped: Vec<usize>,
}

impl Floors {
    /// A floor that turns out to have no place.
    pub(super) fn drop(&mut self, task: usize) {
        self.kept[task] = 0;
        if let Err(at) = self.dropped.binary_search(&task) {
            self.dropped.insert(at, task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterFile;
    use crate::plan::Fleet;
    use crate::plan::rule::TransitionTime;
    use crate::throughput::Constants;
    use proptest::prelude::*;
    use std::fmt::Write;
    use std::path::Path;

    fn fleet(nodes: usize, tasks: &[(usize, f64, usize)]) -> Fleet {
        let models = ["gpt3-1.3b", "gpt3-7b", "gpt3-13b"];
        let mut text = format!("[cluster]\nnodes = {nodes}\ngpus_per_node = 8\n");
        for (index, &(model, weight, current)) in tasks.iter().enumerate() {
            let current = current.min(8 * nodes / tasks.len());
            let model = models[model];
            write!(
                text,
                "[[tasks]]\nname = \"{index}\"\nmodel = \"{model}\"\nweight = {weight}\n\
                 current = {current}\n"
            )
            .unwrap();
        }
        let file = ClusterFile::parse(&text, Path::new("cluster.toml")).unwrap();
        Fleet::of(&file, &Constants::default()).unwrap()
    }

    /// What a fixed share for each task is worth by the plan's own measure; `None` if somebody's share is
    /// below the floor.
    fn worth(situation: &Situation<'_>, rule: &Rule, shares: &[f64]) -> Option<f64> {
        let (terms, floors) = (situation.terms(rule), situation.floors(rule));
        let total: f64 = shares.iter().sum();
        let of = |(sizes, share): (&Vec<Size>, &f64)| {
            let workers = (share / total * situation.workers as f64).floor() as usize;
            let fits = sizes.iter().filter(|size| size.workers <= workers);
            fits.map(|size| size.value).max_by(f64::total_cmp)
        };
        situation.sizes(&terms, &floors).iter().zip(shares).map(of).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// On clusters of up to 4,000 GPUs and 60 tasks.
        #[test]
        fn no_simple_strategy_is_better(
            nodes in 60_usize..500,
            tasks in prop::collection::vec((0_usize..3, 0.5..2.0_f64, 0_usize..64), 2..60),
        ) {
            let fleet = fleet(nodes, &tasks);
            let situation = fleet.situation();
            for rule in [Rule::paper(), Rule::ours()] {
                let plan = situation.plan(&rule);
                prop_assert!(plan.workers <= situation.workers);
                let equal = vec![1.0; tasks.len()];
                let weighted: Vec<f64> = tasks.iter().map(|&(_, weight, _)| weight).collect();
                let parameters = |task: &Task| task.model.as_ref().map_or(1.0, |model| model.parameters());
                let sized: Vec<f64> = fleet.tasks().iter().map(parameters).collect();
                for shares in [equal, weighted, sized] {
                    if let Some(worth) = worth(&situation, &rule, &shares) {
                        prop_assert!(plan.objective >= worth * (1.0 - 1e-12), "{} {worth}", plan.objective);
                    }
                }
            }
        }

        /// The paper's rule at a fixed horizon and without a penalty.
        #[test]
        fn more_workers_never_lower_the_optimum(
            nodes in 1_usize..30,
            tasks in prop::collection::vec((0_usize..3, 0.5..2.0_f64, 0_usize..64), 1..6),
        ) {
            let fleet = fleet(nodes, &tasks);
            let rule = Rule {
                horizon: Horizon::Fixed(1e5),
                transition: TransitionTime::Constant(0.0),
                ..Rule::paper()
            };
            let mut before = 0.0;
            for workers in 0..=8 * nodes {
                let plan = Situation { workers, ..fleet.situation() }.plan(&rule);
                prop_assert!(plan.workers <= workers);
                prop_assert!(plan.objective >= before * (1.0 - 1e-12));
                before = plan.objective;
            }
        }
    }

    #[test]
    fn floors_that_do_not_fit_go_by_guarantee_weight_and_order() {
        let fleet = fleet(1, &[(2, 1.0, 0), (2, 1.0, 0), (2, 2.0, 0)]);
        let plan = fleet.situation().plan(&Rule::ours());
        let dropped: Vec<bool> = plan.tasks.iter().map(|task| task.floor_is_dropped).collect();
        assert_eq!(dropped, [false, true, false], "{plan:?}");
    }
}
