//! How severe a failure is, which decides what is tried first.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The paper's three severities, mildest first: each is tried at its own cost before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Reattempt in place: process and state stay.
    Sev3,
    /// Restart the process on the same node.
    Sev2,
    /// Isolate the node and plan the cluster anew.
    Sev1,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sev3 => "SEV3",
            Self::Sev2 => "SEV2",
            Self::Sev1 => "SEV1",
        })
    }
}
