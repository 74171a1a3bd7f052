//! `fault_trace.json`: starts and ends, to be paired.

use super::fault::{FaultType, Interval, check_day};
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::path::Path;

/// An entry of the file.
#[derive(Debug, Deserialize)]
struct Event {
    node_id: String,
    event_time: f64,
    event_type: EventType,
    fault_type: FaultType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventType {
    FaultStart,
    FaultEnd,
}

/// Pairs starts with ends of the same fault on the same server, first in, first out; servers are
/// numbered by their first appearance.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Interval>> {
    let events: Vec<Event> = serde_json::from_str(text)
        .map_err(|error| Error::line(path, error.line(), format!("is no fault trace: {error}")))?;
    let wrong = |index: usize, problem: String| Error::Setting {
        setting: format!("{}: event {}", path.display(), index + 1),
        problem,
    };
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut nodes = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        check_day(event.event_time).map_err(|problem| wrong(index, problem))?;
        let next = numbers.len();
        nodes.push(*numbers.entry(&event.node_id).or_insert(next));
    }
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&events[a], &events[b]);
        a.event_time.total_cmp(&b.event_time).then(a.event_type.cmp(&b.event_type))
    });
    let mut intervals: Vec<Interval> = Vec::new();
    let mut open: HashMap<(usize, &FaultType), VecDeque<usize>> = HashMap::new();
    for index in order {
        let (node, event) = (nodes[index], &events[index]);
        let open = open.entry((node, &event.fault_type)).or_default();
        match event.event_type {
            EventType::FaultStart => {
                open.push_back(intervals.len());
                let (start_day, fault) = (event.event_time, event.fault_type.clone());
                intervals.push(Interval { node, start_day, end_day: None, fault });
            }
            EventType::FaultEnd => {
                let Some(start) = open.pop_front() else {
                    let problem = "this fault_end has no fault_start of the same node and \
                                   fault_type before it";
                    return Err(wrong(index, problem.to_owned()));
                };
                intervals[start].end_day = Some(event.event_time);
            }
        }
    }
    Ok(intervals)
}
