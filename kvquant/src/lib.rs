//! AsymKV: a key-value cache of 1 and 2 bits.

pub mod attention;
pub mod cache;
mod error;
pub mod eval;
pub mod model;
pub mod policy;
pub mod quant;

pub use error::{Error, Result};
