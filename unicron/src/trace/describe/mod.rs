//! What a trace is like, in numbers: what it is compared with others by, and with published figures.

mod days;
mod plot;

pub use days::Day;

use super::{DAY_S, Extent, Failure, HOUR_S, Outage, Trace};
use crate::detect::{Severity, Status};
use common::statistics::{Estimate, quantile};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// So many of the nodes that fail most are named.
const WORST_NODES: usize = 10;

/// The numbers of a trace; also the object of `unicron trace describe --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// The trace's name.
    pub name: String,
    /// Nodes.
    pub nodes: usize,
    /// GPUs of each node.
    pub gpus_per_node: usize,
    /// How long the trace is.
    pub duration_days: f64,
    /// How many failures it has.
    pub failures: usize,
    /// Failures of each severity, the most severe first.
    pub severities: Vec<Count<Severity>>,
    /// Failures of each status, the most frequent first.
    pub statuses: Vec<Count<Status>>,
    /// Failures per 1000 node-days.
    pub failures_per_1000_node_days: f64,
    /// SEV1 failures per 1000 node-days.
    pub node_faults_per_1000_node_days: f64,
    /// The time from one failure to the next, anywhere; `None` for fewer than two failures.
    pub gaps_hours: Option<Gaps>,
    /// The same of SEV1 failures alone.
    pub node_fault_gaps_hours: Option<Gaps>,
    /// The repairs that take any time; `None` where none does.
    pub repairs_hours: Option<Repairs>,
    /// The part of all node time, 0 to 1, in which nodes are away.
    pub node_time_lost: f64,
    /// The most nodes that are away at once.
    pub most_nodes_away: usize,
    /// Nodes that have at least one failure.
    pub nodes_hit: usize,
    /// Incidents that are marked as one cause of several failures.
    pub groups: usize,
    /// The nodes with the most failures, at most ten.
    pub worst_nodes: Vec<WorstNode>,
    /// Day by day.
    pub days: Vec<Day>,
}

/// How often something is in a trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Count<T> {
    /// What.
    pub of: T,
    /// How many failures.
    pub failures: usize,
    /// Their share of all failures, 0 to 1.
    pub share: f64,
}

/// Times between failures, in hours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gaps {
    /// Their mean.
    pub mean: f64,
    /// Their median.
    pub median: f64,
    /// Standard deviation over mean: 1 for independent failures, more for bursts. `None` where all
    /// failures are at one time.
    pub coefficient_of_variation: Option<f64>,
}

/// Repair times, in hours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repairs {
    /// How many repairs take any time.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their median.
    pub median: f64,
    /// Nine of ten are no longer.
    pub p90: f64,
    /// The longest.
    pub longest: f64,
}

/// A node that fails often.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorstNode {
    /// The node.
    pub node: usize,
    /// Its failures.
    pub failures: usize,
    /// How long it is away within the trace.
    pub hours_away: f64,
}

impl Description {
    /// The numbers of `trace`.
    #[must_use]
    pub fn of(trace: &Trace) -> Self {
        let Extent { nodes, gpus_per_node, duration_s } = trace.extent();
        let failures = trace.failures();
        let outages = trace.outages();
        let n_failures = failures.len();
        let of_severity = |s| failures.iter().filter(|failure| failure.severity == s).count();
        let severities = [Severity::Sev1, Severity::Sev2, Severity::Sev3];
        let lost_s: f64 = outages.iter().map(|outage| seconds_away(outage, duration_s)).sum();
        let per_1000 = |count: usize| 1000.0 * count as f64 / trace.extent().node_days();
        Self {
            name: trace.name().to_owned(),
            nodes,
            gpus_per_node,
            duration_days: duration_s / DAY_S,
            failures: n_failures,
            severities: severities.map(|s| Count::new(s, of_severity(s), n_failures)).into(),
            statuses: statuses(trace),
            failures_per_1000_node_days: per_1000(n_failures),
            node_faults_per_1000_node_days: per_1000(of_severity(Severity::Sev1)),
            gaps_hours: Gaps::of(failures.iter()),
            node_fault_gaps_hours: Gaps::of(
                failures.iter().filter(|failure| failure.severity == Severity::Sev1),
            ),
            repairs_hours: Repairs::of(trace),
            node_time_lost: lost_s / (nodes as f64 * duration_s),
            most_nodes_away: most_away(&outages),
            nodes_hit: failures.iter().map(|f| f.node).collect::<BTreeSet<_>>().len(),
            groups: failures.iter().filter_map(|f| f.group).collect::<BTreeSet<_>>().len(),
            worst_nodes: worst_nodes(trace, &outages),
            days: days::of(trace, &outages),
        }
    }
}

impl<T> Count<T> {
    fn new(of: T, failures: usize, all: usize) -> Self {
        Self { of, failures, share: failures as f64 / all.max(1) as f64 }
    }
}

impl Gaps {
    fn of<'a>(failures: impl Iterator<Item = &'a Failure> + Clone) -> Option<Self> {
        let pairs = failures.clone().zip(failures.skip(1));
        let gaps: Vec<f64> = pairs.map(|(a, b)| (b.at_s - a.at_s) / HOUR_S).collect();
        let Estimate { mean, standard_deviation, .. } = Estimate::of(&gaps);
        let coefficient_of_variation = (mean > 0.0).then(|| standard_deviation / mean);
        Some(Self { mean, median: quantile(&gaps, 0.5)?, coefficient_of_variation })
    }
}

impl Repairs {
    fn of(trace: &Trace) -> Option<Self> {
        // A repair of no length, which recorded traces have, takes nobody's time.
        let repairs = trace.failures().iter().filter_map(|f| f.repair_s).filter(|r| *r > 0.0);
        let hours: Vec<f64> = repairs.map(|repair_s| repair_s / HOUR_S).collect();
        Some(Self {
            count: hours.len(),
            mean: Estimate::of(&hours).mean,
            median: quantile(&hours, 0.5)?,
            p90: quantile(&hours, 0.9)?,
            longest: quantile(&hours, 1.0)?,
        })
    }
}

fn statuses(trace: &Trace) -> Vec<Count<Status>> {
    let mut counts: BTreeMap<Status, usize> = BTreeMap::new();
    trace.failures().iter().for_each(|f| *counts.entry(f.status).or_default() += 1);
    let mut counts: Vec<_> = counts
        .into_iter()
        .map(|(status, count)| Count::new(status, count, trace.failures().len()))
        .collect();
    counts.sort_by_key(|count| Reverse(count.failures));
    counts
}

fn seconds_away(outage: &Outage, duration_s: f64) -> f64 {
    outage.end_s.min(duration_s) - outage.start_s
}

fn most_away(outages: &[Outage]) -> usize {
    let ends = |outage: &Outage| [(outage.start_s, 1), (outage.end_s, -1)];
    let mut changes: Vec<(f64, i64)> = outages.iter().flat_map(ends).collect();
    // Failures come before returns.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    let mut away = 0;
    let counts = changes.into_iter().map(|(_, change)| {
        away += change;
        away
    });
    counts.max().map_or(0, i64::unsigned_abs) as usize
}

fn worst_nodes(trace: &Trace, outages: &[Outage]) -> Vec<WorstNode> {
    let mut nodes: BTreeMap<usize, WorstNode> = BTreeMap::new();
    for node in trace.failures().iter().map(|failure| failure.node) {
        let none = WorstNode { node, failures: 0, hours_away: 0.0 };
        nodes.entry(node).or_insert(none).failures += 1;
    }
    for outage in outages {
        if let Some(node) = nodes.get_mut(&outage.node) {
            node.hours_away += seconds_away(outage, trace.extent().duration_s) / HOUR_S;
        }
    }
    let mut nodes: Vec<WorstNode> = nodes.into_values().collect();
    nodes.sort_by(|a, b| b.failures.cmp(&a.failures).then(b.hours_away.total_cmp(&a.hours_away)));
    nodes.truncate(WORST_NODES);
    nodes
}

#[cfg(test)]
mod tests {
    use super::super::tests::small;
    use super::super::{Preset, PresetKind, Synthetic};
    use super::*;
    use common::testing::shared_data;

    #[test]
    fn the_recorded_trace_has_its_published_figures() {
        let Some(path) = shared_data("traces/infinitehbd/fault_trace.json") else { return };
        let description = Description::of(&super::super::read(&path).unwrap());
        assert_eq!((description.failures, description.nodes_hit), (584, 231));
        let gaps = description.gaps_hours.unwrap();
        assert_eq!(format!("{:.1} {:.1}", gaps.mean, gaps.median), "14.2 5.6");
        assert_eq!(format!("{:.2}", gaps.coefficient_of_variation.unwrap()), "1.76");
        let repairs = description.repairs_hours.unwrap();
        let told = format!("{:.0} {:.0} {:.0}", repairs.median, repairs.mean, repairs.p90);
        assert_eq!((repairs.count, told.as_str()), (570, "22 136 329"));
        assert_eq!(format!("{:.1} %", 100.0 * description.node_time_lost), "2.3 %");
        assert_eq!(format!("{:.1}", description.node_faults_per_1000_node_days), "4.2");
        assert_eq!(description.worst_nodes[0].failures, 14);
        assert_eq!(description.days.len(), 349);
    }

    #[test]
    fn days_and_outages_tell_the_same_lost_time() {
        for seed in 0..5 {
            let synthetic =
                Synthetic { seed, days: 20.5, node_faults: 40.0, ..Synthetic::default() };
            let description = Description::of(&synthetic.generate().unwrap());
            let lengths = (0..21).map(|day| if day < 20 { 1.0 } else { 0.5 });
            let node_days: f64 = description
                .days
                .iter()
                .zip(lengths)
                .map(|(day, length)| day.nodes_away * length)
                .sum();
            let lost = node_days / (16.0 * 20.5);
            assert!((lost - description.node_time_lost).abs() < 1e-9 && lost > 0.0, "{lost}");
            let counted = description.days.iter().map(|day| day.sev1 + day.sev2 + day.sev3);
            assert_eq!(counted.sum::<usize>(), description.failures);
        }
    }

    #[test]
    fn a_small_trace_by_hand() {
        let trace = small(&[
            (0.0, 0, Some(400.0)),
            (100.0, 1, None),
            (100.0, 2, Some(0.0)),
            (300.0, 0, Some(200.0)),
            (900.0, 2, Some(500.0)),
        ]);
        let description = Description::of(&trace);
        let gaps = description.gaps_hours.unwrap();
        assert_eq!((gaps.mean, gaps.median), (225.0 / 3600.0, 100.0 / 3600.0));
        let repairs = description.repairs_hours.unwrap();
        assert_eq!(
            (repairs.count, repairs.median, repairs.longest),
            (3, 400.0 / 3600.0, 500.0 / 3600.0)
        );
        // Node 0 for 500 s, node 2 for the last 100 of 1000 s.
        assert!((description.node_time_lost - 600.0 / 4000.0).abs() < 1e-12);
        assert_eq!((description.most_nodes_away, description.nodes_hit), (2, 3));
        assert_eq!((description.worst_nodes[0].node, description.worst_nodes[0].failures), (0, 2));
        let only = Description::of(&small(&[(1.0, 0, None)]));
        assert!(only.gaps_hours.is_none() && only.repairs_hours.is_none());
        assert_eq!(Description::of(&small(&[])).failures_per_1000_node_days, 0.0);
    }

    #[test]
    fn severities_and_statuses_count_every_failure() {
        let trace = Preset { kind: PresetKind::B, seed: 1 }.generate().unwrap();
        let description = Description::of(&trace);
        let counts: Vec<usize> =
            description.severities.iter().map(|count| count.failures).collect();
        assert_eq!((counts[0], counts[1] + counts[2]), (26, 80));
        assert_eq!(description.statuses.iter().map(|count| count.failures).sum::<usize>(), 106);
        assert!(description.statuses.is_sorted_by(|a, b| a.failures >= b.failures));
    }
}
