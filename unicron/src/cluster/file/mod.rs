//! The file that describes a cluster and its tasks, `cluster.toml`.
//!
//! ```toml
//! [cluster]
//! nodes = 16                    # numbered from 0
//! gpus_per_node = 8
//! hardware = "a800-80gb"        # a kind (this one if absent), or its figures:
//! # hardware = { kind = "h100-80gb", inter_node_bandwidth = 25e9, storage_bandwidth = 10e9 }
//! # hardware = { peak_flops = 312e12, memory_bytes = 80e9, memory_bandwidth = 2e12,
//! #              intra_node_bandwidth = 200e9, inter_node_bandwidth = 12.5e9,
//! #              storage_bandwidth = 2.5e9 }
//!
//! [cluster.domains]             # nodes that fail together; optional
//! rack0 = "0-7"                 # ranges,
//! rack1 = "8-14, 15"
//! switch0 = [0, 1, 8, 9]        # or a list
//!
//! [[tasks]]
//! name = "pretrain"
//! model = "gpt3-7b"             # a preset,
//! weight = 1.5                  # 1 if absent
//! min_workers = 16              # with fewer it counts as stopped; 0 if absent
//! guaranteed_workers = 16       # kept whatever others are worth; the fewest that run if absent
//! current = 32                  # what it has now; 0 if absent
//! whole_nodes = true            # false if absent
//! work_flops = 1e22             # after which it is done; never if absent
//!
//! [[tasks]]
//! name = "own"                  # or sizes, or a preset with other sizes: { preset = …, batch = … }
//! model = { layers = 32, hidden = 4096, heads = 32, batch = 512, sequence = 4096 }
//!
//! [[tasks]]
//! name = "measured"             # or no model at all: FLOP/s by workers, as steps
//! throughput = [[8, 1.4e15], [16, 2.7e15], [32, 5.1e15]]
//!
//! [measured]                    # for the simulator, of a live run: see `unicron trace convert`
//! process_s = 0.02              # until a process's end is noticed; likewise node_health_s, exception_s, stall_s
//! restart_s = 1.3               # what starting a process again costs, as a standstill of its task
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
