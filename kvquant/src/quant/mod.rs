//! Quantizers: how a run of cache elements becomes small integers and a few numbers that give the
//! elements back.
//!
//! | file | what |
//! |---|---|
//! | [`bits`] | the paper's widths: 1, 2, 4 and 8 bits |
//! | [`tiles`] | codes in the order in which integer dot products read them |
//! | [`levels`] | where a group's evenly spaced levels lie: the paper's rule and better ones |
//! | [`group`] | the paper's round-to-nearest group quantizer (section 2.2, equations 4 to 6) |
//! | `lanes` | sums over groups, for every form of vector instructions |
//! | [`symmetric`] | levels about zero with one scale |
//! | [`byte`] | scales and centres in a byte each |
//! | [`hadamard`] | the rotation that makes heads easy to quantize |
//!
//! llama.cpp's block formats `q8_0` and `q4_0`, the baselines, are candle's own
//! ([`candle_core::quantized::k_quants`]), the same code that holds a model's weights.

pub mod bits;
pub mod byte;
pub mod group;
pub mod hadamard;
mod lanes;
pub mod levels;
pub mod symmetric;
pub mod tiles;
