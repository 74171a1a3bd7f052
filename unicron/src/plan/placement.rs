//! Which workers of which nodes each task gets: counts first ([`super::solve`]), then places.
//!
//! A tensor-parallel group lies inside a node, and some tasks take whole nodes, so a task's workers come in
//! groups. Where sizes of groups divide each other (they are powers of two on nodes of eight), counts that
//! fit on whole nodes can always be placed, largest groups first. Where they can't, on nodes that have lost
//! some of their GPUs, the task that is left without a place gets the next smaller size, and the plan says
//! what that costs against the optimum by counts.
//!
//! Whoever stays keeps its workers; what moves goes where it fits best, least likely nodes to fail first.

use std::collections::BTreeSet;

/// What each node gives to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// By node: (task, workers), tasks ascending.
    pub nodes: Vec<Vec<(usize, usize)>>,
}

impl Placement {
    /// No task on so many nodes.
    #[must_use]
    pub fn empty(nodes: usize) -> Self {
        Self { nodes: vec![Vec::new(); nodes] }
    }

    /// Workers of a task on a node.
    #[must_use]
    pub fn on(&self, node: usize, task: usize) -> usize {
        let shares = self.nodes[node].iter().filter(|(other, _)| *other == task);
        shares.map(|(_, workers)| workers).sum()
    }

    /// Workers of a task.
    #[must_use]
    pub fn workers(&self, task: usize) -> usize {
        (0..self.nodes.len()).map(|node| self.on(node, task)).sum()
    }

    /// Workers of a node that have a task.
    #[must_use]
    pub fn used(&self, node: usize) -> usize {
        self.nodes[node].iter().map(|(_, workers)| workers).sum()
    }

    /// Gives a task workers of a node.
    pub(crate) fn add(&mut self, node: usize, task: usize, workers: usize) {
        let shares = &mut self.nodes[node];
        match shares.binary_search_by_key(&task, |(other, _)| *other) {
            Ok(at) => shares[at].1 += workers,
            Err(at) => shares.insert(at, (task, workers)),
        }
    }

    /// (Node, workers) by task, nodes ascending.
    #[must_use]
    pub fn by_task(&self, tasks: usize) -> Vec<Vec<(usize, usize)>> {
        let mut nodes = vec![Vec::new(); tasks];
        for (node, shares) in self.nodes.iter().enumerate() {
            for &(task, workers) in shares.iter().filter(|(task, _)| *task < tasks) {
                nodes[task].push((node, workers));
            }
        }
        nodes
    }
}

/// What a task is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Workers.
    pub workers: usize,
    /// Of which so many have to be on one node, again and again; the rest of the division can be anywhere.
    pub group: usize,
}

/// A task that doesn't find a place, and the workers that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unplaced {
    /// The task.
    pub task: usize,
    /// Workers that were placed before there was no more room for a group.
    pub placed: usize,
}

/// Places demands on nodes with so many healthy workers each, near the placement of before.
///
/// # Errors
/// The first task that finds no place even if everything may move.
pub fn place(
    before: &Placement,
    healthy: &[usize],
    hazards: &[f64],
    demands: &[Demand],
) -> Result<Placement, Unplaced> {
    let order = by_hazard(hazards);
    Placing::keeping(before, healthy, &order, demands)
        .fill(demands)
        .or_else(|_| Placing::new(healthy, &order, demands.len()).fill(demands))
}

/// The rank of each node among all by hazard.
fn by_hazard(hazards: &[f64]) -> Vec<usize> {
    let mut nodes: Vec<usize> = (0..hazards.len()).collect();
    nodes.sort_by(|&left, &right| hazards[left].total_cmp(&hazards[right]).then(left.cmp(&right)));
    let mut ranks = vec![0; nodes.len()];
    for (rank, node) in nodes.into_iter().enumerate() {
        ranks[node] = rank;
    }
    ranks
}

struct Placing<'a> {
    placement: Placement,
    placed: Vec<usize>,
    hosts: Vec<Vec<usize>>,
    free: Vec<usize>,
    /// Nodes with room: (free workers, rank by hazard, node).
    room: BTreeSet<(usize, usize, usize)>,
    ranks: &'a [usize],
}

impl<'a> Placing<'a> {
    fn new(healthy: &[usize], ranks: &'a [usize], tasks: usize) -> Self {
        let room = |(node, &free): (usize, &usize)| (free > 0).then(|| (free, ranks[node], node));
        Self {
            placement: Placement::empty(healthy.len()),
            placed: vec![0; tasks],
            hosts: vec![Vec::new(); tasks],
            free: healthy.to_vec(),
            room: healthy.iter().enumerate().filter_map(room).collect(),
            ranks,
        }
    }

    /// Whole groups stay where they are, where a task has most first.
    fn keeping(
        before: &Placement,
        healthy: &[usize],
        ranks: &'a [usize],
        demands: &[Demand],
    ) -> Self {
        let mut placing = Self::new(healthy, ranks, demands.len());
        for (task, mut nodes) in before.by_task(demands.len()).into_iter().enumerate() {
            let Demand { workers, group } = demands[task];
            nodes.sort_by_key(|&(node, workers)| (usize::MAX - workers, ranks[node]));
            for (node, had) in nodes {
                let wanted = (workers - placing.placed[task]).min(had).min(placing.free[node]);
                placing.take(node, task, wanted - wanted % group);
            }
        }
        placing
    }

    fn take(&mut self, node: usize, task: usize, workers: usize) {
        if workers == 0 {
            return;
        }
        let free = self.free[node];
        self.room.remove(&(free, self.ranks[node], node));
        self.free[node] = free - workers;
        if self.free[node] > 0 {
            self.room.insert((self.free[node], self.ranks[node], node));
        }
        self.placement.add(node, task, workers);
        self.placed[task] += workers;
        if !self.hosts[task].contains(&node) {
            self.hosts[task].push(node);
        }
    }

    /// Places what is missing, largest groups first.
    fn fill(mut self, demands: &[Demand]) -> Result<Placement, Unplaced> {
        let mut order: Vec<usize> = (0..demands.len()).collect();
        order.sort_by_key(|&task| (usize::MAX - demands[task].group, task));
        for &task in &order {
            let Demand { workers, group } = demands[task];
            while self.placed[task] + group <= workers {
                let Some(node) = self.node_for(task, group) else {
                    return Err(Unplaced { task, placed: self.placed[task] });
                };
                let groups = (self.free[node] / group).min((workers - self.placed[task]) / group);
                self.take(node, task, groups * group);
            }
        }
        // What idles can be anywhere.
        for &task in &order {
            while self.placed[task] < demands[task].workers {
                let Some(node) = self.node_for(task, 1) else {
                    return Err(Unplaced { task, placed: self.placed[task] });
                };
                let workers = self.free[node].min(demands[task].workers - self.placed[task]);
                self.take(node, task, workers);
            }
        }
        Ok(self.placement)
    }

    /// Where the task is already, else where least room is left beside it.
    fn node_for(&self, task: usize, group: usize) -> Option<usize> {
        let host = self.hosts[task].iter().copied().find(|&node| self.free[node] >= group);
        host.or_else(|| self.room.range((group, 0, 0)..).next().map(|&(_, _, node)| node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demand(workers: usize, group: usize) -> Demand {
        Demand { workers, group }
    }

    fn check(placement: &Placement, healthy: &[usize], demands: &[Demand]) {
        for (node, &healthy) in healthy.iter().enumerate() {
            assert!(placement.used(node) <= healthy, "{placement:?}");
        }
        for (task, demand) in demands.iter().enumerate() {
            assert_eq!(placement.workers(task), demand.workers, "{placement:?}");
            let groups: usize =
                (0..healthy.len()).map(|node| placement.on(node, task) / demand.group).sum();
            assert!(groups >= demand.workers / demand.group, "{placement:?}");
        }
    }

    #[test]
    fn whoever_stays_keeps_its_workers() {
        let healthy = [8; 4];
        let demands = [demand(16, 8), demand(8, 4)];
        let first = place(&Placement::empty(4), &healthy, &[1.0, 1.0, 2.0, 1.0], &demands).unwrap();
        check(&first, &healthy, &demands);
        assert_eq!(first.used(2), 0, "the node that fails most is spare: {first:?}");
        // Node 0 fails; its task gets the spare node, the others stay.
        let lost = first.nodes[0][0].0;
        let after = place(&first, &[0, 8, 8, 8], &[1.0, 1.0, 2.0, 1.0], &demands).unwrap();
        assert_eq!(after.nodes[1], first.nodes[1]);
        assert_eq!(after.nodes[3], first.nodes[3]);
        assert_eq!(after.on(2, lost), 8);
    }

    #[test]
    fn everything_moves_where_that_makes_room() {
        // Two tasks of 4 on two nodes leave no whole node; together they do.
        let mut before = Placement::empty(2);
        before.add(0, 0, 4);
        before.add(1, 1, 4);
        let demands = [demand(4, 4), demand(4, 4), demand(8, 8)];
        let after = place(&before, &[8, 8], &[1.0, 1.0], &demands).unwrap();
        check(&after, &[8, 8], &demands);
    }

    #[test]
    fn broken_nodes_have_no_room_for_whole_groups() {
        let unplaced = place(&Placement::empty(2), &[7, 8], &[1.0, 1.0], &[demand(15, 8)]).unwrap();
        assert_eq!(unplaced.workers(0), 15, "one group, and seven that idle");
        let failed = place(&Placement::empty(2), &[7, 8], &[1.0, 1.0], &[demand(16, 8)]);
        assert_eq!(failed, Err(Unplaced { task: 0, placed: 8 }));
    }

    proptest! {
        #[test]
        fn counts_that_fit_on_whole_nodes_are_placed(
            nodes in 1_usize..6,
            wishes in prop::collection::vec((0_u32..4, 0_usize..30), 1..7),
            before in prop::collection::vec((0_usize..6, 0_usize..7, 1_usize..9), 0..12),
        ) {
            let mut left = 8 * nodes;
            let demands: Vec<Demand> = wishes
                .iter()
                .map(|&(power, workers)| {
                    let group = 1 << power;
                    let workers = workers.min(left) / group * group;
                    left -= workers;
                    demand(workers, group)
                })
                .collect();
            let mut previous = Placement::empty(nodes);
            for (node, task, workers) in before {
                if node < nodes && previous.used(node) + workers <= 8 {
                    previous.add(node, task, workers);
                }
            }
            let healthy = vec![8; nodes];
            let placement = place(&previous, &healthy, &vec![1.0; nodes], &demands);
            prop_assert!(placement.is_ok(), "{demands:?}");
            check(&placement.unwrap(), &healthy, &demands);
        }
    }
}
