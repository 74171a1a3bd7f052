//! LON-GNN: spectral graph neural networks over learnable orthonormal Jacobi bases. **Nothing stands
//! here yet**; this is the map of what will (Tao et al., "LON-GNN: Spectral GNNs with Learnable
//! Orthonormal Basis", 2023).
//!
//! - `graph`, `data`: graphs, features, splits, and the files they come from
//! - `propagate`: the sparse kernels
//! - `basis`: polynomial bases, learnable and fixed
//! - `model`, `train`, `experiment`: LON-GNN and its baselines on real graphs
//! - `plot`: learned filters to look at
