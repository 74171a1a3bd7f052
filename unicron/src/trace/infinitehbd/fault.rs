//! A recorded fault, and what it is to us.

use crate::detect::{Severity, Status};
use crate::trace::{DAY_S, Extent, Failure, MAX_DURATION_S, to_millisecond};
use serde::Deserialize;

/// What is said of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FaultType {
    pub(super) level: String,
    pub(super) class: String,
    pub(super) desc: String,
}

/// A fault from its start to its end, in days.
#[derive(Debug)]
pub(super) struct Interval {
    pub(super) node: usize,
    pub(super) start_day: f64,
    /// `None` where the trace ends before the fault does.
    pub(super) end_day: Option<f64>,
    pub(super) fault: FaultType,
}

impl Interval {
    /// Every fault takes its server away, so every one is SEV1, whatever it is.
    pub(super) fn failure(self, extent: &Extent) -> Failure {
        let Self { node, start_day, end_day, fault } = self;
        let at_s = to_millisecond(start_day * DAY_S);
        let end_s = end_day.map_or(extent.duration_s, |day| to_millisecond(day * DAY_S));
        Failure {
            repair_s: Some(to_millisecond(end_s - at_s)),
            note: format!("{} / {} / {}", fault.level, fault.class, fault.desc),
            ..Failure::new(at_s, node, fault.status(), Severity::Sev1)
        }
    }
}

impl FaultType {
    /// What it is to us. A description that isn't known goes by its class, that by its level.
    fn status(&self) -> Status {
        let says = |words: &[&str]| words.iter().any(|word| self.desc.contains(word));
        match (self.level.as_str(), self.class.as_str()) {
            (_, "GPU") if says(&["ECC"]) => Status::EccError,
            (_, "GPU") if says(&["P2P"]) => Status::NvlinkError,
            (_, "GPU") if says(&["Silent Data Corruption"]) => Status::SilentCorruption,
            // A device that answers wrongly or late, where nothing says that it is broken.
            (_, "GPU") if says(&["xid", "unknow", "nvidia-smi"]) => Status::GpuDriverError,
            (_, "GPU") => Status::GpuHardwareError,
            (_, "Parameter Plane Cable") => Status::LinkFlapping,
            (_, "NIC") => Status::OtherNetworkError,
            (_, "File System") => Status::StorageError,
            (_, "Operating System" | "System Crash") => Status::LostConnection,
            (_, "Change") if says(&["Optical Module"]) => Status::LinkFlapping,
            // Somebody took the server away: no failure, but the server is gone.
            (_, "Change" | "Test") => Status::ScheduledStop,
            ("Hardware Failure", _) => Status::HostHardwareError,
            ("Software Failure", _) => Status::OtherSoftwareError,
            _ => Status::Other,
        }
    }
}

/// A day within a trace that we take.
pub(super) fn check_day(day: f64) -> Result<(), String> {
    let most = MAX_DURATION_S / DAY_S;
    // NaN is in no range and is refused, too.
    (0.0..=most)
        .contains(&day)
        .then_some(())
        .ok_or_else(|| format!("day {day} isn't from 0 to {most}"))
}
