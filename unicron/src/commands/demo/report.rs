//! What the demonstration shows.

use crate::local_cluster::fault::Outcome;
use crate::proto::v1::Task;
use common::report::{Align, Table};
use serde_json::{Value, json};
use std::fmt::Write;

/// A fault and what came of it.
pub struct Row(Outcome);

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

impl Row {
    /// Of an outcome.
    pub fn of(outcome: Outcome) -> Self {
        Self(outcome)
    }

    /// While it happens.
    pub fn line(&self) -> String {
        let Outcome { fault, task, detected_after_ms, recovered_after_ms, handled_by, .. } =
            &self.0;
        format!(
            "{:<20} {task:<14} detected after {detected_after_ms:>5.0} ms, next iteration after \
             {recovered_after_ms:>5.0} ms: {handled_by}",
            fault.name()
        )
    }

    fn json(&self) -> Value {
        let outcome = &self.0;
        json!({
            "kind": outcome.fault.name(),
            "task": outcome.task,
            "detected_after_ms": outcome.detected_after_ms,
            "recovered_after_ms": outcome.recovered_after_ms,
            "handled_by": outcome.handled_by,
            "recomputed_micro_batches": outcome.recomputed_micro_batches,
            "iterations_back": outcome.iterations_back,
        })
    }
}

impl Report {
    fn are_equal(&self) -> bool {
        self.tasks.iter().all(|task| task.weights_sha256 == self.expected)
    }

    fn recovered(&self) -> usize {
        self.rows.iter().filter(|row| row.0.recovered_after_ms.is_finite()).count()
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        json!({
            "weights_equal": self.are_equal(),
            "faults_injected": self.rows.len(),
            "recovered": self.recovered(),
            "faults": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "weights_sha256": self.expected,
            "seconds": self.seconds,
            "tasks": self.tasks.iter().map(crate::commands::tasks::to_json).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
        let mut table = Table::new(&[
            left("fault"),
            left("task"),
            right("detected after"),
            right("next iteration after"),
            right("done again"),
            left("handled by"),
        ]);
        for Row(outcome) in &self.rows {
            let again = match outcome.iterations_back {
                0 => format!("{} micro-batches", outcome.recomputed_micro_batches),
                back => format!("{back} iterations"),
            };
            table.row([
                outcome.fault.name().to_owned(),
                outcome.task.clone(),
                format!("{:.0} ms", outcome.detected_after_ms),
                format!("{:.0} ms", outcome.recovered_after_ms),
                again,
                outcome.handled_by.clone(),
            ]);
        }
        let mut text = table.to_text();
        // Writing into a string doesn't fail.
        let _ = writeln!(
            text,
            "\n{} of {} faults recovered in {:.0} s",
            self.recovered(),
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
