//! The time of day, for people and for what two machines compare. Durations are counted by other clocks.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of the Unix epoch.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
