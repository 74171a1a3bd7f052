//! Attention of some queries over a span of tokens, a chunk at a time.
//!
//! Nothing is dequantized. With the levels `scale * (code - middle) + centre` of a channel's group,
//!
//! ```text
//! q . k = sum_c (q_c scale_c) (code_c - middle_c) + sum_c q_c centre_c
//! ```
//!
//! so that a group's scales go into the query, which is rounded to bytes, and tokens only cost integer products
//! with their codes ([`tiles`](crate::quant::tiles)); the second sum is one number for a group. Likewise the
//! scales of values go into the weights of their tokens. What rounding takes from the query is small beside the
//! noise of the codes themselves, and enters with `code - middle`, not with the centres, which are exact.
//!
//! Weights of tokens span orders of magnitude, and many small ones would all be rounded down: they are rounded
//! with offsets that cover a step evenly, so that their sum is kept on average.
//!
//! The paper's formats have neither sinks nor levels that spare most elements from a few large ones: one number
//! in a group can leave few steps for all others. Theirs are rounded to two bytes ([`Terms::Two`]), which costs a
//! second integer product.

use super::exponential::{ROUND, exp, exp2};
use super::kernels::{
    CHUNK, Element, Kernels, KeyRows, Product, Sums, Tokens, ValueRows, Vector, greatest_of, sum_of,
};
use crate::cache::layer::SideCache;
use crate::cache::packed::{
    ParamKind, ParamLayout, SCALES, TiledKeys, TiledValues, ValueKind, half_at,
};
use crate::quant::byte::{Centre, LogScale};
use crate::quant::tiles::{ColumnTiles, LANES, SLOTS, VECTOR};
use half::f16;
use std::ops::Range;

/// The queries of one KV head's query heads for a run of tokens, in the order of the tokens.
#[derive(Debug)]
pub(super) struct Rows {
    /// Times the scale of logits, in the space in which keys are held: `[rows]` of `[head_dim]`, filled up with
    /// zeros to whole vectors.
    pub(super) queries: Vec<f32>,
    pub(super) head_dim: usize,
    /// The position before which each row sees keys packed, those of sinks excepted.
    pub(super) packed_keys: Vec<usize>,
    /// The same of values.
    pub(super) packed_values: Vec<usize>,
    /// The position before which each row sees anything.
    pub(super) ends: Vec<usize>,
}

impl Rows {
    /// From one query to the next.
    pub(super) fn stride(&self) -> usize {
        self.head_dim.next_multiple_of(VECTOR)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// What a span of tokens gives: an online softmax (Milakov and Gimelshein 2018) that can be merged with others.
#[derive(Debug, Clone)]
pub(super) struct Partial {
    /// Of each row.
    greatest: Vec<f32>,
    /// Sums of `e^(logit - greatest)`.
    totals: Vec<f32>,
    /// Sums of values by these weights: `[rows]` of `[head_dim]`, filled up to whole vectors.
    outputs: Vec<f32>,
}

impl Partial {
    pub(super) fn new(rows: &Rows) -> Partial {
        Partial {
            greatest: vec![f32::NEG_INFINITY; rows.len()],
            totals: vec![0.0; rows.len()],
            outputs: vec![0.0; rows.len() * rows.stride()],
        }
    }

    /// Adds what other tokens give.
    pub(super) fn merge(&mut self, other: &Partial) {
        let stride = self.outputs.len() / self.totals.len();
        for row in 0..self.totals.len() {
            let greatest = self.greatest[row].max(other.greatest[row]);
            if greatest == f32::NEG_INFINITY {
                continue;
            }
            let own = (self.greatest[row] - greatest).exp();
            let others = (other.greatest[row] - greatest).exp();
            self.greatest[row] = greatest;
            self.totals[row] = own * self.totals[row] + others * other.totals[row];
            let at = row * stride..(row + 1) * stride;
            for (sum, of_other) in self.outputs[at.clone()].iter_mut().zip(&other.outputs[at]) {
                *sum = own * *sum + others * of_other;
            }
        }
    }

    /// The output of each row.
    pub(super) fn finish(&self, head_dim: usize) -> impl Iterator<Item = Vec<f32>> + '_ {
        let stride = self.outputs.len() / self.totals.len();
        self.outputs.chunks_exact(stride).zip(&self.totals).map(move |(outputs, total)| {
            outputs[..head_dim].iter().map(|output| output / total).collect()
        })
    }
}

/// How tokens are visited: up to a chunk of sinks at a time, and then a chunk at a time from the first behind them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    pub(super) n_sinks: usize,
    pub(super) n_tokens: usize,
}

impl Chunks {
    fn of_sinks(self) -> usize {
        self.n_sinks.min(self.n_tokens).div_ceil(CHUNK)
    }

    pub(super) fn len(self) -> usize {
        self.of_sinks() + self.n_tokens.saturating_sub(self.n_sinks).div_ceil(CHUNK)
    }

    /// The positions of a chunk, and whether they are sinks.
    fn positions(self, chunk: usize) -> (Range<usize>, bool) {
        let of_sinks = self.of_sinks();
        let (first, end, is_sinks) = match chunk < of_sinks {
            true => (chunk * CHUNK, self.n_sinks, true),
            false => (self.n_sinks + (chunk - of_sinks) * CHUNK, self.n_tokens, false),
        };
        (first..(first + CHUNK).min(end).min(self.n_tokens), is_sinks)
    }
}

/// One KV head, and those who ask it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) keys: &'a SideCache,
    pub(super) values: &'a SideCache,
    pub(super) head_idx: usize,
    pub(super) rows: &'a Rows,
    pub(super) chunks: Chunks,
}

/// What a chunk is computed in, kept from one to the next.
#[derive(Debug, Default)]
struct Scratch {
    /// Logits, and then weights, of `[rows]`.
    logits: Vec<Tokens>,
    /// Logits of half-precision keys.
    exact: Vec<Tokens>,
    masked: Vec<Tokens>,
    sums: Vec<Sums>,
    folded: Folded,
    /// Weights of packed values, `[rows][2]` of a chunk.
    weights: Vec<i8>,
    numbers: Vec<f32>,
    lanes: Vec<f32>,
}

/// Queries with the scales of the groups of a block of keys in them.
#[derive(Debug, Default)]
struct Folded {
    /// The first group, and the first row.
    of: Option<(usize, usize)>,
    /// `[rows][terms][groups][weights]`
    weights: Vec<i8>,
    /// What a step of the weights is, and what is added to the sums: `[rows][groups]`.
    steps: Vec<(f32, f32)>,
    /// Of the channels of a group, and in whole vectors, as what follows.
    scales: Vec<Vector>,
    centres: Vec<Vector>,
    products: Vec<Vector>,
    /// In whole tiles, of each term.
    rounded: [Vec<i8>; 2],
}

/// Attends over the chunks of the range.
#[inline(always)]
pub(super) fn attend<K: Kernels>(k: K, head: Head<'_>, chunks: Range<usize>) -> Partial {
    let rows = head.rows;
    let mut partial = Partial::new(rows);
    let mut scratch = Scratch::default();
    for chunk in chunks {
        let (positions, is_sinks) = head.chunks.positions(chunk);
        // Rows are in the order of their tokens: those that see nothing here come first.
        let first_row = rows.ends.partition_point(|&end| end <= positions.start);
        let chunk = Chunk { head, positions, is_sinks, first_row };
        if first_row < rows.len() {
            chunk.logits(k, &mut scratch);
            chunk.softmax(k, &mut scratch.logits, &mut partial);
            chunk.add_values(k, &mut scratch, &mut partial);
        }
    }
    partial
}

/// A chunk of tokens, and the rows from `first_row` on, which see some of them.
struct Chunk<'a> {
    head: Head<'a>,
    positions: Range<usize>,
    is_sinks: bool,
    first_row: usize,
}

impl Chunk<'_> {
    fn n_rows(&self) -> usize {
        self.head.rows.len() - self.first_row
    }

    /// Within the chunk, for each row, where what it sees packed ends.
    fn packed<'s>(&'s self, ends: &'s [usize]) -> impl Iterator<Item = usize> + 's {
        let end = move |&end: &usize| match self.is_sinks {
            true => 0,
            false => end.clamp(self.positions.start, self.positions.end) - self.positions.start,
        };
        ends[self.first_row..].iter().map(end)
    }

    /// The first block of packed tokens of this chunk.
    fn first_block(&self) -> usize {
        (self.positions.start - self.head.chunks.n_sinks) / LANES
    }

    /// Fills the rows' logits; what a row doesn't see is negative infinity.
    #[inline(always)]
    fn logits<K: Kernels>(&self, k: K, scratch: &mut Scratch) {
        let rows = self.head.rows;
        let n_rows = self.n_rows();
        scratch.logits.resize(n_rows, [0.0; CHUNK]);
        let most_packed = self.packed(&rows.packed_keys).last().unwrap_or(0);
        let least_packed = self.packed(&rows.packed_keys).next().unwrap_or(0);
        if most_packed > 0 {
            match self.head.keys.tiled_keys(self.head.head_idx) {
                Some(keys) => {
                    for block in 0..most_packed.div_ceil(LANES) {
                        self.multiply_packed(k, keys, block, scratch);
                    }
                }
                None => self.multiply_decoded(k, most_packed, scratch),
            }
            if self.head.keys.is_corrected() {
                self.correct(k, most_packed, scratch);
            }
        }
        let n_tokens = self.positions.len();
        if least_packed < n_tokens {
            // Keys are held in blocks of 16.
            let first = least_packed / VECTOR * VECTOR;
            self.multiply_exact(k, first, scratch);
            let rows = self.packed(&rows.packed_keys).zip(scratch.exact.iter());
            for (logits, (packed, exact)) in scratch.logits.iter_mut().zip(rows) {
                logits[packed..n_tokens].copy_from_slice(&exact[packed - first..n_tokens - first]);
            }
        }
        for (logits, &end) in scratch.logits.iter_mut().zip(&rows.ends[self.first_row..]) {
            logits[(end - self.positions.start).min(n_tokens)..].fill(f32::NEG_INFINITY);
        }
    }

    /// Logits of a block of packed keys.
    #[inline(always)]
    fn multiply_packed<K: Kernels>(
        &self,
        k: K,
        keys: &TiledKeys,
        block: usize,
        scratch: &mut Scratch,
    ) {
        let first_token = block * LANES;
        let block = self.first_block() + block;
        let tiles = keys.tiles();
        let n_weights = tiles.n_weights();
        let n_groups = (LANES / keys.group()).max(1);
        let folded = &mut scratch.folded;
        folded.fold(k, keys, self, block, n_groups, &mut scratch.numbers);
        let terms = Terms::of_keys(keys);
        scratch.sums.resize(self.n_rows() * terms.len(), [0; LANES]);
        let mut slots = [0; SLOTS];
        for (slot, at) in slots.iter_mut().enumerate() {
            *at = slot * n_groups / SLOTS * n_weights;
        }
        let product = Product {
            tiles: keys.block(block),
            n_blocks: 1,
            block_stride: 0,
            ahead: 2 * tiles.bytes(),
            levels: tiles.levels(),
            weights: &folded.weights,
            stride: n_groups * n_weights,
            step: 4,
            slots,
        };
        // SAFETY: `k` is a form that this processor has.
        unsafe { k.products(&product, &mut scratch.sums) };
        terms.join(&mut scratch.sums);
        let rows = scratch.sums.iter().zip(folded.steps.chunks_exact(n_groups));
        let len = LANES / n_groups;
        for (logits, (sums, steps)) in scratch.logits.iter_mut().zip(rows) {
            let logits = logits[first_token..].chunks_exact_mut(len);
            for ((logits, sums), &(step, constant)) in logits.zip(sums.chunks_exact(len)).zip(steps)
            {
                let vectors = logits.as_chunks_mut::<VECTOR>().0.iter_mut();
                for (logits, sums) in vectors.zip(sums.as_chunks::<VECTOR>().0) {
                    // SAFETY: as above.
                    unsafe {
                        let sums = k.of_integers(sums);
                        k.store(k.mul_add(k.all(step), sums, k.all(constant)), logits);
                    }
                }
            }
        }
    }

    /// Logits of packed keys that no integer kernel reads, the first `n_tokens` of the chunk.
    #[inline(always)]
    fn multiply_decoded<K: Kernels>(&self, k: K, n_tokens: usize, scratch: &mut Scratch) {
        let Head { keys, head_idx, rows, .. } = self.head;
        let positions = self.positions.start..self.positions.start + n_tokens;
        let queries = &rows.queries[self.first_row * rows.stride()..];
        let Scratch { numbers, lanes, logits, .. } = scratch;
        let decode = |rows: &mut [f32]| keys.decode_packed(head_idx, positions, rows);
        multiply_rows(k, rows, queries, in_lanes(rows, n_tokens, decode, numbers, lanes), logits);
    }

    /// Adds half the variance that the noise of packed keys gives their logits.
    #[inline(always)]
    fn correct<K: Kernels>(&self, k: K, n_tokens: usize, scratch: &mut Scratch) {
        let Head { keys, head_idx, rows, .. } = self.head;
        let positions = self.positions.start..self.positions.start + n_tokens;
        let noise = |variances: &mut [f32]| keys.noise(head_idx, positions, variances);
        let queries = &rows.queries[self.first_row * rows.stride()..];
        let half_squares: Vec<f32> = queries.iter().map(|query| query * query / 2.0).collect();
        let Scratch { numbers, lanes, exact, .. } = scratch;
        exact.resize(self.n_rows(), [0.0; CHUNK]);
        let variances = in_lanes(rows, n_tokens, noise, numbers, lanes);
        multiply_rows(k, rows, &half_squares, variances, exact);
        for (logits, corrections) in scratch.logits.iter_mut().zip(&scratch.exact) {
            for (logit, correction) in logits[..n_tokens].iter_mut().zip(corrections) {
                *logit += correction;
            }
        }
    }

    /// Logits of half-precision keys from the chunk's token `first` on.
    #[inline(always)]
    fn multiply_exact<K: Kernels>(&self, k: K, first: usize, scratch: &mut Scratch) {
        let Head { keys, head_idx, rows, .. } = self.head;
        let head_dim = rows.head_dim;
        let positions = self.positions.start + first..self.positions.end;
        let queries = &rows.queries[self.first_row * rows.stride()..];
        let Scratch { numbers, lanes, exact: logits, .. } = scratch;
        logits.resize(self.n_rows(), [0.0; CHUNK]);
        match keys.exact(head_idx) {
            Some(exact) => {
                let n_places = positions.len().next_multiple_of(VECTOR);
                let held = &exact.held_from(positions.start)[..n_places * head_dim];
                if self.n_rows() < MANY_ROWS {
                    multiply_rows(k, rows, queries, held, logits);
                } else {
                    // SAFETY: `k` is a form that this processor has.
                    let held = unsafe { widened(k, held, lanes) };
                    multiply_rows(k, rows, queries, held, logits);
                }
            }
            None => {
                let n_tokens = positions.len();
                // Of the first block of 16, some may be held packed only.
                let held = keys.first_exact(positions.start)..positions.end;
                let skipped = (held.start - positions.start) * head_dim;
                let decode = |rows: &mut [f32]| {
                    rows[..skipped].fill(0.0);
                    keys.decode_exact(head_idx, held, &mut rows[skipped..]);
                };
                let held = in_lanes(rows, n_tokens, decode, numbers, lanes);
                multiply_rows(k, rows, queries, held, logits);
            }
        }
    }

    /// Makes weights of logits, and what was summed so far fit them.
    #[inline(always)]
    fn softmax<K: Kernels>(&self, k: K, logits: &mut [Tokens], partial: &mut Partial) {
        let stride = self.head.rows.stride();
        for (row, logits) in (self.first_row..).zip(logits) {
            let (vectors, _) = logits.as_chunks_mut::<VECTOR>();
            let before = partial.greatest[row];
            // SAFETY: `k` is a form that this processor has.
            unsafe {
                let mut greatest = k.all(before);
                for logits in &*vectors {
                    greatest = k.max(greatest, k.load(logits));
                }
                let greatest = greatest_of(k, greatest);
                if greatest == f32::NEG_INFINITY {
                    logits.fill(0.0);
                    continue;
                }
                if greatest > before {
                    partial.greatest[row] = greatest;
                    let factor = (before - greatest).exp();
                    partial.totals[row] *= factor;
                    let outputs = &mut partial.outputs[row * stride..(row + 1) * stride];
                    for outputs in outputs.as_chunks_mut::<VECTOR>().0 {
                        k.store(k.mul(k.load(outputs), k.all(factor)), outputs);
                    }
                }
                let mut totals = k.all(0.0);
                let greatest = k.all(greatest);
                // Two at a time: an exponential is a long chain of operations.
                for [left, right] in vectors.as_chunks_mut::<2>().0 {
                    let of_left = exp(k, k.sub(k.load(left), greatest));
                    let of_right = exp(k, k.sub(k.load(right), greatest));
                    k.store(of_left, left);
                    k.store(of_right, right);
                    totals = k.add(totals, k.add(of_left, of_right));
                }
                partial.totals[row] += sum_of(k, totals);
            }
        }
    }

    /// Adds the values of the chunk by the weights.
    #[inline(always)]
    fn add_values<K: Kernels>(&self, k: K, scratch: &mut Scratch, partial: &mut Partial) {
        let Head { values, head_idx, rows, .. } = self.head;
        let n_tokens = self.positions.len();
        let most_packed = self.packed(&rows.packed_values).last().unwrap_or(0);
        let least_packed = self.packed(&rows.packed_values).next().unwrap_or(0);
        let outputs = &mut partial.outputs[self.first_row * rows.stride()..];
        if most_packed > 0 {
            let is_mixed = least_packed < n_tokens;
            if is_mixed {
                scratch.masked.clone_from(&scratch.logits);
                let packed = self.packed(&rows.packed_values);
                for (weights, packed) in scratch.masked.iter_mut().zip(packed) {
                    weights[packed..].fill(0.0);
                }
            }
            let weights = if is_mixed { &scratch.masked } else { &scratch.logits };
            match values.tiled_values(head_idx) {
                Some(values) => {
                    let Scratch { sums, weights: rounded, numbers, .. } = scratch;
                    let blocks =
                        self.first_block()..self.first_block() + most_packed.div_ceil(LANES);
                    let out = Outputs { stride: rows.stride(), outputs, sums, rounded, numbers };
                    add_packed(k, values, blocks, weights, out);
                }
                None => {
                    let positions = self.positions.start..self.positions.start + most_packed;
                    scratch.numbers.resize(most_packed * rows.head_dim, 0.0);
                    values.decode_packed(head_idx, positions, &mut scratch.numbers);
                    add_rows(
                        k,
                        rows,
                        &scratch.numbers,
                        weights.as_flattened(),
                        most_packed,
                        outputs,
                    );
                }
            }
        }
        if least_packed < n_tokens {
            if most_packed > least_packed {
                let packed = self.packed(&rows.packed_values);
                for (weights, packed) in scratch.logits.iter_mut().zip(packed) {
                    weights[..packed].fill(0.0);
                }
            }
            let weights = &scratch.logits.as_flattened()[least_packed..];
            let exact = values.exact(head_idx).expect("nothing is taken off values");
            let n_tokens = n_tokens - least_packed;
            let held = exact.held_from(self.positions.start + least_packed);
            if self.n_rows() < MANY_ROWS {
                add_rows(k, rows, held, weights, n_tokens, outputs);
            } else {
                let held = &held[..n_tokens * rows.head_dim];
                // SAFETY: `k` is a form that this processor has.
                let held = unsafe { widened(k, held, &mut scratch.lanes) };
                add_rows(k, rows, held, weights, n_tokens, outputs);
            }
        }
    }
}

/// Rows for which half-precision numbers are widened once, not again with each few of them.
const MANY_ROWS: usize = 16;

/// Half-precision numbers in single precision.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
unsafe fn widened<'w, K: Kernels>(k: K, halves: &[f16], wide: &'w mut Vec<f32>) -> &'w [f32] {
    wide.resize(halves.len(), 0.0);
    // SAFETY: as the caller says.
    unsafe { k.widen(bytemuck::cast_slice(halves), wide) };
    wide
}

/// Adds values `[tokens][head_dim]` by weights of which rows are a chunk apart.
#[inline(always)]
fn add_rows<K: Kernels, T: Element>(
    k: K,
    rows: &Rows,
    values: &[T],
    weights: &[f32],
    n_tokens: usize,
    outputs: &mut [f32],
) {
    let (head_dim, stride) = (rows.head_dim, rows.stride());
    let rows = ValueRows { values, weights, n_tokens, head_dim, stride };
    // SAFETY: `k` is a form that this processor has.
    unsafe { k.add_values(&rows, outputs) };
}

/// Logits of keys in whole blocks of `[channels][16 tokens]`.
#[inline(always)]
fn multiply_rows<K: Kernels, T: Element>(
    k: K,
    rows: &Rows,
    queries: &[f32],
    keys: &[T],
    logits: &mut [Tokens],
) {
    let (head_dim, stride) = (rows.head_dim, rows.stride());
    let n_blocks = keys.len() / (VECTOR * head_dim);
    let rows = KeyRows { keys, n_blocks, queries, stride, head_dim };
    // SAFETY: `k` is a form that this processor has.
    unsafe { k.multiply_keys(&rows, logits) };
}

/// What `write` writes as rows, as whole blocks of `[channels][16 tokens]`.
fn in_lanes<'l>(
    Rows { head_dim, .. }: &Rows,
    n_tokens: usize,
    write: impl FnOnce(&mut [f32]),
    rows: &mut Vec<f32>,
    lanes: &'l mut Vec<f32>,
) -> &'l [f32] {
    let head_dim = *head_dim;
    rows.resize(n_tokens * head_dim, 0.0);
    write(rows);
    lanes.clear();
    lanes.resize(n_tokens.next_multiple_of(VECTOR) * head_dim, 0.0);
    for (token, row) in rows.chunks_exact(head_dim).enumerate() {
        let block = &mut lanes[token / VECTOR * VECTOR * head_dim..];
        for (of_channel, &element) in block.chunks_mut(VECTOR).zip(row) {
            of_channel[token % VECTOR] = element;
        }
    }
    lanes
}

/// How many bytes weights are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terms {
    One,
    /// The first counts 128 times as much.
    Two,
}

impl Terms {
    /// What the second byte of a weight is to the first.
    const BASE: i32 = 128;

    fn of_keys(keys: &TiledKeys) -> Terms {
        if keys.params().kind == ParamKind::Zeros { Terms::Two } else { Terms::One }
    }

    fn of_values(values: &TiledValues) -> Terms {
        if values.kind() == ValueKind::Zeros { Terms::Two } else { Terms::One }
    }

    fn len(self) -> usize {
        if self == Terms::One { 1 } else { 2 }
    }

    /// The largest number of steps.
    fn most(self) -> f32 {
        if self == Terms::One { 127.0 } else { 127.0 * Terms::BASE as f32 }
    }

    /// How many steps one is, if `greatest` is the largest number of them; none if that is next to nothing, as one would be
    /// infinitely many.
    fn steps_of(self, greatest: f32) -> f32 {
        if greatest > 1e-30 { self.most() / greatest } else { 0.0 }
    }

    /// Stores numbers of steps, to which [`ROUND`] was added, as bytes; gives them without that.
    ///
    /// # Safety
    /// `k` is a form that this processor has.
    #[inline(always)]
    unsafe fn split<K: Kernels>(
        self,
        k: K,
        shifted: K::Lanes,
        first: &mut [i8; VECTOR],
        second: &mut [i8; VECTOR],
    ) -> K::Lanes {
        // SAFETY: as the caller says.
        unsafe {
            let round = k.all(ROUND);
            let steps = k.sub(shifted, round);
            if self == Terms::One {
                k.low_bytes(shifted, first);
                return steps;
            }
            let high = k.mul_add(steps, k.all(1.0 / Terms::BASE as f32), round);
            k.low_bytes(high, first);
            let rest = k.mul_add(k.sub(high, round), k.all(-(Terms::BASE as f32)), steps);
            k.low_bytes(k.add(rest, round), second);
            steps
        }
    }

    /// Puts the sums of both terms together, in the first places.
    #[inline(always)]
    fn join(self, sums: &mut [Sums]) {
        if self == Terms::One {
            return;
        }
        for row in 0..sums.len() / 2 {
            let (high, low) = (sums[2 * row], sums[2 * row + 1]);
            for ((sum, high), low) in sums[row].iter_mut().zip(high).zip(low) {
                *sum = Terms::BASE * high + low;
            }
        }
    }
}

impl Folded {
    /// Rounds the rows' queries times the scales of the groups of a block, unless that was done for the block before.
    #[inline(always)]
    fn fold<K: Kernels>(
        &mut self,
        k: K,
        keys: &TiledKeys,
        chunk: &Chunk<'_>,
        block: usize,
        n_groups: usize,
        numbers: &mut Vec<f32>,
    ) {
        let rows = chunk.head.rows;
        let first_group = block * LANES / keys.group();
        if self.of == Some((first_group, chunk.first_row)) {
            return;
        }
        let layout = keys.params();
        if self.of.is_none() {
            let n_vectors = rows.stride() / VECTOR;
            for vectors in [&mut self.scales, &mut self.centres, &mut self.products] {
                vectors.resize(n_vectors, [0.0; VECTOR]);
            }
            for rounded in &mut self.rounded {
                rounded.resize(rows.stride().next_multiple_of(LANES), 0);
            }
        }
        self.of = Some((first_group, chunk.first_row));
        let n_weights = keys.tiles().n_weights();
        let columns = keys.tiles().columns();
        let terms = Terms::of_keys(keys);
        let stride = n_groups * n_weights;
        self.weights.resize(chunk.n_rows() * terms.len() * stride, 0);
        self.steps.resize(chunk.n_rows() * n_groups, (0.0, 0.0));
        let last_group = keys.n_groups().saturating_sub(1);
        for group in 0..n_groups {
            // Of a block that is filled in part, what isn't there is like what is.
            let params = keys.group_params((first_group + group).min(last_group));
            group_levels(k, layout, params, &mut self.scales, &mut self.centres, numbers);
            for row in 0..chunk.n_rows() {
                let query = &rows.queries[(chunk.first_row + row) * rows.stride()..];
                let (query, _) = query[..rows.stride()].as_chunks::<VECTOR>();
                let middles = &layout.middles;
                self.steps[row * n_groups + group] = self.fold_row(k, terms, query, middles);
                let of_terms = self.weights[row * terms.len() * stride..].chunks_exact_mut(stride);
                for (weights, rounded) in of_terms.zip(&self.rounded).take(terms.len()) {
                    let weights = &mut weights[group * n_weights..][..n_weights];
                    match columns {
                        None => weights.copy_from_slice(&rounded[..n_weights]),
                        // SAFETY: `k` is a form that this processor has; columns are channels.
                        Some(columns) => unsafe { k.gather(rounded, columns, weights) },
                    }
                }
            }
        }
    }

    /// A query times the scales, rounded to bytes. Gives what a step of these is, and what is added to sums of codes
    /// times bytes.
    #[inline(always)]
    fn fold_row<K: Kernels>(
        &mut self,
        k: K,
        terms: Terms,
        query: &[Vector],
        middles: &[Vector],
    ) -> (f32, f32) {
        let levels = self.scales.iter().zip(&self.centres);
        let vectors = self.products.iter_mut().zip(query).zip(levels);
        // SAFETY: `k` is a form that this processor has.
        unsafe {
            let (mut greatest, mut constant) = (k.all(0.0), k.all(0.0));
            for ((products, query), (scales, centres)) in vectors {
                let query = k.load(query);
                let product = k.mul(query, k.load(scales));
                k.store(product, products);
                greatest = k.max(greatest, k.abs(product));
                constant = k.mul_add(query, k.load(centres), constant);
            }
            let greatest = greatest_of(k, greatest);
            let inverse = k.all(terms.steps_of(greatest));
            let mut middle = k.all(0.0);
            let [first, second] = &mut self.rounded;
            let rounded = first.as_chunks_mut().0.iter_mut().zip(second.as_chunks_mut().0);
            let vectors = self.products.iter().zip(rounded).zip(middles);
            for ((products, (first, second)), middles) in vectors {
                let shifted = k.mul_add(k.load(products), inverse, k.all(ROUND));
                let steps = terms.split(k, shifted, first, second);
                middle = k.mul_add(steps, k.load(middles), middle);
            }
            let step = greatest / terms.most();
            (step, sum_of(k, constant) - step * sum_of(k, middle))
        }
    }
}

/// Scale and centre of each channel of a group.
#[inline(always)]
fn group_levels<K: Kernels>(
    k: K,
    layout: &ParamLayout,
    params: &[u8],
    scales: &mut [Vector],
    centres: &mut [Vector],
    numbers: &mut Vec<f32>,
) {
    let (n_channels, n_scales) = (layout.n_channels, layout.n_scales);
    let has_all = n_scales == n_channels;
    if layout.kind == ParamKind::Bytes {
        // Both go on to whole vectors.
        let (mut stored, mut second) = (Bytes::default(), Bytes::default());
        stored.0[..n_scales].copy_from_slice(&params[..n_scales]);
        second.0[..n_channels].copy_from_slice(&params[n_scales..]);
        let mut of_channels = Bytes::default();
        // SAFETY: `k` is a form that this processor has; scales are no more than channels.
        unsafe {
            let scale_bytes = match has_all {
                true => &stored,
                false => {
                    let table = &stored.signed()[..n_channels.next_multiple_of(LANES)];
                    let len = layout.scale_of.len();
                    k.gather(table, &layout.scale_of, &mut of_channels.signed_mut()[..len]);
                    &of_channels
                }
            };
            let bytes =
                scale_bytes.0.as_chunks::<VECTOR>().0.iter().zip(second.signed().as_chunks().0);
            let levels = scales.iter_mut().zip(centres).zip(&layout.ranges);
            let levels = levels.zip(&layout.middles).zip(bytes);
            for ((((scales, centres), ranges), middles), (scale, centre)) in levels {
                let ranges = k.load(ranges);
                let scale = k.mul(ranges, scale_of_bytes(k, scale));
                k.store(k.where_at_least(k.load(middles), k.all(0.5), scale), scales);
                let centre = k.mul(k.of_signed_bytes(centre), k.all(1.0 / Centre::STEPS));
                k.store(k.mul(centre, ranges), centres);
            }
        }
        return;
    }
    // SAFETY: as above.
    unsafe {
        k.widen(&params[2 * n_scales..], &mut centres.as_flattened_mut()[..n_channels]);
        if has_all {
            k.widen(&params[..2 * n_scales], &mut scales.as_flattened_mut()[..n_channels]);
        } else {
            numbers.resize(n_scales, 0.0);
            k.widen(&params[..2 * n_scales], numbers);
            let scales = scales.as_flattened_mut().iter_mut().zip(&layout.scale_of);
            for ((scale, &at), &middle) in scales.zip(layout.middles.as_flattened()) {
                *scale = if middle > 0.0 { numbers[usize::from(at)] } else { 0.0 };
            }
        }
        if layout.kind == ParamKind::Zeros {
            for ((centres, scales), middles) in centres.iter_mut().zip(scales).zip(&layout.middles)
            {
                let shift = k.mul(k.load(scales), k.load(middles));
                k.store(k.add(k.load(centres), shift), centres);
            }
        }
    }
}

/// Scales of bytes, as [`LogScale::decode`] gives them, over the largest.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
unsafe fn scale_of_bytes<K: Kernels>(k: K, bytes: &[u8; VECTOR]) -> K::Lanes {
    // SAFETY: as the caller says.
    unsafe {
        let bytes = k.of_bytes(bytes);
        let octaves = k.mul(k.sub(bytes, k.all(LogScale::TOP)), k.all(1.0 / LogScale::STEPS));
        k.where_at_least(bytes, k.all(1.0), exp2(k, octaves))
    }
}

/// A byte for each channel of a head.
struct Bytes([u8; ColumnTiles::MAX_CHANNELS]);

impl Default for Bytes {
    fn default() -> Bytes {
        Bytes([0; ColumnTiles::MAX_CHANNELS])
    }
}

impl Bytes {
    fn signed(&self) -> &[i8] {
        bytemuck::cast_slice(&self.0)
    }

    fn signed_mut(&mut self) -> &mut [i8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// What packed values are added to, and what they are computed in.
struct Outputs<'a> {
    /// From one row to the next.
    stride: usize,
    outputs: &'a mut [f32],
    sums: &'a mut Vec<Sums>,
    rounded: &'a mut Vec<i8>,
    numbers: &'a mut Vec<f32>,
}

/// Adds the values of some blocks, those of a chunk, by the weights of its tokens.
#[inline(always)]
fn add_packed<K: Kernels>(
    k: K,
    values: &TiledValues,
    blocks: Range<usize>,
    weights: &[Tokens],
    out: Outputs<'_>,
) {
    let Outputs { stride, outputs, sums, rounded, numbers } = out;
    let n_rows = weights.len();
    let terms = Terms::of_values(values);
    sums.resize(n_rows * terms.len(), [0; LANES]);
    // The second terms of one are written, too, but not read.
    rounded.resize(n_rows * 2 * CHUNK, 0);
    // For each row what a step of its bytes is, and what is added to the sums.
    numbers.resize(2 * n_rows, 0.0);
    let (mut scales, mut centres) = ([0.0; CHUNK], [0.0; CHUNK]);
    let middle = values.middle();
    let mut panels = values.panels().iter().peekable();
    for group in 0..values.n_groups() {
        let is_centred = values.kind() == ValueKind::Zeros;
        // SAFETY: `k` is a form that this processor has.
        unsafe {
            let of_blocks = scales.as_chunks_mut::<LANES>().0.iter_mut();
            for (block, scales) in blocks.clone().zip(of_blocks) {
                let params = values.block_params(block);
                if is_centred {
                    k.widen(&params[half_at(group, 0, 0)..], scales);
                    continue;
                }
                let vectors = scales.as_chunks_mut::<VECTOR>().0.iter_mut();
                for (scales, bytes) in vectors.zip(params.as_chunks().0) {
                    k.store(k.mul(scale_of_bytes(k, bytes), k.all(SCALES.top)), scales);
                }
            }
            if is_centred {
                let of_blocks = centres.as_chunks_mut::<LANES>().0.iter_mut();
                for (block, centres) in blocks.clone().zip(of_blocks) {
                    k.widen(&values.block_params(block)[half_at(group, 1, 0)..], centres);
                }
                for (centre, &scale) in centres.iter_mut().zip(&scales) {
                    *centre += scale * middle;
                }
            }
            let of_terms = rounded.as_chunks_mut::<CHUNK>().0.as_chunks_mut::<2>().0;
            let rows = weights.iter().zip(of_terms).zip(numbers.as_chunks_mut::<2>().0);
            for ((weights, rounded), of_row) in rows {
                let (step, total) = round_weights(k, terms, weights, &scales, rounded);
                let constant = if is_centred { dot(k, weights, &centres) } else { 0.0 };
                *of_row = [step, constant - step * middle * total];
            }
        }
        while let Some(panel) = panels.next_if(|panel| panel.group == group) {
            let width = panel.tiles.width();
            let mut slots = [0; SLOTS];
            for (slot, at) in slots.iter_mut().enumerate() {
                *at = 4 * (slot / width);
            }
            let product = Product {
                tiles: values.tiles_from(blocks.start, panel),
                n_blocks: blocks.len(),
                block_stride: values.block_bytes(),
                ahead: blocks.len() * values.block_bytes(),
                levels: panel.tiles.levels(),
                weights: rounded,
                stride: 2 * CHUNK / terms.len(),
                step: 4 * SLOTS / width,
                slots,
            };
            // SAFETY: `k` is a form that this processor has.
            unsafe { k.products(&product, sums) };
            terms.join(sums);
            let rows = sums.iter_mut().zip(numbers.as_chunks::<2>().0);
            for ((sums, &[step, constant]), outputs) in rows.zip(outputs.chunks_mut(stride)) {
                add_halves(sums, width);
                let outputs = &mut outputs[panel.channels.start..];
                let outputs = outputs.as_chunks_mut::<VECTOR>().0.iter_mut();
                for (outputs, sums) in outputs.zip(&sums.as_chunks::<VECTOR>().0[..width]) {
                    // SAFETY: as above.
                    unsafe {
                        let sum = k.add(k.load(outputs), k.all(constant));
                        k.store(k.mul_add(k.all(step), k.of_integers(sums), sum), outputs);
                    }
                }
            }
        }
    }
}

/// Where tiles are narrower than 64 lanes, adds up what they hold side by side.
#[inline(always)]
fn add_halves(sums: &mut Sums, width: usize) {
    for narrower in [2, 1] {
        if width <= narrower {
            let (left, right) = sums.split_at_mut(narrower * VECTOR);
            for (left, right) in left.iter_mut().zip(right) {
                *left += *right;
            }
        }
    }
}

/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
unsafe fn dot<K: Kernels>(k: K, weights: &Tokens, numbers: &Tokens) -> f32 {
    // SAFETY: as the caller says.
    unsafe {
        let mut sums = k.all(0.0);
        let vectors = weights.as_chunks().0.iter().zip(numbers.as_chunks().0);
        for (weights, numbers) in vectors {
            sums = k.mul_add(k.load(weights), k.load(numbers), sums);
        }
        sum_of(k, sums)
    }
}

/// Offsets between -1/2 and 1/2 for the tokens of a chunk, of which any few in a row cover that evenly: multiples of
/// the golden ratio.
const DITHER: Tokens = {
    let mut offsets = [0.0; CHUNK];
    let mut token = 0;
    while token < CHUNK {
        let golden = (token as u64 * 40_503 + 20_251) % 65_536;
        offsets[token] = golden as f32 / 65_536.0 - 0.499_992;
        token += 1;
    }
    offsets
};

/// Weights times scales, rounded to bytes. Gives what a step of these is, and their sum.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
unsafe fn round_weights<K: Kernels>(
    k: K,
    terms: Terms,
    weights: &Tokens,
    scales: &Tokens,
    rounded: &mut [[i8; CHUNK]; 2],
) -> (f32, f32) {
    // SAFETY: as the caller says.
    unsafe {
        let mut products = [k.all(0.0); CHUNK / VECTOR];
        let mut greatest = k.all(0.0);
        let vectors = weights.as_chunks().0.iter().zip(scales.as_chunks().0);
        for (product, (weights, scales)) in products.iter_mut().zip(vectors) {
            *product = k.mul(k.load(weights), k.load(scales));
            greatest = k.max(greatest, *product);
        }
        let greatest = greatest_of(k, greatest);
        let inverse = k.all(terms.steps_of(greatest));
        let mut totals = k.all(0.0);
        let [first, second] = rounded;
        let rounded = first.as_chunks_mut().0.iter_mut().zip(second.as_chunks_mut().0);
        let vectors = rounded.zip(DITHER.as_chunks().0);
        for (product, ((first, second), offsets)) in products.into_iter().zip(vectors) {
            let shifted = k.add(k.mul_add(product, inverse, k.load(offsets)), k.all(ROUND));
            totals = k.add(totals, terms.split(k, shifted, first, second));
        }
        (greatest / terms.most(), sum_of(k, totals))
    }
}
