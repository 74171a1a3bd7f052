//! What one sign (a line of a log, an Xid, an exit) means, taken by itself.

use super::{Role, Severity, Status};
use serde::{Deserialize, Serialize};

/// The meaning of one sign. Several make an incident: see [`super::root_cause`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub status: Status,
    /// Whether it may be the cause.
    pub role: Role,
    /// What is tried first: the status's severity, where the sign itself doesn't say better. `None`
    /// where there is nothing to recover.
    pub severity: Option<Severity>,
    /// What else there is to do.
    pub follow_up: FollowUp,
}

/// What is to be done beside the first attempt to recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FollowUp {
    /// Nothing.
    Nothing,
    /// Isolate the node if the same comes again on it (see [`Finding::repeated`]).
    EscalateIfRepeated,
    /// Reset the GPU when its process is restarted for another reason: running work isn't harmed.
    ResetAtNextRestart,
    /// Restart, and reset the GPU as soon as no task needs it.
    ResetWhenIdle,
    /// Nothing now, but the device is worth an eye.
    Watch,
}

impl Finding {
    /// A finding of the status's own severity.
    #[must_use]
    pub const fn new(status: Status, role: Role) -> Self {
        Self { status, role, severity: status.severity(), follow_up: FollowUp::Nothing }
    }

    /// A sign that may be the cause.
    #[must_use]
    pub const fn root(status: Status) -> Self {
        Self::new(status, Role::Root)
    }

    /// A sign that follows from a failure.
    #[must_use]
    pub const fn cascade(status: Status) -> Self {
        Self::new(status, Role::Cascade)
    }

    /// A sign that supports another.
    #[must_use]
    pub const fn confirmation(status: Status) -> Self {
        Self::new(status, Role::Confirmation)
    }

    /// The same with a severity that the sign itself gives.
    #[must_use]
    pub const fn graded(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }

    /// The same with something more to do.
    #[must_use]
    pub const fn then(self, follow_up: FollowUp) -> Self {
        Self { follow_up, ..self }
    }

    /// The same after `n_earlier` incidents of the kind on that device or node: what a restart should
    /// have cured and didn't is the node's.
    #[must_use]
    pub const fn repeated(self, n_earlier: usize) -> Self {
        match self.follow_up {
            FollowUp::EscalateIfRepeated if n_earlier > 0 => self.graded(Severity::Sev1),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_so_escalates_when_it_repeats() {
        let fault = Finding::root(Status::CudaError);
        assert_eq!(fault.repeated(3), fault);
        let escalating = fault.then(FollowUp::EscalateIfRepeated);
        assert_eq!(escalating.repeated(0).severity, Some(Severity::Sev2));
        assert_eq!(escalating.repeated(1).severity, Some(Severity::Sev1));
    }
}
