//! How a task is spread over its GPUs.

use std::fmt;

/// Tensor x pipeline x data parallel, and the knobs of Megatron-LM's schedule. All counts are 1 or
/// more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// GPUs that share every layer, `t`; always inside a node.
    pub tensor: usize,
    /// Stages of a pipeline, `p`.
    pub pipeline: usize,
    /// Replicas of the model, `d`.
    pub data: usize,
    /// Sequences of a micro-batch, `b`.
    pub micro_batch: usize,
    /// Chunks of layers of each stage, `v` (the interleaved schedule of Narayanan et al. 2021);
    /// 1 is plain 1F1B.
    pub interleave: usize,
    /// What of the forward pass is computed again.
    pub recompute: Recompute,
    /// Whether the replicas share the optimizer's state (Megatron's distributed optimizer, ZeRO-1).
    pub sharded_optimizer: bool,
}

impl Shape {
    /// GPUs that it takes.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.tensor * self.pipeline * self.data
    }
}

/// As people write it.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tensor {} x pipeline {} x data {}, micro-batch {}, interleave {}, {} recomputation",
            self.tensor,
            self.pipeline,
            self.data,
            self.micro_batch,
            self.interleave,
            self.recompute
        )
    }
}

/// What of the forward pass is computed again in the backward pass (Korthikanti et al. 2022).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recompute {
    /// Nothing: all activations are kept, attention scores too.
    None,
    /// The attention core, whose scores are the largest activations and the cheapest to compute.
    Selective,
    /// Whole layers: only their inputs are kept.
    Full,
}

impl fmt::Display for Recompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no",
            Self::Selective => "selective",
            Self::Full => "full",
        })
    }
}

/// What the training software can do: facts of its release, known for every published run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Software {
    /// Norms and dropout are split over the tensor-parallel group (Korthikanti et al. 2022).
    pub sequence_parallel: bool,
    /// Attention is one kernel that never stores the scores (FlashAttention); it computes them
    /// again in the backward pass whatever is asked for, so that [`Recompute::None`] is
    /// [`Recompute::Selective`].
    pub fused_attention: bool,
    /// Communication runs beside computation.
    pub overlap: bool,
}

impl Software {
    /// Megatron-LM of April 2021.
    pub const MEGATRON_2021: Self =
        Self { sequence_parallel: false, fused_attention: false, overlap: false };
    /// Megatron-LM of May 2022, with sequence parallelism and selective recomputation.
    pub const MEGATRON_2022: Self = Self { sequence_parallel: true, ..Self::MEGATRON_2021 };
    /// Megatron-Core 0.8 (2024) and later.
    pub const CURRENT: Self =
        Self { sequence_parallel: true, fused_attention: true, overlap: true };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_reads_as_people_write_it() {
        let shape = Shape {
            tensor: 8,
            pipeline: 6,
            data: 48,
            micro_batch: 1,
            interleave: 16,
            recompute: Recompute::Selective,
            sharded_optimizer: true,
        };
        let text = "tensor 8 x pipeline 6 x data 48, micro-batch 1, interleave 16, selective recomputation";
        assert_eq!(shape.to_string(), text);
        assert_eq!(shape.workers(), 2304);
    }
}
