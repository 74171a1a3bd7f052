//! The small operations of a decoder on a GPU: the kernels of `model.cu` other than products.
//!
//! Each checks that its buffers hold what its kernel reads and writes.

use super::gpu::{Gpu, Kernels, Source};
use crate::attention::Heads;
use crate::model::config::RopeLayout;
use crate::{Error, Result};
use cudarc::driver::{CudaSlice, CudaView, PushKernelArg};
use std::sync::Arc;

const THREADS: usize = 256;
/// Weights that a thread reads at a time; `READ` in `model.cu`.
pub(super) const READ: usize = 16;

/// The kernels of `model.cu`.
pub(super) fn kernels() -> Kernels {
    Kernels { source: Source::Model, defines: Vec::new() }
}

/// Launches a kernel of `model.cu` with these arguments.
macro_rules! launch {
    ($gpu:expr, $name:expr, $grid:expr, $threads:expr, [$($argument:expr),* $(,)?]) => {{
        let function = $gpu.function(&$crate::cuda::ops::kernels(), $name)?;
        let mut launch = $gpu.stream().launch_builder(&function);
        $(launch.arg($argument);)*
        // SAFETY: the arguments are those of the kernel in `model.cu`, and whoever launches has checked that
        // buffers are as long as it takes them to be.
        unsafe { launch.launch($crate::cuda::gpu::launch_config($grid, $threads, 0)) }?;
    }};
}
pub(super) use launch;

/// Checks that a buffer is long enough.
pub(super) fn check_len(operation: &'static str, len: usize, needed: usize) -> Result<()> {
    if len >= needed {
        return Ok(());
    }
    let what = "a buffer on the GPU";
    Err(Error::Shape { operation, what, got: len, expected: format!("at least {needed}") })
}

/// RMS normalisation of the rows `[n_rows][weight.len()]`, to half precision.
pub(super) fn rms_norm(
    gpu: &Arc<Gpu>,
    rows: &CudaView<'_, f32>,
    weight: &CudaSlice<f32>,
    epsilon: f32,
    n_rows: usize,
    normed: &mut CudaSlice<u16>,
) -> Result<()> {
    let len = weight.len();
    check_len("RMS normalisation", rows.len().min(normed.len()), n_rows * len)?;
    if !len.is_multiple_of(4) {
        let (operation, what) = ("RMS normalisation", "a row");
        let expected = "a multiple of 4".to_owned();
        return Err(Error::Shape { operation, what, got: len, expected });
    }
    let length = len as u32;
    launch!(gpu, "rms_norm", [n_rows, 1, 1], THREADS, [rows, weight, normed, &length, &epsilon]);
    Ok(())
}

/// Where the new tokens of sequences stand: their cosines and sines, `[n_sequences][n_new][n_pairs]`.
pub(super) fn turns(
    gpu: &Arc<Gpu>,
    frequencies: &CudaSlice<f64>,
    lengths: &CudaSlice<u32>,
    n_new: usize,
    turns: &mut CudaSlice<f32>,
) -> Result<()> {
    let n_rows = lengths.len() * n_new;
    let (n_pairs, n_new) = (frequencies.len() as u32, n_new as u32);
    check_len("rotary embedding", turns.len(), 2 * n_rows * frequencies.len())?;
    launch!(gpu, "turns", [n_rows, 1, 1], 64, [frequencies, lengths, turns, &n_pairs, &n_new]);
    Ok(())
}

/// Queries, keys and values of some tokens, `[tokens][heads][head_dim]` each.
#[derive(Debug)]
pub(super) struct SplitHeads<'a> {
    pub(super) queries: &'a mut CudaSlice<f32>,
    pub(super) keys: &'a mut CudaSlice<f32>,
    pub(super) values: &'a mut CudaSlice<f32>,
}

/// Parts rows of `[query heads, key heads, value heads][head_dim]`, and turns queries and keys by the [`turns`] of
/// so many pairs.
pub(super) fn split_heads(
    gpu: &Arc<Gpu>,
    heads: Heads,
    projected: &CudaSlice<f32>,
    (turns, n_pairs, layout): (&CudaSlice<f32>, usize, RopeLayout),
    n_rows: usize,
    to: &mut SplitHeads<'_>,
) -> Result<()> {
    let Heads { n_heads, n_kv_heads, head_dim } = heads;
    let (row, kv_row) = (heads.row_len(), n_kv_heads * head_dim);
    let operation = "rotary embedding";
    check_len(operation, projected.len(), n_rows * (row + 2 * kv_row))?;
    check_len(operation, turns.len(), 2 * n_rows * n_pairs)?;
    check_len(operation, to.queries.len(), n_rows * row)?;
    check_len(operation, to.keys.len().min(to.values.len()), n_rows * kv_row)?;
    let n_blocks = ((n_heads + 2 * n_kv_heads) * head_dim / 2).div_ceil(THREADS);
    let [n_heads, n_kv_heads, head_dim, n_pairs] =
        [n_heads, n_kv_heads, head_dim, n_pairs].map(|n| n as u32);
    let is_halves = u32::from(layout == RopeLayout::Halves);
    launch!(
        gpu,
        "split_heads",
        [n_blocks, n_rows, 1],
        THREADS,
        [
            projected,
            turns,
            &mut *to.queries,
            &mut *to.keys,
            &mut *to.values,
            &n_heads,
            &n_kv_heads,
            &head_dim,
            &n_pairs,
            &is_halves,
        ]
    );
    Ok(())
}

/// SwiGLU: rows `[gates, ups][len]` to `[len]`, in half precision.
pub(super) fn gate(
    gpu: &Arc<Gpu>,
    gates_and_ups: &CudaSlice<f32>,
    len: usize,
    n_rows: usize,
    activated: &mut CudaSlice<u16>,
) -> Result<()> {
    check_len("SwiGLU", gates_and_ups.len(), 2 * n_rows * len)?;
    check_len("SwiGLU", activated.len(), n_rows * len)?;
    let grid = [(len / 2).div_ceil(THREADS), n_rows, 1];
    let length = len as u32;
    launch!(gpu, "gate", grid, THREADS, [gates_and_ups, activated, &length]);
    Ok(())
}

/// The likeliest token of each sequence, the first of equals: to `tokens`, and to the history
/// `[sequences][n_kept]` at the sequence's length.
pub(super) fn argmax(
    gpu: &Arc<Gpu>,
    logits: &CudaSlice<f32>,
    lengths: &CudaSlice<u32>,
    tokens: &mut CudaSlice<u32>,
    history: &mut CudaSlice<u32>,
    vocab_size: usize,
) -> Result<()> {
    let n_sequences = lengths.len();
    check_len("the likeliest token", logits.len(), n_sequences * vocab_size)?;
    check_len("the likeliest token", tokens.len(), n_sequences)?;
    let n_kept = (history.len() / n_sequences) as u32;
    let vocab_size = vocab_size as u32;
    let grid = [n_sequences, 1, 1];
    launch!(gpu, "argmax", grid, 1024, [logits, lengths, tokens, history, &n_kept, &vocab_size]);
    Ok(())
}
