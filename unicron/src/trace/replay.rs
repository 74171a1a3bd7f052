//! A trace as a simulator meets it: nodes that fail and nodes that come back.

use super::{Failure, Trace};
use std::collections::HashMap;

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// Something fails.
    Failure {
        /// What.
        failure: &'a Failure,
        /// Whether its node was there: else nothing ran on it and nobody feels the failure.
        is_felt: bool,
    },
    /// A node is repaired.
    NodeBack {
        /// When, in seconds.
        at_s: f64,
        /// Which node.
        node: usize,
    },
}

impl Event<'_> {
    /// When it happens, in seconds.
    #[must_use]
    pub fn at_s(&self) -> f64 {
        match self {
            Self::Failure { failure, .. } => failure.at_s,
            Self::NodeBack { at_s, .. } => *at_s,
        }
    }
}

/// A time during which a node is away; repairs that overlap or touch are one outage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// The node.
    pub node: usize,
    /// When it goes, in seconds.
    pub start_s: f64,
    /// When it is back, in seconds; may be after the end of the trace.
    pub end_s: f64,
}

impl Trace {
    /// When which node is away, by start; the outages of one node don't touch each other.
    #[must_use]
    pub fn outages(&self) -> Vec<Outage> {
        self.replay().0
    }

    /// Everything that happens, in order of time; at one instant failures come before returns.
    /// Returns after the end of the trace are left out.
    #[must_use]
    pub fn events(&self) -> Vec<Event<'_>> {
        let (outages, is_felt) = self.replay();
        let failures = self.failures().iter().zip(is_felt);
        let failures = failures.map(|(failure, is_felt)| Event::Failure { failure, is_felt });
        let ends = outages.iter().filter(|outage| outage.end_s <= self.extent().duration_s);
        let returns = ends.map(|end| Event::NodeBack { at_s: end.end_s, node: end.node });
        let mut events: Vec<Event<'_>> = failures.chain(returns).collect();
        // The sort is stable: failures stay before returns of their instant.
        events.sort_by(|a, b| a.at_s().total_cmp(&b.at_s()));
        events
    }

    /// The outages, and of each failure whether its node was there.
    fn replay(&self) -> (Vec<Outage>, Vec<bool>) {
        let mut outages: Vec<Outage> = Vec::new();
        let mut latest: HashMap<usize, usize> = HashMap::new();
        let mut is_felt = Vec::with_capacity(self.failures().len());
        for failure in self.failures() {
            let node = failure.node;
            let away = latest.get(&node).map(|&index| &mut outages[index]);
            let away = away.filter(|outage| failure.at_s <= outage.end_s);
            is_felt.push(away.is_none());
            match (away, failure.back_at_s()) {
                (Some(outage), Some(end_s)) => outage.end_s = outage.end_s.max(end_s),
                (None, Some(end_s)) => {
                    latest.insert(node, outages.len());
                    outages.push(Outage { node, start_s: failure.at_s, end_s });
                }
                (_, None) => {}
            }
        }
        (outages, is_felt)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::small;
    use super::*;
    use proptest::prelude::*;

    /// Events as (time, node, "felt" | "unfelt" | "back").
    fn told(trace: &Trace) -> Vec<(f64, usize, &'static str)> {
        let tell = |event: &Event<'_>| match event {
            Event::Failure { failure, is_felt: true } => (failure.at_s, failure.node, "felt"),
            Event::Failure { failure, .. } => (failure.at_s, failure.node, "unfelt"),
            Event::NodeBack { at_s, node } => (*at_s, *node, "back"),
        };
        trace.events().iter().map(tell).collect()
    }

    #[test]
    fn a_node_is_back_when_the_last_of_its_repairs_is_over() {
        let trace = small(&[
            (10.0, 0, Some(100.0)),
            (20.0, 0, Some(10.0)),
            (50.0, 0, Some(100.0)),
            (60.0, 1, None),
            (150.0, 0, Some(5.0)),
            (200.0, 0, None),
        ]);
        assert_eq!(trace.outages(), [Outage { node: 0, start_s: 10.0, end_s: 155.0 }]);
        let expected = [
            (10.0, 0, "felt"),
            (20.0, 0, "unfelt"),
            (50.0, 0, "unfelt"),
            (60.0, 1, "felt"),
            (150.0, 0, "unfelt"),
            (155.0, 0, "back"),
            (200.0, 0, "felt"),
        ];
        assert_eq!(told(&trace), expected);
    }

    #[test]
    fn a_repair_of_no_length_is_a_failure_and_a_return() {
        let trace = small(&[(10.0, 0, Some(0.0)), (10.0, 1, None)]);
        assert_eq!(told(&trace), [(10.0, 0, "felt"), (10.0, 1, "felt"), (10.0, 0, "back")]);
    }

    #[test]
    fn a_return_after_the_end_is_no_event() {
        let trace = small(&[(990.0, 0, Some(100.0)), (1000.0, 1, Some(0.0))]);
        assert_eq!(told(&trace), [(990.0, 0, "felt"), (1000.0, 1, "felt"), (1000.0, 1, "back")]);
        assert_eq!(trace.outages()[0].end_s, 1090.0);
    }

    proptest! {
        #[test]
        fn replaying_events_never_loses_a_node_twice(
            failures in prop::collection::vec(
                (0_u32..1000, 0_usize..4, prop::option::of(0_u32..300)), 0..60),
        ) {
            let failures: Vec<_> = failures
                .into_iter()
                .map(|(at, node, repair)| (f64::from(at), node, repair.map(f64::from)))
                .collect();
            let trace = small(&failures);
            let mut away = [false; 4];
            let mut last = 0.0;
            for event in trace.events() {
                prop_assert!(event.at_s() >= last);
                last = event.at_s();
                match event {
                    Event::Failure { failure, is_felt } => {
                        prop_assert_eq!(is_felt, !away[failure.node]);
                        away[failure.node] |= failure.repair_s.is_some();
                    }
                    Event::NodeBack { node, .. } => {
                        prop_assert!(away[node]);
                        away[node] = false;
                    }
                }
            }
            // Every second of every node is away exactly if some repair covers it.
            let outages = trace.outages();
            for second in 0..1000 {
                let at_s = f64::from(second) + 0.5;
                for node in 0..4 {
                    let repaired = trace.failures().iter().any(|failure| {
                        let end_s = failure.back_at_s().unwrap_or(failure.at_s);
                        failure.node == node && failure.at_s < at_s && at_s < end_s
                    });
                    let is_away = outages
                        .iter()
                        .filter(|o| o.node == node && o.start_s < at_s && at_s < o.end_s)
                        .count();
                    prop_assert_eq!(is_away, usize::from(repaired));
                }
            }
        }
    }
}
