//! The operator that filters are polynomials of, as an explicit sparse matrix.
//!
//! Spectral models use `D^-1/2 A D^-1/2` as the data has it; GCN and its kin add a self loop to
//! every node first (Kipf and Welling 2017). The kernels never store these values, they scale rows
//! on the way: this matrix is their oracle, and what small dense computations start from. Its
//! spectrum lies in `[-1, 1]`.

use super::Adjacency;
use sprs::{CsMatI, TriMatI};

/// Whether every node is its own neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfLoops {
    /// Only where the data says so.
    AsGiven,
    /// Every node; a loop that the data has isn't doubled.
    Added,
}

impl Adjacency {
    /// The number of neighbours of every node.
    #[must_use]
    pub fn degrees(&self, self_loops: SelfLoops) -> Vec<u32> {
        let degree = |node: usize| {
            let neighbours = self.neighbours_of(node);
            let adds = self_loops == SelfLoops::Added && !has_loop(node, neighbours);
            neighbours.len() as u32 + u32::from(adds)
        };
        (0..self.n_nodes()).map(degree).collect()
    }

    /// `D^-1/2` of every node; 1 for one without neighbours, whose row is empty anyway.
    #[must_use]
    pub fn inverse_sqrt_degrees(&self, self_loops: SelfLoops) -> Vec<f64> {
        let degrees = self.degrees(self_loops);
        degrees.into_iter().map(|degree| 1.0 / f64::from(degree.max(1)).sqrt()).collect()
    }

    /// `D^-1/2 A D^-1/2`, symmetric, `N x N`.
    #[must_use]
    pub fn normalized(&self, self_loops: SelfLoops) -> CsMatI<f64, u32> {
        let n_nodes = self.n_nodes();
        let scales = self.inverse_sqrt_degrees(self_loops);
        let mut triplets = TriMatI::with_capacity((n_nodes, n_nodes), self.n_entries() + n_nodes);
        for node in 0..n_nodes {
            let neighbours = self.neighbours_of(node);
            for &neighbour in neighbours {
                let value = scales[node] * scales[neighbour as usize];
                triplets.add_triplet(node, neighbour as usize, value);
            }
            if self_loops == SelfLoops::Added && !has_loop(node, neighbours) {
                triplets.add_triplet(node, node, scales[node] * scales[node]);
            }
        }
        triplets.to_csr()
    }
}

fn has_loop(node: usize, neighbours: &[u32]) -> bool {
    neighbours.binary_search(&(node as u32)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(matrix: &CsMatI<f64, u32>, row: usize, column: usize) -> f64 {
        matrix.get(row, column).copied().unwrap_or(0.0)
    }

    #[test]
    fn a_path_with_a_loop_and_a_lonely_node() {
        let graph = Adjacency::from_edges(4, &[(0, 1), (1, 2), (2, 2)]).unwrap();
        assert_eq!(graph.degrees(SelfLoops::AsGiven), [1, 2, 2, 0]);
        assert_eq!(graph.degrees(SelfLoops::Added), [2, 3, 2, 1]);
        let given = graph.normalized(SelfLoops::AsGiven);
        assert!((value(&given, 0, 1) - 0.5_f64.sqrt()).abs() < 1e-15);
        assert!((value(&given, 2, 2) - 0.5).abs() < 1e-15);
        assert_eq!(given.nnz(), 5);
        assert_eq!(graph.inverse_sqrt_degrees(SelfLoops::AsGiven)[3], 1.0);
        let added = graph.normalized(SelfLoops::Added);
        assert!((value(&added, 2, 2) - 0.5).abs() < 1e-15, "the loop isn't doubled");
        assert!((value(&added, 1, 1) - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(value(&added, 3, 3), 1.0);
    }

    proptest! {
        /// `D^1/2 1` is the eigenvector of eigenvalue 1 wherever a node has a neighbour.
        #[test]
        fn the_greatest_eigenvalue_is_one(
            edges in prop::collection::vec((0_u32..12, 0_u32..12), 0..40),
            loops in prop::bool::ANY,
        ) {
            let loops = if loops { SelfLoops::Added } else { SelfLoops::AsGiven };
            let graph = Adjacency::from_edges(12, &edges).unwrap();
            let matrix = graph.normalized(loops);
            let roots: Vec<f64> =
                graph.degrees(loops).into_iter().map(|degree| f64::from(degree).sqrt()).collect();
            for (node, row) in matrix.outer_iterator().enumerate() {
                let product: f64 = row.iter().map(|(column, value)| value * roots[column]).sum();
                prop_assert!((product - roots[node]).abs() < 1e-12);
                for (column, &entry) in row.iter() {
                    prop_assert_eq!(entry, value(&matrix, column, node));
                }
            }
        }
    }
}
