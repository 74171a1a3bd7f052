//! A cluster file made ready to be planned for.

use super::hazard;
use super::placed::{Nodes, Placed};
use super::placement::{Demand, Placement, place};
use super::rule::{Rule, usual_hazard};
use super::solve::Situation;
use super::table::{Class, State};
use super::task::{Present, Task, throughputs};
use crate::cluster::{Cluster, ClusterFile};
use crate::throughput::{Constants, Throughput};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// A cluster whose nodes are all there, its tasks and where they are.
#[derive(Debug, Clone)]
pub struct Fleet {
    cluster: Cluster,
    constants: Constants,
    tasks: Vec<Task>,
    placement: Placement,
    healthy: Vec<usize>,
    hazards: Vec<f64>,
}

impl Fleet {
    /// Throughput, arrangement and place of every task of a file.
    ///
    /// # Errors
    /// If a task fits nowhere in the cluster, or guarantees together need more than there is: the message
    /// has the task and what would make it feasible.
    pub fn of(file: &ClusterFile, constants: &Constants) -> Result<Self> {
        let cluster = file.cluster.clone();
        let throughputs = throughputs(&file.tasks, &cluster, constants);
        let tasks: Vec<Task> = file
            .tasks
            .par_iter()
            .zip(throughputs)
            .map(|(spec, throughput)| Task::of(spec, throughput, &cluster, constants))
            .collect();
        let fleet = Self {
            healthy: vec![cluster.gpus_per_node(); cluster.nodes()],
            hazards: vec![usual_hazard(); cluster.nodes()],
            placement: Placement::empty(cluster.nodes()),
            constants: *constants,
            tasks,
            cluster,
        };
        fleet.check()?;
        Ok(fleet.placed())
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The tasks with what they have.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// What the table of next events sees.
    #[must_use]
    pub fn state(&self) -> State<'_> {
        State::new(&self.tasks, self.nodes(), &self.cluster)
    }

    fn nodes(&self) -> Nodes<'_> {
        Nodes { placement: &self.placement, healthy: &self.healthy, hazards: &self.hazards }
    }

    /// What a plan is made for.
    #[must_use]
    pub fn situation(&self) -> Situation<'_> {
        let class = self.state().present();
        Situation {
            tasks: &self.tasks,
            workers: class.workers,
            hazard: hazard::of_bucket(class.hazard_bucket),
            cluster: &self.cluster,
        }
    }

    /// The plan for what is there.
    #[must_use]
    pub fn plan(&self, rule: &Rule) -> Placed {
        self.situation().plan_on(self.nodes(), rule)
    }

    /// As it is once a plan is carried out.
    #[must_use]
    pub fn after(mut self, placed: &Placed) -> Self {
        for (task, assignment) in self.tasks.iter_mut().zip(&placed.plan.tasks) {
            let size = assignment.size;
            let shape = size.step.and_then(|step| step.shape);
            let present = Present { workers: size.workers, shape, ..Present::default() };
            task.give(present, &self.cluster, &self.constants);
        }
        self.placement = placed.placement.clone();
        // A plan for fewer nodes has nobody on the others.
        self.placement.nodes.resize(self.healthy.len(), Vec::new());
        self
    }

    /// As it is once a task is done: the others are called by one number less from there on.
    #[must_use]
    pub fn finished(mut self, task: usize) -> Self {
        self.tasks.remove(task);
        for shares in &mut self.placement.nodes {
            shares.retain(|(other, _)| *other != task);
            shares.iter_mut().filter(|(other, _)| *other > task).for_each(|share| share.0 -= 1);
        }
        self
    }

    /// As it is once nodes have failed: their tasks have lost workers.
    #[must_use]
    pub fn without(mut self, nodes: &BTreeSet<usize>) -> Self {
        let Class { losses, .. } = self.state().without(nodes);
        for (task, lost) in losses {
            self.tasks[task].present.lost = lost;
        }
        for &node in nodes {
            self.healthy[node] = 0;
        }
        self
    }

    /// Puts what tasks have on nodes, where the file doesn't say where that is.
    fn placed(mut self) -> Self {
        let demand = |task: &Task| {
            let tensor = task.present.shape.map_or(1, |shape| shape.tensor);
            let group = task.group(&self.cluster, tensor);
            Demand { workers: task.present.workers, group }
        };
        let demands: Vec<Demand> = self.tasks.iter().map(demand).collect();
        let anywhere: Vec<Demand> =
            demands.iter().map(|demand| Demand { group: 1, ..*demand }).collect();
        let attempts = [demands, anywhere].into_iter();
        let mut found = attempts.filter_map(|demands| {
            place(&self.placement, &self.healthy, &self.hazards, &demands).ok()
        });
        if let Some(placement) = found.next() {
            self.placement = placement;
        }
        self
    }

    /// Whether every task can run, and every guarantee be kept.
    fn check(&self) -> Result<()> {
        let gpus = self.cluster.gpus();
        let mut guaranteed = 0;
        for task in &self.tasks {
            let infeasible =
                |problem: String| Err(Error::Infeasible { task: task.name.clone(), problem });
            if task.smallest().is_none_or(|smallest| smallest > gpus) {
                return infeasible(self.cure(task));
            }
            let Some(floor) = task.guaranteed_workers.filter(|&floor| floor > 0) else { continue };
            guaranteed += task.fewest(&self.cluster, floor).unwrap_or(floor);
            if guaranteed > gpus {
                return infeasible(format!(
                    "guarantees up to this task need {guaranteed} GPUs, and the cluster has {gpus}: \
                     guarantee less, or have {} more nodes",
                    (guaranteed - gpus).div_ceil(self.cluster.gpus_per_node())
                ));
            }
        }
        Ok(())
    }

    /// What would make a task that runs nowhere feasible.
    fn cure(&self, task: &Task) -> String {
        let gpus = self.cluster.gpus();
        if task.min_workers > gpus {
            return format!(
                "it needs {} GPUs at least, and the cluster has {gpus}",
                task.min_workers
            );
        }
        // Memory is what a model lacks; look for it in clusters up to a size that nobody has.
        let larger = task.model.as_ref().and_then(|model| {
            let hardware = self.cluster.hardware();
            let per_node = self.cluster.gpus_per_node();
            let most = MOST_GPUS.max(16 * gpus);
            Throughput::megatron(model, hardware, per_node, most, &self.constants).smallest()
        });
        match larger {
            Some(gpus_needed) => format!(
                "its model doesn't fit in {gpus} GPUs of this memory; {gpus_needed} would do"
            ),
            None => format!(
                "it runs on no arrangement of {gpus} GPUs; its measured throughput starts higher, or its \
                 model doesn't fit in GPUs of this memory at all"
            ),
        }
    }
}

/// Up to which size a cluster is looked for that would hold a model.
const MOST_GPUS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::Arc;

    fn fleet(nodes: usize, tasks: &str) -> Result<Fleet> {
        let text = format!("[cluster]\nnodes = {nodes}\ngpus_per_node = 8\n{tasks}");
        let file = ClusterFile::parse(&text, Path::new("cluster.toml")).unwrap();
        Fleet::of(&file, &Constants::default())
    }

    #[test]
    fn what_cannot_be_placed_is_told_with_its_cure() {
        let error = |nodes, tasks| fleet(nodes, tasks).unwrap_err().to_string();
        let large = error(1, "[[tasks]]\nname = \"big\"\nmodel = \"gpt3-175b\"\n");
        assert!(
            large.starts_with("task big can't be placed: its model doesn't fit in 8 GPUs"),
            "{large}"
        );
        assert!(large.ends_with(" would do"), "{large}");
        let measured = error(1, "[[tasks]]\nname = \"m\"\nthroughput = [[16, 1e15]]\n");
        assert!(measured.contains("its measured throughput starts higher"), "{measured}");
        let whole = "model = \"gpt3-7b\"\nwhole_nodes = true\nguaranteed_workers = 9\n";
        let both = format!("[[tasks]]\nname = \"a\"\n{whole}[[tasks]]\nname = \"b\"\n{whole}");
        let floors = error(3, &both);
        assert!(
            floors.starts_with("task b can't be placed: guarantees up to this task need 32"),
            "{floors}"
        );
        assert!(floors.ends_with("or have 1 more nodes"), "{floors}");
    }

    #[test]
    fn a_lost_node_takes_workers_from_its_task() {
        let tasks = "[[tasks]]\nname = \"a\"\nmodel = \"gpt3-7b\"\ncurrent = 16\n";
        let fleet = fleet(3, tasks).unwrap();
        assert_eq!(fleet.state().present().workers, 24);
        let nodes = fleet.placement.nodes.iter().position(|shares| !shares.is_empty()).unwrap();
        let after = fleet.without(&BTreeSet::from([nodes]));
        assert_eq!((after.tasks()[0].present.lost, after.situation().workers), (8, 16));
        let placed = after.plan(&Rule::ours());
        assert_eq!(placed.plan.tasks[0].size.workers, 16, "the spare node replaces it");
        let next = after.after(&placed);
        assert_eq!(next.tasks()[0].present.lost, 0);
    }

    #[test]
    fn a_task_that_is_done_leaves_its_workers_to_the_others() {
        let task = |name: &str| format!("[[tasks]]\nname = \"{name}\"\nmodel = \"gpt3-7b\"\n");
        let fleet = fleet(2, &(task("a") + &task("b") + &task("c"))).unwrap();
        let placed = fleet.plan(&Rule::ours());
        let rest = fleet.after(&placed).finished(1);
        let names: Vec<&str> = rest.tasks().iter().map(|task| task.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        for (now, before) in [(0, 0), (1, 2)] {
            let workers = placed.plan.tasks[before].size.workers;
            assert_eq!(rest.tasks()[now].present.workers, workers);
            assert_eq!(rest.placement.workers(now), workers);
        }
        let next = rest.plan(&Rule::ours());
        assert_eq!(next.plan.workers, 16);
    }

    #[test]
    fn tasks_of_one_model_share_its_throughput() {
        let task = |name: &str| format!("[[tasks]]\nname = \"{name}\"\nmodel = \"gpt3-7b\"\n");
        let fleet = fleet(2, &(task("a") + &task("b"))).unwrap();
        assert!(Arc::ptr_eq(&fleet.tasks()[0].throughput, &fleet.tasks()[1].throughput));
    }
}
