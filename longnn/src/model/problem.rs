//! A graph made ready for training: normalised features, operators, labels.

use crate::Result;
use crate::graph::{Features, Graph, SelfLoops};
use crate::propagate::{FeatureProduct, Operator, Pool};
use std::sync::Arc;

/// From this part of non-zeros on, a product with all of them is faster than one that skips zeros:
/// Photo and Computers have 35 %, the other graphs 5 % at most.
const DENSE_FROM: f64 = 0.15;

/// What every model and seed on a graph has in common.
#[derive(Debug, Clone)]
pub struct Problem {
    graph: Arc<Graph>,
    features: Arc<FeatureProduct>,
    without_loops: Arc<Operator>,
    with_loops: Arc<Operator>,
    labels: Arc<[u16]>,
    pool: Arc<Pool>,
}

impl Problem {
    /// Prepares a graph: rows of features divided by their sum where it is above one, as all the
    /// papers compared here do (section 1.1 of the notes).
    ///
    /// # Errors
    /// If the graph has no features.
    pub fn new(graph: Graph) -> Result<Self> {
        let features = graph.features()?.clone().row_normalized();
        let features = match features {
            Features::Sparse(_) if features.density() > DENSE_FROM => {
                Features::Dense(features.to_dense())
            }
            features => features,
        };
        Ok(Self {
            features: Arc::new(FeatureProduct::new(features)),
            without_loops: Arc::new(Operator::new(graph.adjacency(), SelfLoops::AsGiven)?),
            with_loops: Arc::new(Operator::new(graph.adjacency(), SelfLoops::Added)?),
            labels: graph.labels().classes().into(),
            pool: Pool::new(),
            graph: Arc::new(graph),
        })
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// `X`, rows normalised.
    #[must_use]
    pub fn features(&self) -> &Arc<FeatureProduct> {
        &self.features
    }

    /// `Â = D^-1/2 A D^-1/2`, or `Ã` with every node its own neighbour.
    #[must_use]
    pub fn operator(&self, self_loops: SelfLoops) -> &Arc<Operator> {
        match self_loops {
            SelfLoops::AsGiven => &self.without_loops,
            SelfLoops::Added => &self.with_loops,
        }
    }

    /// The class of each node.
    #[must_use]
    pub fn labels(&self) -> &Arc<[u16]> {
        &self.labels
    }

    /// Number of nodes `N`.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.graph.n_nodes()
    }

    /// Number of features `F`.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.features.n_features()
    }

    /// Number of classes `C`.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.graph.n_classes()
    }

    /// Buffers for single products.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}
