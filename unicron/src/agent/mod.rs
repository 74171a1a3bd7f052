//! The agent of a node: starts its workers and watches them, in band, for the coordinator.
//!
//! | what | file |
//! |---|---|
//! | until when the node may work without hearing from a coordinator | [`fence`] |
//! | between agent and worker: no process outlives either | [`guardian`] |
//! | a worker's process, its output, its end | [`process`] |
//! | the worker's side of the conversation | [`local`] |
//! | how long its steps take | `watch` |
//! | what torchrun would give it | [`torchrun`] |
//! | where workers of a task meet | [`tcp_store`] |
//! | what its output means | `signs` |
//! | what the kernel's log says | [`kernel_log`] |
//! | the conversation with the coordinator | [`session`] |
//! | a node's health, by a command of its owner | `health` |
//! | all of it together | [`node`] |
//!
//! Nothing here uses a GPU or makes a worker wait: what a worker says is read by another process.

pub mod cgroup;
pub mod fence;
pub mod guardian;
mod health;
pub mod kernel_log;
pub mod local;
pub mod node;
pub(crate) mod proc_stat;
pub mod process;
pub mod session;
mod signs;
pub mod tcp_store;
pub mod torchrun;
pub mod watch;

pub use health::HealthCheck;
pub use node::{Output, Settings, run};
