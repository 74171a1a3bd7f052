//! What the thin binaries of the three systems share.
//!
//! This is the one place where the workspace's libraries meet the outside: only here (and in
//! [`testing`](crate::testing), for tests) is the environment read, git asked and text printed, so
//! that everything else is a function of its arguments.

// See above: this lint keeps everybody else from the environment. Text goes through explicit
// writers, whose errors are handled, so the lints on `println!` may stand.
#![allow(clippy::disallowed_methods)]

mod environment;
mod exit;
mod output;
mod provenance;

pub use environment::{store, text_variable, workspace_root};
pub use exit::{BadInput, InputContext, mark_bad_input, run_main};
pub use output::{StdoutClosed, print, print_json};
pub use provenance::provenance;
