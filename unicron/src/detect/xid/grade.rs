//! What the Xids of one incident mean, each beside the others.

use super::catalogue::UNKNOWN;
use super::line::{RecoveryAction, XidEvent};
use crate::detect::{Finding, FollowUp, Role, Severity, Status};

/// The meaning of each event, in the order given, which is that of the log.
///
/// `n_earlier` says how many earlier incidents of the kind there were on the event's device. The
/// caller knows over which time: after a restart, an error that is the application's stays away, and
/// one that is the device's comes back.
#[must_use]
pub fn grade(events: &[XidEvent], n_earlier: impl Fn(&XidEvent) -> usize) -> Vec<Finding> {
    let finding = |(i, event): (usize, &XidEvent)| {
        let alone = alone(event).repeated(n_earlier(event));
        let follows = |code: u16| {
            events[i + 1..].iter().any(|later| later.device == event.device && later.code == code)
        };
        // NVIDIA's workflow for 48: a row that is remapped (63) or an error that is contained (94)
        // costs the process, not the node.
        if event.code == 48 && (follows(63) || follows(94)) {
            return alone.graded(Severity::Sev2).then(FollowUp::ResetWhenIdle);
        }
        alone
    };
    events.iter().enumerate().map(finding).collect()
}

/// What an event means that comes alone and for the first time.
fn alone(event: &XidEvent) -> Finding {
    let of_table = event.entry().map_or(UNKNOWN, |entry| entry.finding);
    if event.nvlink_fault().is_some_and(|fault| fault.is_fatal) {
        return of_table.graded(Severity::Sev1);
    }
    event.recovery_action().map_or(of_table, |action| asked_for(action, of_table))
}

/// What Xid 154 asks for. It sums up what other Xids said, which may have been missed.
fn asked_for(action: RecoveryAction, of_table: Finding) -> Finding {
    let root = Finding { role: Role::Root, ..of_table };
    match action {
        RecoveryAction::Nothing => of_table,
        RecoveryAction::GpuReset | RecoveryAction::NodeReboot => root.graded(Severity::Sev1),
        RecoveryAction::DrainPeerToPeer => {
            Finding::root(Status::NvlinkError).graded(Severity::Sev2).then(FollowUp::ResetWhenIdle)
        }
        RecoveryAction::DrainAndReset => root.graded(Severity::Sev2).then(FollowUp::ResetWhenIdle),
        // The driver wants something, and a restart shows whether it can wait.
        RecoveryAction::Unknown => root.graded(Severity::Sev2).then(FollowUp::EscalateIfRepeated),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::parse;
    use super::*;

    fn events(lines: &[&str]) -> Vec<XidEvent> {
        lines.iter().map(|line| parse(&format!("NVRM: Xid (PCI:{line}")).unwrap()).collect()
    }

    fn severities(lines: &[&str]) -> Vec<Option<Severity>> {
        grade(&events(lines), |_| 0).iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn a_double_bit_error_that_is_contained_costs_the_process() {
        let alone = severities(&["0000:05:00): 48, pid=1, DBE"]);
        assert_eq!(alone, [Some(Severity::Sev1)]);
        for follower in
            ["0000:05:00): 63, pid=1, Row Remapper", "0000:05:00): 94, pid=1, Contained"]
        {
            let both = severities(&["0000:05:00): 48, pid=1, DBE", follower]);
            assert_eq!(both[0], Some(Severity::Sev2), "{follower}");
        }
        // Of another GPU, or before it: no comfort.
        for (first, second) in [
            ("0000:05:00): 48, DBE", "0000:06:00): 63, Row Remapper"),
            ("0000:05:00): 63, Row Remapper", "0000:05:00): 48, DBE"),
        ] {
            assert!(severities(&[first, second]).contains(&Some(Severity::Sev1)), "{first}");
        }
    }

    #[test]
    fn a_cleanup_alone_is_nothing() {
        let findings = grade(&events(&["0000:05:00): 45, pid=1, Ch 00000010"]), |_| 0);
        assert_eq!((findings[0].role, findings[0].severity), (Role::Cascade, None));
    }

    #[test]
    fn what_comes_back_is_the_nodes() {
        for code in [13, 32, 74] {
            let events = events(&[&format!("0000:05:00): {code}, text")]);
            assert_eq!(grade(&events, |_| 0)[0].severity, Some(Severity::Sev2), "{code}");
            assert_eq!(grade(&events, |_| 1)[0].severity, Some(Severity::Sev1), "{code}");
        }
        let page_fault = events(&["0000:05:00): 31, text"]);
        assert_eq!(grade(&page_fault, |_| 9)[0].severity, Some(Severity::Sev2));
    }

    #[test]
    fn only_fatal_faults_of_nvlink_5_isolate_at_once() {
        let graded = severities(&[
            "0018:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6)",
            "0018:01:00): 149, NETIR_LINK_EVT Nonfatal XC0 i0 Link 08 (0x004505c6)",
        ]);
        assert_eq!(graded, [Some(Severity::Sev1), Some(Severity::Sev3)]);
    }

    #[test]
    fn what_the_driver_asks_for_is_done() {
        let graded = |target: &str| {
            let line =
                format!("0000:97:00): 154, GPU recovery action changed from None to {target}");
            let finding = grade(&events(&[&line]), |_| 0)[0];
            (finding.role, finding.severity)
        };
        assert_eq!(graded("0x2 (Node Reboot Required)"), (Role::Root, Some(Severity::Sev1)));
        assert_eq!(graded("0x1 (GPU Reset Required)"), (Role::Root, Some(Severity::Sev1)));
        assert_eq!(graded("0x4 (Drain and Reset)"), (Role::Root, Some(Severity::Sev2)));
        assert_eq!(graded("0x0 (None)"), (Role::Confirmation, None));
    }

    #[test]
    fn unknown_codes_are_evidence_only() {
        let findings = grade(&events(&["0000:03:00): 14, Channel 00000001"]), |_| 5);
        assert_eq!((findings[0].role, findings[0].severity), (Role::Confirmation, None));
    }
}
