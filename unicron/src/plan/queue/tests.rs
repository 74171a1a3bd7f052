//! Both orders, held against the exact solver.

use super::*;
use crate::cluster::{Cluster, Hardware};
use crate::plan::task::Unit;
use crate::plan::testing::task_of;
use crate::plan::{Present, Task};
use crate::throughput::Throughput;
use proptest::prelude::*;

/// A task of so many workers at most, each of so many FLOP/s.
fn linear(most: usize, flops: f64, weight: f64, min_workers: usize) -> Task {
    let points: Vec<(usize, f64)> = (1..=most).map(|n| (n, n as f64 * flops)).collect();
    let throughput = Throughput::measured(&points).unwrap();
    Task { weight, min_workers, ..task_of(throughput, Present::default()) }
}

fn cluster(nodes: usize, workers: usize) -> Cluster {
    let hardware = Hardware::kind(Hardware::DEFAULT_KIND).unwrap();
    Cluster::new(nodes, workers, hardware).unwrap()
}

/// The tasks with what the optimal plan for so many workers gives them.
fn planned(mut tasks: Vec<Task>, cluster: &Cluster, workers: usize, rule: &Rule) -> Vec<Task> {
    let situation = Situation { tasks: &tasks, workers, hazard: 1e-7, cluster };
    let plan = situation.plan(rule);
    for (task, assignment) in tasks.iter_mut().zip(plan.tasks) {
        task.present = Present::of(assignment.size.workers, &task.throughput);
    }
    tasks
}

fn texts(tasks: &[Task], cluster: &Cluster, workers: usize) -> Vec<String> {
    let situation = Situation { tasks, workers, hazard: 1e-7, cluster };
    let queue = situation.queue(&Rule::ours());
    let name = |task: usize| ["a", "b", "c", "d", "e"][task];
    let waiting = queue.waiting.iter().enumerate();
    waiting
        .map(|(place, task)| format!("{}: {}", name(task.task), task.to_text(place + 1, name)))
        .collect()
}

#[test]
fn whoever_waits_is_told_why() {
    let cluster = cluster(1, 8);
    let tasks = vec![
        linear(4, 1e14, 2.0, 4),
        linear(3, 1e14, 1.0, 2),
        linear(9, 1e14, 1.0, 9),
        linear(4, 1e14, 1.0, 4),
        Task { guaranteed_workers: Some(0), ..linear(4, 1e13, 1.0, 2) },
    ];
    let tasks = planned(tasks, &cluster, 8, &Rule::ours());
    let has: Vec<usize> = tasks.iter().map(|task| task.present.workers).collect();
    assert_eq!(has, [4, 3, 0, 0, 0]);
    assert_eq!(
        texts(&tasks, &cluster, 8),
        [
            "c: needs 9 workers, the cluster has 8; first in line",
            "d: needs 4 workers, 1 is free; a and b may keep 6 of 8; 2. in line",
            "e: needs 2 workers, 1 is free; worth less than a and b by weight × FLOP/s; 3. in line",
        ]
    );
    assert_eq!(
        texts(&[linear(2, 1e14, 1.0, 2)], &cluster, 0),
        ["a: no node may have tasks; needs 2 workers; first in line"]
    );
}

#[test]
fn whole_nodes_that_are_broken_are_no_place() {
    let cluster = cluster(2, 4);
    let task = Task { unit: Unit::Node, ..linear(4, 1e14, 1.0, 4) };
    let expected =
        "a: needs 4 workers, 6 are free, but not on nodes that it could use; first in line";
    assert_eq!(texts(&[task], &cluster, 6), [expected]);
}

#[test]
fn floors_go_last_and_the_least_weight_first() {
    let cluster = cluster(1, 8);
    let tasks = vec![linear(2, 1e14, 2.0, 2), linear(4, 1e14, 1.0, 1), linear(2, 1e14, 1.0, 2)];
    let tasks = planned(tasks, &cluster, 8, &Rule::ours());
    let situation = Situation { tasks: &tasks, workers: 8, hazard: 1e-7, cluster: &cluster };
    let givers = situation.queue(&Rule::ours()).givers;
    let order: Vec<(usize, usize, bool)> =
        givers.iter().map(|giver| (giver.task, giver.workers, giver.is_floor)).collect();
    assert_eq!(order, [(1, 1, false), (2, 2, true), (0, 2, true)]);
}

proptest! {
    /// Whoever comes first is whom the exact solver takes workers from, if there are fewer.
    #[test]
    fn the_solver_takes_from_the_first(
        tasks in prop::collection::vec((1_usize..9, 1_u32..30, 1_u32..5, 0_usize..4), 2..6),
        workers in 8_usize..24,
    ) {
        let cluster = cluster(3, 8);
        for rule in [Rule::ours(), Rule::paper()] {
            let of = |&(most, flops, weight, min): &(usize, u32, u32, usize)| {
                linear(most, f64::from(flops) * 1e13, f64::from(weight), min.min(most))
            };
            let tasks = planned(tasks.iter().map(of).collect(), &cluster, workers, &rule);
            let used: usize = tasks.iter().map(|task| task.present.workers).sum();
            let at = |workers| Situation { tasks: &tasks, workers, hazard: 1e-7, cluster: &cluster };
            let Some(first) = at(used).queue(&rule).givers.first().copied() else { continue };
            if first.is_floor || used == first.workers {
                continue;
            }
            let plan = at(used - first.workers).plan(&rule);
            // A task that can't do with fewer gives up all that it has, and what is too many goes to another: then
            // the plan does more than take.
            let has_more = |task: usize| plan.tasks[task].size.workers > tasks[task].present.workers;
            if (0..tasks.len()).any(has_more) {
                continue;
            }
            let lost: Vec<usize> = (0..tasks.len())
                .filter(|&task| plan.tasks[task].size.workers < tasks[task].present.workers)
                .collect();
            // By all that it lost: a task pays for the change once, however many workers go with it.
            let situation = at(used);
            let terms = situation.terms(&rule);
            let is_as_cheap = |&task: &usize| {
                let (left, had) = (plan.tasks[task].size.workers, tasks[task].present.workers);
                let sizes = terms.sizes(&tasks[task], 0, had);
                let best = |workers| {
                    let of = sizes.iter().filter(|size| size.workers == workers);
                    of.map(|size| size.value).fold(0.0, f64::max)
                };
                let worth = (best(had) - best(left)) / (had - left) as f64 / terms.horizon_s;
                worth <= first.worth * (1.0 + 1e-9)
            };
            prop_assert!(lost.iter().all(is_as_cheap), "{lost:?} of {:?}", at(used).queue(&rule));
        }
    }
}
