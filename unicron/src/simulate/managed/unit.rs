//! A core, and which of the cluster's nodes and tasks are its own. Everything outside of it counts nodes
//! and tasks by the cluster.

use crate::cluster::Cluster;
use crate::core::Core;
use crate::plan::Task;
use crate::simulate::allocation::{self, Strategy};

/// Nodes and tasks that are planned for together.
pub(super) struct Unit {
    pub core: Core,
    pub nodes: Vec<usize>,
    pub tasks: Vec<usize>,
}

/// Every task with the whole nodes that the plan would give it: (nodes, tasks) of each unit.
pub(super) fn alone(tasks: &[&Task], cluster: &Cluster) -> Vec<(Vec<usize>, Vec<usize>)> {
    let waf = |task: usize, nodes: usize| {
        let workers = nodes * cluster.gpus_per_node();
        let task = tasks[task];
        if workers < task.min_workers { 0.0 } else { task.waf(task.throughput.at(workers)) }
    };
    let shares = allocation::whole_nodes(Strategy::Plan, tasks, cluster.nodes(), waf);
    allocation::deal(&shares).map(|(task, nodes)| (nodes, vec![task])).collect()
}
