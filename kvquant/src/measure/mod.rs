//! Timings on CPUs: what memory can do, how fast a model reads and decodes, and llama.cpp beside it.
//!
//! All cases of a run take turns, so that a machine that is busy for a while is so for all of them, and figures are
//! medians. ([`crate::cuda::measure`] and [`crate::cuda::throughput`] are the same on GPUs.)
//!
//! | file | what |
//! |---|---|
//! | [`bandwidth`] | the memory's, for reading |
//! | [`attention`] | attention alone |
//! | [`decode`] | reading a context, then decoding after it |
//! | [`memory`] | what a process holds |
//! | [`llama_cpp`] | the same by llama.cpp's own benchmark |

pub mod attention;
pub mod bandwidth;
pub mod decode;
pub mod llama_cpp;
pub mod memory;

pub use attention::{AttentionCase, AttentionTime, attention_times, integer_plan};
pub use bandwidth::read_bandwidth;
pub use decode::{DecodeCase, DecodeTime, decode_times};
