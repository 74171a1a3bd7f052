//! Propagation over a graph: the sparse products that a spectral network spends its time in.
//!
//! - [`Signals`]: rows of channels, padded to whole vectors; [`Pool`]: their buffers, used again
//! - [`Operator`]: `Â`, and one fused step of a recurrence
//! - [`Chebyshev`]: the engine of all polynomial filters, `2K` products a training step
//! - [`FeatureProduct`]: features times weights, with [`Dropout`] on the features
//!
//! Everything here gives the same bits for any number of threads, for every instruction set, and for
//! a column alone or beside others: each output value is computed by one task, in an order that the
//! row alone decides.

mod chebyshev;
mod kernel;
mod operator;
mod parallel;
mod pool;
mod product;
mod rows;
mod signals;
mod step;
#[cfg(test)]
mod tests;

pub use chebyshev::{Basis, Chebyshev};
pub use kernel::Kernel;
pub use operator::{Operator, Term};
pub use pool::{Pool, Pooled};
pub use product::{Dropout, FeatureProduct};
pub use signals::Signals;
pub use step::{Coefficients, Step};
