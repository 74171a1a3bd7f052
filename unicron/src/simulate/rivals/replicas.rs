//! Arithmetic of a shape's replicas: what a fixed batch on fewer of them costs (field notes 6.3).

use crate::simulate::rival::Job;

/// How a job is spread over all of its workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Replicas {
    /// Workers of a tensor-parallel group.
    pub tensor: usize,
    /// Stages of a pipeline, `p`.
    pub pipeline: usize,
    /// Replicas, `d`.
    pub data: usize,
    /// Sequences of an iteration over all replicas.
    pub batch: usize,
    /// Sequences of a micro-batch.
    pub micro_batch: usize,
    /// Slots of a pipeline that fill and drain: `(p - 1) / v`.
    pub bubble: f64,
}

impl Replicas {
    /// Of a job whose shape is known.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let shape = job.throughput.step_at(job.workers)?.shape?;
        Some(Self {
            tensor: shape.tensor,
            pipeline: shape.pipeline,
            data: shape.data,
            batch: job.model.as_ref()?.sizes().batch,
            micro_batch: shape.micro_batch,
            bubble: (shape.pipeline - 1) as f64 / shape.interleave as f64,
        })
    }

    /// Workers that a replica takes.
    pub(super) fn workers_of_each(&self) -> usize {
        self.tensor * self.pipeline
    }

    /// Slots, each as long as a whole micro-batch, that the slowest of so many replicas works. The last
    /// micro-batch may be smaller: it takes its part of a slot.
    pub(super) fn work(&self, data: usize) -> f64 {
        self.batch.div_ceil(data) as f64 / self.micro_batch as f64
    }

    /// Slots of an iteration on so many replicas, the bubble included.
    pub(super) fn slots(&self, data: usize) -> f64 {
        self.work(data) + self.bubble
    }

    /// The most replicas on so many workers of which each has as many sequences. Megatron-LM asserts
    /// it: the global batch is a multiple of the micro-batch times the replicas.
    pub(super) fn even(&self, workers: usize) -> Option<usize> {
        let most = (workers / self.workers_of_each()).min(self.data);
        let is_even = |data: &usize| *data == self.data || self.batch.is_multiple_of(*data);
        (1..=most).rev().find(is_even)
    }
}

/// FLOP/s of a job that drops replicas and keeps its batch, its shape otherwise and equal shares of
/// sequences. Never more than T, which knows what fits in memory. Without a shape it is T.
pub(super) fn even_flops(job: &Job, healthy: usize) -> f64 {
    let limit = job.throughput.at(healthy);
    let Some(replicas) = Replicas::of(job) else { return limit };
    if healthy >= job.workers {
        return limit;
    }
    replicas.even(healthy).map_or(0.0, |data| {
        let full = job.throughput.at(job.workers);
        (full * replicas.slots(replicas.data) / replicas.slots(data)).min(limit)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::job_in_shape;
    use super::*;

    #[test]
    fn one_replica_of_four_costs_what_the_field_notes_say() {
        // Section 6.3: p = 8, m = 16, d from 4 to 3: 1.232 times as long. 512 sequences, 8 at a time.
        let replicas = Replicas::of(&job_in_shape(1, 8, 4, 8)).unwrap();
        assert_eq!(replicas.work(4), 16.0);
        assert!((replicas.slots(3) / replicas.slots(4) - 1.232).abs() < 3e-3);
    }

    #[test]
    fn even_shares_let_replicas_idle() {
        let replicas = Replicas::of(&job_in_shape(2, 4, 16, 1)).unwrap();
        // 512 sequences on 15 replicas don't come out even; on 8 they do.
        let even = [128, 120, 64, 63, 8, 7].map(|workers| replicas.even(workers));
        assert_eq!(even, [Some(16), Some(8), Some(8), Some(4), Some(1), None]);
    }

    #[test]
    fn fewer_replicas_take_proportionally_longer_less_the_bubble() {
        let replicas = Replicas::of(&job_in_shape(2, 4, 16, 1)).unwrap();
        assert_eq!(replicas.slots(16), 35.0);
        assert_eq!(replicas.slots(8), 67.0);
    }
}
