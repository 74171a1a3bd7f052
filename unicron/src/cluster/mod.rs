//! Nodes, GPUs and links, failure domains; the file that describes a cluster and its tasks.

mod file;
mod hardware;
mod task;
mod topology;

pub use file::{ClusterFile, Measured};
pub use hardware::Hardware;
pub(crate) use hardware::check_figure;
pub use task::TaskSpec;
pub use topology::{Cluster, Domain};
