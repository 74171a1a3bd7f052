//! What a sign of trouble says about its own cause.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The part that a sign plays in an incident; the one that explains most comes first.
///
/// One dead process makes every other rank of the task complain. Acting on a complaint restarts the
/// wrong process, so a sign that matches a pattern is not yet a verdict (notes on the field, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May be the cause: it speaks of its own process, device or node.
    Root,
    /// Follows from a failure, mostly somebody else's.
    Cascade,
    /// Supports a cause that something else has shown, and proves nothing alone.
    Confirmation,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Cascade => "cascade",
            Self::Confirmation => "confirmation",
        })
    }
}
