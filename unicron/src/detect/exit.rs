//! What the end of a training process says (notes on the field, 3.2 and 4.6).
//!
//! Mostly little: code 1 follows an exception that the log names, an abort follows whatever the
//! watchdog saw, and a kill may be the kernel's, the scheduler's or our own. So an exit is a root only
//! where the process itself is all that there is to blame.

use super::{Finding, FollowUp, Severity, Status};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// Whose codes a process uses beside the shell's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    /// Nobody's: a script's own codes mean nothing in general.
    #[default]
    Plain,
    /// DLRover's: its node check and its agents use 14, 128, 201, 202 and 247.
    Dlrover,
    /// NVRx's: 93 asks not to be started again.
    Nvrx,
}

/// The meaning of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitMeaning {
    /// What it means by itself.
    pub finding: Finding,
    /// Statuses that explain it where something else shows them on the same node.
    pub look_for: &'static [Status],
    /// Where a person looks, or why it isn't a cause.
    pub hint: &'static str,
}

/// What the kernel's log or a container's counter shows of a kill for memory.
const OUT_OF_MEMORY: &[Status] = &[Status::OutOfHostMemory];

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGILL: i32 = 4;
const SIGABRT: i32 = 6;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGTERM: i32 = 15;

impl Exit {
    /// From a shell's code, where 128 + n is signal n (137 for SIGKILL). Signals end at 64, so 201 or
    /// 247 are codes.
    #[must_use]
    pub fn from_shell(code: i32) -> Self {
        if (129..=192).contains(&code) { Self::Signal(code - 128) } else { Self::Code(code) }
    }

    /// As a shell reports it.
    #[must_use]
    pub fn to_shell(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// From torchelastic's or Python's code, where -n is signal n. The shell's form is understood
    /// too, for a script that ran the trainer.
    #[must_use]
    pub fn from_elastic(code: i32) -> Self {
        if (-64..0).contains(&code) { Self::Signal(-code) } else { Self::from_shell(code) }
    }

    /// Whether it ended as it should.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// What it means. `sent_by_us` says that our own agent sent the signal, to stop or restart the
    /// process. `None` for success.
    #[must_use]
    pub fn meaning(self, convention: Convention, sent_by_us: bool) -> Option<ExitMeaning> {
        if self.is_success() {
            return None;
        }
        if sent_by_us {
            let finding = Finding::cascade(Status::ScheduledStop);
            return Some(meaning(finding, &[], "our own agent ended it"));
        }
        Some(match self {
            Self::Code(code) => by_convention(code, convention).unwrap_or(AFTER_AN_EXCEPTION),
            Self::Signal(signal) => by_signal(signal),
        })
    }
}

/// Every other code: an exception's 1, and what scripts make up.
const AFTER_AN_EXCEPTION: ExitMeaning = meaning(
    Finding::cascade(Status::ExitedAbnormally),
    &[],
    "the log of the process names the exception that ended it",
);

const fn meaning(finding: Finding, look_for: &'static [Status], hint: &'static str) -> ExitMeaning {
    ExitMeaning { finding, look_for, hint }
}

fn by_convention(code: i32, convention: Convention) -> Option<ExitMeaning> {
    let (finding, hint) = match (convention, code) {
        (Convention::Dlrover, 14) => {
            (Finding::root(Status::GpuHardwareError), "the GPU's InfoROM is corrupt")
        }
        (Convention::Dlrover, 128) => {
            (Finding::root(Status::GpuDriverError), "a device is unknown to the driver")
        }
        (Convention::Dlrover, 201) => {
            (Finding::root(Status::GpuDriverError), "the node check found the driver at fault")
        }
        (Convention::Dlrover, 202) => {
            (Finding::root(Status::GpuDriverError), "a GPU's memory isn't free though nothing runs")
        }
        (Convention::Dlrover, 247) => {
            (Finding::root(Status::OutOfHostMemory), "the pod has reached its memory limit")
        }
        (Convention::Nvrx, 93) => {
            (Finding::root(Status::ConfigurationError), "the task asks not to be started again")
        }
        _ => return None,
    };
    Some(meaning(finding, &[], hint))
}

fn by_signal(signal: i32) -> ExitMeaning {
    let own_fault = Finding::root(Status::ExitedAbnormally).then(FollowUp::EscalateIfRepeated);
    match signal {
        // The watchdog aborts ranks that only waited; a failed assertion prints itself.
        SIGABRT => meaning(
            Finding::cascade(Status::ExitedAbnormally),
            &[],
            "aborted: an earlier line of its log says why (collective time-out, assertion)",
        ),
        SIGBUS => meaning(
            own_fault,
            &[Status::OutOfHostMemory, Status::HostHardwareError],
            "is /dev/shm full, or is memory bad?",
        ),
        SIGKILL => meaning(
            Finding::root(Status::ExitedAbnormally),
            OUT_OF_MEMORY,
            "killed: by the kernel or the container for memory, if their log or the counter \
             oom_kill says so",
        ),
        SIGSEGV | SIGILL | SIGFPE => meaning(
            own_fault,
            &[Status::HostHardwareError],
            "crashed: the second time on the same node it is the node's",
        ),
        SIGTERM | SIGINT | SIGHUP => meaning(
            Finding::cascade(Status::ScheduledStop),
            &[],
            "asked to end: preempted, or because another process failed",
        ),
        _ => meaning(Finding::root(Status::ExitedAbnormally), &[], "ended by an unusual signal"),
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = match self {
            Self::Code(code) => return write!(f, "exit code {code}"),
            Self::Signal(signal) => *signal,
        };
        let name = match signal {
            SIGHUP => " (SIGHUP)",
            SIGINT => " (SIGINT)",
            SIGILL => " (SIGILL)",
            SIGABRT => " (SIGABRT)",
            SIGBUS => " (SIGBUS)",
            SIGFPE => " (SIGFPE)",
            SIGKILL => " (SIGKILL)",
            SIGSEGV => " (SIGSEGV)",
            SIGTERM => " (SIGTERM)",
            _ => "",
        };
        write!(f, "signal {signal}{name}")
    }
}

/// The severity below which a process that has ended can't be helped: there is nobody to retry.
pub(super) const AFTER_AN_EXIT: Severity = Severity::Sev2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Role;

    #[test]
    fn shell_and_elastic_name_the_same_signals() {
        for (shell, elastic) in [(134, -6), (135, -7), (137, -9), (139, -11), (143, -15)] {
            assert_eq!(Exit::from_shell(shell), Exit::from_elastic(elastic), "{shell}");
            assert_eq!(Exit::from_elastic(shell), Exit::from_elastic(elastic), "{shell}");
        }
        assert_eq!(Exit::from_shell(247), Exit::Code(247));
        assert_eq!(Exit::from_shell(137).to_string(), "signal 9 (SIGKILL)");
    }

    /// The table of the notes on the field, 4.6.
    #[test]
    fn the_table_of_exits() {
        let check = |code: i32, status: Status, role: Role| {
            let found = Exit::from_shell(code).meaning(Convention::Plain, false).unwrap().finding;
            assert_eq!((found.status, found.role), (status, role), "{code}");
        };
        check(1, Status::ExitedAbnormally, Role::Cascade);
        check(134, Status::ExitedAbnormally, Role::Cascade);
        check(135, Status::ExitedAbnormally, Role::Root);
        check(137, Status::ExitedAbnormally, Role::Root);
        check(139, Status::ExitedAbnormally, Role::Root);
        check(143, Status::ScheduledStop, Role::Cascade);
        check(201, Status::ExitedAbnormally, Role::Cascade);
        assert_eq!(Exit::Code(0).meaning(Convention::Plain, false), None);
    }

    #[test]
    fn a_second_crash_on_a_node_is_the_nodes() {
        let crash = Exit::from_elastic(-11).meaning(Convention::Plain, false).unwrap().finding;
        assert_eq!(crash.repeated(0).severity, Some(Severity::Sev2));
        assert_eq!(crash.repeated(1).severity, Some(Severity::Sev1));
    }

    #[test]
    fn our_own_kill_is_no_failure() {
        let found = Exit::from_elastic(-9).meaning(Convention::Plain, true).unwrap().finding;
        assert_eq!((found.status, found.severity), (Status::ScheduledStop, None));
    }

    #[test]
    fn codes_have_a_meaning_only_by_convention() {
        let status = |code, convention| {
            Exit::from_shell(code).meaning(convention, false).unwrap().finding.status
        };
        assert_eq!(status(201, Convention::Dlrover), Status::GpuDriverError);
        assert_eq!(status(247, Convention::Dlrover), Status::OutOfHostMemory);
        assert_eq!(status(93, Convention::Nvrx), Status::ConfigurationError);
        assert_eq!(status(93, Convention::Plain), Status::ExitedAbnormally);
    }
}
