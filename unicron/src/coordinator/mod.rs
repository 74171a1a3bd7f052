//! The coordinator: one of a cluster leads, and looks after all its tasks.
//!
//! | what | file |
//! |---|---|
//! | what tasks and nodes may be called | [`name`] |
//! | the file that describes a task | [`task_file`] |
//! | how much agents may say | `limits` |
//! | what it thinks, without IO | [`brain`] |
//! | what a task has got for its workers' time | [`account`] |
//! | driving the brain: store, then send | [`lead`] |
//! | the way to one agent | [`session`] |
//! | the gRPC service | [`service`] |
//! | what it tells by HTTP | `site` |
//! | what Prometheus is told | [`metrics`] |
//! | what a dashboard is told beyond the present state | [`overview`] |
//! | the log of events, as it is told | `events` |
//! | the process: listens, campaigns, leads | [`server`] |

pub mod account;
pub mod brain;
mod events;
pub mod lead;
mod limits;
pub mod metrics;
pub mod name;
pub mod overview;
pub mod server;
pub mod service;
pub mod session;
mod site;
pub mod task_file;

pub use server::{Setup, serve};
pub use task_file::TaskFile;
