//! Graphs with features and labels, and the normalised adjacency that filters are polynomials of.
//!
//! A [`Graph`] is what a model is trained on: its parts are checked against each other once, when
//! it is put together, so that nothing later has to ask whether a label or a neighbour exists.

mod adjacency;
mod attributed;
mod features;
mod labels;
mod metric;
mod normalized;
mod split;
mod statistics;

pub use adjacency::Adjacency;
pub use attributed::Graph;
pub use features::{DenseFeatures, Features, SparseFeatures};
pub use labels::Labels;
pub use metric::{Metric, accuracy, roc_auc};
pub use normalized::SelfLoops;
pub use split::Split;
