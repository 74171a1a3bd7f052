//! A fault of a demonstration, and what came of it.

use crate::local_cluster::fault::Outcome;
use common::report::{Align, Table};
use serde_json::{Value, json};

/// A fault and what came of it.
pub struct Row {
    /// For people: the fault's own name, or where it struck.
    pub kind: &'static str,
    pub outcome: Outcome,
}

impl Row {
    /// Under the fault's own name.
    pub fn of(outcome: Outcome) -> Self {
        Self { kind: outcome.fault.name(), outcome }
    }

    /// While it happens. Kinds have at most so many letters.
    pub fn line(&self, letters: usize) -> String {
        let Outcome { task, detected_after_ms, recovered_after_ms, handled_by, .. } = &self.outcome;
        format!(
            "{:<letters$} {task:<14} detected after {detected_after_ms:>5.0} ms, next iteration after \
             {recovered_after_ms:>5.0} ms: {handled_by}",
            self.kind
        )
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let outcome = &self.outcome;
        json!({
            "kind": self.kind,
            "task": outcome.task,
            "detected_after_ms": outcome.detected_after_ms,
            "recovered_after_ms": outcome.recovered_after_ms,
            "handled_by": outcome.handled_by,
            "recomputed_micro_batches": outcome.recomputed_micro_batches,
            "iterations_back": outcome.iterations_back,
        })
    }
}

/// How many of them were survived.
pub fn recovered(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.outcome.recovered_after_ms.is_finite()).count()
}

/// All of them, for people.
pub fn table(rows: &[Row]) -> Table {
    let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
    let mut table = Table::new(&[
        left("fault"),
        left("task"),
        right("detected after"),
        right("next iteration after"),
        right("done again"),
        left("handled by"),
    ]);
    for Row { kind, outcome } in rows {
        let again = match outcome.iterations_back {
            0 => format!("{} micro-batches", outcome.recomputed_micro_batches),
            back => format!("{back} iterations"),
        };
        table.row([
            (*kind).to_owned(),
            outcome.task.clone(),
            format!("{:.0} ms", outcome.detected_after_ms),
            format!("{:.0} ms", outcome.recovered_after_ms),
            again,
            outcome.handled_by.clone(),
        ]);
    }
    table
}
