//! What a worker's exceptions and output mean, and the kernel's log.
//!
//! An exception that a worker reports is acted on at once. A line of its output may tell of something that
//! the program has caught and survived: unless it speaks of hardware, or of a GPU in a state that no program
//! survives, it is kept as evidence until the process ends.

use crate::detect::{Finding, Role, Severity, Status, classify};

/// What an exception means that a worker reports.
#[must_use]
pub fn exception(status: Option<Status>, message: &str, traceback: &str) -> Finding {
    if let Some(status) = status {
        return Finding::root(status);
    }
    let lines = std::iter::once(message).chain(traceback.lines().rev());
    lines.filter_map(classify).next().unwrap_or(Finding::root(Status::OtherSoftwareError))
}

/// What a line of output means; `None` of most.
#[must_use]
pub fn line(finding: Finding) -> Finding {
    let is_fatal = finding.severity == Some(Severity::Sev1)
        || matches!(finding.status, Status::CudaError | Status::IllegalMemoryAccess);
    match finding.role {
        Role::Root if !is_fatal => Finding { role: Role::Confirmation, ..finding },
        _ => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_what_its_text_says() {
        let of = |message: &str| exception(None, message, "").status;
        assert_eq!(
            of("RuntimeError: CUDA error: uncorrectable ECC error encountered"),
            Status::EccError
        );
        assert_eq!(of("something odd"), Status::OtherSoftwareError);
        assert_eq!(exception(Some(Status::NvlinkError), "x", "").status, Status::NvlinkError);
    }

    #[test]
    fn a_caught_exception_in_the_output_ends_nobody() {
        let role = |text: &str| classify(text).map(|finding| line(finding).role);
        assert_eq!(role("ValueError: invalid literal for int()"), Some(Role::Confirmation));
        let xid = "NVRM: Xid (PCI:0000:05:00): 79, pid=1, GPU has fallen off the bus.";
        assert_eq!(role(xid), Some(Role::Root));
    }
}
