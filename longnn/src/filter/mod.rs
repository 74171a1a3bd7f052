//! Spectral filters `g(Â)`, whatever basis they are learned in, as Chebyshev coefficients by channel.
//!
//! - [`Coefficients`], [`Parametrization`]: from what is learned to the weights `W` of the
//!   propagation, and back from their gradient
//! - [`FilterNorm`], [`FilterPenalty`]: a filter's true size, and the regulariser on it
//! - [`Response`]: a learned filter as a function of frequency, the over-passing index
//! - [`ChebyshevSeries`], [`Propagator`]: given functions of frequency, applied to signals in `f64`
//! - [`density_curve`], [`spectral_moments`], [`spectral_density`]: where a graph's eigenvalues lie
//! - [`fit`]: the image experiment in closed form
//!
//! Frequencies are eigenvalues `λ = 1 − x` of the normalised Laplacian, from 0 to 2.

mod coefficients;
mod density;
pub mod fit;
mod norm;
mod parametrization;
mod propagator;
mod response;
mod series;

pub use coefficients::{Coefficients, Decomposition, personalized_pagerank};
pub use density::{density_curve, spectral_density, spectral_moments};
pub use norm::{FilterNorm, FilterPenalty, PenaltyGradient};
pub use parametrization::{ExponentSource, Parameters, Parametrization, Sharing, Weights};
pub use propagator::{LANES, Panel, Propagator};
pub use response::Response;
pub(crate) use response::frequencies;
pub use series::ChebyshevSeries;
