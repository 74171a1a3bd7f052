//! What an error means: its class, its severity, whose it is (section 4 of the paper).
//!
//! Signs are read one by one ([`classify`], [`KernelLog`], [`Exit`], [`Monitor`], [`Stragglers`]),
//! each with a [`Finding`]; what an incident's signs mean together, [`root_cause`] says. Attempts,
//! budgets and escalation over time are not decided here.
//!
//! | claim | source | file |
//! |---|---|---|
//! | statuses, severities, methods, shares of failures | notes 2.1: the paper's table 1, figure 1 | `status.rs` |
//! | silent corruption, NaN loss, slow ranks have no class in the paper | notes 0.8 | `status.rs` |
//! | a match is not a verdict: root, cascade, confirmation | field 3.1, 4.7 | `role.rs`, `cause.rs` |
//! | what each Xid means; 48 beside 63 or 94; the driver's own advice in 154 | field 4.4 | `xid/` |
//! | messages of NCCL, PyTorch, gloo, CUDA, kernel and schedulers | field 4.5 to 4.7 | `message/` |
//! | a collective time-out is a symptom; who didn't arrive is the cause | notes 0.7, field 4.6 | `watchdog.rs` |
//! | what exit codes and signals prove | field 3.2, 4.6 | `exit.rs` |
//! | a lost connection is SEV3 only between living ends | notes 0.7, field 7.4 | `connection.rs` |
//! | 1.1 and 3 times the usual iteration; false alarms of the plain mean | notes 1.3, 0.6 | `monitor/` |
//! | scores of stragglers, 0.75 | field 3.1 | `straggler.rs` |
//!
//! "Notes" are a summary of the paper, "field" one of the practice around it.
//!
//! **Invariant:** no clock, no IO; any text and any time is borne, and the same input gives the same
//! answer.

mod cause;
mod connection;
mod evidence;
mod exit;
mod finding;
mod message;
mod method;
mod monitor;
#[cfg(test)]
mod properties;
mod role;
mod severity;
mod status;
mod straggler;
mod watchdog;
mod xid;

pub use cause::{Cause, root_cause};
pub use connection::{ConnectionVerdict, Peer, judge_connection};
pub use evidence::Observation;
pub use exit::{Convention, Exit, ExitMeaning};
pub use finding::{Finding, FollowUp};
pub use message::{LogReader, classify};
pub use method::Method;
pub use monitor::{FiniteMonitor, Judgement, Monitor, MonitorSettings, PaperRule, StepKind};
pub use role::Role;
pub use severity::Severity;
pub use status::Status;
pub use straggler::{Reference, Score, StragglerSettings, Stragglers};
pub use watchdog::{CollectiveReport, CollectiveReports, Laggard, parse_time_out};
pub use xid::{KernelLog, NvlinkFault, RecoveryAction, XidEvent, grade_xids, parse_xid};
