//! Jobs for the tests of rivals.

use crate::cluster::Cluster;
use crate::model::LanguageModel;
use crate::simulate::rival::{Blow, Job, Symptom};
use crate::throughput::{Constants, Recompute, Shape, Step, Throughput};
use std::sync::Arc;

/// A model of the paper on all 128 GPUs of its cluster.
pub(super) fn job(model: &str) -> Job {
    job_of(model, 128)
}

/// A model of the paper on so many GPUs of its cluster.
pub(super) fn job_of(model: &str, workers: usize) -> Job {
    let cluster = Cluster::paper();
    let model = LanguageModel::preset(model).unwrap();
    let constants = Constants::default();
    let throughput = Throughput::megatron(&model, cluster.hardware(), 8, workers, &constants);
    Job {
        model: Some(Arc::new(model)),
        throughput: Arc::new(throughput),
        workers,
        hardware: *cluster.hardware(),
        gpus_per_node: 8,
    }
}

/// The 7B model, whose batch is 512, in one shape only.
pub(super) fn job_in_shape(
    tensor: usize,
    pipeline: usize,
    data: usize,
    batch_of_one: usize,
) -> Job {
    let shape = Shape {
        tensor,
        pipeline,
        data,
        micro_batch: batch_of_one,
        interleave: 1,
        recompute: Recompute::Selective,
        sharded_optimizer: true,
    };
    let workers = shape.workers();
    let step = |workers, flops| Step { workers, flops, shape: Some(shape) };
    // T limits nobody: what fewer workers achieve is the rival's to say.
    let steps = vec![step(1, 9.99e15), step(workers, 1e16)];
    let job = job_of("gpt3-7b", 8);
    Job { throughput: Arc::new(Throughput::of_steps(steps)), workers, ..job }
}

/// A failure that leaves so many, long after the last restart.
pub(super) fn blow(symptom: Symptom, healthy: usize) -> Blow {
    Blow { symptom, healthy, trained_s: 1e6, draw: 0.5 }
}
