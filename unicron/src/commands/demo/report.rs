//! What the demonstration shows.

use super::row::{self, Row};
use crate::proto::v1::Task;
use serde_json::{Value, json};
use std::fmt::Write;

/// Everything.
pub struct Report {
    /// By fault.
    pub rows: Vec<Row>,
    /// As they ended.
    pub tasks: Vec<Task>,
    /// Checksum of the weights without failures.
    pub expected: String,
    /// How long all took.
    pub seconds: f64,
}

impl Report {
    fn are_equal(&self) -> bool {
        self.tasks.iter().all(|task| task.weights_sha256 == self.expected)
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        json!({
            "weights_equal": self.are_equal(),
            "faults_injected": self.rows.len(),
            "recovered": row::recovered(&self.rows),
            "faults": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "weights_sha256": self.expected,
            "seconds": self.seconds,
            "tasks": self.tasks.iter().map(crate::commands::tasks::to_json).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = row::table(&self.rows).to_text();
        // Writing into a string doesn't fail.
        let _ = writeln!(
            text,
            "\n{} of {} faults recovered in {:.0} s",
            row::recovered(&self.rows),
            self.rows.len(),
            self.seconds
        );
        for task in &self.tasks {
            let verdict = match task.weights_sha256 == self.expected {
                true => "weights equal those without failures, bit for bit",
                false => "WEIGHTS DIFFER from those without failures",
            };
            let _ = writeln!(text, "{:<14} {}: {verdict}", task.name, task.state);
        }
        text
    }
}
