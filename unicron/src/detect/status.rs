//! Error statuses: table 1 of the paper, and what it has no class for.

use super::{Method, Severity};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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
    /// A collective operation has timed out. A symptom: the cause is whoever didn't arrive.
    NcclTimeout,
    /// A link goes down and up again.
    LinkFlapping,
    /// Nothing explains it: the row "others", which the paper counts and doesn't grade.
    Other,
    /// A GPU is gone from its bus or has halted, for which the paper has no row.
    GpuHardwareError,
    /// Processor, memory, power, cooling or bus of the node itself.
    HostHardwareError,
    /// A computation that is repeated gives another result.
    SilentCorruption,
    /// The loss or the norm of its gradient is infinite or not a number.
    NonFiniteLoss,
    /// A rank is slower than its peers, or than it was.
    Straggler,
    /// The kernel or the container's limit has ended a process for its memory.
    OutOfHostMemory,
    /// An allocation on the GPU has failed.
    OutOfGpuMemory,
    /// A file of data or of a checkpoint can't be read or written.
    StorageError,
    /// The task can't run as it is written: its arguments, its code, its checkpoint's shapes.
    ConfigurationError,
    /// The scheduler or a user has asked the processes to end. Not a failure.
    ScheduledStop,
}

/// What the table says of one status.
struct Row {
    status: Status,
    name: &'static str,
    method: Method,
    severity: Option<Severity>,
    /// Share of the largest tasks that ended so, in percent (figure 1 of the paper).
    share_of_tasks_percent: Option<f64>,
}

/// Share of the largest tasks that ended abnormally, in percent (section 2 of the paper).
const FAILED_TASKS_PERCENT: f64 = 43.4;

/// Table 1 of the paper as remembered, with figure 1's shares (notes, 2.1), then our own rows. Where
/// the paper names a status under two methods, the first that would notice it stands here.
const TABLE: [Row; 26] = {
    use Method::{
        ExceptionPropagation as Exception, NodeHealth as Node, ProcessSupervision as Process,
        StatisticalMonitoring as Statistics,
    };
    use Severity::{Sev1, Sev2, Sev3};
    use Status as S;
    [
        row(S::LostConnection, "lost-connection", Node, Some(Sev1), None),
        row(S::ExitedAbnormally, "exited-abnormally", Process, Some(Sev2), None),
        row(S::ConnectionRefused, "connection-refused", Process, Some(Sev3), Some(2.1)),
        row(S::ConnectionReset, "connection-reset", Process, Some(Sev3), Some(1.0)),
        row(S::EccError, "ecc-error", Exception, Some(Sev1), Some(5.0)),
        row(S::NvlinkError, "nvlink-error", Exception, Some(Sev1), Some(4.5)),
        row(S::InvalidDmaMapping, "invalid-dma-mapping", Exception, Some(Sev1), Some(2.1)),
        row(S::GpuDriverError, "gpu-driver-error", Exception, Some(Sev1), Some(0.6)),
        row(S::IllegalMemoryAccess, "illegal-memory-access", Exception, Some(Sev2), Some(2.1)),
        row(S::CudaError, "cuda-error", Exception, Some(Sev2), Some(1.6)),
        row(S::OtherNetworkError, "other-network-error", Exception, Some(Sev3), Some(4.0)),
        row(S::OtherSoftwareError, "other-software-error", Exception, Some(Sev2), None),
        row(S::TaskHang, "task-hang", Statistics, Some(Sev2), Some(3.1)),
        row(S::NcclTimeout, "nccl-timeout", Statistics, Some(Sev3), Some(10.1)),
        row(S::LinkFlapping, "link-flapping", Statistics, Some(Sev3), Some(3.9)),
        // Ungraded in the paper. A restart is the cheapest thing that helps without knowing why.
        row(S::Other, "other", Process, Some(Sev2), Some(3.3)),
        row(S::GpuHardwareError, "gpu-hardware-error", Node, Some(Sev1), None),
        row(S::HostHardwareError, "host-hardware-error", Node, Some(Sev1), None),
        // No result of that node can be trusted, however often its processes are restarted.
        row(S::SilentCorruption, "silent-corruption", Exception, Some(Sev1), None),
        row(S::NonFiniteLoss, "non-finite-loss", Statistics, Some(Sev2), None),
        // A restart doesn't make a node faster; the plan decides whether to do without it pays.
        row(S::Straggler, "straggler", Statistics, Some(Sev1), None),
        row(S::OutOfHostMemory, "out-of-host-memory", Process, Some(Sev2), None),
        row(S::OutOfGpuMemory, "out-of-gpu-memory", Exception, Some(Sev2), None),
        row(S::StorageError, "storage-error", Exception, Some(Sev3), None),
        row(S::ConfigurationError, "configuration-error", Exception, None, None),
        row(S::ScheduledStop, "scheduled-stop", Process, None, None),
    ]
};

const fn row(
    status: Status,
    name: &'static str,
    method: Method,
    severity: Option<Severity>,
    share_of_tasks_percent: Option<f64>,
) -> Row {
    Row { status, name, method, severity, share_of_tasks_percent }
}

impl Status {
    /// All statuses, the paper's first.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Other; TABLE.len()];
        let mut i = 0;
        while i < TABLE.len() {
            all[i] = TABLE[i].status;
            i += 1;
        }
        all
    };

    /// Its name in files and arguments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].name
    }

    /// How it is noticed first.
    #[must_use]
    pub const fn method(self) -> Method {
        TABLE[self as usize].method
    }

    /// What is tried first, by table 1 of the paper. `None` where there is nothing to recover: a stop
    /// that was asked for ends by itself, and what is wrong with the task a restart can't cure (see
    /// [`Status::stops_task`]).
    #[must_use]
    pub const fn severity(self) -> Option<Severity> {
        TABLE[self as usize].severity
    }

    /// Whether the task is ended instead of restarted: the unchanged task can't but fail again.
    #[must_use]
    pub const fn stops_task(self) -> bool {
        matches!(self, Self::ConfigurationError)
    }

    /// Whether the task's own program may be at fault as well as its node: what fails so on two nodes, one
    /// after the other, is the program's.
    #[must_use]
    pub const fn is_software(self) -> bool {
        matches!(self, Self::ExitedAbnormally | Self::OtherSoftwareError)
    }

    /// Whether the paper has this status; the others are ours.
    #[must_use]
    pub const fn is_from_paper(self) -> bool {
        self as usize <= Self::Other as usize
    }

    /// Whether it tells of the far end of a connection: the cause may be another rank or node.
    #[must_use]
    pub const fn is_about_a_peer(self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused
                | Self::ConnectionReset
                | Self::OtherNetworkError
                | Self::NcclTimeout
        )
    }

    /// Its share of the paper's failures, 0 to 1: figure 1's share of all tasks over the 43.4 % that
    /// failed. The shares that are known sum to 1. `None` where the paper gives no share.
    #[must_use]
    pub fn share_of_failures(self) -> Option<f64> {
        TABLE[self as usize].share_of_tasks_percent.map(|percent| percent / FAILED_TASKS_PERCENT)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = Error;

    /// # Errors
    /// [`Error::Setting`] for a name that isn't in the table.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name).ok_or_else(|| Error::Setting {
            setting: "status".to_owned(),
            problem: format!("{name:?} is none of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_in_the_order_of_the_statuses() {
        for (i, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, i, "{status}");
        }
    }

    #[test]
    fn names_are_those_of_files() {
        for status in Status::ALL {
            let written = serde_json::to_string(&status).unwrap();
            assert_eq!(written, format!("\"{status}\""));
            assert_eq!(status.name().parse::<Status>().unwrap(), status);
        }
        let error = "ecc".parse::<Status>().unwrap_err().to_string();
        assert!(error.starts_with("status: \"ecc\" is none of lost-connection, "), "{error}");
    }

    /// Column D of the notes' table, and its sums by severity.
    #[test]
    fn shares_are_the_papers_and_sum_to_one() {
        let known = |status: Status| status.share_of_failures();
        let sum: f64 = Status::ALL.into_iter().filter_map(known).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        let per_mille_of = |status: Status| 1000.0 * known(status).unwrap();
        for (status, per_mille) in [
            (Status::ConnectionRefused, 48.0),
            (Status::ConnectionReset, 23.0),
            (Status::EccError, 115.0),
            (Status::NvlinkError, 104.0),
            (Status::GpuDriverError, 14.0),
            (Status::CudaError, 37.0),
            (Status::OtherNetworkError, 92.0),
            (Status::TaskHang, 71.0),
            (Status::NcclTimeout, 233.0),
            (Status::LinkFlapping, 90.0),
            (Status::Other, 76.0),
        ] {
            assert_eq!(per_mille_of(status).round(), per_mille, "{status}");
        }
        let graded = Status::ALL.into_iter().filter(|&status| status != Status::Other);
        let mut by_severity = [0.0; 3];
        for status in graded {
            if let (Some(severity), Some(share)) = (status.severity(), known(status)) {
                by_severity[severity as usize] += share;
            }
        }
        let rounded = by_severity.map(|share| (1000.0 * share).round());
        // SEV3, SEV2, SEV1.
        assert_eq!(rounded, [486.0, 157.0, 281.0]);
    }

    #[test]
    fn only_what_recovery_cannot_help_has_no_severity() {
        let ungraded: Vec<_> =
            Status::ALL.into_iter().filter(|status| status.severity().is_none()).collect();
        assert_eq!(ungraded, [Status::ConfigurationError, Status::ScheduledStop]);
        assert!(Status::ConfigurationError.stops_task() && !Status::ScheduledStop.stops_task());
    }
}
