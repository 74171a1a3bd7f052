//! What a training process needs to be looked after by an agent.
//!
//! | what | file |
//! |---|---|
//! | what is said, and how | [`protocol`] |
//! | the worker's end of the connection | [`client`] |
//! | the lease that it lives on | [`lease`] |

pub mod client;
pub mod lease;
pub mod protocol;

pub use client::{Client, Heard};
pub use lease::Lease;
