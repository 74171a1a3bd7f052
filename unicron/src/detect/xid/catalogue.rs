//! The codes that matter to training, as a table.
//!
//! Meanings are those of NVIDIA's catalogue as gpud mirrors it; the grades are ours (notes on the
//! field, 4.4). The catalogue, gpud and the device plugin disagree on 63, 69, 94 and 121. Two rules
//! decide here: what only asks for a reset some day doesn't disturb running work, and what a restart
//! of the process cures isn't the node's until it comes back.

use crate::detect::{Finding, FollowUp, Severity, Status};

/// What the table says of one code.
pub(super) struct Entry {
    code: u16,
    /// NVIDIA's words, shortened.
    pub meaning: &'static str,
    /// What it means alone and for the first time.
    pub finding: Finding,
}

/// The entry of a code, if training has to do with it.
pub(super) fn entry(code: u16) -> Option<&'static Entry> {
    let position = CATALOGUE.binary_search_by_key(&code, |entry| entry.code).ok()?;
    Some(&CATALOGUE[position])
}

const fn entry_of(code: u16, meaning: &'static str, finding: Finding) -> Entry {
    Entry { code, meaning, finding }
}

/// Codes without an entry are kept as evidence, and prove nothing by themselves.
pub(super) const UNKNOWN: Finding =
    Finding { severity: None, ..Finding::confirmation(Status::GpuDriverError) };

/// The units of NVLink 5: their lines say whether they are fatal. One that isn't is retried by NCCL.
const NVLINK5: Finding =
    Finding::root(Status::NvlinkError).graded(Severity::Sev3).then(FollowUp::EscalateIfRepeated);

/// Ascending by code, for the binary search.
static CATALOGUE: [Entry; 42] = {
    use FollowUp::{EscalateIfRepeated, ResetAtNextRestart, ResetWhenIdle, Watch};
    use Severity::{Sev2, Sev3};
    use Status as S;
    [
        entry_of(
            13,
            "exception of a compute engine",
            Finding::root(S::CudaError).then(EscalateIfRepeated),
        ),
        entry_of(31, "page fault of the MMU", Finding::root(S::IllegalMemoryAccess)),
        entry_of(
            32,
            "corrupt push buffer",
            Finding::root(S::GpuDriverError).graded(Sev2).then(EscalateIfRepeated),
        ),
        entry_of(43, "GPU stopped processing: its channel was reset", Finding::root(S::CudaError)),
        entry_of(44, "fault in a context switch", Finding::root(S::GpuDriverError)),
        // What is left of a process that was killed. The catalogue would restart the fabric manager
        // where it comes alone; it does whenever a task is stopped.
        entry_of(45, "pre-emptive cleanup", Finding::cascade(S::ScheduledStop)),
        entry_of(46, "GPU timeout", Finding::root(S::GpuHardwareError)),
        entry_of(48, "double-bit memory error", Finding::root(S::EccError)),
        entry_of(61, "breakpoint of the micro-controller", Finding::root(S::GpuHardwareError)),
        entry_of(62, "micro-controller halt", Finding::root(S::GpuHardwareError)),
        // A row that waits to be remapped does no harm to running work.
        entry_of(
            63,
            "row remapping recorded",
            Finding::confirmation(S::EccError).graded(Sev3).then(ResetAtNextRestart),
        ),
        entry_of(64, "row remapping failed", Finding::root(S::EccError)),
        entry_of(69, "error of an engine class", Finding::root(S::CudaError)),
        entry_of(
            74,
            "NVLink error",
            Finding::root(S::NvlinkError).graded(Sev2).then(EscalateIfRepeated),
        ),
        entry_of(79, "GPU has fallen off the bus", Finding::root(S::GpuHardwareError)),
        entry_of(
            92,
            "high rate of single-bit memory errors",
            Finding::confirmation(S::EccError).graded(Sev3).then(Watch),
        ),
        entry_of(
            93,
            "wear of the InfoROM",
            Finding { severity: None, ..Finding::confirmation(S::GpuHardwareError) },
        ),
        entry_of(
            94,
            "contained memory error",
            Finding::root(S::EccError).graded(Sev2).then(ResetWhenIdle),
        ),
        entry_of(95, "uncontained memory error", Finding::root(S::EccError)),
        entry_of(109, "timeout of a context switch", Finding::root(S::GpuDriverError)),
        entry_of(119, "timeout of the GPU's system processor", Finding::root(S::GpuDriverError)),
        entry_of(120, "error of the GPU's system processor", Finding::root(S::GpuDriverError)),
        entry_of(
            121,
            "corrected error of the link to the processor",
            Finding::confirmation(S::NvlinkError).graded(Sev3),
        ),
        entry_of(136, "training of a link failed", Finding::root(S::NvlinkError)),
        entry_of(
            137,
            "NVLink access without privilege: the application's",
            Finding::root(S::IllegalMemoryAccess),
        ),
        entry_of(140, "unrecovered memory error", Finding::root(S::EccError)),
        entry_of(143, "GPU did not initialize", Finding::root(S::GpuHardwareError)),
        entry_of(144, "NVLink 5: SAW", NVLINK5),
        entry_of(145, "NVLink 5: RLW", NVLINK5),
        entry_of(146, "NVLink 5: TLW", NVLINK5),
        entry_of(147, "NVLink 5: TREX", NVLINK5),
        entry_of(148, "NVLink 5: NVLPW", NVLINK5),
        entry_of(149, "NVLink 5: NETIR", NVLINK5),
        entry_of(150, "NVLink 5: MSE", NVLINK5),
        entry_of(151, "key rotation", Finding::root(S::GpuDriverError)),
        // What it asks for is in its text.
        entry_of(
            154,
            "recovery action changed",
            Finding { severity: None, ..Finding::confirmation(S::GpuHardwareError) },
        ),
        entry_of(155, "error of NVLink's software", Finding::root(S::NvlinkError)),
        entry_of(156, "retirement of a resource", Finding::root(S::GpuHardwareError)),
        entry_of(
            157,
            "retirement of a resource failed",
            Finding::confirmation(S::GpuHardwareError).graded(Sev3),
        ),
        entry_of(158, "fatal timeout of the GPU", Finding::root(S::GpuHardwareError)),
        entry_of(171, "detail of 48: DRAM", Finding::confirmation(S::EccError)),
        entry_of(172, "detail of 48: SRAM", Finding::confirmation(S::EccError)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Role;

    #[test]
    fn codes_ascend() {
        assert!(CATALOGUE.is_sorted_by(|a, b| a.code < b.code));
    }

    /// Codes by which the notes isolate a node at once.
    #[test]
    fn what_the_notes_isolate_is_isolated() {
        for code in
            [44, 46, 48, 61, 62, 64, 79, 95, 109, 119, 120, 136, 140, 143, 151, 155, 156, 158]
        {
            let finding = entry(code).unwrap().finding;
            assert_eq!(
                (finding.severity, finding.role),
                (Some(Severity::Sev1), Role::Root),
                "{code}"
            );
        }
    }

    /// The device plugin takes these for errors of the application (notes on the field, 4.2), except
    /// 68, which concerns video.
    #[test]
    fn what_is_the_applications_leaves_the_node_in_place() {
        for code in [13, 31, 43, 45] {
            assert_ne!(entry(code).unwrap().finding.severity, Some(Severity::Sev1), "{code}");
        }
    }
}
