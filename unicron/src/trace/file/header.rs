//! The comments above the columns, which tell what the whole trace needs.

use super::number;
use crate::trace::{Extent, check_name};

/// What the comments say.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// The trace's name.
    pub(super) name: Option<String>,
    nodes: Option<usize>,
    gpus_per_node: Option<usize>,
    duration_s: Option<f64>,
}

impl Header {
    /// Takes a comment, without its `#`. One that isn't `key: value` with a key of ours is prose.
    pub(super) fn take(&mut self, comment: &str) -> Result<(), String> {
        let Some((key, value)) = comment.split_once(':') else { return Ok(()) };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "name" => {
                check_name(value)?;
                set(&mut self.name, key, value.to_owned())
            }
            "nodes" => set(&mut self.nodes, key, number(key, value)?),
            "gpus_per_node" => set(&mut self.gpus_per_node, key, number(key, value)?),
            "duration_s" => set(&mut self.duration_s, key, number(key, value)?),
            _ => Ok(()),
        }
    }

    /// The extent, once all of it has been told.
    pub(super) fn extent(&self) -> Result<Extent, String> {
        let missing = |key| format!("no {key} above the columns; a line \"# {key}: …\" is needed");
        let extent = Extent {
            nodes: self.nodes.ok_or_else(|| missing("nodes"))?,
            gpus_per_node: self.gpus_per_node.ok_or_else(|| missing("gpus_per_node"))?,
            duration_s: self.duration_s.ok_or_else(|| missing("duration_s"))?,
        };
        extent.check().map(|()| extent)
    }
}

fn set<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is told twice")),
    }
}
