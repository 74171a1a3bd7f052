//! The class of every node.

use crate::{Error, Result};

/// One class a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    classes: Vec<u16>,
    n_classes: usize,
    names: Option<Vec<String>>,
}

impl Labels {
    /// From the class of every node; there are as many classes as the greatest one says.
    ///
    /// # Errors
    /// If there is no node, or only one class: there would be nothing to learn.
    pub fn new(classes: Vec<u16>) -> Result<Self> {
        let n_classes = classes.iter().max().map_or(0, |&greatest| usize::from(greatest) + 1);
        if n_classes < 2 {
            return Err(Error::Graph {
                part: "labels".into(),
                problem: format!(
                    "{n_classes} classes on {} nodes: there is nothing to learn",
                    classes.len()
                ),
            });
        }
        Ok(Self { classes, n_classes, names: None })
    }

    /// With the names of the classes.
    ///
    /// # Errors
    /// If there isn't one name a class.
    pub fn with_names(self, names: Vec<String>) -> Result<Self> {
        if names.len() != self.n_classes {
            return Err(Error::Graph {
                part: "labels".into(),
                problem: format!("{} names for {} classes", names.len(), self.n_classes),
            });
        }
        Ok(Self { names: Some(names), ..self })
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.classes.len()
    }

    /// Number of classes `C`.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// The class of every node.
    #[must_use]
    pub fn classes(&self) -> &[u16] {
        &self.classes
    }

    /// The class of one node.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn class_of(&self, node: u32) -> usize {
        usize::from(self.classes[node as usize])
    }

    /// The nodes of each class, ascending.
    #[must_use]
    pub fn nodes_by_class(&self) -> Vec<Vec<u32>> {
        let mut nodes = vec![Vec::new(); self.n_classes];
        for (node, &class) in self.classes.iter().enumerate() {
            nodes[usize::from(class)].push(node as u32);
        }
        nodes
    }

    /// A class as people know it: its name, or its number.
    #[must_use]
    pub fn name_of(&self, class: usize) -> String {
        let name = self.names.as_ref().and_then(|names| names.get(class));
        name.cloned().unwrap_or_else(|| class.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_and_named() {
        let labels = Labels::new(vec![2, 0, 2]).unwrap();
        assert_eq!((labels.n_nodes(), labels.n_classes()), (3, 3));
        assert_eq!(labels.nodes_by_class(), [vec![1], vec![], vec![0, 2]]);
        assert_eq!(labels.name_of(2), "2");
        let named = labels.with_names(["cat", "dog", "owl"].map(str::to_owned).to_vec()).unwrap();
        assert_eq!(named.name_of(named.class_of(0)), "owl");
        assert!(named.with_names(vec![]).unwrap_err().to_string().contains("0 names for 3"));
    }

    #[test]
    fn one_class_is_refused() {
        for classes in [vec![], vec![0, 0]] {
            assert!(Labels::new(classes).unwrap_err().to_string().contains("nothing to learn"));
        }
    }
}
