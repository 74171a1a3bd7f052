//! The structure of an undirected graph, as compressed rows.
//!
//! Only the pattern is kept: every edge counts once, whatever the file says, and the normalisation
//! `D^-1/2 A D^-1/2` is a scaling of rows and columns that the kernels apply on the way.

use crate::{Error, Result};
use sprs::{CsMatI, TriMatI};

/// The neighbours of every node. Symmetric; self loops only where the data has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Adjacency {
    /// Row `i` holds the neighbours of node `i`, ascending; the values are all one.
    pattern: CsMatI<f32, u32>,
}

impl Adjacency {
    /// From edges in any order and direction; repeated ones count once.
    ///
    /// # Errors
    /// If an edge names a node that isn't there, or there are more nodes or entries than 32-bit
    /// indices can name.
    pub fn from_edges(n_nodes: usize, edges: &[(u32, u32)]) -> Result<Self> {
        if n_nodes >= u32::MAX as usize || edges.len() >= u32::MAX as usize / 2 {
            return Err(Error::Graph {
                part: "graph".into(),
                problem: format!(
                    "{n_nodes} nodes and {} edges are more than 32-bit indices can name",
                    edges.len()
                ),
            });
        }
        let mut entries = Vec::with_capacity(2 * edges.len());
        for (position, &(from, to)) in edges.iter().enumerate() {
            if from.max(to) as usize >= n_nodes {
                return Err(Error::Graph {
                    part: format!("edge {position} ({from}, {to})"),
                    problem: format!(
                        "there is no node {}; the last is {}",
                        from.max(to),
                        n_nodes.saturating_sub(1)
                    ),
                });
            }
            entries.extend([(from, to), (to, from)]);
        }
        entries.sort_unstable();
        entries.dedup();
        let (rows, columns): (Vec<u32>, Vec<u32>) = entries.into_iter().unzip();
        let ones = vec![1.0; rows.len()];
        let triplets = TriMatI::from_triplets((n_nodes, n_nodes), rows, columns, ones);
        Ok(Self { pattern: triplets.to_csr() })
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.pattern.rows()
    }

    /// Number of stored entries: twice the edges, a self loop once.
    #[must_use]
    pub fn n_entries(&self) -> usize {
        self.pattern.nnz()
    }

    /// Where each row starts in [`Self::neighbours`]: `N + 1` offsets.
    #[must_use]
    pub fn offsets(&self) -> &[u32] {
        self.pattern.indptr().into_raw_storage()
    }

    /// The neighbours of all nodes, row after row, each row ascending.
    #[must_use]
    pub fn neighbours(&self) -> &[u32] {
        self.pattern.indices()
    }

    /// The neighbours of one node, ascending.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn neighbours_of(&self, node: usize) -> &[u32] {
        let offsets = self.offsets();
        &self.neighbours()[offsets[node] as usize..offsets[node + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_once() {
        let graph = Adjacency::from_edges(4, &[(0, 1), (1, 0), (0, 1), (2, 2), (1, 2)]).unwrap();
        assert_eq!(graph.offsets(), [0, 1, 3, 5, 5]);
        assert_eq!(graph.neighbours(), [1, 0, 2, 1, 2]);
        assert_eq!(graph.neighbours_of(3), [0_u32; 0]);
    }

    #[test]
    fn strangers_are_named() {
        let error = Adjacency::from_edges(3, &[(0, 1), (1, 3)]).unwrap_err().to_string();
        assert!(error.contains("edge 1 (1, 3)") && error.contains("no node 3"), "{error}");
    }
}
