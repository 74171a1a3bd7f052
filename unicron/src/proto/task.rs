//! A task as the coordinator tells of it.

use super::v1;

impl v1::Task {
    /// Whether nothing more is to be expected of it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "done" | "failed" | "stopped")
    }
}
