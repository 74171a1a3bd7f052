//! LON-GNN: spectral graph neural networks over learnable orthonormal Jacobi bases (Tao et al.,
//! "LON-GNN: Spectral GNNs with Learnable Orthonormal Basis", 2023). In reading order:
//!
//! - [`graph`]: graphs with features and labels, the normalised adjacency
//! - [`data`]: graphs from files, graphs made up, splits
//! - [`propagate`]: sparse products over a graph, the engine of all polynomial filters
//! - [`basis`]: polynomial bases as changes of basis from Chebyshev's, learnable exponents
//! - [`filter`]: filters from parameters and back, their norm, density of spectra, closed-form fits
//! - [`autodiff`]: sparse and fused operations as nodes of burn's autodiff graph
//! - [`model`]: LON-GNN and the models that it is compared with
//! - [`train`]: full-batch training, many seeds side by side
//! - [`experiment`]: trainings that are kept, comparisons made of them
//! - [`plot`]: learned filters over the density of the graph's frequencies
//! - [`error`]: what can go wrong

pub mod autodiff;
pub mod basis;
pub mod data;
pub mod error;
pub mod experiment;
pub mod filter;
pub mod graph;
pub mod model;
pub mod plot;
pub mod propagate;
pub mod train;

pub use error::{Error, Result};
