//! AsymKV: a key-value cache of 1 and 2 bits.

mod error;
pub mod model;

pub use error::{Error, Result};
