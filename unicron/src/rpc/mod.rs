//! How processes of a cluster reach each other: addresses, encryption, tokens.
//!
//! | what | file |
//! |---|---|
//! | certificates of servers and clients | [`tls`] |
//! | finding the coordinator that leads, and talking to it | [`client`] |
//! | how many connections a process may have | [`file_limit`] |
//!
//! Whoever may talk to a coordinator may run programs on the nodes. So an address other than loopback asks
//! for certificates on both sides, or for an explicit `--insecure`.

pub mod client;
pub mod file_limit;
pub mod tls;

pub use client::{Client, Endpoints};
pub use tls::{Tls, TlsFiles};

/// The name of the token's header: `authorization: Bearer TOKEN`.
pub const AUTHORIZATION: &str = "authorization";

/// The header in which a coordinator that doesn't lead names the one that does; empty if nobody leads.
pub const LEADER: &str = "unicron-leader";

/// Bytes of the largest message. The largest are lists of thousands of tasks.
pub const MOST_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
