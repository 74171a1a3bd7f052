//! The cause of an incident, out of everything that all ranks and nodes have said.
//!
//! Roots come before cascades and cascades before confirmations; among equals the earliest counts
//! (torchelastic's "first observed failure", without taking a cascade for it). The verdict doesn't
//! depend on the order in which observations arrive, and keeps them as its evidence.

use super::evidence::Observation;
use super::exit::AFTER_AN_EXIT;
use super::{Convention, FollowUp, Role, Severity, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The verdict over an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// What is wrong.
    pub status: Status,
    /// The role of the observation that decided: short of a root, the true cause wasn't seen.
    pub role: Role,
    /// What is tried first; `None` where there is nothing to recover. The worst of all roots, and at
    /// least a restart where a process has ended.
    pub severity: Option<Severity>,
    /// What else there is to do.
    pub follow_up: FollowUp,
    /// Where it was observed. A complaint about a peer is observed where the peer is not.
    pub node: String,
    /// The rank, where it concerns one.
    pub rank: Option<u32>,
    /// Nodes that have a root of their own, each with its worst severity. Every one at
    /// [`Severity::Sev1`] is to be isolated, also if the cause lies elsewhere.
    pub nodes: BTreeMap<String, Severity>,
    /// All observations, by time.
    pub evidence: Vec<Observation>,
}

/// The cause that the observations of one incident show; `None` of no observations.
///
/// Findings that repeat on a device or node are escalated before (see
/// [`super::Finding::repeated`]), and a lost connection is judged with both of its ends (see
/// [`super::judge_connection`]): here, it is a cascade.
#[must_use]
pub fn root_cause(observations: &[Observation]) -> Option<Cause> {
    let mut evidence = observations.to_vec();
    evidence.sort_by(Observation::compare);
    // The first of equals: they are in the order of time.
    let decisive = evidence.iter().min_by_key(|observation| observation.rank_of_explanation())?;
    let status = explained_status(decisive, &evidence);
    let nodes = worst_roots(&evidence);
    Some(Cause {
        status,
        role: decisive.finding.role,
        severity: severity(decisive, status, &nodes, &evidence),
        follow_up: decisive.finding.follow_up,
        node: decisive.node.clone(),
        rank: decisive.rank,
        nodes,
        evidence,
    })
}

/// An exit's own status, or the better one that something on the same node confirms: a kill beside the
/// kernel's line about memory was for memory.
fn explained_status(decisive: &Observation, evidence: &[Observation]) -> Status {
    let meaning = decisive.exit.and_then(|exit| exit.meaning(Convention::Plain, false));
    let look_for = meaning.map_or(&[][..], |meaning| meaning.look_for);
    let explains = |other: &&Observation| {
        let is_there = other.node == decisive.node
            && (other.rank.is_none() || decisive.rank.is_none() || other.rank == decisive.rank);
        is_there && look_for.contains(&other.finding.status)
    };
    let better = evidence.iter().find(explains).map(|other| other.finding.status);
    better
        .filter(|_| decisive.finding.status == Status::ExitedAbnormally)
        .unwrap_or(decisive.finding.status)
}

fn worst_roots(evidence: &[Observation]) -> BTreeMap<String, Severity> {
    let mut nodes = BTreeMap::new();
    for observation in evidence.iter().filter(|o| o.finding.role == Role::Root) {
        if let Some(severity) = observation.finding.severity {
            let worst = nodes.entry(observation.node.clone()).or_insert(severity);
            *worst = severity.max(*worst);
        }
    }
    nodes
}

fn severity(
    decisive: &Observation,
    status: Status,
    nodes: &BTreeMap<String, Severity>,
    evidence: &[Observation],
) -> Option<Severity> {
    let is_its_own = status == decisive.finding.status;
    // A task that must not be started again isn't, whatever else has failed with it.
    let own = if is_its_own { decisive.finding.severity } else { status.severity() }?;
    let worst = nodes.values().copied().fold(own, Severity::max);
    let has_exit = evidence.iter().any(Observation::is_failed_exit);
    Some(if has_exit { worst.max(AFTER_AN_EXIT) } else { worst })
}

/// For a person: the verdict on the first line, then the evidence by time.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.status, self.node)?;
        if let Some(rank) = self.rank {
            write!(f, " rank {rank}")?;
        }
        match self.severity {
            Some(severity) => write!(f, " ({severity})")?,
            None => write!(f, " (nothing to recover)")?,
        }
        if self.role != Role::Root {
            write!(f, ", a {}: what caused it was not observed", self.role)?;
        }
        self.evidence.iter().try_for_each(|observation| write!(f, "\n  {observation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Exit, Finding, classify};
    use proptest::prelude::*;

    /// A line of the log of `rank` on the node of its name.
    fn said(time_s: f64, rank: u32, line: &str) -> Observation {
        let finding = classify(line).unwrap_or_else(|| panic!("{line:?} means nothing"));
        Observation::new(time_s, &format!("node-{}", rank / 8), Some(rank), finding, line)
    }

    fn ended(time_s: f64, rank: u32, code: i32) -> Observation {
        let (node, exit) = (format!("node-{}", rank / 8), Exit::from_elastic(code));
        Observation::of_exit(time_s, &node, rank, exit, Convention::Plain, false).unwrap()
    }

    const TIMED_OUT: &str =
        "[rank0]: [Rank 0] Watchdog caught collective operation timeout: WorkNCCL";
    const CLOSED: &str =
        "n:1:2 [0] NCCL WARN socketProgress: Connection closed by remote peer n<1>";

    /// Rank 3's GPU has an error; rank 0 complains first, since rank 3 flushes its log late.
    #[test]
    fn a_root_comes_before_earlier_cascades() {
        let cause = root_cause(&[
            said(1.0, 0, CLOSED),
            ended(1.5, 0, -6),
            said(2.0, 3, "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
            said(600.0, 9, TIMED_OUT),
        ])
        .unwrap();
        assert_eq!((cause.status, cause.rank, cause.role), (Status::EccError, Some(3), Role::Root));
        assert_eq!(cause.severity, Some(Severity::Sev1));
        assert_eq!(cause.nodes, BTreeMap::from([("node-0".to_owned(), Severity::Sev1)]));
        assert_eq!(cause.evidence.len(), 4);
    }

    #[test]
    fn of_ends_the_first_counts_and_complaints_come_after() {
        let cause =
            root_cause(&[said(0.9, 0, CLOSED), ended(1.2, 0, 1), ended(1.0, 3, 1)]).unwrap();
        assert_eq!((cause.status, cause.rank), (Status::ExitedAbnormally, Some(3)));
        assert_eq!((cause.role, cause.severity), (Role::Cascade, Some(Severity::Sev2)));
    }

    #[test]
    fn a_kill_is_for_memory_if_the_kernel_says_so() {
        let kernel = "Memory cgroup out of memory: Killed process 4711 (python)";
        let of_node =
            |node: &str| Observation::new(3.0, node, None, classify(kernel).unwrap(), kernel);
        let killed = ended(2.0, 3, -9);
        let alone = root_cause(std::slice::from_ref(&killed)).unwrap();
        assert_eq!(alone.status, Status::ExitedAbnormally);
        let confirmed = root_cause(&[killed.clone(), of_node("node-0")]).unwrap();
        assert_eq!((confirmed.status, confirmed.role), (Status::OutOfHostMemory, Role::Root));
        let elsewhere = root_cause(&[killed, of_node("node-1")]).unwrap();
        assert_eq!(elsewhere.status, Status::ExitedAbnormally);
    }

    #[test]
    fn nothing_is_retried_in_a_process_that_has_ended() {
        let lost_port = "NCCL WARN NET/IB : mlx5_3:1 Got non-fatal async event: port error(10)";
        let alive = root_cause(&[said(1.0, 0, lost_port)]).unwrap();
        assert_eq!(alive.severity, Some(Severity::Sev3));
        let dead = root_cause(&[said(1.0, 0, lost_port), ended(9.0, 0, -6)]).unwrap();
        assert_eq!((dead.status, dead.severity), (Status::LinkFlapping, Some(Severity::Sev2)));
    }

    #[test]
    fn a_user_error_stops_though_others_are_killed() {
        let cause = root_cause(&[
            said(1.0, 3, "train.py: error: unrecognized arguments: --tp 3"),
            ended(1.1, 3, 2),
            ended(2.0, 0, -15),
        ])
        .unwrap();
        assert_eq!((cause.status, cause.severity), (Status::ConfigurationError, None));
        assert!(cause.status.stops_task());
    }

    #[test]
    fn an_asked_for_stop_is_no_failure() {
        let cause = root_cause(&[ended(1.0, 0, -15), ended(1.0, 1, -15)]).unwrap();
        assert_eq!((cause.status, cause.severity), (Status::ScheduledStop, None));
        let with_complaint = root_cause(&[ended(1.0, 0, -15), said(2.0, 8, CLOSED)]).unwrap();
        assert_eq!(with_complaint.status, Status::ConnectionReset);
    }

    #[test]
    fn a_laggard_is_the_cause_of_time_outs() {
        let laggard = Observation::of_laggard(10.0, "node-1", 9, "ALLREDUCE 167");
        let cause = root_cause(&[said(610.0, 0, TIMED_OUT), said(610.0, 1, TIMED_OUT), laggard]);
        let cause = cause.unwrap();
        assert_eq!((cause.status, cause.rank), (Status::TaskHang, Some(9)));
        assert_eq!(cause.severity, Some(Severity::Sev2));
    }

    #[test]
    fn every_node_with_a_fault_of_its_own_is_named() {
        let cause = root_cause(&[
            said(1.0, 0, "NCCL WARN NET/IB : mlx5_3:1 Got non-fatal async event: port error(10)"),
            said(2.0, 8, "NVRM: Xid (PCI:0000:05:00): 79, GPU has fallen off the bus."),
        ])
        .unwrap();
        assert_eq!((cause.status, cause.node.as_str()), (Status::LinkFlapping, "node-0"));
        assert_eq!(cause.severity, Some(Severity::Sev1));
        assert_eq!(cause.nodes["node-1"], Severity::Sev1);
    }

    #[test]
    fn a_person_can_read_it() {
        let cause = root_cause(&[ended(2.0, 3, -11), said(1.0, 0, CLOSED)]).unwrap();
        let expected = "exited-abnormally on node-0 rank 3 (SEV2)\n  1.000 s node-0 rank 0 [cascade \
                        connection-reset] n:1:2 [0] NCCL WARN socketProgress: Connection closed by \
                        remote peer n<1>\n  2.000 s node-0 rank 3 [root exited-abnormally] signal 11 \
                        (SIGSEGV): crashed: the second time on the same node it is the node's";
        assert_eq!(cause.to_string(), expected);
        assert_eq!(root_cause(&[]), None);
    }

    fn observations() -> impl Strategy<Value = Vec<Observation>> {
        let one = (any::<f64>(), 0..3u32, 0..Status::ALL.len(), 0..3usize, -20..3i32);
        let observation = |(time_s, rank, status, role, code): (f64, u32, usize, usize, i32)| {
            let role = [Role::Root, Role::Cascade, Role::Confirmation][role];
            let finding = Finding::new(Status::ALL[status], role);
            let exit = Exit::from_elastic(code);
            let ended = Observation::of_exit(time_s, "n", rank, exit, Convention::Plain, false);
            let said = Observation::new(time_s, "n", Some(rank), finding, "line");
            ended.filter(|_| code % 2 == 0).unwrap_or(said)
        };
        proptest::collection::vec(one.prop_map(observation), 0..12)
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            (given, shuffled) in observations().prop_flat_map(|given| {
                (Just(given.clone()), Just(given).prop_shuffle())
            })
        ) {
            let (a, b) = (root_cause(&given), root_cause(&shuffled));
            // Times may be NaN, which isn't equal to itself: compared as they are printed.
            prop_assert_eq!(format!("{a:?}"), format!("{b:?}"));
            prop_assert_eq!(a.is_none(), given.is_empty());
            if let Some(cause) = a {
                let has_root = given.iter().any(|o| o.finding.role == Role::Root);
                prop_assert_eq!(cause.role == Role::Root, has_root);
            }
        }
    }
}
