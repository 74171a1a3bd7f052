//! A lost connection between two processes: a failure of the network, or of one of them?
//!
//! The paper grades it SEV3, a retry in place. Both ends see the same words whether the link failed,
//! the peer died, its node did, or it simply finished (notes on the field, 7.4). A retry towards a
//! process that is gone only delays its restart, so the facts about both ends decide.

use super::{Exit, Finding, Severity, Status};
use serde::{Deserialize, Serialize};

/// What is known of one end, by its node's agent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// When the agent last reported that the process runs, in seconds.
    pub last_alive_s: f64,
    /// How the process has ended, if it has.
    pub exit: Option<Exit>,
    /// Whether its node's lease has run out.
    pub is_node_lost: bool,
}

/// What a lost connection means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionVerdict {
    /// Not known yet: ask again when more is reported of an end, at the earliest at this time.
    Wait {
        /// In seconds.
        until_s: f64,
    },
    /// Both ends live: the network's own failure, to be retried in place.
    Failure(Finding),
    /// An end is dead, and its death is the failure. This one is only put down to it: it is never
    /// escalated, nor counted.
    Cascade {
        /// What stays in the evidence.
        finding: Finding,
        /// Which of the two ends is dead: the first, the second, or both.
        dead: [bool; 2],
    },
    /// An end has finished as it should, and closed its connections.
    Finished,
}

/// Judges a connection between two processes that was lost at `lost_s`, as known at `now_s`. An end
/// counts as alive once it was reported so `grace_s` after the loss: a dead process is noticed in
/// less (1.8 s for a process, 5.6 s for a node in the paper), and until then nobody can tell. All in
/// seconds.
#[must_use]
pub fn judge_connection(
    status: Status,
    ends: [Peer; 2],
    lost_s: f64,
    now_s: f64,
    grace_s: f64,
) -> ConnectionVerdict {
    let is_dead =
        |peer: Peer| peer.is_node_lost || peer.exit.is_some_and(|exit| !exit.is_success());
    let dead = ends.map(is_dead);
    if dead.contains(&true) {
        let finding = Finding { severity: None, ..Finding::cascade(status) };
        return ConnectionVerdict::Cascade { finding, dead };
    }
    if ends.iter().any(|peer| peer.exit.is_some()) {
        return ConnectionVerdict::Finished;
    }
    let alive_from_s = lost_s + grace_s;
    let are_alive = ends.iter().all(|peer| peer.last_alive_s >= alive_from_s);
    if are_alive && now_s >= alive_from_s {
        return ConnectionVerdict::Failure(Finding::root(status).graded(Severity::Sev3));
    }
    ConnectionVerdict::Wait { until_s: alive_from_s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Role;

    const ALIVE: Peer = Peer { last_alive_s: 109.0, exit: None, is_node_lost: false };

    /// Lost at 100 s, asked at 110 s, six seconds of grace.
    fn verdict(ends: [Peer; 2]) -> ConnectionVerdict {
        judge_connection(Status::ConnectionReset, ends, 100.0, 110.0, 6.0)
    }

    #[test]
    fn two_living_ends_are_a_failure_of_the_network() {
        let ConnectionVerdict::Failure(finding) = verdict([ALIVE; 2]) else { panic!() };
        assert_eq!((finding.role, finding.severity), (Role::Root, Some(Severity::Sev3)));
    }

    #[test]
    fn a_dead_end_is_to_blame_and_nothing_is_escalated() {
        let killed = Peer { exit: Some(Exit::Signal(9)), ..ALIVE };
        let lost = Peer { is_node_lost: true, ..ALIVE };
        for (ends, expected) in [
            ([ALIVE, killed], [false, true]),
            ([lost, ALIVE], [true, false]),
            ([lost, killed], [true, true]),
        ] {
            let ConnectionVerdict::Cascade { finding, dead } = verdict(ends) else { panic!() };
            assert_eq!((dead, finding.role, finding.severity), (expected, Role::Cascade, None));
            assert_eq!(finding.repeated(9), finding);
        }
    }

    #[test]
    fn an_end_that_finished_closed_its_connections() {
        let finished = Peer { exit: Some(Exit::Code(0)), ..ALIVE };
        assert_eq!(verdict([finished, ALIVE]), ConnectionVerdict::Finished);
        // Beside a dead one, the dead one counts.
        let killed = Peer { exit: Some(Exit::Signal(9)), ..ALIVE };
        assert!(matches!(verdict([finished, killed]), ConnectionVerdict::Cascade { .. }));
    }

    #[test]
    fn an_end_of_which_nothing_is_known_is_waited_for() {
        for last_alive_s in [0.0, 99.0, 105.0, f64::NAN] {
            let unknown = Peer { last_alive_s, ..ALIVE };
            assert_eq!(verdict([unknown, ALIVE]), ConnectionVerdict::Wait { until_s: 106.0 });
        }
    }
}
