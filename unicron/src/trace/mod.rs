//! Failures over time, recorded or made up: what a simulator replays and what plans are judged by.
//!
//! A [`Trace`] is a list of [`Failure`]s of a cluster, sorted by time. What it means to whoever
//! replays it:
//!
//! - A failure happens at `at_s` on its node, whatever the system does. When it is noticed and what
//!   is done about it is the system's part; no trace holds detection times.
//! - `repair_s: Some(r)`: the node is away from `at_s` to `at_s + r`, both ends included, whatever
//!   the system does. `None`: the node needs no repair and may be used at once.
//! - A failure of a node that is away isn't felt: nothing runs there. Its repair counts all the same,
//!   and the node is back when the last of its repairs is over.
//! - At one instant failures come before returns, so a repair of no length is a failure followed by a
//!   return.
//! - Failures with the same `group` have one cause, such as the switch of a rack, and one repair.
//!
//! [`Trace::events`] and [`Trace::outages`] are these rules as code.
//!
//! | where failures come from | file |
//! |---|---|
//! | a file of our own format | `file` |
//! | the paper's two traces as remembered (counts and lengths) | `preset` |
//! | rates and repairs as published for real fleets | `synthetic` |
//! | the 419 interruptions of the Llama 3 405B run, at any scale | `llama3` |
//! | the InfiniteHBD trace: 584 faults of 400 servers | `infinitehbd` |
//! | the log of a live cluster | [`live`] |
//!
//! [`Source`] names them all: `a:seed=3`, `llama3:nodes=128,days=30`, `infinitehbd`, `my-trace.csv`.

mod arrivals;
mod csv;
mod describe;
mod failure;
mod file;
mod fleet;
mod infinitehbd;
pub mod live;
mod llama3;
mod mix;
mod preset;
mod recipe;
mod repairs;
mod replay;
mod source;
mod synthetic;

pub use describe::{Count, Day, Description, Gaps, Repairs, WorstNode};
pub use failure::Failure;
pub use file::read;
pub use infinitehbd::InfiniteHbd;
pub use llama3::Llama3;
pub use preset::{Preset, PresetKind};
pub use replay::{Event, Outage};
pub use source::Source;
pub use synthetic::Synthetic;

use crate::{Error, Result};
use failure::text_problem;

/// No cluster is larger; it bounds what a file can make us allocate.
pub const MAX_NODES: usize = 1_000_000;
/// No node has more GPUs.
pub const MAX_GPUS_PER_NODE: usize = 1024;
/// A hundred years: no trace and no repair is longer.
pub const MAX_DURATION_S: f64 = 100.0 * 365.25 * DAY_S;
/// More failures than these are no trace that anybody replays.
pub const MAX_FAILURES: usize = 5_000_000;

/// Seconds of an hour.
pub(crate) const HOUR_S: f64 = 3600.0;
/// Seconds of a day.
pub(crate) const DAY_S: f64 = 24.0 * HOUR_S;

/// The failures of a cluster over some time. Every failure is valid for the cluster, and they are
/// sorted by time, then by node.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    name: String,
    extent: Extent,
    failures: Vec<Failure>,
}

/// What a trace covers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Nodes; failures name them from 0.
    pub nodes: usize,
    /// GPUs of each node.
    pub gpus_per_node: usize,
    /// Seconds from the first instant to the last.
    pub duration_s: f64,
}

impl Trace {
    /// A trace of these failures, in whatever order.
    ///
    /// # Errors
    /// If the name isn't one line of text, the extent is empty or absurd, or a failure is outside it.
    pub fn new(
        name: impl Into<String>,
        extent: Extent,
        mut failures: Vec<Failure>,
    ) -> Result<Self> {
        let name = name.into();
        let wrong = |part: &str, problem| Error::Setting {
            setting: format!("trace {name:?}{part}"),
            problem,
        };
        check_name(&name).map_err(|problem| wrong("", problem))?;
        extent.check().map_err(|problem| wrong("", problem))?;
        if failures.len() > MAX_FAILURES {
            let problem = format!("{} failures; at most {MAX_FAILURES}", failures.len());
            return Err(wrong("", problem));
        }
        for (index, failure) in failures.iter().enumerate() {
            let part = format!(": failure {}", index + 1);
            failure.check(&extent).map_err(|problem| wrong(&part, problem))?;
        }
        failures.sort_by(|a, b| a.at_s.total_cmp(&b.at_s).then(a.node.cmp(&b.node)));
        Ok(Self { name, extent, failures })
    }

    /// What it is called: for a made up trace the recipe that makes it again.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Nodes, GPUs of a node, and duration.
    #[must_use]
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The failures by time, then by node.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }
}

impl Extent {
    /// What is wrong with it, and what would be right.
    fn check(&self) -> Result<(), String> {
        let Self { nodes, gpus_per_node, duration_s } = *self;
        if !(1..=MAX_NODES).contains(&nodes) {
            return Err(format!("nodes: {nodes} isn't from 1 to {MAX_NODES}"));
        }
        if !(1..=MAX_GPUS_PER_NODE).contains(&gpus_per_node) {
            return Err(format!(
                "gpus_per_node: {gpus_per_node} isn't from 1 to {MAX_GPUS_PER_NODE}"
            ));
        }
        // NaN compares false and is refused, too.
        if !(duration_s > 0.0 && duration_s <= MAX_DURATION_S) {
            return Err(format!(
                "duration_s: {duration_s} isn't above 0 and at most {MAX_DURATION_S} (100 years)"
            ));
        }
        Ok(())
    }

    /// Node-days: what failure rates are told by.
    #[must_use]
    pub fn node_days(&self) -> f64 {
        self.nodes as f64 * self.duration_s / DAY_S
    }
}

/// A name is a line of text without space around it: so it survives a file's header.
fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.trim() != name {
        return Err("the name is empty or has space around it".to_owned());
    }
    text_problem(name).map_or(Ok(()), |problem| Err(format!("the name {problem}")))
}

/// Seconds to the millisecond. Generators round so that files are short, and so that the same seed
/// gives the same bytes where another system's logarithm differs in its last bit.
fn to_millisecond(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::detect::{Severity, Status};

    /// A trace of four nodes and a thousand seconds: (time, node, repair).
    pub(crate) fn small(failures: &[(f64, usize, Option<f64>)]) -> Trace {
        let extent = Extent { nodes: 4, gpus_per_node: 8, duration_s: 1000.0 };
        let failure = |&(at_s, node, repair_s): &(f64, usize, Option<f64>)| Failure {
            repair_s,
            ..Failure::new(at_s, node, Status::EccError, Severity::Sev1)
        };
        Trace::new("small", extent, failures.iter().map(failure).collect()).unwrap()
    }

    #[test]
    fn failures_are_sorted_by_time_and_node() {
        let trace = small(&[(5.0, 1, None), (0.0, 3, None), (5.0, 0, None)]);
        let order: Vec<_> = trace.failures().iter().map(|f| (f.at_s, f.node)).collect();
        assert_eq!(order, [(0.0, 3), (5.0, 0), (5.0, 1)]);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let extent = Extent { nodes: 4, gpus_per_node: 8, duration_s: 1000.0 };
        let valid = Failure::new(1.0, 0, Status::EccError, Severity::Sev1);
        let refused = |name: &str, extent, failure: Failure| {
            Trace::new(name, extent, vec![valid.clone(), failure]).unwrap_err().to_string()
        };
        for (extent, expected) in [
            (Extent { nodes: 0, ..extent }, "nodes: 0 isn't from 1 to 1000000"),
            (Extent { gpus_per_node: 2000, ..extent }, "gpus_per_node: 2000 isn't from 1 to 1024"),
            (Extent { duration_s: f64::NAN, ..extent }, "duration_s: NaN isn't above 0"),
            (Extent { duration_s: 1e300, ..extent }, "(100 years)"),
        ] {
            let text = refused("t", extent, valid.clone());
            assert!(text.starts_with("trace \"t\": ") && text.contains(expected), "{text}");
        }
        for (failure, expected) in [
            (
                Failure { at_s: -1.0, ..valid.clone() },
                "at_s: -1 isn't from 0 to the duration, 1000",
            ),
            (Failure { at_s: 1000.5, ..valid.clone() }, "at_s: 1000.5 isn't from 0"),
            (Failure { at_s: f64::NAN, ..valid.clone() }, "at_s: NaN isn't"),
            (Failure { node: 4, ..valid.clone() }, "node: 4 isn't one of 0 to 3"),
            (Failure { gpu: Some(8), ..valid.clone() }, "gpu: 8 isn't one of 0 to 7"),
            (Failure { repair_s: Some(-0.5), ..valid.clone() }, "repair_s: -0.5 isn't from 0"),
            (Failure { repair_s: Some(f64::INFINITY), ..valid.clone() }, "repair_s: inf isn't"),
            (Failure { note: "a\nb".into(), ..valid.clone() }, "note: has a control character"),
            (Failure { note: "x".repeat(1001), ..valid.clone() }, "note: has more than 1000"),
        ] {
            let text = refused("t", extent, failure);
            let start = "trace \"t\": failure 2: ";
            assert!(text.starts_with(start) && text.contains(expected), "{text}");
        }
        for name in ["", " a", "a\nb"] {
            assert!(refused(name, extent, valid.clone()).contains("the name"), "{name:?}");
        }
    }
}
