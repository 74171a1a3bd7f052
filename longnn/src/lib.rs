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
//! - [`commands`]: what people type
//! - [`error`]: what can go wrong
//!
//! | claim of the papers | notes | module | test |
//! |---|---|---|---|
//! | `P̂_k^{(a,b)}` is orthonormal for all `a, b > −1`, also where `a+b ≤ −1` | 1.2 | [`basis`] | `the_gram_matrix_is_the_identity` |
//! | JacobiConv's recurrence is Jacobi's: its code has another sign | 1.2 | [`basis`] | `the_published_sign_is_another_basis` |
//! | `a` and `b` are learned with the rest | 1.3 | [`basis`], [`filter`] | `derivatives_are_central_differences` |
//! | decomposed coefficients (PCD), where LON-GNN starts | 1.4 | [`filter`] | `lon_gnn_starts_as_published` |
//! | decay of coefficients is decay of the filter, `‖g‖² = Σ θ²` | 1.5 | [`filter`] | `parseval` |
//! | over-passing: a narrow band far beyond the rest | 1.5 | [`filter`] | `a_narrow_band_over_passes` |
//! | 60/20/20 splits of the papers' sizes | 1.7 | [`data`] | `the_sizes_of_the_papers` |
//! | filters fitted to images | 1.9 | [`filter::fit`], [`experiment::fit_filters`] | `the_images_of_the_papers` |
//! | every basis through one engine, `2K` products a step | 6.3 | [`propagate`], [`autodiff`] | `a_filter_is_the_polynomial_of_the_matrix` |
//!
//! "Notes" are the sections that comments cite as well: a summary of the paper, of its code and of the
//! code's defects. `docs/longnn` says what was kept and what is done otherwise.

pub mod autodiff;
pub mod basis;
pub mod commands;
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
