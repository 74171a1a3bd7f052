//! The experiments of `unicron`.
//!
//! | file | what |
//! |---|---|
//! | [`calibration`] | the throughput model against published runs |
//! | [`dashboard`] | whether the page of a large cluster stutters |
//! | [`detection`] | how soon a live cluster notices failures, and survives them |
//! | [`efficiency`] | accumulated WAF against other policies, allocations, ablations, sensitivities |
//! | [`hangs`] | false alarms against misses of the monitor of iteration times |
//! | [`real_traces`] | every policy through failures that real clusters had |
//! | [`overhead`] | what it costs to be watched |
//! | [`pytorch`] | what a failure costs a PyTorch job, and what it pays without one |
//! | [`reduction`] | the trainer's tree beside a ring |
//! | [`unwatched`] | a worker whose agent does nothing |
//! | [`program`] | the processes of a cluster on this machine |
//! | [`certificates`] | certificates of an authority that lives as long as an experiment |
//! | [`planning`] | how long plans, tables of plans and look-ups take as clusters grow |
//! | [`scale`] | how many agents one coordinator bears |

mod calibration;
mod certificates;
mod dashboard;
mod detection;
mod efficiency;
mod hangs;
mod overhead;
mod planning;
pub mod program;
mod pytorch;
mod real_traces;
mod reduction;
mod scale;
mod unwatched;

pub use calibration::{Calibration, CalibrationMetrics, RunError};
pub use dashboard::{Dashboard, DashboardMetrics};
pub use detection::{Detection, DetectionMetrics, DetectionRow};
pub use efficiency::Efficiency;
pub use efficiency::metrics::{AllocationRow, EfficiencyMetrics, History, PolicyRow};
pub use hangs::{Hangs, HangsMetrics};
pub use overhead::{Overhead, OverheadMetrics};
pub use planning::{Planning, PlanningMetrics, PlanningRow};
pub use pytorch::{
    PyTorchOverhead, PyTorchOverheadMetrics, PyTorchRecovery, PyTorchRecoveryMetrics,
};
pub use real_traces::{RealTraces, Replanning, TraceResult};
pub use reduction::{Reduction, ReductionMetrics};
pub use scale::{Scale, ScaleMetrics};

const SYSTEM: &str = "unicron";
