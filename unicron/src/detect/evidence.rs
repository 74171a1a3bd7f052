//! What was observed, kept so that a person can check the verdict.

use super::{Convention, Exit, Finding, Role, Status};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// How many bytes of a line are kept: enough to recognise it, and no more of a log than that.
const MOST_BYTES: usize = 400;

/// One sign of trouble: when, where, and what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When, in seconds of one clock for all nodes: the coordinator's, where theirs may differ.
    pub time_s: f64,
    /// The node.
    pub node: String,
    /// The rank, where it concerns one.
    pub rank: Option<u32>,
    /// What it means by itself.
    pub finding: Finding,
    /// How the process has ended, where that is what was observed.
    pub exit: Option<Exit>,
    /// The line, or what a person should read in its place.
    pub text: String,
}

impl Observation {
    /// An observation; long texts are cut.
    #[must_use]
    pub fn new(time_s: f64, node: &str, rank: Option<u32>, finding: Finding, text: &str) -> Self {
        let text = text[..text.floor_char_boundary(MOST_BYTES)].to_owned();
        Self { time_s, node: node.to_owned(), rank, finding, exit: None, text }
    }

    /// A process that has ended; `None` if it ended as it should.
    #[must_use]
    pub fn of_exit(
        time_s: f64,
        node: &str,
        rank: u32,
        exit: Exit,
        convention: Convention,
        sent_by_us: bool,
    ) -> Option<Self> {
        let meaning = exit.meaning(convention, sent_by_us)?;
        let text = format!("{exit}: {}", meaning.hint);
        let observation = Self::new(time_s, node, Some(rank), meaning.finding, &text);
        Some(Self { exit: Some(exit), ..observation })
    }

    /// A rank for which the others of a collective operation have waited (see
    /// [`super::CollectiveReports`]). `since_s` is when they began to wait, not when they gave up.
    #[must_use]
    pub fn of_laggard(since_s: f64, node: &str, rank: u32, operation: &str) -> Self {
        let text = format!("rank {rank} did not join {operation}, for which its group waited");
        Self::new(since_s, node, Some(rank), Finding::root(Status::TaskHang), &text)
    }

    /// Whether the process is gone by a failure: nobody is left to retry anything.
    pub(super) fn is_failed_exit(&self) -> bool {
        self.exit.is_some() && self.finding.status != Status::ScheduledStop
    }

    /// How much it explains, least first: roots, then what fails by itself, then complaints about
    /// peers, then ends that somebody asked for, then confirmations.
    pub(super) fn rank_of_explanation(&self) -> u8 {
        match (self.finding.role, self.finding.status) {
            (Role::Root, _) => 0,
            (Role::Cascade, Status::ScheduledStop) => 3,
            (Role::Cascade, status) if status.is_about_a_peer() => 2,
            (Role::Cascade, _) => 1,
            (Role::Confirmation, _) => 4,
        }
    }

    /// A total order by time, so that a verdict doesn't depend on the order of arrival.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        // Not a number sorts last, as the moment that is known least.
        self.time_s
            .total_cmp(&other.time_s)
            .then_with(|| self.node.cmp(&other.node))
            .then_with(|| self.rank.cmp(&other.rank))
            .then_with(|| self.finding.cmp(&other.finding))
            .then_with(|| self.exit.cmp(&other.exit))
            .then_with(|| self.text.cmp(&other.text))
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s {}", self.time_s, self.node)?;
        if let Some(rank) = self.rank {
            write!(f, " rank {rank}")?;
        }
        write!(f, " [{} {}] {}", self.finding.role, self.finding.status, self.text.trim())
    }
}
