//! Attention over the cache as it is held: work is cut into blocks of queries and spans of tokens for all
//! threads, and what spans give is merged.

use super::Heads;
#[cfg(target_arch = "aarch64")]
use super::kernels::neon::Neon;
use super::kernels::scalar::Scalar;
#[cfg(target_arch = "x86_64")]
use super::kernels::{avx2::Avx2, avx512::Avx512};
use super::span::{Chunks, Head, Partial, Rows, attend as attend_span};
use crate::Result;
use crate::cache::Appended;
use crate::isa::Isa;
use crate::quant::hadamard;
use rayon::prelude::*;
use std::ops::Range;

/// Chunks in a span. It depends neither on threads nor on the number of queries, so that no sum does.
const SPAN: usize = 4;
/// Query tokens in a block: enough that what a chunk of keys needs once is little beside the products with it.
const QUERY_BLOCK: usize = 64;

/// Attention of the appended tokens: `queries` and `output` are `[tokens][heads][head_dim]`.
///
/// The same function as [`super::reference::attend`], in single precision and on all threads. Queries that meet
/// packed keys, and weights that meet packed values, are rounded to bytes.
///
/// # Errors
/// If the lengths do not match the shapes.
pub fn attend(
    appended: &Appended<'_>,
    heads: Heads,
    queries: &[f32],
    output: &mut [f32],
) -> Result<()> {
    attend_with(Isa::current(), appended, heads, queries, output)
}

/// The same with a form of the kernels.
///
/// # Errors
/// As [`attend`].
///
/// # Panics
/// If this processor can't run that form.
pub fn attend_with(
    isa: Isa,
    appended: &Appended<'_>,
    heads: Heads,
    queries: &[f32],
    output: &mut [f32],
) -> Result<()> {
    assert!(isa.is_available(), "this processor has no {isa}");
    heads.check(appended, queries, output)?;
    let n_tokens = appended.positions().len();
    let blocks: Vec<Block> = (0..heads.n_kv_heads)
        .flat_map(|kv_head_idx| {
            (0..n_tokens).step_by(QUERY_BLOCK).map(move |first| {
                let tokens = first..(first + QUERY_BLOCK).min(n_tokens);
                Block::new(appended, heads, kv_head_idx, tokens, queries)
            })
        })
        .collect();
    let spans: Vec<(&Block, Range<usize>)> =
        blocks.iter().flat_map(|block| block.spans().map(move |span| (block, span))).collect();
    let run = |(block, span): &(&Block, Range<usize>)| block.attend(isa, appended, span.clone());
    let partials: Vec<Partial> = match spans.len() {
        1 => spans.iter().map(run).collect(),
        _ => spans.par_iter().map(run).collect(),
    };
    let mut partials = partials.into_iter();
    for block in &blocks {
        let mut whole = Partial::new(&block.rows);
        for partial in partials.by_ref().take(block.spans().len()) {
            whole.merge(&partial);
        }
        let first = block.kv_head_idx * heads.group_size();
        for (row, mut of_row) in whole.finish(heads.head_dim).enumerate() {
            if appended.values().is_rotated() {
                hadamard::rotate(&mut of_row);
            }
            let token = block.tokens.start + row / heads.group_size();
            let head = first + row % heads.group_size();
            let at = (token * heads.n_heads + head) * heads.head_dim;
            output[at..at + heads.head_dim].copy_from_slice(&of_row);
        }
    }
    Ok(())
}

/// The queries of one KV head's query heads for a run of tokens.
struct Block {
    kv_head_idx: usize,
    tokens: Range<usize>,
    rows: Rows,
    chunks: Chunks,
}

impl Block {
    fn new(
        appended: &Appended<'_>,
        heads: Heads,
        kv_head_idx: usize,
        tokens: Range<usize>,
        queries: &[f32],
    ) -> Block {
        let first = appended.positions().start;
        let row_len = heads.group_size() * heads.head_dim;
        let scale = heads.logit_scale();
        let n_rows = tokens.len() * heads.group_size();
        let mut rows = Rows {
            queries: Vec::new(),
            head_dim: heads.head_dim,
            packed_keys: Vec::with_capacity(n_rows),
            packed_values: Vec::with_capacity(n_rows),
            ends: Vec::with_capacity(n_rows),
        };
        for token in tokens.clone() {
            let at = token * heads.row_len() + kv_head_idx * row_len;
            for query in queries[at..at + row_len].chunks_exact(heads.head_dim) {
                let first = rows.queries.len();
                rows.queries.extend(query.iter().map(|query| query * scale));
                if appended.keys().is_rotated() {
                    hadamard::rotate(&mut rows.queries[first..]);
                }
                rows.queries.resize(first + rows.stride(), 0.0);
            }
            let position = first + token;
            let packed_keys = appended.keys().seen(position).packed.end;
            let packed_values = appended.values().seen(position).packed.end;
            for _ in 0..heads.group_size() {
                rows.packed_keys.push(packed_keys);
                rows.packed_values.push(packed_values);
                rows.ends.push(position + 1);
            }
        }
        let n_sinks = appended.keys().n_sinks();
        let chunks = Chunks { n_sinks, n_tokens: first + tokens.end };
        Block { kv_head_idx, tokens, rows, chunks }
    }

    /// The chunks of tokens in parts.
    fn spans(&self) -> impl ExactSizeIterator<Item = Range<usize>> + use<> {
        let n_chunks = self.chunks.len();
        (0..n_chunks).step_by(SPAN).map(move |first| first..(first + SPAN).min(n_chunks))
    }

    fn attend(&self, isa: Isa, appended: &Appended<'_>, span: Range<usize>) -> Partial {
        let head = Head {
            keys: appended.keys(),
            values: appended.values(),
            head_idx: self.kv_head_idx,
            rows: &self.rows,
            chunks: self.chunks,
        };
        match isa {
            // SAFETY: the processor has these instructions, as was asserted.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { with_avx512(head, span) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { with_avx2(head, span) },
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => attend_span(Neon::<true>, head, span),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => attend_span(Neon::<false>, head, span),
            _ => attend_span(Scalar, head, span),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,f16c,fma")]
fn with_avx512(head: Head<'_>, span: Range<usize>) -> Partial {
    attend_span(Avx512, head, span)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,fma")]
fn with_avx2(head: Head<'_>, span: Range<usize>) -> Partial {
    attend_span(Avx2, head, span)
}
