//! For tests: small fleets as they come, and the exhaustive search that plans are held against.

use super::placement::Placement;
use super::rule::Rule;
use super::solve::Situation;
use super::task::{Present, Task, Unit};
use super::value::Size;
use crate::cluster::Cluster;
use crate::model::LanguageModel;
use crate::throughput::{Recompute, Shape, Step, Throughput};
use proptest::prelude::*;
use std::sync::Arc;

const GPUS_PER_NODE: usize = 8;

/// Tasks on up to four nodes of eight workers, some away, some broken.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub tasks: Vec<Task>,
    pub healthy: Vec<usize>,
    pub hazards: Vec<f64>,
    pub placement: Placement,
    cluster: Cluster,
}

impl Fleet {
    pub fn situation(&self) -> Situation<'_> {
        Situation {
            tasks: &self.tasks,
            workers: self.healthy.iter().sum(),
            hazard: self.hazards.iter().sum(),
            cluster: &self.cluster,
        }
    }

    /// The largest sum of values over all combinations of all numbers of workers that can be placed.
    pub fn best_placement(&self, rule: &Rule) -> Option<f64> {
        let situation = self.situation();
        let (terms, floors) = (situation.terms(rule), situation.floors(rule));
        let sizes: Vec<Vec<Size>> = situation.sizes(&terms, &floors);
        self.best(&sizes, &mut Vec::new())
    }

    fn best(&self, sizes: &[Vec<Size>], picked: &mut Vec<Size>) -> Option<f64> {
        let Some(choices) = sizes.get(picked.len()) else {
            return self.can_be_placed(picked).then(|| picked.iter().map(|size| size.value).sum());
        };
        let with = |size: &Size| {
            picked.push(*size);
            let best = self.best(sizes, picked);
            picked.pop();
            best
        };
        choices.iter().filter_map(with).max_by(f64::total_cmp)
    }

    /// Whether there is any way to place the groups: tries all.
    fn can_be_placed(&self, picked: &[Size]) -> bool {
        let mut groups: Vec<usize> = Vec::new();
        for (task, size) in self.tasks.iter().zip(picked) {
            let tensor = size.step.and_then(|step| step.shape).map_or(1, |shape| shape.tensor);
            let group = match task.unit {
                Unit::Worker => tensor,
                Unit::OnNode(workers) => workers,
                Unit::Node => GPUS_PER_NODE,
            };
            groups.extend(std::iter::repeat_n(group, size.workers / group));
            groups.extend(std::iter::repeat_n(1, size.workers % group));
        }
        groups.sort_unstable_by_key(|group| usize::MAX - group);
        fits(&groups, &mut self.healthy.clone())
    }
}

fn fits(groups: &[usize], free: &mut [usize]) -> bool {
    let Some((&group, rest)) = groups.split_first() else { return true };
    if group == 1 {
        return groups.len() <= free.iter().sum();
    }
    let mut tried = Vec::new();
    for node in 0..free.len() {
        if free[node] >= group && !tried.contains(&free[node]) {
            tried.push(free[node]);
            free[node] -= group;
            let is_placed = fits(rest, free);
            free[node] += group;
            if is_placed {
                return true;
            }
        }
    }
    false
}

/// A task with this throughput.
pub fn task_of(throughput: Throughput, present: Present) -> Task {
    Task {
        name: "task".to_owned(),
        throughput: Arc::new(throughput),
        weight: 1.0,
        min_workers: 0,
        guaranteed_workers: None,
        unit: Unit::Worker,
        model: None,
        present,
        restart: None,
    }
}

fn throughput() -> impl Strategy<Value = Throughput> {
    let step = (0_u32..4, 1_usize..4, 0.2..2.0_f64);
    prop::collection::vec(step, 1..4).prop_map(|steps| {
        let (mut workers, mut flops) = (0_usize, 0.0);
        let steps = steps.into_iter().map(|(power, data, gain)| {
            let tensor = 1 << power;
            workers = (workers + 1).next_multiple_of(tensor) + tensor * (data - 1);
            flops += gain * 1e14;
            let shape = Shape {
                tensor,
                pipeline: 1,
                data: workers / tensor,
                micro_batch: 1,
                interleave: 1,
                recompute: Recompute::Selective,
                sharded_optimizer: true,
            };
            Step { workers, flops, shape: Some(shape) }
        });
        Throughput::of_steps(steps.collect())
    })
}

fn task() -> impl Strategy<Value = Task> {
    let parts = (
        throughput(),
        0.5..2.0_f64,
        0_usize..10,
        prop::option::of(0_usize..12),
        prop_oneof![8 => Just(Unit::Worker), 1 => Just(Unit::Node), 1 => Just(Unit::OnNode(2))],
        0_usize..17,
        0_usize..3,
    );
    parts.prop_map(|(throughput, weight, min_workers, guaranteed_workers, unit, workers, lost)| {
        let present = Present { lost: lost.min(workers), ..Present::of(workers, &throughput) };
        let model = LanguageModel::preset("gpt3-7b").unwrap();
        Task {
            weight,
            min_workers,
            guaranteed_workers,
            unit,
            model: Some(Arc::new(model)),
            ..task_of(throughput, present)
        }
    })
}

/// Fleets of one to four tasks.
pub fn fleets() -> impl Strategy<Value = Fleet> {
    let node = prop_oneof![6 => Just(8_usize), 1 => Just(0), 1 => 1_usize..8];
    (prop::collection::vec(node, 1..5), prop::collection::vec(task(), 1..5)).prop_map(
        |(healthy, tasks)| Fleet {
            tasks,
            hazards: vec![5e-8; healthy.len()],
            placement: Placement::empty(healthy.len()),
            healthy,
            cluster: Cluster::paper(),
        },
    )
}
