//! A small GPT: bytes, learned positions, pre-norm blocks, an output layer of its own.
//!
//! The parameters of a pipeline stage are one flat vector, in an order that doesn't depend on how many
//! stages there are: stages are neighbouring parts of the whole model's vector.
//!
//! | what | file |
//! |---|---|
//! | which parameters there are, in which order; their first values | [`parameters`] |
//! | forward and backward of one stage over one micro-batch | [`pass`] |
//! | a transformer block | `block.rs` |

mod block;
pub mod parameters;
pub mod pass;

pub use parameters::{Layout, Parameter};
pub use pass::{Backward, Forward, Model};
