//! Error statuses: table 1 of the paper, and what it has no class for.

use super::Severity;
use serde::{Deserialize, Serialize};

/// What is wrong with a node, a process or a task, as it was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The connection to a node's agent is gone and its lease has run out.
    LostConnection,
    /// A training process has ended with an error.
    ExitedAbnormally,
    /// A process refuses connections.
    ConnectionRefused,
    /// A process has reset a connection.
    ConnectionReset,
    /// Uncorrectable memory error of a GPU.
    EccError,
    /// A link between GPUs of a node.
    NvlinkError,
    /// A DMA mapping is invalid.
    InvalidDmaMapping,
    /// The GPU's driver.
    GpuDriverError,
    /// A kernel has accessed memory that isn't its own.
    IllegalMemoryAccess,
    /// Any other error of CUDA.
    CudaError,
    /// Any other error of the network.
    OtherNetworkError,
    /// Any other error of software.
    OtherSoftwareError,
    /// A task makes no progress.
    TaskHang,
    /// A collective operation has timed out.
    NcclTimeout,
    /// A link goes down and up again.
    LinkFlapping,
}

impl Status {
    /// The severity that table 1 of the paper gives it.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::LostConnection
            | Self::EccError
            | Self::NvlinkError
            | Self::InvalidDmaMapping
            | Self::GpuDriverError => Severity::Sev1,
            Self::ExitedAbnormally
            | Self::IllegalMemoryAccess
            | Self::CudaError
            | Self::OtherSoftwareError
            | Self::TaskHang => Severity::Sev2,
            Self::ConnectionRefused
            | Self::ConnectionReset
            | Self::OtherNetworkError
            | Self::NcclTimeout
            | Self::LinkFlapping => Severity::Sev3,
        }
    }
}
