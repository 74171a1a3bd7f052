//! Unicron: self-healing LLM training for a whole cluster (He et al., "Unicron: Economizing Self-Healing
//! LLM Training at Scale", 2023). In reading order:
//!
//! - [`model`]: the language models that tasks train, their parameters and FLOPs
//! - [`cluster`]: nodes, GPUs and links, failure domains; the file that describes a cluster and its tasks
//! - [`throughput`]: how many FLOP/s a task achieves on so many workers, modelled or measured
//! - [`transition`]: what a change of a task's workers costs, and what it keeps
//! - [`plan`]: one plan over all tasks by weighted achieved FLOP/s
//! - [`detect`]: what an error means: its class, its severity, whose it is
//! - [`trace`]: failures over time, recorded or made up
//! - [`core`]: what decides: events in, commands out
//! - [`simulate`]: the core and its rivals, driven by traces
//! - [`train`]: the reference trainer, which proves the transition bit for bit
//! - [`worker`]: what a training process says to the agent of its node, and hears
//! - [`store`]: what outlives the coordinator, in a file of its own or in etcd, and who leads
//! - [`error`]: what can go wrong
//!
//! To come: `coordinator`, `agent` and `train`, the live system on the same core.
//!
//! **Invariant:** nothing here does IO, reads a clock or draws a number that isn't passed in, except
//! readers and writers of files in [`cluster`] and [`trace`], and [`store`].

pub mod agent;
pub mod cluster;
pub mod coordinator;
pub mod core;
pub mod detect;
pub mod error;
pub mod local_cluster;
pub mod model;
pub mod plan;
pub mod proto;
pub mod rpc;
pub mod simulate;
pub mod store;
mod text;
pub mod throughput;
pub mod trace;
pub mod train;
pub mod transition;
pub mod worker;

pub use error::{Error, Result};
