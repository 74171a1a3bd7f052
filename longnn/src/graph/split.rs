//! Which nodes are learned from, which select the epoch, and which are only tested on.

use super::Labels;
use crate::{Error, Result};

/// Three disjoint sets of nodes, none of them empty, each ascending. They needn't cover the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    train: Vec<u32>,
    validation: Vec<u32>,
    test: Vec<u32>,
}

impl Split {
    /// From the nodes of each part, in any order, of a graph of `n_nodes` nodes.
    ///
    /// # Errors
    /// If a part is empty, a node doesn't exist, or one is named twice.
    pub fn new(
        n_nodes: usize,
        train: Vec<u32>,
        validation: Vec<u32>,
        test: Vec<u32>,
    ) -> Result<Self> {
        let mut split = Self { train, validation, test };
        let mut part_of: Vec<Option<&str>> = vec![None; n_nodes];
        for (name, part) in split.parts_mut() {
            if part.is_empty() {
                return Err(Error::Split { problem: format!("no node is for {name}") });
            }
            part.sort_unstable();
            for &node in &*part {
                let Some(place) = part_of.get_mut(node as usize) else {
                    let problem = format!("node {node} for {name} isn't there: {n_nodes} nodes");
                    return Err(Error::Split { problem });
                };
                if let Some(other) = place.replace(name) {
                    let problem = format!("node {node} is for {name}, and for {other} already");
                    return Err(Error::Split { problem });
                }
            }
        }
        Ok(split)
    }

    /// The nodes learned from.
    #[must_use]
    pub fn train(&self) -> &[u32] {
        &self.train
    }

    /// The nodes that select the epoch.
    #[must_use]
    pub fn validation(&self) -> &[u32] {
        &self.validation
    }

    /// The nodes tested on.
    #[must_use]
    pub fn test(&self) -> &[u32] {
        &self.test
    }

    /// Refuses a split that tests or selects on a class that training never sees. The fixed masks
    /// of small benchmarks do (one of Texas' classes is a single page), so this is asked of a
    /// user's own split and not of every split.
    ///
    /// # Errors
    /// Names the class.
    ///
    /// # Panics
    /// If the labels are those of a smaller graph.
    pub fn check_classes(&self, labels: &Labels) -> Result<()> {
        let mut seen = vec![false; labels.n_classes()];
        self.train.iter().for_each(|&node| seen[labels.class_of(node)] = true);
        for &node in self.validation.iter().chain(&self.test) {
            let class = labels.class_of(node);
            if !seen[class] {
                let problem = format!(
                    "class {} (node {node}) is never seen in training",
                    labels.name_of(class)
                );
                return Err(Error::Split { problem });
            }
        }
        Ok(())
    }

    /// The greatest node of all parts.
    pub(super) fn last_node(&self) -> Option<u32> {
        [&self.train, &self.validation, &self.test]
            .into_iter()
            .filter_map(|part| part.last())
            .max()
            .copied()
    }

    fn parts_mut(&mut self) -> [(&'static str, &mut Vec<u32>); 3] {
        [
            ("training", &mut self.train),
            ("validation", &mut self.validation),
            ("test", &mut self.test),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(train: &[u32], validation: &[u32], test: &[u32], expected: &str) {
        let split = Split::new(4, train.to_vec(), validation.to_vec(), test.to_vec());
        assert_eq!(split.unwrap_err().to_string(), format!("split: {expected}"));
    }

    #[test]
    fn parts_are_checked() {
        refused(&[0], &[], &[1], "no node is for validation");
        refused(&[0], &[1], &[4], "node 4 for test isn't there: 4 nodes");
        refused(&[0, 1], &[1], &[2], "node 1 is for validation, and for training already");
        refused(&[0, 0], &[1], &[2], "node 0 is for training, and for training already");
        let split = Split::new(4, vec![3, 0], vec![1], vec![2]).unwrap();
        assert_eq!((split.train(), split.last_node()), (&[0, 3][..], Some(3)));
    }

    #[test]
    fn a_class_that_training_never_sees_is_named() {
        let labels = Labels::new(vec![0, 0, 1, 1]).unwrap();
        let labels = labels.with_names(vec!["spam".into(), "ham".into()]).unwrap();
        let split = Split::new(4, vec![0], vec![1], vec![2]).unwrap();
        let error = split.check_classes(&labels).unwrap_err().to_string();
        assert_eq!(error, "split: class ham (node 2) is never seen in training");
        assert!(
            Split::new(4, vec![0, 3], vec![1], vec![2]).unwrap().check_classes(&labels).is_ok()
        );
    }
}
