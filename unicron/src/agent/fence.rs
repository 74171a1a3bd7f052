//! Until when a node may work without hearing from a coordinator.
//!
//! Epochs in messages do not stop a node that is cut off: its workers would train on while others have
//! their work. So it stops them by itself, before its lease ends at the coordinator, who hands their work on
//! only afterwards. Both count durations by clocks of their own, the agent from when it sent a heartbeat,
//! the coordinator from when it received it, so the agent is always first.
//!
//! A connection that is *refused* says that nobody leads at that moment; whoever leads next lets every
//! lease last once from then on. So it is as good as an answer, and training survives a coordinator's
//! absence of any length. Silence is not: it may be a partition.

use std::collections::VecDeque;

/// The part of a lease after which the agent stops its workers; the rest is for killing them, and for
/// clocks that run apart.
const PART: f64 = 0.8;

/// Heartbeats that are waited for; more aren't answered any more.
const MOST_SENT: usize = 1024;

/// A lease as the agent counts it. Times are seconds of any one clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fence {
    lease_s: f64,
    until_s: Option<f64>,
    /// Heartbeats and when they were sent, oldest first.
    sent: VecDeque<(u64, f64)>,
}

impl Fence {
    /// A coordinator has answered the greeting of `greeted_s`.
    pub fn welcomed(&mut self, greeted_s: f64, lease_s: f64) {
        self.lease_s = lease_s;
        self.sent.clear();
        self.extend(greeted_s);
    }

    /// A heartbeat was sent.
    pub fn sent(&mut self, sequence: u64, now_s: f64) {
        if self.sent.len() == MOST_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now_s));
    }

    /// A heartbeat was answered.
    pub fn answered(&mut self, sequence: u64) {
        while let Some(&(oldest, sent_s)) = self.sent.front() {
            if oldest > sequence {
                break;
            }
            self.sent.pop_front();
            if oldest == sequence {
                self.extend(sent_s);
            }
        }
    }

    /// Nobody led at `asked_s`: all coordinators refused a connection, or said so.
    pub fn nobody_leads(&mut self, asked_s: f64) {
        if self.until_s.is_some() {
            self.extend(asked_s);
        }
    }

    /// How long workers may go on, in seconds; `None` before there is a lease.
    #[must_use]
    pub fn left_s(&self, now_s: f64) -> Option<f64> {
        Some((self.until_s? - now_s).max(0.0))
    }

    /// Whether workers have to be stopped now. They stay stopped until the next welcome.
    pub fn has_ended(&mut self, now_s: f64) -> bool {
        let has_ended = self.until_s.is_some_and(|until_s| now_s >= until_s);
        if has_ended {
            self.until_s = None;
        }
        has_ended
    }

    fn extend(&mut self, from_s: f64) {
        let until_s = from_s + PART * self.lease_s;
        self.until_s = Some(self.until_s.map_or(until_s, |before_s| before_s.max(until_s)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_counts_from_the_sending() {
        let mut fence = Fence::default();
        assert_eq!(fence.left_s(0.0), None);
        fence.welcomed(10.0, 5.0);
        assert_eq!(fence.left_s(11.0), Some(3.0));
        fence.sent(1, 12.0);
        fence.sent(2, 13.0);
        fence.answered(2);
        assert_eq!(fence.left_s(13.0), Some(4.0));
        // An answer that comes late is to a question of long ago.
        fence.answered(1);
        assert_eq!(fence.left_s(13.0), Some(4.0));
        assert!(!fence.has_ended(16.9) && fence.has_ended(17.0));
        fence.nobody_leads(18.0);
        assert_eq!(fence.left_s(18.0), None, "what was handed on stays handed on");
    }

    proptest! {
        /// Whatever is lost or late on the way: the agent has stopped before the coordinator hands on.
        #[test]
        fn the_agent_is_first(
            delays in prop::collection::vec((0.0_f64..3.0, any::<bool>(), any::<bool>()), 1..40),
        ) {
            let lease_s = 4.0;
            let mut fence = Fence::default();
            fence.welcomed(0.0, lease_s);
            let mut coordinator_until_s = lease_s;
            let (mut now_s, mut stopped_s) = (0.0, None);
            for (sequence, (delay_s, arrives, is_answered)) in delays.into_iter().enumerate() {
                now_s += 0.8;
                if fence.has_ended(now_s) {
                    stopped_s = Some(now_s);
                    break;
                }
                fence.sent(sequence as u64, now_s);
                if arrives && now_s + delay_s < coordinator_until_s {
                    coordinator_until_s = coordinator_until_s.max(now_s + delay_s + lease_s);
                    if is_answered {
                        fence.answered(sequence as u64);
                    }
                }
            }
            let ends_s = now_s + fence.left_s(now_s).unwrap_or(0.0);
            prop_assert!(stopped_s.unwrap_or(ends_s) < coordinator_until_s + 0.8);
            prop_assert!(ends_s <= coordinator_until_s || stopped_s.is_some());
        }
    }
}
