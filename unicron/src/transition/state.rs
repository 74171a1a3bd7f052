//! Where the state that was lost is nearest, and what moves over which link (section 6.2 of the paper).
//!
//! A worker holds its part of the weights, which all replicas hold, and its part of the optimiser's
//! state, which with a sharded optimiser nobody else holds. So the nearest copy is, in this order: a
//! replica; a checkpoint in the memory of another node; the store. A copy of an older step serves only if
//! the whole task goes back to that step: the newest step of which everything can be had decides.

use std::collections::{BTreeMap, BTreeSet};

/// How a task's workers are laid out: rank `(p · data + d) · tensor + t` for pipeline stage `p`, replica
/// `d`, and part `t` of a tensor-parallel group, as Megatron numbers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Workers of a tensor-parallel group.
    pub tensor: usize,
    /// Replicas.
    pub data: usize,
    /// Pipeline stages.
    pub pipeline: usize,
    /// The node of each rank.
    pub nodes: Vec<usize>,
}

/// Bytes of a worker's state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkerState {
    /// Its weights.
    pub weights: f64,
    /// Its part of the optimiser's state, master weights included.
    pub optimiser: f64,
    /// Whether the optimiser's state is sharded over the replicas; else each replica has all.
    pub is_sharded: bool,
}

/// What there is beside the workers' own state. Steps count back from the running iteration: 0 is the
/// state at its beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoints {
    /// The newest checkpoint in memory: its age in steps, and for each node the node with its copy.
    pub memory: Option<(u64, BTreeMap<usize, usize>)>,
    /// The age of the newest checkpoint in the store.
    pub store: Option<u64>,
}

/// Which part of a worker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Weights.
    Weights,
    /// The optimiser's state.
    Optimiser,
}

/// Where a part comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Another replica's worker.
    Replica {
        /// Its rank.
        rank: usize,
    },
    /// A checkpoint in the memory of a node.
    Memory {
        /// The node.
        node: usize,
    },
    /// The store.
    Store,
}

/// What bytes travel over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Inside a node.
    IntraNode,
    /// Between nodes.
    InterNode,
    /// From the store, which all share.
    Store,
}

/// A part of a worker's state that is brought to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// The rank that needs it.
    pub rank: usize,
    /// What.
    pub part: Part,
    /// From where.
    pub source: Source,
    /// Over what.
    pub link: Link,
    /// How much.
    pub bytes: f64,
}

/// How a task gets whole again.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// What is brought where, by rank.
    pub moves: Vec<Move>,
    /// Steps that are done again: 0 keeps what the iteration has.
    pub steps_back: u64,
}

impl Recovery {
    /// Bytes by link.
    #[must_use]
    pub fn bytes(&self) -> BTreeMap<Link, f64> {
        let mut bytes = BTreeMap::new();
        for step in &self.moves {
            *bytes.entry(step.link).or_insert(0.0) += step.bytes;
        }
        bytes
    }
}

impl Layout {
    /// The ranks that hold the same weights.
    fn replicas(&self, rank: usize) -> impl Iterator<Item = usize> + '_ {
        let (t, p) = (rank % self.tensor, rank / (self.tensor * self.data));
        (0..self.data).map(move |d| (p * self.data + d) * self.tensor + t)
    }
}

/// How the ranks on lost nodes get their state, now on the nodes that `replacement` names (a rank that it
/// doesn't name isn't replaced, and needs nothing). `None` if some of it is nowhere.
#[must_use]
pub fn recover(
    layout: &Layout,
    state: &WorkerState,
    lost: &BTreeSet<usize>,
    replacement: &BTreeMap<usize, usize>,
    checkpoints: &Checkpoints,
) -> Option<Recovery> {
    let is_lost = |rank: usize| lost.contains(&layout.nodes[rank]);
    let dead: Vec<usize> = (0..layout.nodes.len()).filter(|&rank| is_lost(rank)).collect();
    let living_replica = |rank: usize, to: usize| {
        let living = layout.replicas(rank).filter(|&other| !is_lost(other));
        living.min_by_key(|&other| (layout.nodes[other] != to, other))
    };
    let holder = |rank: usize| {
        let (_, copies) = checkpoints.memory.as_ref()?;
        copies.get(&layout.nodes[rank]).copied().filter(|node| !lost.contains(node))
    };
    // Whether the running step's state can be had of everything that is lost, replaced or not: a shard
    // of the optimiser that nobody holds is missing whoever would have held it.
    let is_whole = dead.iter().all(|&rank| {
        let is_in_replica = living_replica(rank, usize::MAX).is_some();
        let is_fresh_in_memory =
            checkpoints.memory.as_ref().is_some_and(|(age, _)| *age == 0) && holder(rank).is_some();
        (is_in_replica && !state.is_sharded) || is_fresh_in_memory
    });
    let replaced = dead.iter().filter_map(|&rank| Some((rank, *replacement.get(&rank)?)));
    if is_whole {
        let moves = replaced.flat_map(|(rank, to)| {
            let weights = match living_replica(rank, to) {
                Some(other) => Source::Replica { rank: other },
                None => Source::Memory { node: holder(rank).unwrap_or(to) },
            };
            let optimiser = match state.is_sharded {
                true => Source::Memory { node: holder(rank).unwrap_or(to) },
                false => weights,
            };
            parts(layout, state, rank, to, weights, optimiser)
        });
        return Some(Recovery { moves: moves.collect(), steps_back: 0 });
    }
    // Else everybody goes back to one step: in memory if every node's copy lives, else in the store.
    let in_memory =
        checkpoints.memory.as_ref().filter(|_| dead.iter().all(|&rank| holder(rank).is_some()));
    let is_older = |age: u64| checkpoints.store.is_none_or(|store| age <= store);
    match in_memory.filter(|(age, _)| is_older(*age)) {
        Some((age, _)) => {
            let moves = replaced.flat_map(|(rank, to)| {
                let source = Source::Memory { node: holder(rank).unwrap_or(to) };
                parts(layout, state, rank, to, source, source)
            });
            Some(Recovery { moves: moves.collect(), steps_back: *age })
        }
        None => {
            let steps_back = checkpoints.store?;
            let living = (0..layout.nodes.len()).filter(|&rank| !is_lost(rank));
            let living = living.map(|rank| (rank, layout.nodes[rank]));
            let mut all: Vec<(usize, usize)> = replaced.chain(living).collect();
            all.sort_unstable();
            let load = |(rank, to)| parts(layout, state, rank, to, Source::Store, Source::Store);
            Some(Recovery { moves: all.into_iter().flat_map(load).collect(), steps_back })
        }
    }
}

/// The moves of one rank.
fn parts(
    layout: &Layout,
    state: &WorkerState,
    rank: usize,
    to: usize,
    weights: Source,
    optimiser: Source,
) -> [Move; 2] {
    let link = |source| {
        let from = match source {
            Source::Replica { rank } => layout.nodes[rank],
            Source::Memory { node } => node,
            Source::Store => return Link::Store,
        };
        if from == to { Link::IntraNode } else { Link::InterNode }
    };
    let part = |part, source, bytes| Move { rank, part, source, link: link(source), bytes };
    [part(Part::Weights, weights, state.weights), part(Part::Optimiser, optimiser, state.optimiser)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two stages, two replicas, tensor-parallel pairs; a node a pair.
    fn layout() -> Layout {
        Layout { tensor: 2, data: 2, pipeline: 2, nodes: vec![0, 0, 1, 1, 2, 2, 3, 3] }
    }

    fn state(is_sharded: bool) -> WorkerState {
        WorkerState { weights: 2.0, optimiser: 6.0, is_sharded }
    }

    /// Each node's copy is on the next.
    fn in_memory(age: u64) -> Checkpoints {
        let copies = (0..4).map(|node| (node, (node + 1) % 4)).collect();
        Checkpoints { memory: Some((age, copies)), store: Some(100) }
    }

    fn after(lost: &[usize], is_sharded: bool, checkpoints: &Checkpoints) -> Option<Recovery> {
        let layout = layout();
        let lost: BTreeSet<usize> = lost.iter().copied().collect();
        let dead = (0..8).filter(|&rank| lost.contains(&layout.nodes[rank]));
        let replacement = dead.map(|rank| (rank, 9)).collect();
        recover(&layout, &state(is_sharded), &lost, &replacement, checkpoints)
    }

    #[test]
    fn a_replica_is_nearest() {
        let recovery = after(&[1], false, &in_memory(0)).unwrap();
        assert_eq!(recovery.steps_back, 0);
        let sources: Vec<Source> = recovery.moves.iter().map(|step| step.source).collect();
        let replica = |rank| Source::Replica { rank };
        assert_eq!(sources, [replica(0), replica(0), replica(1), replica(1)]);
        assert_eq!(recovery.bytes(), BTreeMap::from([(Link::InterNode, 16.0)]));
    }

    #[test]
    fn a_sharded_optimiser_comes_from_memory() {
        let recovery = after(&[1], true, &in_memory(0)).unwrap();
        assert_eq!(recovery.steps_back, 0);
        assert_eq!(recovery.moves[0].source, Source::Replica { rank: 0 });
        assert_eq!(recovery.moves[1].source, Source::Memory { node: 2 });
    }

    #[test]
    fn an_older_copy_takes_everybody_back() {
        let recovery = after(&[1], true, &in_memory(3)).unwrap();
        assert_eq!(recovery.steps_back, 3);
        assert!(recovery.moves.iter().all(|step| step.source == Source::Memory { node: 2 }));
    }

    #[test]
    fn without_the_copy_the_store_serves_all() {
        // Node 2 held node 1's copy.
        let recovery = after(&[1, 2], true, &in_memory(0)).unwrap();
        assert_eq!(recovery.steps_back, 100);
        assert_eq!(recovery.bytes(), BTreeMap::from([(Link::Store, 64.0)]));
        let nothing = Checkpoints { memory: None, store: None };
        assert_eq!(after(&[1], true, &nothing), None);
    }

    #[test]
    fn a_stage_without_a_replica_comes_from_memory() {
        // Nodes 0 and 1 are all of the first stage; their copies are on 1 and 2.
        assert_eq!(after(&[0, 1], false, &in_memory(0)).unwrap().steps_back, 100);
        let apart = Checkpoints {
            memory: Some((0, BTreeMap::from([(0, 2), (1, 3), (2, 0), (3, 1)]))),
            store: None,
        };
        let recovery = after(&[0, 1], false, &apart).unwrap();
        assert_eq!(recovery.steps_back, 0);
        assert_eq!(recovery.moves[0].source, Source::Memory { node: 2 });
    }

    #[test]
    fn whoever_is_not_replaced_needs_nothing() {
        let lost = BTreeSet::from([1]);
        let recovery =
            recover(&layout(), &state(false), &lost, &BTreeMap::new(), &in_memory(0)).unwrap();
        assert_eq!((recovery.moves, recovery.steps_back), (Vec::new(), 0));
    }
}
