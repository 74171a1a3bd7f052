//! Nodes that nobody knew of, and a core that takes over from another.
//!
//! A simulated cluster is known from the start. A live one isn't: agents come as they are started, and
//! a coordinator that follows another finds tasks at work.

use super::{Config, Core, replan};
use crate::Result;
use crate::cluster::Cluster;
use crate::plan::placement::Placement;
use crate::plan::value::Size;
use crate::plan::{Assignment, Present, Rule, Task};
use crate::transition::duration::Interruption;

/// A task of a core that takes over.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// The task, without workers.
    pub task: Task,
    /// Its workers by node.
    pub nodes: Vec<(usize, usize)>,
    /// Whether it has ended.
    pub has_ended: bool,
}

impl Core {
    /// Takes over where another core stopped: tasks keep the workers that they have, and nothing is
    /// planned until something happens. Workers of nodes that the cluster doesn't have are left out.
    #[must_use]
    pub fn resume(
        cluster: Cluster,
        rule: Rule,
        config: Config,
        now_s: f64,
        healthy: &[usize],
        tasks: Vec<Resumed>,
    ) -> Self {
        let mut core = Self::new(cluster, rule, config, now_s);
        for (node, &workers) in healthy.iter().enumerate().take(core.healthy.len()) {
            core.healthy[node] = workers.min(core.cluster.gpus_per_node());
        }
        let mut placement = Placement::empty(core.cluster.nodes());
        for Resumed { mut task, nodes, has_ended } in tasks {
            let index = core.tasks.len();
            let mut workers = 0;
            for (node, count) in nodes {
                if node < placement.nodes.len() && count > 0 && !has_ended {
                    placement.add(node, index, count);
                    workers += count;
                }
            }
            task.give(Present::of(workers, &task.throughput), &core.cluster, &core.constants);
            let assigned = assignment(&task);
            core.admit(task);
            core.assigned[index] = assigned;
            core.has_ended[index] = has_ended;
            if has_ended {
                core.tasks[index].throughput = Default::default();
            }
        }
        core.placement = placement;
        core
    }

    /// Makes room for so many nodes of so many workers; those that are new are yet to join.
    ///
    /// # Errors
    /// If that is more than a cluster can have.
    pub fn grow(&mut self, nodes: usize, gpus_per_node: usize, now_s: f64) -> Result<()> {
        let nodes = nodes.max(self.cluster.nodes());
        let gpus_per_node = gpus_per_node.max(self.cluster.gpus_per_node());
        self.cluster = self.cluster.grown(nodes, gpus_per_node)?;
        self.healthy.resize(nodes, 0);
        self.placement.nodes.resize(nodes, Vec::new());
        self.hazards.grow(nodes, now_s);
        Ok(())
    }
}

/// What a task has, as a plan would have given it.
fn assignment(task: &Task) -> Assignment {
    let workers = task.present.workers;
    let step = task.throughput.step_at(workers).filter(|_| workers > 0).copied();
    let size = Size { workers, step, interruption: Interruption::default(), value: 0.0 };
    Assignment { waf: task.waf(size.flops()), size, ..replan::unassigned() }
}
