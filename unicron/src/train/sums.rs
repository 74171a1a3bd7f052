//! Gradients added up over the tree of micro-batches.

use crate::transition::tree::Node;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes that are held, none of them within another.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    micro_batches: u32,
    nodes: BTreeMap<Node, Arc<Vec<f32>>>,
}

impl Sums {
    /// Nothing yet, of so many micro-batches.
    #[must_use]
    pub fn new(micro_batches: u32) -> Self {
        Self { micro_batches, nodes: BTreeMap::new() }
    }

    /// Adds a node; where its sibling is there, both become their parent, and so on.
    ///
    /// # Panics
    /// If a sibling has another length.
    pub fn add(&mut self, mut node: Node, mut values: Vec<f32>) {
        let root = Node::root(self.micro_batches);
        while node.level < root.level {
            let sibling = node.sibling();
            if let Some(other) = self.nodes.remove(&sibling) {
                assert_eq!(values.len(), other.len(), "gradients of one stage are of one length");
                for (value, other) in values.iter_mut().zip(other.iter()) {
                    *value += other;
                }
            } else if !sibling.micro_batches(self.micro_batches).is_empty() {
                break;
            }
            node = node.parent();
        }
        self.nodes.insert(node, Arc::new(values));
    }

    /// Whether a micro-batch is in a node that is held.
    #[must_use]
    pub fn has(&self, micro_batch: u32) -> bool {
        self.nodes.keys().any(|node| node.micro_batches(self.micro_batches).contains(&micro_batch))
    }

    /// The sum over all, once it is there.
    #[must_use]
    pub fn root(&self) -> Option<&[f32]> {
        self.nodes.get(&Node::root(self.micro_batches)).map(|values| values.as_slice())
    }

    /// The nodes and their sums.
    pub fn nodes(&self) -> impl Iterator<Item = (Node, &Arc<Vec<f32>>)> {
        self.nodes.iter().map(|(&node, values)| (node, values))
    }

    /// Drops the nodes that `keep` doesn't want.
    pub fn retain(&mut self, keep: impl Fn(Node) -> bool) {
        self.nodes.retain(|&node, _| keep(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(micro_batch: u32) -> Vec<f32> {
        vec![1.0 / (1.0 + micro_batch as f32), (micro_batch as f32).sin() * 1e3]
    }

    /// The definition, by recursion.
    fn expected(node: Node, of: u32) -> Vec<f32> {
        if node.level == 0 {
            return values(node.index);
        }
        let left = Node { level: node.level - 1, index: node.index * 2 };
        let sum = expected(left, of);
        match left.sibling().micro_batches(of).is_empty() {
            true => sum,
            false => sum.iter().zip(expected(left.sibling(), of)).map(|(a, b)| a + b).collect(),
        }
    }

    proptest! {
        /// Whoever holds what, in whatever order it comes.
        #[test]
        fn the_root_has_the_same_bits_for_any_partition(
            of in 1_u32..40,
            holders in prop::collection::vec(0_usize..5, 40),
            order in prop::collection::vec(any::<u64>(), 40),
        ) {
            let mut workers = vec![Sums::new(of); 5];
            let mut leaves: Vec<u32> = (0..of).collect();
            leaves.sort_by_key(|&leaf| order[leaf as usize]);
            for leaf in leaves {
                workers[holders[leaf as usize]].add(Node::leaf(leaf), values(leaf));
            }
            let mut total = Sums::new(of);
            for worker in &workers {
                for (node, values) in worker.nodes() {
                    prop_assert!(node.is_within(of));
                    total.add(node, values.to_vec());
                }
            }
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let root = total.root().expect("all leaves are there");
            prop_assert_eq!(bits(root), bits(&expected(Node::root(of), of)));
        }
    }
}
