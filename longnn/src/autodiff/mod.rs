//! Sparse and fused operations as nodes of burn's autodiff graph. In the order of a training step:
//!
//! | file | what |
//! |---|---|
//! | [`function`] | how burn calls a function of ours, forward and backward |
//! | [`features`] | features times the first layer's weights |
//! | [`pointwise`] | bias, rectifier, dropout |
//! | [`filter`] | the polynomial filter, and its weights from what is learned |
//! | [`recurrence`] | the filters whose basis each channel has to itself |
//! | [`propagation`] | one product with the normalised adjacency |
//! | [`cross_entropy`] | the loss of several seeds side by side |

pub mod cross_entropy;
pub mod features;
pub mod filter;
pub mod function;
pub mod pointwise;
pub mod propagation;
pub mod recurrence;
