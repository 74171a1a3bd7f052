//! LON-GNN and the models that it is compared with.
//!
//! | file | what |
//! |---|---|
//! | [`architecture`](Architecture) | the models' names |
//! | [`settings`](Settings) | what a model needs to know beside the data, from TOML |
//! | [`parameters`](Parameters) | everything learnable, one burn module for all models |
//! | [`problem`](Problem) | a graph made ready: features, operators, labels |
//! | [`polynomial`] | models that filter the classes' scores: LON-GNN, JacobiConv, ChebNetII, BernNet, GPRGNN, APPNP, and MLP, which doesn't |
//! | [`layered`] | models that propagate between two layers: GCN, ChebNet |
//! | [`hidden_width`] | models that filter the hidden features: FavardGNN, OptBasisGNN |
//! | [`forward`](Noise) | a pass: its dropout, and the steps that networks are made of |
//! | [`network`](Network) | one model with its settings, ready to be called |

mod architecture;
mod forward;
pub mod hidden_width;
pub mod layered;
mod network;
mod parameters;
pub mod polynomial;
mod problem;
mod settings;

pub use architecture::Architecture;
pub use forward::Noise;
pub use network::Network;
pub use parameters::{Affine, Initializer, Parameters};
pub use problem::Problem;
pub use settings::{GroupSettings, Reparametrization, Settings, SettingsFile};
