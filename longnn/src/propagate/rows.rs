//! The neighbours of all nodes as the kernels read them: in the order of the work, in few bytes.

use crate::graph::{Adjacency, SelfLoops};
use crate::{Error, Result};

/// Compressed rows.
pub(super) struct Rows {
    pub(super) offsets: Vec<u32>,
    pub(super) neighbours: Vec<u32>,
}

impl Rows {
    /// The rows of a graph, each node its own neighbour once where asked for.
    pub(super) fn of(graph: &Adjacency, self_loops: SelfLoops) -> Result<Self> {
        if graph.n_entries() + graph.n_nodes() >= u32::MAX as usize {
            let problem = "more entries than 32-bit offsets can count";
            return Err(Error::Graph { part: "graph".into(), problem: problem.into() });
        }
        let mut rows = Self { offsets: vec![0], neighbours: Vec::new() };
        for node in 0..graph.n_nodes() {
            let row = graph.neighbours_of(node);
            let before = row.partition_point(|&neighbour| (neighbour as usize) < node);
            let (before, mut after) = row.split_at(before);
            rows.neighbours.extend_from_slice(before);
            if self_loops == SelfLoops::Added {
                rows.neighbours.push(node as u32);
                after = after.strip_prefix(&[node as u32]).unwrap_or(after);
            }
            rows.neighbours.extend_from_slice(after);
            rows.offsets.push(rows.neighbours.len() as u32);
        }
        Ok(rows)
    }

    pub(super) fn len(&self, row_idx: usize) -> usize {
        (self.offsets[row_idx + 1] - self.offsets[row_idx]) as usize
    }

    pub(super) fn reordered(&self, order: &[u32]) -> Self {
        let mut rows = Self { offsets: vec![0], neighbours: Vec::new() };
        rows.neighbours.reserve_exact(self.neighbours.len());
        for &row_idx in order {
            let row = row_idx as usize;
            let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
            rows.neighbours.extend_from_slice(&self.neighbours[range]);
            rows.offsets.push(rows.neighbours.len() as u32);
        }
        rows
    }
}

/// The neighbours of all rows, in the shortest type that can name them.
#[derive(Debug)]
pub(super) enum Neighbours {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl Neighbours {
    pub(super) fn of(nodes: Vec<u32>, n_nodes: usize) -> Self {
        if n_nodes > usize::from(u16::MAX) + 1 {
            return Self::Wide(nodes);
        }
        Self::Narrow(nodes.into_iter().map(|node| node as u16).collect())
    }
}
