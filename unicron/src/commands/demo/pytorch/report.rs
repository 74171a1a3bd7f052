//! What the demonstration with PyTorch shows.

use super::{KEEPS, RESTARTS};
use crate::commands::demo::row::{self, Row};
use crate::proto::v1::Task;
use anyhow::Context;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// Everything.
pub struct Report {
    /// By fault.
    pub rows: Vec<Row>,
    /// As they ended.
    pub tasks: Vec<Task>,
    /// Losses without failures.
    pub expected: Vec<f64>,
    /// Those of the task that keeps its iteration.
    pub found: Vec<f64>,
    /// How long all took.
    pub seconds: f64,
}

/// Reads `iteration,loss` lines. Each iteration has to be there once, in order.
pub fn losses(path: &Path) -> anyhow::Result<Vec<f64>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let rows = text.lines().enumerate().map(|(index, line)| {
        let row = line.split_once(',').filter(|(number, _)| *number == (index + 1).to_string());
        let loss = row.and_then(|(_, loss)| loss.parse().ok());
        loss.with_context(|| {
            format!("{}:{}: {line:?} is no loss of its iteration", path.display(), index + 1)
        })
    });
    rows.collect()
}

impl Report {
    /// The greatest difference of a loss from that of a run without failures; infinite if some are missing.
    fn difference(&self) -> f64 {
        if self.expected.len() != self.found.len() {
            return f64::INFINITY;
        }
        let pairs = self.expected.iter().zip(&self.found);
        pairs.map(|(one, other)| ((one - other) / one).abs()).fold(0.0, f64::max)
    }

    fn of<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.outcome.task == task)
    }

    fn iterations_lost(&self, task: &str) -> u64 {
        self.of(task).map(|row| row.outcome.iterations_back).sum()
    }

    /// Milliseconds from a worker's death to the next new iteration, in the mean.
    fn lost_ms(&self, task: &str) -> f64 {
        let kills: Vec<f64> = self
            .of(task)
            .filter(|row| row.kind.contains("worker killed"))
            .map(|row| row.outcome.recovered_after_ms)
            .collect();
        kills.iter().sum::<f64>() / kills.len() as f64
    }

    fn committed_twice(&self) -> u64 {
        self.tasks.iter().map(|task| task.committed_twice).sum()
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        json!({
            "loss_max_relative_difference": self.difference(),
            "faults_injected": self.rows.len(),
            "recovered": row::recovered(&self.rows),
            "iterations_lost": self.iterations_lost(KEEPS),
            "iterations_committed_twice": self.committed_twice(),
            "faults": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "lost_ms_per_killed_worker": self.lost_ms(KEEPS),
            "restarted": {
                "iterations_lost": self.iterations_lost(RESTARTS),
                "lost_ms_per_killed_worker": self.lost_ms(RESTARTS),
            },
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
            "\n{} of {} faults recovered in {:.0} s\n\
             a killed worker costs {:.0} ms and no iteration; with a restart from the checkpoint {:.0} ms, \
             {} iterations in all\n\
             losses differ from those without failures by {:.1e} at most, relatively; {} iterations were \
             committed twice",
            row::recovered(&self.rows),
            self.rows.len(),
            self.seconds,
            self.lost_ms(KEEPS),
            self.lost_ms(RESTARTS),
            self.iterations_lost(RESTARTS),
            self.difference(),
            self.committed_twice(),
        );
        text
    }
}
