//! How a failure is noticed.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The paper's four ways to notice a failure (section 4), each with its own delay: from a third of a
/// second for an exception to three iterations for a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The coordinator and the node's agent keep a connection; the node's own log is read.
    NodeHealth,
    /// The agent waits for its training processes.
    ProcessSupervision,
    /// What the framework or the driver reports inside the process is passed on at once.
    ExceptionPropagation,
    /// Times of iterations, losses and the like are compared with what is usual.
    StatisticalMonitoring,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeHealth => "node health",
            Self::ProcessSupervision => "process supervision",
            Self::ExceptionPropagation => "exception propagation",
            Self::StatisticalMonitoring => "statistical monitoring",
        })
    }
}
