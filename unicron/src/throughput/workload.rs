//! A model to train on GPUs of a kind: what a shape needs of them, and how long it takes.

use super::memory::Footprint;
use super::time::Pace;
use super::{Constants, Recompute, Shape, Software};
use crate::cluster::Hardware;
use crate::model::LanguageModel;

/// What a shape is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Workload<'a> {
    /// The model and its batch.
    pub model: &'a LanguageModel,
    /// The GPUs and their links.
    pub hardware: &'a Hardware,
    /// GPUs of a node.
    pub gpus_per_node: usize,
    /// The fitted constants.
    pub constants: &'a Constants,
    /// What the training software can do.
    pub software: Software,
}

/// Sequences of a micro-batch that are tried. Larger ones have not paid since activations fill
/// the memory.
pub(super) const MICRO_BATCHES: [usize; 5] = [1, 2, 4, 8, 16];

/// Kept free of weights and activations: CUDA's context, NCCL's buffers, fragmentation.
const RESERVED_BYTES: f64 = 4e9;

impl Workload<'_> {
    /// Bytes that a shape needs on its fullest GPU.
    #[must_use]
    pub fn memory_bytes(&self, shape: &Shape) -> f64 {
        Footprint::new(self, shape).bytes(shape.data)
    }

    /// Whether a shape fits: in memory, and what it divides is divisible.
    #[must_use]
    pub fn fits(&self, shape: &Shape) -> bool {
        self.is_regular(shape) && self.memory_bytes(shape) <= self.usable_bytes()
    }

    /// Seconds of an iteration.
    #[must_use]
    pub fn iteration_seconds(&self, shape: &Shape) -> f64 {
        Pace::new(self, shape).seconds(shape.data)
    }

    /// The model's FLOP/s that a shape achieves with all its GPUs.
    #[must_use]
    pub fn flops(&self, shape: &Shape) -> f64 {
        self.model.iteration_flops() / self.iteration_seconds(shape)
    }

    /// The fastest micro-batch and interleaving of those that fit, the rest of the shape given.
    #[must_use]
    pub fn fastest(&self, shape: Shape) -> Option<Shape> {
        let layers = self.model.sizes().layers;
        if !layers.is_multiple_of(shape.pipeline) {
            return None;
        }
        MICRO_BATCHES
            .iter()
            .flat_map(|&micro_batch| {
                interleavings(layers, shape.pipeline).map(move |interleave| Shape {
                    micro_batch,
                    interleave,
                    ..shape
                })
            })
            .filter(|shape| self.fits(shape))
            .min_by(|a, b| self.iteration_seconds(a).total_cmp(&self.iteration_seconds(b)))
    }

    /// Memory that a shape may fill.
    pub(super) fn usable_bytes(&self) -> f64 {
        self.hardware.memory_bytes - RESERVED_BYTES
    }

    /// Micro-batches of a replica's iteration. Where they can't be dealt evenly, the iteration
    /// waits for the replicas with one more.
    pub(super) fn micro_batches(&self, micro_batch: usize, data: usize) -> usize {
        self.model.sizes().batch.div_ceil(micro_batch).div_ceil(data)
    }

    /// Whether Megatron-LM would start it: what is split can be split, a tensor-parallel group
    /// lies inside a node, every replica has a micro-batch, and an interleaved pipeline is full.
    fn is_regular(&self, shape: &Shape) -> bool {
        let sizes = self.model.sizes();
        let counts =
            [shape.tensor, shape.pipeline, shape.data, shape.micro_batch, shape.interleave];
        if counts.contains(&0) {
            return false;
        }
        let micro_batches = self.micro_batches(shape.micro_batch, shape.data);
        sizes.heads.is_multiple_of(shape.tensor)
            && self.gpus_per_node.is_multiple_of(shape.tensor)
            && sizes.layers.is_multiple_of(shape.pipeline * shape.interleave)
            && shape.data <= sizes.batch.div_ceil(shape.micro_batch)
            && shape.micro_batch <= sizes.batch
            && match shape.interleave {
                1 => true,
                _ => shape.pipeline > 1 && micro_batches >= shape.pipeline,
            }
    }

    /// The recomputations worth trying, fastest first: without a fused kernel all, with it
    /// [`Recompute::None`] is nothing of its own.
    pub(super) fn recomputations(&self) -> &'static [Recompute] {
        match self.software.fused_attention {
            true => &[Recompute::Selective, Recompute::Full],
            false => &[Recompute::None, Recompute::Selective, Recompute::Full],
        }
    }
}

/// Chunks that a stage's layers can be cut into.
pub(super) fn interleavings(layers: usize, pipeline: usize) -> impl Iterator<Item = usize> {
    let most = if pipeline == 1 { 1 } else { layers / pipeline };
    divisors(layers / pipeline).take_while(move |&chunks| chunks <= most)
}

/// The divisors of a number, ascending.
pub(super) fn divisors(number: usize) -> impl Iterator<Item = usize> {
    (1..=number).filter(move |&divisor| number.is_multiple_of(divisor))
}
