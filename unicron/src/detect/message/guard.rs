//! Lines that name errors without there being one (NVRx's guards: notes on the field, 4.7).

use aho_corasick::{AhoCorasick, MatchKind};
use std::sync::LazyLock;

/// What begins advice. What stands before it on the line still counts.
const ADVICE: [&str; 11] = [
    "CUDA kernel errors might be",
    "For debugging consider",
    "CUDA_LAUNCH_BLOCKING",
    "TORCH_USE_CUDA_DSA",
    "might be caused by",
    "may be caused by",
    "can be caused by",
    "could be caused by",
    "This may indicate a possible",
    "may have failed because",
    "Possible causes",
];

/// Finds the first advice of a line in one pass.
static FIRST_ADVICE: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(ADVICE);
    automaton.expect("a dozen short texts make a small automaton")
});

/// The line up to any advice in it.
pub(super) fn without_advice(line: &str) -> &str {
    let end = FIRST_ADVICE.find(line).map_or(line.len(), |advice| advice.start());
    &line[..end]
}

/// Whether it is part of a traceback, of Python or C++, other than the exception itself.
pub(super) fn is_frame(body: &str) -> bool {
    let is_python = body.starts_with("File \"") && body.contains(", line ");
    is_python
        || body.starts_with("frame #")
        || body.starts_with("Traceback (most recent call last)")
        || body.starts_with("raise ")
        || body.starts_with("Exception raised from ")
}

/// Whether it tells of ordinary progress. NCCL writes thousands of such lines where it is asked to,
/// among them every retry.
pub(super) fn is_progress(text: &str) -> bool {
    text.contains(" NCCL INFO ") || text.contains(" NCCL TRACE ")
}
