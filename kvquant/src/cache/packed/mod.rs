//! The packed formats of one head's older tokens.

mod blocks;
mod tiled_keys;
mod tiled_values;

pub(super) use blocks::Blocks;
pub(crate) use tiled_keys::{ParamKind, ParamLayout, TiledKeys};
pub(crate) use tiled_values::{SCALES, TiledValues, ValueKind, half_at};

use std::fmt::Debug;
use std::ops::Range;

/// Packed tokens of one head. Rows are `[tokens][head_dim]`.
pub(super) trait Packed: Debug + Send + Sync {
    /// Tokens held.
    fn n_tokens(&self) -> usize;

    /// Quantizes and appends tokens, a multiple of [`Packed::granularity`].
    fn push(&mut self, rows: &[f32]);

    /// Writes the rows of a range of tokens, dequantized.
    fn decode(&self, tokens: Range<usize>, rows: &mut [f32]);

    /// Writes the variances of the errors of a range of tokens; nothing where they are not known.
    fn noise(&self, _tokens: Range<usize>, variances: &mut [f32]) {
        variances.fill(0.0);
    }

    /// Drops all tokens from `n_tokens`, rounded down to [`Packed::granularity`], on.
    fn truncate(&mut self, n_tokens: usize);

    /// The number of tokens that can only be packed together.
    fn granularity(&self) -> usize {
        1
    }

    /// Bytes of codes and metadata.
    fn bytes(&self) -> usize;

    /// The same once more.
    fn duplicate(&self) -> Box<dyn Packed>;

    /// Itself, if it is keys that integer kernels read.
    fn keys(&self) -> Option<&TiledKeys> {
        None
    }

    /// Itself, if it is values that integer kernels read.
    fn values(&self) -> Option<&TiledValues> {
        None
    }
}

impl Clone for Box<dyn Packed> {
    fn clone(&self) -> Box<dyn Packed> {
        self.duplicate()
    }
}

/// Makes room for `additional` elements. Growing by an eighth, not by the doubling of
/// [`Vec::reserve`], keeps a long cache close to the bytes that it reports.
pub(super) fn reserve<T>(vec: &mut Vec<T>, additional: usize) {
    if vec.capacity() - vec.len() < additional {
        vec.reserve_exact(additional.max(vec.len() / 8));
    }
}
