//! Time-outs of collective operations: who waited, and for whom.
//!
//! The ranks that print a time-out are those that arrived. The one to blame enqueued less than they
//! did, or prints nothing at all (notes, section 0, item 7). Restarting a rank that waited, or retrying
//! the operation, leaves the culprit where it is.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one rank has said about one process group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CollectiveReport {
    /// The group's name, the same on all of its ranks; `None` in lines that don't give it.
    pub group: Option<String>,
    /// The rank, of the whole task where the line's `[rankN]:` says, else within its group.
    pub rank: Option<u32>,
    /// Number of the operation that timed out.
    pub sequence: Option<i64>,
    /// Its kind, as PyTorch names it: `ALLREDUCE`, `_REDUCE_SCATTER_BASE`.
    pub operation: Option<String>,
    /// Number of the last operation that the rank has begun.
    pub last_enqueued: Option<i64>,
    /// Number of the last one that has ended; -1 before the first.
    pub last_completed: Option<i64>,
    /// How long it waited, in milliseconds.
    pub waited_ms: Option<u64>,
}

/// Reads one line of PyTorch's watchdog, of any release since 1.12; `None` for other lines.
#[must_use]
pub fn parse_time_out(line: &str) -> Option<CollectiveReport> {
    const SIGNS: [&str; 5] = [
        "Watchdog caught collective operation timeout",
        "detected by watchdog at work",
        "Timeout at NCCL work: ",
        "Received a dump signal due to a collective timeout",
        // Since 2.8, where a rank learns of a time-out through the store.
        "Observed flight recorder dump signal",
    ];
    if !SIGNS.iter().any(|sign| line.contains(sign)) {
        return None;
    }
    let (group, rank_in_group) = group_and_rank(line);
    let last_enqueued = first_number(line, &["ast enqueued NCCL work: ", "ast enqueued work: "]);
    let last_completed = first_number(line, &["ast completed NCCL work: ", "ast completed work: "])
        // Releases before 2.4 print what the memory held before the first operation had ended.
        .filter(|&completed| last_enqueued.is_none_or(|enqueued| completed <= enqueued));
    let sequence = first_number(
        line,
        &[
            "SeqNum=",
            "watchdog at work: ",
            "watchdog at work sequence id: ",
            "Timeout at NCCL work: ",
        ],
    );
    Some(CollectiveReport {
        group,
        rank: first_number(line, &["[rank"]).or(rank_in_group).and_then(|n| n.try_into().ok()),
        sequence,
        operation: after(line, "OpType=").map(|text| word(text).to_owned()),
        last_enqueued,
        last_completed,
        waited_ms: first_number(line, &["ran for "]).and_then(|n| n.try_into().ok()),
    })
}

/// Who of a group didn't arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Laggard {
    /// These ranks have said nothing, while the others wait.
    Silent(Vec<u32>),
    /// These have begun fewer operations than the rest.
    Behind {
        /// Them.
        ranks: Vec<u32>,
        /// The last operation that they have begun.
        last_enqueued: i64,
        /// The last one that the foremost rank has begun.
        foremost: i64,
    },
    /// All have arrived and the operation doesn't end: the network, or the library.
    Nobody,
    /// Fewer than half of the ranks have reported: wait for the rest before blaming anybody.
    TooFewReports,
}

/// How many groups, and ranks of a group, are kept. More than any cluster has: only garbage comes so
/// far, and is left out.
const MOST_GROUPS: usize = 1 << 14;
const MOST_RANKS: usize = 1 << 18;

/// Collects what all ranks say in one incident, and tells who didn't arrive.
#[derive(Debug, Clone, Default)]
pub struct CollectiveReports {
    /// By group and rank; `""` for lines without a group.
    by_group: BTreeMap<String, BTreeMap<u32, CollectiveReport>>,
}

impl CollectiveReports {
    /// Nothing reported yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a line of the log of `rank`, which counts more than what the line says. Returns whether
    /// it was a report and is kept.
    pub fn read(&mut self, rank: Option<u32>, line: &str) -> bool {
        let Some(mut report) = parse_time_out(line) else { return false };
        let Some(rank) = rank.or(report.rank) else { return false };
        report.rank = Some(rank);
        let group = report.group.clone().unwrap_or_default();
        if self.by_group.len() >= MOST_GROUPS && !self.by_group.contains_key(&group) {
            return false;
        }
        let ranks = self.by_group.entry(group).or_default();
        if ranks.len() >= MOST_RANKS && !ranks.contains_key(&rank) {
            return false;
        }
        let known = ranks.entry(rank).or_default();
        // One time-out is told in several lines, of which each knows a part.
        known.group = report.group.or(known.group.take());
        known.rank = report.rank;
        known.sequence = report.sequence.or(known.sequence);
        known.operation = report.operation.or(known.operation.take());
        known.last_enqueued = report.last_enqueued.or(known.last_enqueued);
        known.last_completed = report.last_completed.or(known.last_completed);
        known.waited_ms = report.waited_ms.or(known.waited_ms);
        true
    }

    /// The groups in which ranks have said how far they are.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let has_progress = |reports: &BTreeMap<u32, CollectiveReport>| {
            reports.values().any(|report| report.last_enqueued.is_some())
        };
        self.by_group
            .iter()
            .filter(move |(_, reports)| has_progress(reports))
            .map(|(g, _)| g.as_str())
    }

    /// Who of the `members` of `group` didn't arrive. A rank that has printed its time-out in a line
    /// without a group has spoken as well.
    #[must_use]
    pub fn laggard(&self, group: &str, members: &[u32]) -> Laggard {
        let reports = self.by_group.get(group);
        let without_group = self.by_group.get("");
        let report_of = |rank: &u32| reports.and_then(|reports| reports.get(rank));
        let has_spoken = |rank: &u32| {
            report_of(rank).is_some() || without_group.is_some_and(|all| all.contains_key(rank))
        };
        let (spoken, silent): (Vec<u32>, Vec<u32>) = members.iter().copied().partition(has_spoken);
        if 2 * spoken.len() < members.len() || spoken.is_empty() {
            return Laggard::TooFewReports;
        }
        if !silent.is_empty() {
            return Laggard::Silent(silent);
        }
        let progress = |rank: &u32| Some((report_of(rank)?.last_enqueued?, *rank));
        let mut progress: Vec<_> = spoken.iter().filter_map(progress).collect();
        progress.sort_unstable();
        let (Some(&(least, _)), Some(&(most, _))) = (progress.first(), progress.last()) else {
            return Laggard::TooFewReports;
        };
        if least == most {
            return Laggard::Nobody;
        }
        let behind = progress.iter().take_while(|(enqueued, _)| *enqueued == least);
        let ranks = behind.map(|&(_, rank)| rank).collect();
        Laggard::Behind { ranks, last_enqueued: least, foremost: most }
    }
}

/// From `[PG ID 1 PG GUID 3(default_pg) Rank 2]`, `[PG 1 Rank 0]`, `[PG 0 (default_pg) Rank 1]` or
/// `[Rank 3]`. The id is the process's own, the GUID is the same everywhere.
fn group_and_rank(line: &str) -> (Option<String>, Option<i64>) {
    let rank = first_number(line, &[" Rank ", "[Rank "]);
    let guid =
        after(line, "PG GUID ").or_else(|| after(line, "[PG ").filter(|t| !t.starts_with("ID")));
    let end_of_name = |c: char| c.is_whitespace() || c == '(' || c == ']';
    let name = guid.map(|text| text.split(end_of_name).next().unwrap_or_default());
    (name.filter(|name| !name.is_empty()).map(str::to_owned), rank)
}

fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(key).map(|(_, text)| text)
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// The number that follows the first of `keys` that has one.
fn first_number(line: &str, keys: &[&str]) -> Option<i64> {
    let number = |text: &str| {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
        text[..text.len() - unsigned.len() + digits].parse().ok()
    };
    keys.iter()
        .find_map(|key| line.match_indices(key).find_map(|(at, _)| number(&line[at + key.len()..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of public reports of torch 2.0 to 2.8, and of the notes on the field, 4.6.
    #[test]
    fn the_shapes_of_all_releases() {
        let caught = "[rank3]:[E816 01:45:40.183 ProcessGroupNCCL.cpp:607] [Rank 3] Watchdog caught \
                      collective operation timeout: WorkNCCL(SeqNum=80078, OpType=ALLREDUCE, \
                      NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600013 milliseconds before \
                      timing out.";
        let expected = CollectiveReport {
            rank: Some(3),
            sequence: Some(80078),
            operation: Some("ALLREDUCE".to_owned()),
            waited_ms: Some(600_013),
            ..CollectiveReport::default()
        };
        assert_eq!(parse_time_out(caught), Some(expected));

        let check = |line: &str, group: Option<&str>, rank: u32, numbers: [Option<i64>; 3]| {
            let report = parse_time_out(line).unwrap_or_else(|| panic!("no report in {line:?}"));
            assert_eq!((report.group.as_deref(), report.rank), (group, Some(rank)), "{line}");
            assert_eq!(
                [report.sequence, report.last_enqueued, report.last_completed],
                numbers,
                "{line}"
            );
        };
        check(
            "[rank7]:[E ProcessGroupNCCL.cpp:1537] [PG 0 Rank 7] Timeout at NCCL work: 1, last \
             enqueued NCCL work: 1, last completed NCCL work: 3452013982.",
            Some("0"),
            7,
            [Some(1), Some(1), None],
        );
        check(
            "[rank4]:[E321 02:07:08.465150152 ProcessGroupNCCL.cpp:1664] [PG 1 Rank 0] Exception \
             (either an error or timeout) detected by watchdog at work: 1580, last enqueued NCCL work: \
             1582, last completed NCCL work: 1579.",
            Some("1"),
            4,
            [Some(1580), Some(1582), Some(1579)],
        );
        check(
            "[E1003 18:37:01 ProcessGroupNCCL.cpp:1664] [PG 0 (default_pg) Rank 1] Exception (either \
             an error or timeout) detected by watchdog at work: 6463, last enqueued NCCL work: 6463, \
             last completed NCCL work: 6462.",
            Some("0"),
            1,
            [Some(6463), Some(6463), Some(6462)],
        );
        check(
            "[rank1]:[E1218 20:27:21.484903450 ProcessGroupNCCL.cpp:2168] [PG ID 1 PG GUID \
             3(default_pg) Rank 1]  failure detected by watchdog at work sequence id: 1 PG status: \
             last enqueued work: 547, last completed work: -1",
            Some("3"),
            1,
            [Some(1), Some(547), Some(-1)],
        );
        check(
            "[rank2]: Received a dump signal due to a collective timeout from rank 10 and we will try \
             our best to dump the debug info. Last enqueued NCCL work: 166, last completed NCCL work: \
             166.",
            None,
            2,
            [None, Some(166), Some(166)],
        );
        assert_eq!(parse_time_out("NCCL operations timed out"), None);
    }

    fn line(rank: u32, enqueued: i64) -> String {
        format!(
            "[rank{rank}]: [PG ID 0 PG GUID 0(default_pg) Rank {rank}]  failure detected by watchdog \
             at work sequence id: 1580 PG status: last enqueued work: {enqueued}, last completed \
             work: 1579"
        )
    }

    fn check(enqueued: &[Option<i64>], expected: Laggard) {
        let mut reports = CollectiveReports::new();
        for (rank, enqueued) in (0..).zip(enqueued) {
            if let Some(enqueued) = enqueued {
                assert!(reports.read(None, &line(rank, *enqueued)));
            }
        }
        let members: Vec<u32> = (0..enqueued.len() as u32).collect();
        assert_eq!(reports.laggard("0", &members), expected, "{enqueued:?}");
    }

    #[test]
    fn who_did_not_arrive() {
        let (far, near) = (Some(1582), Some(1580));
        check(&[far, far, None, far], Laggard::Silent(vec![2]));
        check(
            &[far, near, far, far],
            Laggard::Behind { ranks: vec![1], last_enqueued: 1580, foremost: 1582 },
        );
        check(&[far, far, far, far], Laggard::Nobody);
        check(&[far, None, None, None], Laggard::TooFewReports);
        check(&[None, None], Laggard::TooFewReports);
    }

    /// A public report of 16 ranks: fourteen waited for operation 167, and ranks 0 and 2,
    /// which had not begun it, only printed that others had asked for a dump.
    #[test]
    fn ranks_that_only_heard_of_it_are_behind() {
        let mut reports = CollectiveReports::new();
        for rank in (0..16).filter(|rank| ![0, 2].contains(rank)) {
            let waited = format!(
                "[rank{rank}]: failure detected by watchdog at work sequence id: 167 PG status: last \
                 enqueued work: 167, last completed work: 166"
            );
            assert!(reports.read(Some(rank), &waited));
        }
        for rank in [0, 2] {
            let heard = "Received a dump signal due to a collective timeout from rank 10 ... Last \
                         enqueued NCCL work: 166, last completed NCCL work: 166.";
            assert!(reports.read(Some(rank), heard));
        }
        let members: Vec<u32> = (0..16).collect();
        let expected = Laggard::Behind { ranks: vec![0, 2], last_enqueued: 166, foremost: 167 };
        assert_eq!(reports.laggard("", &members), expected);
        assert_eq!(reports.groups().collect::<Vec<_>>(), [""]);
    }
}
