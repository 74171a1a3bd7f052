//! Attention in tiles: a block of queries against a tile of tokens at a time.
//!
//! All query heads of a KV head and up to `QUERY_BLOCK` tokens form the rows of one small matrix,
//! so that a tile of packed tokens is decoded once for all of them and the rest is two matrix
//! products. Queries of one block may see the same token differently, the later ones packed, the
//! earlier ones in half precision: such tiles are computed both ways and each query takes its own.
//! Where the cache is rotated, queries are rotated with it and outputs back, not the cache.

use super::Heads;
use super::softmax::softmax;
use crate::Result;
use crate::cache::Appended;
use crate::cache::layer::{Seen, SideCache};
use crate::quant::hadamard;
use rayon::prelude::*;
use std::ops::Range;

/// Query tokens in a block: enough that decoding a tile is little beside the products with it.
const QUERY_BLOCK: usize = 64;
/// Tokens in a tile: 64 KiB of scratch at 128 channels, which stays in the second-level cache.
const TILE: usize = 128;
/// Rows of a product at least: below, `gemm` turns to kernels that add up in another order.
const MIN_ROWS: usize = 4;

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
    /// Scaled queries, `[rows][head_dim]`, padded with zeros to [`MIN_ROWS`] rows.
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
        if appended.keys().is_rotated() {
            block.queries.chunks_exact_mut(heads.head_dim).for_each(hadamard::rotate);
        }
        block.queries.resize(block.n_padded_rows() * heads.head_dim, 0.0);
        block
    }

    fn n_padded_rows(&self) -> usize {
        self.positions.len().max(MIN_ROWS)
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
        let keys = self.appended.keys();
        let mut products = vec![0.0; self.n_padded_rows() * TILE];
        let tile_len = TILE * self.head_dim;
        let mut correction = keys.is_corrected().then(|| Correction::new(&self.queries, tile_len));
        self.for_each_tile(keys, n_tokens, |tile, packed, rows, seen| {
            multiply_transposed(&self.queries, rows, &mut products, self.head_dim);
            if let (Some(correction), false) = (&mut correction, packed.is_empty()) {
                let held = packed.start - tile.start..packed.end - tile.start;
                rows_of(&mut correction.variances, held, self.head_dim, |variances| {
                    keys.noise(self.kv_head_idx, packed, variances);
                });
                correction.add_to(&mut products, self.head_dim);
            }
            let by_row = self.positions.iter().zip(products.chunks_exact(TILE)).enumerate();
            for (row, (&position, products)) in by_row {
                let seen = seen(position);
                let (start, end) = (seen.start.max(tile.start), seen.end.min(tile.end));
                if start < end {
                    logits[row * n_tokens..][start..end]
                        .copy_from_slice(&products[start - tile.start..end - tile.start]);
                }
            }
        });
    }

    /// The sum of values by `weights`, `[rows][n_tokens]`; the result is `[rows][head_dim]`.
    fn weighted_values(&self, n_tokens: usize, weights: &[f32]) -> Vec<f32> {
        let mut output = vec![0.0; self.n_padded_rows() * self.head_dim];
        let mut masked = vec![0.0; self.n_padded_rows() * TILE];
        self.for_each_tile(self.appended.values(), n_tokens, |tile, _, rows, seen| {
            masked.fill(0.0);
            let by_row = self.positions.iter().zip(masked.chunks_exact_mut(TILE)).enumerate();
            for (row, (&position, masked)) in by_row {
                let seen = seen(position);
                let (start, end) = (seen.start.max(tile.start), seen.end.min(tile.end));
                if start < end {
                    masked[start - tile.start..end - tile.start]
                        .copy_from_slice(&weights[row * n_tokens..][start..end]);
                }
            }
            multiply_add(&masked, rows, &mut output, self.head_dim);
        });
        output.truncate(self.positions.len() * self.head_dim);
        if self.appended.values().is_rotated() {
            output.chunks_exact_mut(self.head_dim).for_each(hadamard::rotate);
        }
        output
    }

    /// Calls `visit` with every tile that some row sees: its positions, those of packed tokens, the rows at them
    /// `[TILE][head_dim]`, zero where nothing is held, and for the position of a query the positions
    /// that it sees in this form: as sinks, packed, and as recent tokens.
    fn for_each_tile(
        &self,
        side: &SideCache,
        n_tokens: usize,
        mut visit: impl FnMut(Range<usize>, Range<usize>, &[f32], &dyn Fn(usize) -> Range<usize>),
    ) {
        let (Some(&first), Some(&last)) = (self.positions.first(), self.positions.last()) else {
            return;
        };
        let mut rows = vec![0.0; TILE * self.head_dim];
        let Seen { sinks, packed, .. } = side.seen(last);
        let head = self.kv_head_idx;
        let relative = |tile: &Range<usize>, held: &Range<usize>| {
            held.start - tile.start..held.end - tile.start
        };
        for (tile, held) in tiles(sinks) {
            rows_of(&mut rows, relative(&tile, &held), self.head_dim, |rows| {
                side.decode_exact(head, held, rows);
            });
            visit(tile, 0..0, &rows, &|position| side.seen(position).sinks);
        }
        for (tile, held) in tiles(packed) {
            rows_of(&mut rows, relative(&tile, &held), self.head_dim, |rows| {
                side.decode_packed(head, held.clone(), rows);
            });
            visit(tile, held, &rows, &|position| side.seen(position).packed);
        }
        for (tile, held) in tiles(side.seen(first).recent.start..n_tokens) {
            rows_of(&mut rows, relative(&tile, &held), self.head_dim, |rows| {
                side.decode_exact(head, held, rows);
            });
            visit(tile, 0..0, &rows, &|position| side.seen(position).recent);
        }
    }
}

/// Clears a tile of rows and has those at `held` written.
fn rows_of(rows: &mut [f32], held: Range<usize>, head_dim: usize, write: impl FnOnce(&mut [f32])) {
    rows.fill(0.0);
    write(&mut rows[held.start * head_dim..held.end * head_dim]);
}

/// What is added to logits of packed keys: half the variance that their noise gives them.
struct Correction {
    /// Half the squares of the queries, `[rows][head_dim]`.
    half_squares: Vec<f32>,
    /// Of a tile's keys, `[TILE][head_dim]`.
    variances: Vec<f32>,
    products: Vec<f32>,
}

impl Correction {
    fn new(queries: &[f32], tile_len: usize) -> Correction {
        let half_squares = queries.iter().map(|query| query * query / 2.0).collect();
        Correction { half_squares, variances: vec![0.0; tile_len], products: Vec::new() }
    }

    fn add_to(&mut self, logits: &mut [f32], head_dim: usize) {
        self.products.resize(logits.len(), 0.0);
        multiply_transposed(&self.half_squares, &self.variances, &mut self.products, head_dim);
        for (logit, product) in logits.iter_mut().zip(&self.products) {
            *logit += product;
        }
    }
}

/// The tiles of the grid that hold some of `tokens`, and which of them each holds.
fn tiles(tokens: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    // Nothing of an empty range, wherever it lies.
    let first = if tokens.is_empty() { tokens.end } else { tokens.start / TILE * TILE };
    (first..tokens.end).step_by(TILE).map(move |start| {
        let tile = start..start + TILE;
        (tile.clone(), tile.start.max(tokens.start)..tile.end.min(tokens.end))
    })
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
