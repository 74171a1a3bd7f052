//! Bytes of the fullest GPU of a shape.
//!
//! State as Megatron-LM keeps it: 16-bit weights, 32-bit gradients, and 32-bit weights and two
//! moments of Adam, which replicas may share. Activations after Korthikanti et al. 2022
//! ("Reducing activation recomputation in large transformer models"), equations 1 to 6.

use super::{Recompute, Shape, Workload};

/// 16-bit weight and 32-bit gradient of a parameter.
const BYTES_OF_WEIGHT_AND_GRADIENT: f64 = 6.0;
/// 32-bit weight and Adam's two moments of a parameter.
const BYTES_OF_OPTIMIZER: f64 = 12.0;
/// 16-bit logits and their 32-bit softmax, for each token and word.
const BYTES_OF_LOGIT: f64 = 6.0;
/// The input of a layer in 16 bits, for each token and channel.
const BYTES_OF_LAYER_INPUT: f64 = 2.0;

/// What a shape keeps in memory, whatever its number of replicas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    parameters: f64,
    sharded_optimizer: bool,
    /// Activations that a chunk of layers keeps of a micro-batch.
    chunk: f64,
    /// Activations of the layer that is computed again.
    working: f64,
    logits: f64,
    pipeline: usize,
    interleave: usize,
    /// Micro-batches of an iteration over all replicas.
    micro_batches: usize,
}

impl Footprint {
    pub(super) fn new(workload: &Workload, shape: &Shape) -> Self {
        let sizes = workload.model.sizes();
        let tensor = shape.tensor as f64;
        let tokens = (sizes.sequence * shape.micro_batch) as f64;
        let channels = tokens * sizes.hidden as f64;
        let chunks = (shape.pipeline * shape.interleave) as f64;
        let kept = match shape.recompute {
            Recompute::Full if workload.software.sequence_parallel => BYTES_OF_LAYER_INPUT / tensor,
            Recompute::Full => BYTES_OF_LAYER_INPUT,
            Recompute::Selective => layer_bytes(workload, shape.tensor),
            Recompute::None => layer_bytes(workload, shape.tensor) + score_bytes(workload, shape),
        };
        let working = match shape.recompute {
            Recompute::Full => layer_bytes(workload, shape.tensor) + score_bytes(workload, shape),
            Recompute::Selective => score_bytes(workload, shape),
            Recompute::None => 0.0,
        };
        Self {
            parameters: parameters(workload, shape),
            sharded_optimizer: shape.sharded_optimizer,
            chunk: channels * kept * sizes.layers as f64 / chunks,
            working: channels * working,
            logits: BYTES_OF_LOGIT * tokens * sizes.vocabulary as f64 / tensor,
            pipeline: shape.pipeline,
            interleave: shape.interleave,
            micro_batches: sizes.batch.div_ceil(shape.micro_batch),
        }
    }

    /// Bytes with so many replicas: never more with more of them.
    pub(super) fn bytes(&self, data: usize) -> f64 {
        let sharers = if self.sharded_optimizer { data as f64 } else { 1.0 };
        let state = self.parameters * (BYTES_OF_WEIGHT_AND_GRADIENT + BYTES_OF_OPTIMIZER / sharers);
        let micro_batches = self.micro_batches.div_ceil(data);
        let first = self.chunk * self.chunks_in_flight(0, micro_batches);
        let last =
            self.chunk * self.chunks_in_flight(self.pipeline - 1, micro_batches) + self.logits;
        let activations = if self.pipeline == 1 { last } else { first.max(last) };
        state + activations + self.working
    }

    /// Chunks whose activations a stage holds at once: those that its warm-up has sent forward and
    /// one more (Narayanan et al. 2021, section 2.2).
    fn chunks_in_flight(&self, stage: usize, micro_batches: usize) -> f64 {
        let behind = self.pipeline - 1 - stage;
        let warm_up = match self.interleave {
            1 => behind,
            _ => 2 * behind + (self.interleave - 1) * self.pipeline,
        };
        (warm_up + 1).min(micro_batches * self.interleave) as f64
    }
}

/// Parameters of a rank of the first stage, or of the last, which keeps a copy of the embedding.
pub(super) fn parameters(workload: &Workload, shape: &Shape) -> f64 {
    let sizes = workload.model.sizes();
    let layers = sizes.layers as f64 / shape.pipeline as f64;
    let embedding = ((sizes.vocabulary + sizes.sequence) * sizes.hidden) as f64;
    (layers * workload.model.layer_parameters() + embedding) / shape.tensor as f64
}

/// Activations of a layer for each token and channel, scores left out: 34, of which 10 are split
/// only where sequences are (equations 2 and 4).
pub(super) fn layer_bytes(workload: &Workload, tensor: usize) -> f64 {
    let tensor = tensor as f64;
    match workload.software.sequence_parallel {
        true => 34.0 / tensor,
        false => 10.0 + 24.0 / tensor,
    }
}

/// Scores of attention, their softmax and its dropout, for each token and channel: `5 a s / h t`
/// (equation 2). A fused kernel keeps none.
pub(super) fn score_bytes(workload: &Workload, shape: &Shape) -> f64 {
    if workload.software.fused_attention {
        return 0.0;
    }
    let sizes = workload.model.sizes();
    5.0 * sizes.sequence as f64 * sizes.heads as f64 / (sizes.hidden * shape.tensor) as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Constants, Software};
    use super::*;
    use crate::cluster::Hardware;
    use crate::model::LanguageModel;

    const SHAPE: Shape = Shape {
        tensor: 8,
        pipeline: 8,
        data: 4,
        micro_batch: 1,
        interleave: 3,
        recompute: Recompute::None,
        sharded_optimizer: true,
    };

    fn bytes(software: Software, shape: &Shape) -> f64 {
        let workload = Workload {
            model: &LanguageModel::preset("gpt3-175b").unwrap(),
            hardware: &Hardware::kind("a100-80gb").unwrap(),
            gpus_per_node: 8,
            constants: &Constants::default(),
            software,
        };
        workload.memory_bytes(shape)
    }

    #[test]
    fn a_quarter_of_a_replica_keeps_six_bytes_a_parameter_and_a_quarter_of_twelve() {
        let sharded = bytes(Software::CURRENT, &SHAPE);
        let whole = bytes(Software::CURRENT, &Shape { sharded_optimizer: false, ..SHAPE });
        // 12 layers of 12 h² + 13 h and the embedding, an eighth of each.
        let h = 12_288.0;
        let parameters = (12.0 * (12.0 * h * h + 13.0 * h) + (51_200.0 + 2048.0) * h) / 8.0;
        assert!((whole - sharded - 9.0 * parameters).abs() < 1.0);
    }

    #[test]
    fn splitting_sequences_and_recomputing_attention_keeps_a_fifth() {
        // The abstract of Korthikanti et al. 2022: five times less.
        let activations = |software, recompute| {
            let shape = Shape { recompute, ..SHAPE };
            let half = Shape { micro_batch: 2, ..shape };
            bytes(software, &half) - bytes(software, &shape)
        };
        let plain = activations(Software::MEGATRON_2021, Recompute::None);
        let both = activations(Software::MEGATRON_2022, Recompute::Selective);
        assert!((4.5..6.0).contains(&(plain / both)), "{plain} to {both}");
    }

    #[test]
    fn a_pipeline_holds_all_layers_once_and_interleaving_a_little_more() {
        // Equation 5's factor for p = 8, v = 3: 1 + (p - 1) / (p v).
        let activations = |interleave| {
            let shape = Shape { interleave, ..SHAPE };
            bytes(Software::CURRENT, &Shape { micro_batch: 2, ..shape })
                - bytes(Software::CURRENT, &shape)
        };
        let ratio = activations(3) / activations(1);
        assert!((ratio - (1.0 + 7.0 / 24.0)).abs() < 1e-9, "{ratio}");
    }
}
