//! Quantizers: how a run of cache elements becomes small integers and a few numbers that give the
//! elements back.
//!
//! | file | what |
//! |---|---|
//! | [`bits`] | codes of 1, 2, 4 and 8 bits, packed without padding between them |
//! | [`group`] | the paper's round-to-nearest group quantizer (section 2.2, equations 4 to 6) |
//!
//! llama.cpp's block formats `q8_0` and `q4_0`, the baselines, are candle's own
//! ([`candle_core::quantized::k_quants`]), the same code that holds a model's weights.

pub mod bits;
pub mod group;
