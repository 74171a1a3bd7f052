//! The experiments of `longnn`.
//!
//! | file | what |
//! |---|---|
//! | [`accuracy`] | LON-GNN and its baselines on real graphs (table 1 of the paper) |
//! | [`bases`] | the engine's bases against values with twice the digits, and the sign of JacobiConv's code |
//! | [`filters`] | known filters fitted to images, beside the least-squares floor |
//! | [`speed`] | epochs, and the sparse product beside sprs' and scipy's |

mod accuracy;
mod bases;
mod filters;
mod speed;

pub use accuracy::{Accuracy, AccuracyMetrics};
pub use bases::{Bases, BasesMetrics};
pub use filters::{FilterMetrics, Filters};
pub use speed::{Speed, SpeedMetrics};

const SYSTEM: &str = "longnn";
