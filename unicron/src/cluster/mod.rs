//! Nodes, GPUs and links, failure domains; the file that describes a cluster and its tasks.

mod hardware;
mod topology;

pub use hardware::Hardware;
pub use topology::{Cluster, Domain};
