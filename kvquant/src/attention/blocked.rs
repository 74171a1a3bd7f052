//! Attention in tiles: a block of queries against a tile of tokens at a time.
//!
//! All query heads of a KV head and up to [`QUERY_BLOCK`] tokens form the rows of one small matrix,
//! so that a tile of packed tokens is decoded once for all of them and the rest is two matrix
//! products. Queries of one block may see the same token differently, the later ones packed, the
//! earlier ones in half precision: such tiles are computed both ways and each query takes its own.

use super::Heads;
use crate::Result;
use crate::cache::Appended;
use crate::cache::layer::SideCache;
use rayon::prelude::*;
use std::ops::Range;

/// Query tokens in a block: enough that decoding a tile is little beside the products with it.
const QUERY_BLOCK: usize = 64;
/// Tokens in a tile: 64 KiB of scratch at 128 channels, which stays in the second-level cache.
const TILE: usize = 128;

/// Attention of the appended tokens: `queries` and `output` are `[tokens][heads][head_dim]`.
///
/// The same function as [`super::reference::attend`], in single precision and on all threads.
///
/// # Errors
/// If the lengths do not match the shapes.
pub fn attend(
    appended: &Appended<'_>,
    heads: Heads,
    queries: &[f32],
    output: &mut [f32],
) -> Result<()> {
    heads.check(appended, queries, output)?;
    let n_tokens = appended.positions().len();
    let blocks: Vec<(usize, Range<usize>)> = (0..heads.n_kv_heads)
        .flat_map(|kv_head_idx| {
            (0..n_tokens)
                .step_by(QUERY_BLOCK)
                .map(move |first| (kv_head_idx, first..(first + QUERY_BLOCK).min(n_tokens)))
        })
        .collect();
    let results: Vec<Vec<f32>> = blocks
        .par_iter()
        .map(|(kv_head_idx, tokens)| {
            Block::new(appended, heads, *kv_head_idx, tokens.clone(), queries).attend()
        })
        .collect();
    for ((kv_head_idx, tokens), result) in blocks.into_iter().zip(results) {
        let row_len = heads.group_size() * heads.head_dim;
        for (token, row) in tokens.zip(result.chunks_exact(row_len)) {
            let at = token * heads.row_len() + kv_head_idx * row_len;
            output[at..at + row_len].copy_from_slice(row);
        }
    }
    Ok(())
}

/// The queries of one KV head's query heads for a run of tokens; row r is token r / group size.
struct Block<'a> {
    appended: &'a Appended<'a>,
    kv_head_idx: usize,
    /// Position of each row's token.
    positions: Vec<usize>,
    /// Scaled queries, `[rows][head_dim]`.
    queries: Vec<f32>,
    head_dim: usize,
}

impl<'a> Block<'a> {
    fn new(
        appended: &'a Appended<'a>,
        heads: Heads,
        kv_head_idx: usize,
        tokens: Range<usize>,
        queries: &[f32],
    ) -> Block<'a> {
        let first = appended.positions().start;
        let row_len = heads.group_size() * heads.head_dim;
        let scale = heads.logit_scale();
        let mut block = Block {
            appended,
            kv_head_idx,
            positions: Vec::with_capacity(tokens.len() * heads.group_size()),
            queries: Vec::with_capacity(tokens.len() * row_len),
            head_dim: heads.head_dim,
        };
        for token in tokens {
            let at = token * heads.row_len() + kv_head_idx * row_len;
            block.queries.extend(queries[at..at + row_len].iter().map(|query| query * scale));
            block.positions.extend(std::iter::repeat_n(first + token, heads.group_size()));
        }
        block
    }

    /// The output, `[rows][head_dim]`.
    fn attend(&self) -> Vec<f32> {
        let n_tokens = self.positions.last().map_or(0, |position| position + 1);
        let mut weights = vec![f32::NEG_INFINITY; self.positions.len() * n_tokens];
        self.logits(n_tokens, &mut weights);
        for row in weights.chunks_exact_mut(n_tokens) {
            softmax(row);
        }
        self.weighted_values(n_tokens, &weights)
    }

    /// Fills `logits`, `[rows][n_tokens]`; what a row does not see stays as it is.
    fn logits(&self, n_tokens: usize, logits: &mut [f32]) {
        let n_rows = self.positions.len();
        let keys = self.appended.keys();
        let mut scratch = vec![0.0; n_rows * TILE];
        self.for_each_tile(keys, n_tokens, |tile, rows, seen| {
            let products = &mut scratch[..n_rows * tile.len()];
            multiply_transposed(&self.queries, rows, products, self.head_dim);
            for (row, products) in products.chunks_exact(tile.len()).enumerate() {
                let seen = seen(self.positions[row]);
                let (start, end) = (seen.start.max(tile.start), seen.end.min(tile.end));
                if start < end {
                    logits[row * n_tokens..][start..end]
                        .copy_from_slice(&products[start - tile.start..end - tile.start]);
                }
            }
        });
    }

    /// The sum of values by `weights`, `[rows][n_tokens]`.
    fn weighted_values(&self, n_tokens: usize, weights: &[f32]) -> Vec<f32> {
        let n_rows = self.positions.len();
        let mut output = vec![0.0; n_rows * self.head_dim];
        let mut scratch = vec![0.0; n_rows * TILE];
        self.for_each_tile(self.appended.values(), n_tokens, |tile, rows, seen| {
            let masked = &mut scratch[..n_rows * tile.len()];
            for (row, masked) in masked.chunks_exact_mut(tile.len()).enumerate() {
                let seen = seen(self.positions[row]);
                let weights = &weights[row * n_tokens..][tile.clone()];
                for ((masked, &weight), token) in masked.iter_mut().zip(weights).zip(tile.clone()) {
                    *masked = if seen.contains(&token) { weight } else { 0.0 };
                }
            }
            multiply_add(masked, rows, &mut output, self.head_dim);
        });
        output
    }

    /// Calls `visit` with every tile that some row sees: the positions in it, their rows
    /// `[tokens][head_dim]`, and for the position of a query the positions that it sees in this
    /// form. First the packed tiles, then those of the window.
    fn for_each_tile(
        &self,
        side: &SideCache,
        n_tokens: usize,
        mut visit: impl FnMut(Range<usize>, &[f32], &dyn Fn(usize) -> Range<usize>),
    ) {
        let (Some(&first), Some(&last)) = (self.positions.first(), self.positions.last()) else {
            return;
        };
        let mut scratch = vec![0.0; TILE * self.head_dim];
        for tile in tiles(0..side.packed_for_query(last)) {
            let rows = &mut scratch[..tile.len() * self.head_dim];
            side.decode_packed(self.kv_head_idx, tile.clone(), rows);
            visit(tile, rows, &|position| 0..side.packed_for_query(position));
        }
        for tile in tiles(side.packed_for_query(first)..n_tokens) {
            let rows = &mut scratch[..tile.len() * self.head_dim];
            side.decode_recent(self.kv_head_idx, tile.clone(), rows);
            visit(tile, rows, &|position| side.packed_for_query(position)..position + 1);
        }
    }
}

fn tiles(tokens: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = tokens.end;
    tokens.step_by(TILE).map(move |start| start..(start + TILE).min(end))
}

/// Softmax in place; elements of negative infinity become 0.
fn softmax(row: &mut [f32]) {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for element in row.iter_mut() {
        *element = (*element - greatest).exp();
        total += *element;
    }
    for element in row {
        *element /= total;
    }
}

/// `out[m][n] = a[m][k] * b[n][k]^T`
fn multiply_transposed(a: &[f32], b: &[f32], out: &mut [f32], k: usize) {
    let (m, n) = (a.len() / k, b.len() / k);
    assert_eq!((a.len(), b.len(), out.len()), (m * k, n * k, m * n), "matrix shapes");
    // SAFETY: by the lengths just checked, the strides reach only elements of the three slices, and
    // `out` is borrowed uniquely.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            1,
            k as isize,
            b.as_ptr(),
            k as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `out[m][n] += a[m][k] * b[k][n]`
fn multiply_add(a: &[f32], b: &[f32], out: &mut [f32], n: usize) {
    let k = b.len() / n;
    let m = out.len() / n;
    assert_eq!((a.len(), b.len(), out.len()), (m * k, k * n, m * n), "matrix shapes");
    // SAFETY: as in `multiply_transposed`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            true,
            a.as_ptr(),
            1,
            k as isize,
            b.as_ptr(),
            1,
            n as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
