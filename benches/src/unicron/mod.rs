//! The experiments of `unicron`.
//!
//! | file | what |
//! |---|---|
//! | [`calibration`] | the throughput model against published runs |
//! | [`planning`] | how long plans, tables of plans and look-ups take as clusters grow |

mod calibration;
mod planning;

pub use calibration::{Calibration, CalibrationMetrics, RunError};
pub use planning::{Planning, PlanningMetrics, PlanningRow};

const SYSTEM: &str = "unicron";
