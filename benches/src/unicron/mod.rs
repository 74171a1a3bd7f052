//! The experiments of `unicron`.
//!
//! | file | what |
//! |---|---|
//! | [`calibration`] | the throughput model against published runs |
//! | [`detection`] | how soon a live cluster notices failures, and survives them |
//! | [`efficiency`] | accumulated WAF against other policies, allocations, ablations, sensitivities |
//! | [`infinitehbd`] | every policy through 348 days of 400 servers |
//! | [`program`] | the processes of a cluster on this machine |
//! | [`planning`] | how long plans, tables of plans and look-ups take as clusters grow |

mod calibration;
mod detection;
mod efficiency;
mod infinitehbd;
mod planning;
pub mod program;

pub use calibration::{Calibration, CalibrationMetrics, RunError};
pub use detection::{Detection, DetectionMetrics};
pub use efficiency::Efficiency;
pub use efficiency::metrics::{AllocationRow, EfficiencyMetrics, PolicyRow};
pub use infinitehbd::{InfiniteHbd, InfiniteHbdMetrics};
pub use planning::{Planning, PlanningMetrics, PlanningRow};

const SYSTEM: &str = "unicron";
