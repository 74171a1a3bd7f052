//! The fault trace of InfiniteHBD (SIGCOMM 2025): 584 faults of 400 GPU servers that train language
//! models, over 348 days. Its servers are away from `fault_start` to `fault_end`.
//!
//! Two formats are read: the published `fault_trace.json`, a list of starts and ends, and intervals
//! as CSV with the columns `node,start_day,end_day,level,class,desc`. Neither tells of the servers
//! without a fault, nor of failures that a restart in place cures; both can be added.

mod events;
mod fault;
mod intervals;

use super::fleet::Fleet;
use super::mix::Mix;
use super::recipe::{Recipe, Setting, extent, out_of_range, spell};
use super::{MAX_FAILURES, Trace, to_millisecond};
use crate::Result;
use crate::detect::Severity;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::{Display, Formatter};
use std::path::Path;

/// How the trace is read. Printed and parsed as `infinitehbd:process-failures=3,seed=1`; options that
/// are as here, the defaults, are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct InfiniteHbd {
    /// Servers, with those that had no fault. 400.
    pub nodes: usize,
    /// GPUs of a server. 8; the trace doesn't name them.
    pub gpus_per_node: usize,
    /// SEV2 and SEV3 failures to add per fault of the trace. 0. They are drawn by the paper's shares,
    /// at any time, on any server that is there.
    pub process_failures: f64,
    /// Decides what is added: the same seed gives the same trace.
    pub seed: u64,
}

impl Default for InfiniteHbd {
    fn default() -> Self {
        Self { nodes: 400, gpus_per_node: 8, process_failures: 0.0, seed: 0 }
    }
}

/// Whether `text` is in one of the two formats.
pub(super) fn is_format(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('[') || text.starts_with(intervals::COLUMNS)
}

impl InfiniteHbd {
    /// Reads a file in either format.
    ///
    /// # Errors
    /// If it can't be read or is no such trace, with the line or the event, or an option is outside
    /// its range.
    pub fn read(&self, path: &Path) -> Result<Trace> {
        self.parse(&super::file::read_text(path)?, path)
    }

    /// The trace that `text` tells in either format; `path` is for messages.
    ///
    /// # Errors
    /// As [`InfiniteHbd::read`].
    pub fn parse(&self, text: &str, path: &Path) -> Result<Trace> {
        let text = text.trim_start_matches('\u{feff}');
        let intervals = match text.trim_start().starts_with('[') {
            true => events::parse(text, path)?,
            false => intervals::parse(text, path)?,
        };
        let n_seen = intervals.iter().map(|interval| interval.node + 1).max().unwrap_or(0);
        if n_seen > self.nodes {
            let range = format!("enough: {} names {n_seen}", path.display());
            return Err(out_of_range(self, "nodes", self.nodes, &range));
        }
        let ends = intervals.iter().flat_map(|i| [Some(i.start_day), i.end_day]).flatten();
        // Whole days, so that the last fault isn't at the very end.
        let days = ends.fold(1.0, f64::max).ceil();
        let extent = extent(self, self.nodes, self.gpus_per_node, days)?;
        let failures = intervals.into_iter().map(|interval| interval.failure(&extent)).collect();
        let trace = Trace::new(self.to_string(), extent, failures)?;
        self.add_process_failures(trace)
    }

    fn add_process_failures(&self, trace: Trace) -> Result<Trace> {
        if !(0.0..=1e6).contains(&self.process_failures) {
            let (value, range) = (self.process_failures, "from 0 to 1000000");
            return Err(out_of_range(self, "process-failures", value, range));
        }
        let count = (self.process_failures * trace.failures().len() as f64).round() as usize;
        if count == 0 {
            return Ok(trace);
        }
        if count + trace.failures().len() > MAX_FAILURES {
            let range = format!("few enough for {MAX_FAILURES} failures");
            return Err(out_of_range(self, "process-failures", self.process_failures, &range));
        }
        let extent = trace.extent();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut times: Vec<f64> =
            (0..count).map(|_| to_millisecond(rng.random_range(0.0..extent.duration_s))).collect();
        times.sort_by(f64::total_cmp);
        let mix = Mix::of(&[Severity::Sev2, Severity::Sev3]);
        let mut fleet = Fleet::new(extent.nodes, extent.gpus_per_node);
        let mut recorded = trace.failures().iter().peekable();
        let mut failures = trace.failures().to_vec();
        for at_s in times {
            while let Some(fault) = recorded.next_if(|fault| fault.at_s <= at_s) {
                fleet.take(fault);
            }
            let node = fleet.any(at_s, &mut rng);
            failures.push(fleet.fail(at_s, node, mix.draw(&mut rng), None, &mut rng));
        }
        Trace::new(trace.name(), extent, failures)
    }
}

impl Recipe for InfiniteHbd {
    fn name(&self) -> &'static str {
        "infinitehbd"
    }

    fn options(&mut self) -> Vec<(&'static str, &mut dyn Setting)> {
        vec![
            ("nodes", &mut self.nodes),
            ("gpus-per-node", &mut self.gpus_per_node),
            ("process-failures", &mut self.process_failures),
            ("seed", &mut self.seed),
        ]
    }
}

impl Display for InfiniteHbd {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        spell(self, &Self::default(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DAY_S, Extent, Failure};
    use super::intervals::COLUMNS;
    use super::*;
    use crate::detect::Status;
    use common::testing::shared_data;
    use proptest::prelude::*;

    const JSON: &str = r#"[
        {"node_id": "x", "event_time": 1.0, "event_type": "fault_start",
         "fault_type": {"Level": "Hardware Failure", "Class": "NIC", "Desc": "NIC Lost"}},
        {"node_id": "y", "event_time": 1.5, "event_type": "fault_start",
         "fault_type": {"Level": "Hardware Failure", "Class": "GPU", "Desc": "GPU Lost"}},
        {"node_id": "x", "event_time": 3.0, "event_type": "fault_end",
         "fault_type": {"Level": "Hardware Failure", "Class": "NIC", "Desc": "NIC Lost"}}
    ]"#;

    fn parse(text: &str) -> Result<Trace> {
        InfiniteHbd::default().parse(text, Path::new("t"))
    }

    fn recorded(file: &str) -> Option<Trace> {
        let path = shared_data(&format!("traces/infinitehbd/{file}"))?;
        Some(super::super::read(&path).unwrap())
    }

    #[test]
    fn starts_and_ends_become_failures_with_repairs() {
        let trace = parse(JSON).unwrap();
        assert_eq!(
            trace.extent(),
            Extent { nodes: 400, gpus_per_node: 8, duration_s: 3.0 * DAY_S }
        );
        let [nic, gpu] = trace.failures() else { panic!("{trace}") };
        assert_eq!((nic.at_s, nic.node, nic.repair_s), (DAY_S, 0, Some(2.0 * DAY_S)));
        assert_eq!((nic.status, nic.severity), (Status::OtherNetworkError, Severity::Sev1));
        assert_eq!(nic.note, "Hardware Failure / NIC / NIC Lost");
        // A fault that the trace doesn't end lasts to its end.
        assert_eq!((gpu.at_s, gpu.node, gpu.repair_s), (1.5 * DAY_S, 1, Some(1.5 * DAY_S)));
    }

    #[test]
    fn both_formats_tell_the_same_584_faults() {
        let (Some(json), Some(csv)) =
            (recorded("fault_trace.json"), recorded("fault_intervals.csv"))
        else {
            return;
        };
        assert_eq!(json.failures().len(), 584);
        assert_eq!(json, csv);
        let again = Trace::parse(&json.to_string(), Path::new("t")).unwrap();
        assert_eq!(again, json);
    }

    #[test]
    fn every_recorded_fault_has_a_status() {
        let Some(trace) = recorded("fault_trace.json") else { return };
        let count = |status| trace.failures().iter().filter(|f| f.status == status).count();
        // Sums over the classes of fault_statistics.json.
        assert_eq!(count(Status::EccError), 60 + 1);
        assert_eq!(count(Status::GpuDriverError), 11 + 40 + 9);
        assert_eq!(count(Status::GpuHardwareError), 2 + 5 + 25 + 1);
        assert_eq!(count(Status::NvlinkError), 3);
        assert_eq!(count(Status::SilentCorruption), 1);
        assert_eq!(count(Status::LinkFlapping), 40 + 1);
        assert_eq!(count(Status::OtherNetworkError), 30);
        assert_eq!(count(Status::HostHardwareError), 26 + 33 + 1 + 1 + 4 + 3 + 1 + 1);
        assert_eq!(count(Status::StorageError), 3);
        assert_eq!(count(Status::OtherSoftwareError), 12 + 7 + 1);
        assert_eq!(count(Status::LostConnection), 1 + 1);
        assert_eq!(count(Status::ScheduledStop), 3 + 2);
        assert_eq!(count(Status::Other), 144 + 97 + 14);
    }

    #[test]
    fn process_failures_are_added_by_ratio_where_servers_are_there() {
        let with = |seed| {
            let recipe = InfiniteHbd { process_failures: 3.0, seed, ..InfiniteHbd::default() };
            recipe.parse(JSON, Path::new("t")).unwrap()
        };
        let trace = with(1);
        assert_eq!(trace.name(), "infinitehbd:process-failures=3,seed=1");
        let added: Vec<_> =
            trace.failures().iter().filter(|f| f.severity != Severity::Sev1).collect();
        assert_eq!((added.len(), trace.failures().len()), (6, 8));
        assert_eq!(with(1), trace);
        assert_ne!(with(2), trace);
        let two = InfiniteHbd { nodes: 2, process_failures: 500.0, ..InfiniteHbd::default() };
        let busy = two.parse(JSON, Path::new("t")).unwrap();
        let is_nic_away = |f: &&Failure| f.at_s < 1.5 * DAY_S && f.at_s > DAY_S && f.node == 0;
        assert_eq!(busy.failures().iter().filter(is_nic_away).count(), 0);
    }

    #[test]
    fn what_is_no_such_trace_is_told_with_its_place() {
        let head = format!("{COLUMNS}\n");
        for (text, expected) in [
            (JSON.replace("1.5", "-1.5"), "t: event 2: day -1.5 isn't from 0 to 36525"),
            (
                JSON.replace("\"x\", \"event_time\": 3", "\"y\", \"event_time\": 3"),
                "t: event 3: this fault_end has no",
            ),
            (JSON.replace("1.5", "\"a\""), "t:4: is no fault trace: invalid type: string \"a\""),
            (JSON.replace("fault_end", "fault"), "unknown variant `fault`, expected `fault_start`"),
            ("[".to_owned(), "t:1: is no fault trace: EOF"),
            ("node,start".to_owned(), "t:1: is no fault trace: its first line is \"node,start_day"),
            (format!("{head}1,2,3,a,b\n"), "t:2: 5 fields; there are 6 columns"),
            (format!("{head}-1,2,3,a,b,c\n"), "t:2: node: \"-1\" is none of 0 to 999999"),
            (format!("{head}1,2,x,a,b,c\n"), "t:2: end_day: \"x\" is no number of days"),
            (format!("{head}1,2,nan,a,b,c\n"), "t:2: end_day: day NaN isn't from 0"),
            (format!("{head}\n1,2,1,a,b,c\n"), "t:3: end_day: 1 is before start_day, 2"),
            (format!("{head}400,1,2,a,b,c\n"), "infinitehbd: nodes: 400 isn't enough: t names 401"),
        ] {
            let told = parse(&text).unwrap_err().to_string();
            assert!(told.contains(expected), "{text:?} gave {told:?}, not {expected:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), rest in "[-0-9a-z,.\"\n ]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&format!("[{text}"));
            let _ = parse(&format!("{COLUMNS}\n{rest}"));
        }
    }
}
