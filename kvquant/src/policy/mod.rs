//! Which format the keys and the values of each layer are stored in.
//!
//! | file | what |
//! |---|---|
//! | [`mod@format`] | the format of one side (keys or values) of one layer's cache |
//! | [`plan`] | a plan: formats for every layer of any model, window and group; bound to a model, a format for each layer |
//! | [`notation`] | plans as people type them: `kivi-2`, `asymkv-16/0`, `q8_0/q4_0` |
//! | [`mod@file`] | plans as TOML files, with a format for any range of layers |

pub mod file;
pub mod format;
pub mod notation;
pub mod plan;

pub use format::{KeyChannels, SideFormat};
pub use plan::{LayerFormat, Plan, Rule, Sides};
