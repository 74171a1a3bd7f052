//! Models and data: what is registered, where it is looked for, and how it is fetched.
//!
//! A file is taken from the first place that has it (the user's own path, `$RESEARCH_DATA`, the
//! workspace's `../shared/data`, the cache), else it is downloaded into the cache. Registered
//! files are admitted by size and sha256 only, wherever they come from, so a result never rests
//! on a file that only resembles the one it names.

mod archive;
mod checksum;
mod download;
mod error;
mod hub;
mod lock;
mod registry;
mod store;
#[cfg(test)]
mod test_server;
mod transport;
mod wheel;

pub use checksum::{sha256, sha256_file};
pub use error::AssetError;
pub use registry::{ASSETS, Asset, Kind, Origin, WheelMember, assets, find};
pub use store::{SearchPath, Store};
pub use transport::Transport;
