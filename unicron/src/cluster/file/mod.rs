//! The file that describes a cluster and its tasks, `cluster.toml`.
//!
//! ```toml
#![doc = include_str!("../../../examples/cluster.toml")]
//! ```
//!
//! Every mistake is answered with its line and what would be right. Unknown keys are mistakes, so
//! that a typing error can't pass for a default.

mod cluster_table;
mod fields;
mod measured_table;
mod task_table;

pub use measured_table::Measured;

use super::{Cluster, TaskSpec};
use crate::{Result, text};
use fields::{Fields, Source};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Far above any description of a cluster; keeps a hostile file from filling memory.
const MAX_BYTES: u64 = 64 << 20;

/// A cluster and its tasks, as a file describes them.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFile {
    /// The cluster.
    pub cluster: Cluster,
    /// The tasks, in the file's order. Their workers fit in the cluster.
    pub tasks: Vec<TaskSpec>,
    /// What a live run of it has measured.
    pub measured: Option<Measured>,
}

impl ClusterFile {
    /// Reads a cluster file.
    ///
    /// # Errors
    /// If it can't be read, or says what can't be: the message has the line and what would be right.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&text::read(path, MAX_BYTES, "cluster file")?, path)
    }

    /// Reads the text of a cluster file; the path is for errors.
    ///
    /// # Errors
    /// If it says what can't be: the message has the line and what would be right.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let source = Source { path, text };
        let document = DeTable::parse(text)
            .map_err(|error| source.error(error.span().unwrap_or_default(), error.message()))?;
        let keys = ["cluster", "tasks", "measured"];
        let fields = Fields::new(source, document.get_ref(), 0..0, "the file", &keys)?;
        let cluster = cluster_table::read(fields.required("cluster")?, source)?;
        let tasks = task_table::read_all(fields.get("tasks"), &cluster, source)?;
        let measured = match fields.get("measured") {
            Some(value) => Some(measured_table::read(value, source)?),
            None => None,
        };
        Ok(Self { cluster, tasks, measured })
    }
}

/// A value of the file, with its place.
type Value<'i> = Spanned<DeValue<'i>>;

#[cfg(test)]
mod tests;
