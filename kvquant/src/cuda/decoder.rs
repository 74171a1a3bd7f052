//! Decoding a batch of sequences, one token of each at a time, as one CUDA graph.
//!
//! A step is some 13 kernels a layer, each of which a small model is done with sooner than the driver can launch the
//! next. Captured, all are one launch. That is why nothing on the way may depend on the host: kernels read from
//! device memory how long the sequences are.

use super::cache::GpuCache;
use super::llama::{GpuLlama, Workspace};
use super::ops;
use crate::model::LanguageModel;
use crate::{Error, Result};
use cudarc::driver::{CudaGraph, CudaSlice, sys};
use std::fmt;

/// Decodes the sequences of a cache.
pub struct Decoder<'a> {
    model: &'a GpuLlama,
    cache: &'a mut GpuCache,
    work: Workspace,
    /// The likeliest tokens, `[sequences][capacity]`: at i that after token i.
    history: CudaSlice<u32>,
    step: CudaGraph,
}

impl<'a> Decoder<'a> {
    /// A decoder that goes on with the sequences of `cache`.
    ///
    /// # Errors
    /// If the cache is of another shape or full, the GPU has too little memory, or of the driver.
    pub fn new(model: &'a GpuLlama, cache: &'a mut GpuCache) -> Result<Decoder<'a>> {
        model.check_cache(cache)?;
        cache.check_room(1)?;
        let n_sequences = cache.n_sequences();
        let mut work = model.workspace(n_sequences)?;
        let mut history = model.gpu().stream().alloc_zeros(n_sequences * cache.capacity())?;
        // Once before capturing: that compiles and loads every kernel. It leaves a row behind the last token of each
        // sequence, which the next step overwrites, and packs nothing but what the next step packs again.
        let lengths = cache.lengths().to_vec();
        launch_step(model, cache, &mut work, &mut history)?;
        cache.set_lengths(lengths)?;
        let step = capture(model, cache, &mut work, &mut history)?;
        Ok(Decoder { model, cache, work, history, step })
    }

    /// Appends one token to each sequence; gives the logits after it, `[sequences][vocab_size]`.
    ///
    /// # Errors
    /// If there is not one token a sequence, one is not in the vocabulary, a sequence is full, or of the driver.
    pub fn step(&mut self, tokens: &[u32]) -> Result<Vec<f32>> {
        self.feed(tokens)?;
        self.launch(1)?;
        Ok(self.model.gpu().stream().clone_dtoh(&self.work.logits)?)
    }

    /// Appends one token to each sequence and then, `n_steps - 1` times, the likeliest after the last. Gives the
    /// likeliest tokens after each step, `[sequences][n_steps]`, of which the last has not been appended.
    ///
    /// The host only launches: tokens stay on the device until all are there.
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn run(&mut self, tokens: &[u32], n_steps: usize) -> Result<Vec<Vec<u32>>> {
        let before = self.cache.lengths().to_vec();
        self.feed(tokens)?;
        self.launch(n_steps)?;
        let (stream, capacity) = (self.model.gpu().stream(), self.cache.capacity());
        let of_sequence = |(sequence, before): (usize, &usize)| {
            let start = sequence * capacity + before;
            Ok(stream.clone_dtoh(&self.history.slice(start..start + n_steps))?)
        };
        before.iter().enumerate().map(of_sequence).collect()
    }

    /// The cache.
    pub fn cache(&self) -> &GpuCache {
        self.cache
    }

    /// Says what the next step appends.
    pub(super) fn feed(&mut self, tokens: &[u32]) -> Result<()> {
        let n_sequences = self.cache.n_sequences();
        if tokens.len() != n_sequences {
            return Err(Error::Shape {
                operation: "a step of decoding",
                what: "the tokens",
                got: tokens.len(),
                expected: format!("{n_sequences}, one a sequence"),
            });
        }
        self.model.check_tokens(tokens)?;
        Ok(self.model.gpu().stream().memcpy_htod(tokens, &mut self.work.tokens)?)
    }

    /// Launches steps, each of which feeds the next; none where not all have room.
    pub(super) fn launch(&mut self, n_steps: usize) -> Result<()> {
        let longest = self.cache.lengths().iter().max().copied().unwrap_or(0);
        let room = self.cache.capacity() - longest;
        if n_steps > room {
            return Err(Error::Shape {
                operation: "decoding on a GPU",
                what: "the steps",
                got: n_steps,
                expected: format!("at most {room}: {longest} tokens are held"),
            });
        }
        for _ in 0..n_steps {
            self.step.launch()?;
            self.cache.note_advance(1);
        }
        Ok(())
    }

    /// Says that the sequences are so long, for timings: what is beyond may have overwritten recent rows.
    pub(super) fn rewind(&mut self, lengths: Vec<usize>) -> Result<()> {
        self.cache.set_lengths(lengths)
    }
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("lengths", &self.cache.lengths()).finish_non_exhaustive()
    }
}

/// One token of each sequence: from the tokens in the workspace to the likeliest next ones in their place.
fn launch_step(
    model: &GpuLlama,
    cache: &mut GpuCache,
    work: &mut Workspace,
    history: &mut CudaSlice<u32>,
) -> Result<()> {
    let n_sequences = cache.n_sequences();
    model.launch_layers(cache, work, 1)?;
    model.launch_logits(work, 0..n_sequences)?;
    let (gpu, vocab_size) = (model.gpu(), model.vocab_size());
    let lengths = cache.device_lengths();
    ops::argmax(gpu, &work.logits, lengths, &mut work.tokens, history, vocab_size)?;
    cache.launch_advance(1)
}

fn capture(
    model: &GpuLlama,
    cache: &mut GpuCache,
    work: &mut Workspace,
    history: &mut CudaSlice<u32>,
) -> Result<CudaGraph> {
    let stream = model.gpu().stream();
    stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
    let launched = launch_step(model, cache, work, history);
    // Also where a launch failed: the stream would stay in capture.
    let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0));
    launched?;
    let graph = graph?.ok_or_else(|| Error::Gpu("the driver captured no graph".to_owned()))?;
    graph.upload()?;
    Ok(graph)
}
