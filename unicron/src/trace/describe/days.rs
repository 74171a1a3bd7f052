//! A trace day by day.

use crate::detect::Severity;
use crate::trace::{DAY_S, Outage, Trace};
use serde::Serialize;

/// One day of a trace.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Day {
    /// SEV1 failures.
    pub sev1: usize,
    /// SEV2 failures.
    pub sev2: usize,
    /// SEV3 failures.
    pub sev3: usize,
    /// Nodes that are away, on average over the day.
    pub nodes_away: f64,
}

/// The days of a trace; the last may be shorter than the others.
pub(super) fn of(trace: &Trace, outages: &[Outage]) -> Vec<Day> {
    let duration_s = trace.extent().duration_s;
    let n_days = (duration_s / DAY_S).ceil() as usize;
    let day_of = |at_s: f64| ((at_s / DAY_S) as usize).min(n_days - 1);
    let mut days = vec![Day::default(); n_days];
    for failure in trace.failures() {
        let day = &mut days[day_of(failure.at_s)];
        match failure.severity {
            Severity::Sev1 => day.sev1 += 1,
            Severity::Sev2 => day.sev2 += 1,
            Severity::Sev3 => day.sev3 += 1,
        }
    }
    // The days between an outage's first and last are away as a whole: only their number's changes
    // are noted, so that long outages cost no more than short ones.
    let mut away_s = vec![0.0; n_days];
    let mut changes = vec![0_i64; n_days + 1];
    for outage in outages {
        let end_s = outage.end_s.min(duration_s);
        let (first, last) = (day_of(outage.start_s), day_of(end_s));
        if first == last {
            away_s[first] += end_s - outage.start_s;
            continue;
        }
        away_s[first] += (first + 1) as f64 * DAY_S - outage.start_s;
        away_s[last] += end_s - last as f64 * DAY_S;
        changes[first + 1] += 1;
        changes[last] -= 1;
    }
    let mut whole = 0;
    for (index, day) in days.iter_mut().enumerate() {
        whole += changes[index];
        let length_s = (duration_s - index as f64 * DAY_S).min(DAY_S);
        day.nodes_away = away_s[index] / length_s + whole as f64;
    }
    days
}
