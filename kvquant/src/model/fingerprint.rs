//! Which model a plan was made for.

use super::config::Config;
use super::gguf::Gguf;
use crate::Result;
use crate::checksum::hex;
use sha2::{Digest, Sha256};

/// The SHA-256 of all projections to keys and values as the file stores them, in hexadecimal digits: what
/// fills the cache depends on them before all else, and a file that only carries another name or template has
/// the same.
///
/// # Errors
/// If one of them is missing.
pub fn fingerprint(gguf: &Gguf, config: &Config) -> Result<String> {
    let mut hasher = Sha256::new();
    for layer in 0..config.n_layers {
        for part in ["attn_k", "attn_v"] {
            hasher.update(gguf.tensor(&format!("blk.{layer}.{part}.weight"))?.data);
        }
    }
    Ok(hex(&hasher.finalize()))
}
