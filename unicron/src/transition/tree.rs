//! The binary tree over an iteration's micro-batches by which gradients are added up.
//!
//! Sums of floating-point numbers depend on their order. This tree fixes it by the micro-batches' numbers,
//! not by who computed them: whoever holds both children of a node may replace them by it, and whatever
//! the workers hold, the root has the same bits.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A node: `2^level` micro-batches from `index · 2^level` on, as far as there are so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node {
    /// 0 for a single micro-batch.
    pub level: u32,
    /// From the left.
    pub index: u32,
}

impl Node {
    /// A single micro-batch.
    #[must_use]
    pub fn leaf(micro_batch: u32) -> Self {
        Self { level: 0, index: micro_batch }
    }

    /// The node of all.
    #[must_use]
    pub fn root(micro_batches: u32) -> Self {
        Self { level: micro_batches.max(1).next_power_of_two().ilog2(), index: 0 }
    }

    /// The node that it is a half of.
    #[must_use]
    pub fn parent(self) -> Self {
        Self { level: self.level + 1, index: self.index / 2 }
    }

    /// The other half of its parent.
    #[must_use]
    pub fn sibling(self) -> Self {
        Self { level: self.level, index: self.index ^ 1 }
    }

    /// Its micro-batches, of so many; empty where the tree has an end.
    #[must_use]
    pub fn micro_batches(self, of: u32) -> Range<u32> {
        let bound = |index: u64| (index << self.level).min(u64::from(of)) as u32;
        bound(u64::from(self.index))..bound(u64::from(self.index) + 1)
    }

    /// Whether it can be in a tree over so many: what comes from elsewhere is checked by it.
    #[must_use]
    pub fn is_within(self, of: u32) -> bool {
        self.level <= Self::root(of).level && !self.micro_batches(of).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_its_children() {
        for of in 1..40 {
            let root = Node::root(of);
            assert_eq!(root.micro_batches(of), 0..of);
            for level in 0..root.level {
                for index in 0..of {
                    let node = Node { level, index: index * 2 };
                    let parent = node.parent().micro_batches(of);
                    assert_eq!(node.micro_batches(of).start, parent.start);
                    assert_eq!(node.sibling().micro_batches(of).end, parent.end);
                }
            }
        }
    }

    #[test]
    fn what_is_outside_is_known() {
        assert!(Node { level: 3, index: 0 }.is_within(5));
        assert!(!Node { level: 4, index: 0 }.is_within(5));
        assert!(!Node { level: 0, index: 5 }.is_within(5));
        assert!(!Node { level: u32::MAX, index: 1 }.is_within(5));
    }
}
