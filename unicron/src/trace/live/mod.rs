//! The log of a live cluster as a trace: what failed when, and what that run has measured.
//!
//! `unicron events --json` tells the log. From it come a [`Trace`] of its failures and a cluster file with
//! its nodes, its tasks and the table `[measured]`: how soon failures were noticed, and what curing one has
//! cost. Whoever simulates the one on the other sees what the simulator's rules make of the same failures,
//! beside the WAF that the run has accumulated.
//!
//! | what | file |
//! |---|---|
//! | the log: events, tasks, accounts | `log` |
//! | its failures | `failures` |
//! | what it has measured, and the cluster file | `measured` |
//!
//! The simulator's tasks all begin at once and train to the end. So the trace is of the time from when the
//! last task has committed its first iteration to the end of the first that ends.

mod failures;
mod log;
mod measured;

use super::{Extent, Trace};
use crate::{Error, Result};
use failures::Failed;
use log::Log;
use std::path::Path;

/// A run of a live cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveRun {
    /// Its failures.
    pub trace: Trace,
    /// Its nodes, tasks and constants: a cluster file.
    pub cluster_file: String,
    /// The weighted FLOPs that it has accumulated in the trace's time.
    pub accumulated_waf: f64,
}

/// Whether a file is a live log rather than a trace.
///
/// # Errors
/// If it can't be read.
pub fn is_log(path: &Path) -> Result<bool> {
    let text = super::file::read_text(path)?;
    Ok(text.trim_start_matches('\u{feff}').trim_start().starts_with('{'))
}

impl LiveRun {
    /// Reads a log.
    ///
    /// # Errors
    /// If the file can't be read, is no log, or there is no time in which all its tasks train.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&super::file::read_text(path)?, path)
    }

    /// The run that `text` tells; `path` is for messages.
    ///
    /// # Errors
    /// As [`LiveRun::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |problem: String| Error::line(path, 1, problem);
        let log = Log::parse(text, path)?;
        let window = log.window().map_err(wrong)?;
        let failed = Failed::of(&log, window);
        let extent = Extent {
            nodes: log.nodes.len(),
            gpus_per_node: log.nodes.values().map(|node| node.slots).max().unwrap_or(0),
            duration_s: window.seconds(),
        };
        let failures = failed.iter().map(|failed| failed.failure.clone()).collect();
        let trace = Trace::new("live", extent, failures).map_err(|e| wrong(e.to_string()))?;
        let measured = measured::Measured::of(&log, window, &failed);
        let cluster_file = measured::cluster_file(&log, &extent, &measured);
        Ok(Self { trace, cluster_file, accumulated_waf: measured.accumulated_waf })
    }
}

#[cfg(test)]
mod tests;
