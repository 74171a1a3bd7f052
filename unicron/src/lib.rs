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
//! - [`bins`]: where the time of workers goes
//! - [`simulate`]: the core and its rivals, driven by traces
//! - [`worker`]: what a training process says to the agent of its node, and hears
//! - [`train`]: the reference trainer, which proves the transition bit for bit
//! - [`agent`]: starts and watches the workers of a node
//! - [`store`]: what outlives the coordinator, in a file of its own or in etcd, and who leads
//! - [`coordinator`]: looks after all tasks of a cluster, by the core's decisions
//! - [`rpc`], [`proto`]: how these reach each other
//! - [`http`], [`dashboard`]: how people and Prometheus look at it
//! - [`local_cluster`]: all of it on one machine, to be broken on purpose
//! - [`commands`]: what people type
//! - [`error`]: what can go wrong
//!
//! **Invariant:** what decides does no IO, reads no clock and draws no number that isn't passed in: all but
//! readers and writers of files in [`cluster`] and [`trace`], the [`commands`], and the live system, whose
//! deciding part is [`coordinator::brain`].

pub mod agent;
pub mod bins;
pub mod cluster;
pub mod commands;
pub mod coordinator;
pub mod core;
pub mod dashboard;
pub mod detect;
pub mod error;
pub mod http;
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
mod wall_clock;
pub mod worker;

pub use error::{Error, Result};
