//! The experiments of `longnn`.
//!
//! | file | what |
//! |---|---|
//! | [`bases`] | the engine's bases against values with twice the digits, and the sign of JacobiConv's code |
//! | [`filters`] | known filters fitted to images, beside the least-squares floor |

mod bases;
mod filters;

pub use bases::{Bases, BasesMetrics};
pub use filters::{FilterMetrics, Filters};

const SYSTEM: &str = "longnn";
