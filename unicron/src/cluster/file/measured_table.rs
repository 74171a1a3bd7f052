//! The table `[measured]`: what a live run has measured, to be simulated with.

use super::Value;
use super::fields::{Fields, Source};
use crate::Result;

/// What a run has measured; `None` where it had nothing to measure it by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Seconds until a lost node is noticed.
    pub node_health_s: Option<f64>,
    /// Seconds until a process's end is noticed.
    pub process_s: Option<f64>,
    /// Seconds until what a process raises is noticed.
    pub exception_s: Option<f64>,
    /// Seconds until a stall is noticed.
    pub stall_s: Option<f64>,
    /// Seconds of an iteration.
    pub iteration_s: Option<f64>,
    /// What it costs to start a process again, as seconds in which all of its task stands still.
    pub restart_s: Option<f64>,
    /// The weighted FLOPs that the run has accumulated: to be compared with.
    pub accumulated_waf: Option<f64>,
}

const KEYS: [&str; 7] = [
    "node_health_s",
    "process_s",
    "exception_s",
    "stall_s",
    "iteration_s",
    "restart_s",
    "accumulated_waf",
];

pub(super) fn read(value: &Value, source: Source) -> Result<Measured> {
    let fields = Fields::of(source, value, "[measured]", &KEYS)?;
    let figure = |key: &str| match fields.get(key) {
        Some(_) => fields.positive_or(key, 1.0).map(Some),
        None => Ok(None),
    };
    Ok(Measured {
        node_health_s: figure("node_health_s")?,
        process_s: figure("process_s")?,
        exception_s: figure("exception_s")?,
        stall_s: figure("stall_s")?,
        iteration_s: figure("iteration_s")?,
        restart_s: figure("restart_s")?,
        accumulated_waf: figure("accumulated_waf")?,
    })
}
