//! A graph with everything that a model is trained and tested on.

use super::{Adjacency, Features, Labels, Metric, Split};
use crate::{Error, Result};

/// Structure, features and labels of `N` nodes, the splits that come with them, and the metric of
/// the graph's authors.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    name: String,
    adjacency: Adjacency,
    features: Option<Features>,
    labels: Labels,
    public_split: Option<Split>,
    fixed_splits: Vec<Split>,
    metric: Metric,
}

impl Graph {
    /// A graph of this structure and these labels, without features and splits.
    ///
    /// # Errors
    /// If there isn't one label a node.
    pub fn new(name: impl Into<String>, adjacency: Adjacency, labels: Labels) -> Result<Self> {
        check_count("labels", labels.n_nodes(), adjacency.n_nodes())?;
        Ok(Self {
            name: name.into(),
            adjacency,
            features: None,
            labels,
            public_split: None,
            fixed_splits: Vec::new(),
            metric: Metric::default(),
        })
    }

    /// With these features.
    ///
    /// # Errors
    /// If there isn't one row a node.
    pub fn with_features(mut self, features: Features) -> Result<Self> {
        check_count("features", features.n_nodes(), self.n_nodes())?;
        self.features = Some(features);
        Ok(self)
    }

    /// With the one split that everybody uses for this graph.
    ///
    /// # Errors
    /// If it names a node that isn't there.
    pub fn with_public_split(mut self, split: Split) -> Result<Self> {
        self.check_split(&split)?;
        self.public_split = Some(split);
        Ok(self)
    }

    /// With splits to average over.
    ///
    /// # Errors
    /// If one names a node that isn't there.
    pub fn with_fixed_splits(mut self, splits: Vec<Split>) -> Result<Self> {
        splits.iter().try_for_each(|split| self.check_split(split))?;
        self.fixed_splits = splits;
        Ok(self)
    }

    /// With this metric instead of accuracy.
    ///
    /// # Errors
    /// If there is no ROC curve because there aren't two classes.
    pub fn with_metric(mut self, metric: Metric) -> Result<Self> {
        if metric == Metric::RocAuc && self.n_classes() != 2 {
            let problem = format!("{} wants 2 classes, not {}", metric.name(), self.n_classes());
            return Err(Error::Graph { part: "metric".into(), problem });
        }
        self.metric = metric;
        Ok(self)
    }

    /// The name in tables and records.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.adjacency.n_nodes()
    }

    /// Number of classes `C`.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.labels.n_classes()
    }

    /// The neighbours of every node.
    #[must_use]
    pub fn adjacency(&self) -> &Adjacency {
        &self.adjacency
    }

    /// The features, as the data has them: not normalised.
    ///
    /// # Errors
    /// If the graph has none.
    pub fn features(&self) -> Result<&Features> {
        self.features.as_ref().ok_or_else(|| Error::Graph {
            part: self.name.clone(),
            problem: "the graph has no features to train on".into(),
        })
    }

    /// The class of every node.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The one split that everybody uses for this graph, where there is one (Planetoid).
    #[must_use]
    pub fn public_split(&self) -> Option<&Split> {
        self.public_split.as_ref()
    }

    /// The splits that the data comes with: ten of the heterophilous graphs, none or one else.
    #[must_use]
    pub fn fixed_splits(&self) -> &[Split] {
        &self.fixed_splits
    }

    /// What the graph's authors measure.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    fn check_split(&self, split: &Split) -> Result<()> {
        match split.last_node() {
            Some(node) if node as usize >= self.n_nodes() => Err(Error::Split {
                problem: format!("node {node} isn't there: {} nodes", self.n_nodes()),
            }),
            _ => Ok(()),
        }
    }
}

fn check_count(part: &str, count: usize, n_nodes: usize) -> Result<()> {
    if count == n_nodes {
        return Ok(());
    }
    let problem = format!("{count} rows for {n_nodes} nodes");
    Err(Error::Graph { part: part.into(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::SparseFeatures;

    fn triangle() -> Graph {
        let adjacency = Adjacency::from_edges(3, &[(0, 1), (1, 2), (0, 2)]).unwrap();
        Graph::new("triangle", adjacency, Labels::new(vec![0, 1, 2]).unwrap()).unwrap()
    }

    #[track_caller]
    fn refused(made: Result<Graph>, expected: &str) {
        assert_eq!(made.unwrap_err().to_string(), expected);
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        let adjacency = Adjacency::from_edges(2, &[(0, 1)]).unwrap();
        let labels = Labels::new(vec![0, 1, 0]).unwrap();
        refused(Graph::new("pair", adjacency, labels), "labels: 3 rows for 2 nodes");
        let features = Features::Sparse(SparseFeatures::identity(4).unwrap());
        refused(triangle().with_features(features), "features: 4 rows for 3 nodes");
        let split = Split::new(9, vec![0], vec![1], vec![7]).unwrap();
        let gone = "split: node 7 isn't there: 3 nodes";
        refused(triangle().with_public_split(split.clone()), gone);
        refused(triangle().with_fixed_splits(vec![split]), gone);
        refused(triangle().with_metric(Metric::RocAuc), "metric: ROC-AUC wants 2 classes, not 3");
    }

    #[test]
    fn missing_features_are_an_error_that_names_the_graph() {
        let error = triangle().features().unwrap_err().to_string();
        assert_eq!(error, "triangle: the graph has no features to train on");
        let features = Features::Sparse(SparseFeatures::identity(3).unwrap());
        assert_eq!(triangle().with_features(features).unwrap().features().unwrap().n_features(), 3);
    }
}
