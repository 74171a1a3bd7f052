//! Which model a plan was made for.

use super::gguf::Gguf;
use crate::Result;
use common::assets::sha256;

/// The SHA-256 of all tensors as the file stores them, in hexadecimal digits: a file that only carries another name
/// or template has the same, another quantization of the same model has not.
///
/// # Errors
/// If a tensor is not complete.
pub fn fingerprint(gguf: &Gguf) -> Result<String> {
    let tensors = gguf.tensor_names().map(|name| Ok(gguf.tensor(name)?.data));
    let fingerprint = sha256(tensors.collect::<Result<Vec<&[u8]>>>()?);
    // All of the file was read, most of which nobody needs again.
    gguf.release();
    Ok(fingerprint)
}
