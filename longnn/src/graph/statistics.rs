//! What a graph looks like: the counts and the homophily that papers print beside its name.

use super::{Adjacency, Graph};

impl Adjacency {
    /// The undirected edges between two nodes, each once as `(lesser, greater)`, ascending. Self
    /// loops are left out.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.n_nodes()).flat_map(|node| {
            let neighbours = self.neighbours_of(node).iter();
            let later = neighbours.filter(move |&&neighbour| neighbour as usize > node);
            later.map(move |&neighbour| (node as u32, neighbour))
        })
    }

    /// Number of undirected edges between two nodes.
    #[must_use]
    pub fn n_edges(&self) -> usize {
        (self.n_entries() - self.n_self_loops()) / 2
    }

    /// Number of nodes that are their own neighbour.
    #[must_use]
    pub fn n_self_loops(&self) -> usize {
        let has_loop = |&node: &usize| self.neighbours_of(node).contains(&(node as u32));
        (0..self.n_nodes()).filter(has_loop).count()
    }

    /// Number of nodes without any neighbour.
    #[must_use]
    pub fn n_isolated(&self) -> usize {
        self.offsets().windows(2).filter(|bounds| bounds[0] == bounds[1]).count()
    }
}

impl Graph {
    /// The part of the edges that join nodes of one class; `None` without edges. Near 1, smoothing
    /// helps; a filter that only smooths does worse than none where it is near 0.
    #[must_use]
    pub fn edge_homophily(&self) -> Option<f64> {
        let n_edges = self.adjacency().n_edges();
        let labels = self.labels();
        let same = |&(a, b): &(u32, u32)| labels.class_of(a) == labels.class_of(b);
        let n_same = self.adjacency().edges().filter(same).count();
        (n_edges > 0).then(|| n_same as f64 / n_edges as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Labels;

    #[test]
    fn edges_are_counted_once_and_loops_apart() {
        let adjacency = Adjacency::from_edges(5, &[(0, 1), (2, 1), (2, 2), (3, 0)]).unwrap();
        assert_eq!(adjacency.edges().collect::<Vec<_>>(), [(0, 1), (0, 3), (1, 2)]);
        assert_eq!(adjacency.n_edges(), 3);
        assert_eq!((adjacency.n_self_loops(), adjacency.n_isolated()), (1, 1));
        let labels = Labels::new(vec![0, 0, 1, 1, 1]).unwrap();
        let graph = Graph::new("small", adjacency, labels).unwrap();
        assert_eq!(graph.edge_homophily(), Some(1.0 / 3.0));
    }

    #[test]
    fn no_edges_no_homophily() {
        let adjacency = Adjacency::from_edges(2, &[(1, 1)]).unwrap();
        let graph = Graph::new("loop", adjacency, Labels::new(vec![0, 1]).unwrap()).unwrap();
        assert_eq!(graph.edge_homophily(), None);
    }
}
