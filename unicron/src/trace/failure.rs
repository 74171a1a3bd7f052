//! One failure of a trace.

use super::{Extent, MAX_DURATION_S};
use crate::detect::{Severity, Status};

/// A name or a note is for a line of a table.
const MAX_TEXT_CHARS: usize = 1000;

/// Something that goes wrong on a node. What it means to whoever replays it is told in the
/// [module's](super) documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// When, in seconds from the start of the trace.
    pub at_s: f64,
    /// The node, from 0.
    pub node: usize,
    /// The GPU of the node, from 0, or the process that trains on it; `None` where the whole node is
    /// concerned, or nobody knows.
    pub gpu: Option<usize>,
    /// What is wrong.
    pub status: Status,
    /// How severe it is: most often as its status, but a recorded node fault, for instance, is SEV1
    /// whatever its symptom.
    pub severity: Severity,
    /// How long the node is away, in seconds; `None` where it needs no repair.
    pub repair_s: Option<f64>,
    /// The number that failures of one cause share, such as all those of a rack's switch.
    pub group: Option<u32>,
    /// What a person should know, on one line; may be empty.
    pub note: String,
}

impl Failure {
    /// A failure of a node, without repair, group and note.
    #[must_use]
    pub fn new(at_s: f64, node: usize, status: Status, severity: Severity) -> Self {
        let (gpu, repair_s, group, note) = (None, None, None, String::new());
        Self { at_s, node, gpu, status, severity, repair_s, group, note }
    }

    /// When the node is back, in seconds; `None` where it needs no repair.
    #[must_use]
    pub fn back_at_s(&self) -> Option<f64> {
        self.repair_s.map(|repair_s| self.at_s + repair_s)
    }

    /// What is wrong with it in a trace of this extent, and what would be right.
    pub(super) fn check(&self, extent: &Extent) -> Result<(), String> {
        let Extent { nodes, gpus_per_node, duration_s } = *extent;
        // NaN is in no range and is refused, too.
        if !(0.0..=duration_s).contains(&self.at_s) {
            return Err(format!("at_s: {} isn't from 0 to the duration, {duration_s}", self.at_s));
        }
        if self.node >= nodes {
            return Err(format!("node: {} isn't one of 0 to {}", self.node, nodes - 1));
        }
        if let Some(gpu) = self.gpu.filter(|gpu| *gpu >= gpus_per_node) {
            return Err(format!("gpu: {gpu} isn't one of 0 to {}", gpus_per_node - 1));
        }
        if let Some(repair) = self.repair_s.filter(|r| !(0.0..=MAX_DURATION_S).contains(r)) {
            return Err(format!("repair_s: {repair} isn't from 0 to {MAX_DURATION_S} (100 years)"));
        }
        text_problem(&self.note).map_or(Ok(()), |problem| Err(format!("note: {problem}")))
    }
}

/// Why a text can't be a field of a line.
pub(super) fn text_problem(text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return Some("has a control character; it must be plain text on one line".to_owned());
    }
    let is_long = text.chars().nth(MAX_TEXT_CHARS).is_some();
    is_long.then(|| format!("has more than {MAX_TEXT_CHARS} characters"))
}
