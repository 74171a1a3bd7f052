//! Seconds of an iteration of a shape.
//!
//! A replica's pipeline passes m micro-batches, each at the pace of its slowest stage, and fills and
//! drains once: `m τ + (p - 1) / v τ`. Then replicas exchange gradients and weights, as far as that
//! doesn't hide behind the last micro-batch, and the optimizer steps.
//!
//! Computation is matrix products at an attained share of the peak, and all else at the bandwidth
//! of memory; this is why small models attain less. Communication is bytes over stated bandwidths.
//!
//! **Invariant:** with as many micro-batches, more replicas never take less time. `search` relies on
//! it.

use super::memory::{layer_bytes, parameters, score_bytes};
use super::{Recompute, Shape, Workload};

/// Share of a link's stated bandwidth that collectives of large messages attain (NCCL's bus
/// bandwidth; about 80 % on NVLink and InfiniBand alike).
const LINK_EFFICIENCY: f64 = 0.8;

/// Bytes of a 16-bit activation.
const BYTES_OF_ACTIVATION: f64 = 2.0;

/// Per parameter, 32-bit gradients scattered and 16-bit weights gathered.
const BYTES_OF_EXCHANGE_SHARDED: f64 = 4.0 + 2.0;
/// Per parameter, 16-bit gradients reduced over all replicas: each byte travels twice.
const BYTES_OF_EXCHANGE: f64 = 2.0 * 2.0;

/// Per parameter of a rank, what the step reads and writes: gradients are measured, clipped and
/// zeroed, weights rewritten. Adam's pass over a shared state shrinks as 1 / d where the exchange
/// grows as 1 - 1 / d. On the links we know the two nearly cancel, and the step counts the same for
/// all.
const BYTES_OF_STEP: f64 = 24.0;

/// The pace of a shape, whatever its number of replicas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    within_node: Beat,
    across_nodes: Beat,
    /// Seconds that the optimizer's step takes.
    step: f64,
    /// Bytes that a rank exchanges with the other replicas, if there were infinitely many.
    exchange: f64,
    /// Bytes/s of the exchange inside a node, and over several.
    exchange_within_node: f64,
    exchange_across_nodes: f64,
    overlap: bool,
    tensor: usize,
    pipeline: usize,
    gpus_per_node: usize,
    /// Micro-batches of an iteration over all replicas.
    micro_batches: usize,
}

/// Seconds of the parts of a pipeline whose stages are inside a node, or aren't.
#[derive(Debug, Clone, Copy)]
struct Beat {
    micro_batch: f64,
    bubble: f64,
}

impl Pace {
    pub(super) fn new(workload: &Workload, shape: &Shape) -> Self {
        let hardware = workload.hardware;
        let rank_parameters = parameters(workload, shape);
        let (tensor, pipeline) = (shape.tensor, shape.pipeline);
        // The replicas of a rank inside one node share that node's links to the others.
        let lanes = (workload.gpus_per_node / tensor).max(1) as f64;
        let across = (hardware.inter_node_bandwidth * lanes).min(hardware.intra_node_bandwidth);
        let bytes = match shape.sharded_optimizer {
            true => BYTES_OF_EXCHANGE_SHARDED,
            false => BYTES_OF_EXCHANGE,
        };
        Self {
            within_node: beat(workload, shape, hardware.intra_node_bandwidth),
            across_nodes: beat(
                workload,
                shape,
                hardware.inter_node_bandwidth.min(hardware.intra_node_bandwidth),
            ),
            step: rank_parameters * BYTES_OF_STEP / hardware.memory_bandwidth,
            exchange: rank_parameters * bytes,
            exchange_within_node: hardware.intra_node_bandwidth * LINK_EFFICIENCY,
            exchange_across_nodes: across * LINK_EFFICIENCY,
            overlap: workload.software.overlap,
            tensor,
            pipeline,
            gpus_per_node: workload.gpus_per_node,
            micro_batches: workload.model.sizes().batch.div_ceil(shape.micro_batch),
        }
    }

    /// Seconds of an iteration with so many replicas. Ranks are numbered as Megatron-LM numbers
    /// them, tensor before data before pipeline, so that replicas of a rank are neighbours.
    pub(super) fn seconds(&self, data: usize) -> f64 {
        let gpus_of_stage = self.tensor * data;
        let beat = match gpus_of_stage * self.pipeline <= self.gpus_per_node {
            true => &self.within_node,
            false => &self.across_nodes,
        };
        let bandwidth = match gpus_of_stage <= self.gpus_per_node {
            true => self.exchange_within_node,
            false => self.exchange_across_nodes,
        };
        let exchange = self.exchange * (1.0 - 1.0 / data as f64) / bandwidth;
        let hidden = if self.overlap { beat.micro_batch } else { 0.0 };
        let micro_batches = self.micro_batches.div_ceil(data) as f64;
        micro_batches * beat.micro_batch + beat.bubble + (exchange - hidden).max(0.0) + self.step
    }
}

fn beat(workload: &Workload, shape: &Shape, stage_bandwidth: f64) -> Beat {
    let sizes = workload.model.sizes();
    let layers = sizes.layers as f64 / shape.pipeline as f64;
    let exposed = match workload.software.overlap {
        true => 1.0 - workload.constants.hidden_communication,
        false => 1.0,
    };
    let layer = layer_seconds(workload, shape) + exposed * tensor_seconds(workload, shape);
    let (sends, drag) = match shape.pipeline {
        1 => (0.0, 1.0),
        _ => {
            let bytes = message_bytes(workload, shape) / shape.tensor as f64;
            let sends = 2.0 * shape.interleave as f64 * bytes / (stage_bandwidth * LINK_EFFICIENCY);
            (exposed * sends, 1.0 + workload.constants.pipeline_drag)
        }
    };
    let stage = layers * layer + sends;
    // The last stage has the output layer too, and all others wait for it.
    let slowest = stage + output_seconds(workload, shape);
    Beat {
        micro_batch: slowest * drag,
        bubble: stage * drag * (shape.pipeline - 1) as f64 / shape.interleave as f64,
    }
}

/// Computation of a layer for a micro-batch, forward and backward.
fn layer_seconds(workload: &Workload, shape: &Shape) -> f64 {
    let sizes = workload.model.sizes();
    let (hidden, sequence) = (sizes.hidden as f64, sizes.sequence as f64);
    let tokens = sequence * shape.micro_batch as f64;
    // A backward pass is two forward passes, and a forward pass computed again is one more.
    let full = if shape.recompute == Recompute::Full { 1.0 } else { 0.0 };
    let attention = match (workload.software.fused_attention, shape.recompute) {
        (true, _) => 1.0 + full,
        (false, Recompute::None) => 0.0,
        (false, Recompute::Selective | Recompute::Full) => 1.0,
    };
    let rate = workload.hardware.peak_flops * workload.constants.matmul_efficiency;
    let linear_flops = 24.0 * tokens * hidden * hidden * (3.0 + full);
    let attention_flops = 4.0 * tokens * sequence * hidden * (3.0 + attention)
        / workload.constants.attention_efficiency;
    let matmul_seconds = (linear_flops + attention_flops) / (rate * shape.tensor as f64);
    let kept = layer_bytes(workload, shape.tensor) * (1.0 + full / 3.0)
        + score_bytes(workload, shape) * (1.0 + attention / 3.0);
    let traffic = workload.constants.activation_passes * kept * tokens * hidden;
    matmul_seconds + traffic / workload.hardware.memory_bandwidth
}

/// Communication of a tensor-parallel layer for a micro-batch: two all-reduces forward, two
/// backward, two more where layers are computed again (as reduce-scatters and all-gathers of the
/// same bytes where sequences are split).
fn tensor_seconds(workload: &Workload, shape: &Shape) -> f64 {
    let tensor = shape.tensor as f64;
    let all_reduces = if shape.recompute == Recompute::Full { 6.0 } else { 4.0 };
    let bytes = 2.0 * (tensor - 1.0) / tensor * message_bytes(workload, shape);
    all_reduces * bytes / (workload.hardware.intra_node_bandwidth * LINK_EFFICIENCY)
}

/// The output layer for a micro-batch, forward and backward: `6 s b h V` FLOPs.
fn output_seconds(workload: &Workload, shape: &Shape) -> f64 {
    let sizes = workload.model.sizes();
    let tokens = (sizes.sequence * shape.micro_batch) as f64;
    let flops = 6.0 * tokens * sizes.hidden as f64 * sizes.vocabulary as f64;
    let rate = workload.hardware.peak_flops * workload.constants.matmul_efficiency;
    flops / (rate * shape.tensor as f64)
}

/// Bytes of the activations between two layers for a micro-batch: `2 s b h`.
fn message_bytes(workload: &Workload, shape: &Shape) -> f64 {
    let sizes = workload.model.sizes();
    BYTES_OF_ACTIVATION * (sizes.sequence * shape.micro_batch) as f64 * sizes.hidden as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Constants, Software};
    use super::*;
    use crate::cluster::Hardware;
    use crate::model::{LanguageModel, Sizes};

    /// Only matrix products of layers take time: links and memory are as good as infinite, the
    /// vocabulary and attention as good as nothing.
    const IDEAL: Hardware = Hardware {
        peak_flops: 1e15,
        memory_bytes: 1e15,
        memory_bandwidth: 1e30,
        intra_node_bandwidth: 1e30,
        inter_node_bandwidth: 1e30,
        storage_bandwidth: 1e30,
    };

    const SHAPE: Shape = Shape {
        tensor: 1,
        pipeline: 8,
        data: 4,
        micro_batch: 1,
        interleave: 1,
        recompute: Recompute::None,
        sharded_optimizer: true,
    };

    /// Seconds of an iteration of 64 sequences.
    fn seconds(hardware: &Hardware, software: Software, shape: Shape) -> f64 {
        let sizes =
            Sizes { layers: 32, hidden: 8192, heads: 64, sequence: 1, vocabulary: 1, batch: 64 };
        let workload = Workload {
            model: &LanguageModel::new("ideal", sizes).unwrap(),
            hardware,
            gpus_per_node: 8,
            constants: &Constants::default(),
            software,
        };
        workload.iteration_seconds(&shape)
    }

    fn check_ratio(slow: Shape, fast: Shape, expected: f64) {
        let of = |shape| seconds(&IDEAL, Software::MEGATRON_2022, shape);
        let ratio = of(slow) / of(fast);
        assert!((ratio - expected).abs() < 1e-3, "{ratio}, expected {expected}");
    }

    #[test]
    fn a_lost_replica_costs_what_the_field_notes_say() {
        // Section 6.3: m = 16, p = 8, d = 4 to 3 with uneven micro-batches.
        check_ratio(Shape { data: 3, ..SHAPE }, SHAPE, 1.261);
    }

    #[test]
    fn interleaving_divides_the_bubble() {
        // Section 6.3: of 8 stages and 16 micro-batches, 0.70 is work, with 4 chunks 0.90.
        check_ratio(
            SHAPE,
            Shape { interleave: 4, ..SHAPE },
            (1.0 + 7.0 / 16.0) / (1.0 + 7.0 / 64.0),
        );
    }

    #[test]
    fn computing_layers_again_costs_a_third() {
        check_ratio(Shape { recompute: Recompute::Full, ..SHAPE }, SHAPE, 4.0 / 3.0);
    }

    #[test]
    fn a_pipeline_drags() {
        let data = Shape { pipeline: 1, data: 64, ..SHAPE };
        let pipeline = Shape { pipeline: 32, data: 1, ..SHAPE };
        let stages = 32.0 * seconds(&IDEAL, Software::CURRENT, pipeline) / (64.0 + 31.0);
        let drag = stages / seconds(&IDEAL, Software::CURRENT, data);
        assert!((drag - 1.0 - Constants::default().pipeline_drag).abs() < 1e-3, "{drag}");
    }

    #[test]
    fn replicas_exchange_six_bytes_a_parameter_less_one_micro_batch() {
        let slow = Hardware { inter_node_bandwidth: 1e6, intra_node_bandwidth: 1e9, ..IDEAL };
        let shape = Shape { pipeline: 1, data: 16, ..SHAPE };
        // Eight neighbours share their node's links: 8e6 bytes/s, of which 80 % are attained.
        let h = 8192.0;
        let parameters = 32.0 * (12.0 * h * h + 13.0 * h) + 2.0 * h;
        let exchange = 6.0 * parameters * 15.0 / 16.0 / 6.4e6;
        let computation = seconds(&IDEAL, Software::CURRENT, shape);
        let exposed = seconds(&slow, Software::CURRENT, shape) - computation;
        assert!((exposed - (exchange - computation / 4.0)).abs() < 1e-3 * exchange, "{exposed}");
        let old = seconds(&slow, Software::MEGATRON_2022, shape);
        assert!(old > seconds(&slow, Software::CURRENT, shape));
        // Inside a node the slow links don't matter.
        let shape = Shape { data: 8, ..shape };
        let inside = seconds(&slow, Software::CURRENT, shape);
        assert!(inside < 6.0 * parameters / 0.8e9 + seconds(&IDEAL, Software::CURRENT, shape));
    }

    #[test]
    fn tensor_parallel_layers_move_four_all_reduces() {
        let slow = Hardware { intra_node_bandwidth: 1e6, ..IDEAL };
        let shape = Shape { tensor: 8, pipeline: 1, data: 1, ..SHAPE };
        let bytes = 32.0 * 4.0 * 2.0 * 7.0 / 8.0 * 2.0 * 8192.0 * 64.0;
        let exposed = seconds(&slow, Software::MEGATRON_2022, shape)
            - seconds(&IDEAL, Software::MEGATRON_2022, shape);
        assert!((exposed / (bytes / 0.8e6) - 1.0).abs() < 1e-6, "{exposed}");
        let hidden = Constants::default().hidden_communication;
        let overlapped =
            seconds(&slow, Software::CURRENT, shape) - seconds(&IDEAL, Software::CURRENT, shape);
        assert!((overlapped / exposed - (1.0 - hidden)).abs() < 1e-6, "{overlapped}");
    }
}
