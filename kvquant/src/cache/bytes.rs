//! The exact bytes of a plan, by arithmetic: what a cache will hold, without one.
//!
//! A running cache counts its bytes itself ([`KvCache::bytes`](super::KvCache::bytes)); a test holds
//! the two against each other for every format and length.

use super::layer::{Side, key_channels, retention, value_bits};
use super::packed::{TiledKeys, TiledValues};
use super::{CacheShape, GGML_BLOCK, check_plan};
use crate::Result;
use crate::policy::{Plan, SideFormat};
use crate::quant::levels::Levels;
use serde::Serialize;
use std::iter::Sum;
use std::ops::Add;

const F16_BYTES: u64 = 2;
/// A block of `q8_0`: half-precision scale and 32 codes of a byte.
const Q8_0_BLOCK_BYTES: u64 = 34;
/// A block of `q4_0`: half-precision scale and 32 codes of half a byte.
const Q4_0_BLOCK_BYTES: u64 = 18;

/// Bytes of keys and of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CacheBytes {
    /// Bytes of the keys.
    pub keys: u64,
    /// Bytes of the values.
    pub values: u64,
}

impl CacheBytes {
    /// Keys and values together.
    pub fn total(self) -> u64 {
        self.keys + self.values
    }

    /// Bits for an element of a cache of `n_tokens` tokens; 0 if there is none.
    pub fn bits_per_element(self, shape: CacheShape, n_tokens: usize) -> f64 {
        let elements = shape.elements_per_token() as f64 * n_tokens as f64;
        if elements == 0.0 { 0.0 } else { self.total() as f64 * 8.0 / elements }
    }
}

impl Add for CacheBytes {
    type Output = CacheBytes;

    fn add(self, other: CacheBytes) -> CacheBytes {
        CacheBytes { keys: self.keys + other.keys, values: self.values + other.values }
    }
}

impl Sum for CacheBytes {
    fn sum<I: Iterator<Item = CacheBytes>>(sides: I) -> CacheBytes {
        sides.fold(CacheBytes::default(), Add::add)
    }
}

/// The bytes that the cache of one sequence of `n_tokens` tokens holds under `plan`, metadata and
/// half-precision window included.
///
/// # Errors
/// If the plan does not fit the shape; see [`check_plan`].
pub fn planned_bytes(shape: CacheShape, plan: &Plan, n_tokens: usize) -> Result<CacheBytes> {
    let formats = check_plan(shape, plan)?;
    Ok(formats
        .into_iter()
        .map(|format| CacheBytes {
            keys: side_bytes(shape, Side::Keys, &format.keys, plan, n_tokens),
            values: side_bytes(shape, Side::Values, &format.values, plan, n_tokens),
        })
        .sum())
}

/// Bytes of one side of one layer.
fn side_bytes(
    shape: CacheShape,
    side: Side,
    format: &SideFormat,
    plan: &Plan,
    n_tokens: usize,
) -> u64 {
    let after_sinks = n_tokens.saturating_sub(plan.sinks);
    let packed = retention(side, format, plan).packed_at_rest(0, after_sinks);
    let head_dim = shape.head_dim as u64;
    let exact_bytes = (n_tokens - packed) as u64 * head_dim * F16_BYTES;
    let heads = 0..shape.n_kv_heads;
    let of_all_heads = |bytes: u64| shape.n_kv_heads as u64 * bytes;
    let blocks = packed as u64 * head_dim / GGML_BLOCK as u64;
    let packed_bytes = match (format, side) {
        (SideFormat::F16, _) => 0,
        (SideFormat::Q8_0, _) => of_all_heads(blocks * Q8_0_BLOCK_BYTES),
        (SideFormat::Q4_0, _) => of_all_heads(blocks * Q4_0_BLOCK_BYTES),
        // An empty head knows what its tokens will take.
        (SideFormat::Rtn(width), Side::Keys) => {
            let head = TiledKeys::rtn(shape.head_dim, plan.group, *width, Levels::default());
            of_all_heads((packed / plan.group * head.group_bytes()) as u64)
        }
        (SideFormat::Rtn(width), Side::Values) => {
            let head = TiledValues::rtn(shape.head_dim, plan.group, *width, Levels::default());
            of_all_heads((packed * head.row_bytes()) as u64)
        }
        (_, Side::Keys) => {
            let channels = heads.filter_map(|head_idx| key_channels(format, head_idx));
            let bytes = |channels| {
                TiledKeys::int(shape.head_dim, plan.group, Levels::default(), &channels)
                    .group_bytes()
            };
            (packed / plan.group * channels.map(bytes).sum::<usize>()) as u64
        }
        (_, Side::Values) => {
            let bits = heads.filter_map(|head_idx| value_bits(format, head_idx));
            let bytes =
                |bits| TiledValues::int(shape.head_dim, bits, Levels::default()).row_bytes();
            (packed * bits.map(bytes).sum::<usize>()) as u64
        }
    };
    packed_bytes + of_all_heads(exact_bytes)
}
