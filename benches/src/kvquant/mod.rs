//! The experiments of `kvquant`.
//!
//! | file | what |
//! |---|---|
//! | [`memory`] | bytes saved against KIVI, by arithmetic (figure 4 of the paper) |
//! | [`anchors`] | the engine against values computed by others: numpy, llama.cpp |
//! | [`asymmetry`] | high bits on keys against high bits on values (tables 1 and 2, figure 1) |
//! | [`setting`] | model and text, and a plan's score on them |

mod anchors;
mod asymmetry;
mod memory;
mod setting;

pub use anchors::{AnchorMetrics, Anchors};
pub use asymmetry::{Asymmetry, AsymmetryMetrics};
pub use memory::{Memory, MemoryMetrics};
pub use setting::PlanScore;

const SYSTEM: &str = "kvquant";
