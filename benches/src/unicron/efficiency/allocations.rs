//! Where nothing fails: what each model achieves, and what each way to share out a cluster is worth.

use super::metrics::{AllocationRow, Curve};
use unicron::cluster::Cluster;
use unicron::model::LanguageModel;
use unicron::plan::{Rule, Task};
use unicron::simulate::allocation::{Allocation, Strategy};
use unicron::simulate::cases::Case;
use unicron::throughput::{Constants, Throughput};

const GPUS: [usize; 10] = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128];

pub(super) fn curves(cluster: &Cluster) -> anyhow::Result<Vec<Curve>> {
    let curve = |name: &str| {
        let throughput = Throughput::megatron(
            &LanguageModel::preset(name)?,
            cluster.hardware(),
            cluster.gpus_per_node(),
            cluster.gpus(),
            &Constants::default(),
        );
        let point = |&gpus: &usize| (gpus, throughput.at(gpus) / 1e15);
        Ok(Curve { model: name.to_owned(), points: GPUS.iter().map(point).collect() })
    };
    LanguageModel::preset_names().map(curve).collect()
}

pub(super) fn allocations(cluster: &Cluster) -> anyhow::Result<Vec<AllocationRow>> {
    let mut rows = Vec::new();
    for case in Case::ALL {
        let tasks: Vec<Task> = case.tasks(cluster)?.into_iter().map(|task| task.task).collect();
        let mut add = |strategy: String, allocation: &Allocation| {
            rows.push(AllocationRow {
                case: case.to_string(),
                strategy,
                waf: allocation.total_waf() / 1e15,
                starved: allocation.waf.iter().filter(|waf| **waf == 0.0).count(),
            });
        };
        for strategy in Strategy::ALL {
            add(strategy.to_string(), &Allocation::of(strategy, &tasks, cluster, &Rule::ours()));
        }
        let paper = Allocation::of(Strategy::Plan, &tasks, cluster, &Rule::paper());
        add("plan, the paper's rule".to_owned(), &paper);
    }
    Ok(rows)
}
