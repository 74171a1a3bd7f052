//! The fastest shape for every number of workers.
//!
//! With a fixed batch, the time of a shape changes where `ceil(B / b d)` does, the micro-batches of
//! a replica: between two such breakpoints a further replica only idles ([`super::time`]'s
//! invariant). There are about `2 sqrt(B / b)` of them, so that a table costs thousands of
//! evaluations, not millions, and follows the number of GPUs only in its last pass.
//!
//! Memory prunes first: a shape fits from some number of replicas on, since more of them share the
//! optimizer's state.

use super::memory::Footprint;
use super::time::Pace;
use super::workload::{MICRO_BATCHES, divisors, interleavings};
use super::{Recompute, Shape, Step, Workload};

/// The steps of T up to so many workers.
pub(super) fn fastest_shapes(workload: &Workload, max_workers: usize) -> Vec<Step> {
    let mut table = Table::new(workload, max_workers);
    for_each_shape(workload, max_workers, |shape, most_replicas| {
        table.offer_all(workload, shape, most_replicas);
    });
    table.into_steps()
}

/// Every shape but for its replicas and its recomputation, with the most replicas that have a
/// micro-batch each and find workers.
fn for_each_shape(workload: &Workload, max_workers: usize, mut visit: impl FnMut(Shape, usize)) {
    let sizes = workload.model.sizes();
    let tensors = divisors(workload.gpus_per_node)
        .filter(|&tensor| sizes.heads.is_multiple_of(tensor) && tensor <= max_workers);
    for tensor in tensors {
        let stages = max_workers / tensor;
        for pipeline in divisors(sizes.layers).take_while(|&pipeline| pipeline <= stages) {
            let replicas = stages / pipeline;
            for micro_batch in MICRO_BATCHES.into_iter().filter(|&b| b <= sizes.batch) {
                let most_replicas = replicas.min(workload.micro_batches(micro_batch, 1));
                for interleave in interleavings(sizes.layers, pipeline) {
                    let shape = Shape {
                        tensor,
                        pipeline,
                        data: 1,
                        micro_batch,
                        interleave,
                        recompute: Recompute::None,
                        sharded_optimizer: true,
                    };
                    visit(shape, most_replicas);
                }
            }
        }
    }
}

/// The best of each number of workers so far.
struct Table {
    /// By workers: FLOP/s, 0 where no shape takes just so many.
    flops: Vec<f64>,
    /// By workers: the index of the shape, replicas aside.
    shape_idx: Vec<u32>,
    shapes: Vec<Shape>,
    iteration_flops: f64,
}

impl Table {
    fn new(workload: &Workload, max_workers: usize) -> Self {
        let sizes = workload.model.sizes();
        let most = workload
            .gpus_per_node
            .saturating_mul(sizes.layers)
            .saturating_mul(sizes.batch)
            .min(max_workers);
        Self {
            flops: vec![0.0; most + 1],
            shape_idx: vec![0; most + 1],
            shapes: Vec::new(),
            iteration_flops: workload.model.iteration_flops(),
        }
    }

    /// Offers a shape with every number of replicas that can make it better than itself with
    /// fewer. A lighter recomputation is always faster, so that a heavier one is wanted only where
    /// the lighter doesn't fit.
    fn offer_all(&mut self, workload: &Workload, shape: Shape, most_replicas: usize) {
        let mut end = full_pipelines(workload, &shape, most_replicas) + 1;
        for &recompute in workload.recomputations() {
            let shape = Shape { recompute, ..shape };
            let first = fewest_replicas(workload, &shape, end);
            if first < end {
                self.offer(workload, shape, first, end);
            }
            end = end.min(first);
        }
    }

    /// Offers a shape with `first` replicas and at each breakpoint before `end`.
    fn offer(&mut self, workload: &Workload, shape: Shape, first: usize, end: usize) {
        let pace = Pace::new(workload, &shape);
        let group = shape.tensor * shape.pipeline;
        let shape_idx = self.shapes.len() as u32;
        let all = workload.micro_batches(shape.micro_batch, 1);
        let mut data = first;
        while data < end {
            let flops = self.iteration_flops / pace.seconds(data);
            let best = &mut self.flops[group * data];
            if flops > *best {
                *best = flops;
                self.shape_idx[group * data] = shape_idx;
            }
            data = match all.div_ceil(data) {
                1 => end,
                micro_batches => all.div_ceil(micro_batches - 1),
            };
        }
        self.shapes.push(shape);
    }

    /// Only what is faster than everything with fewer workers.
    fn into_steps(self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut best = 0.0;
        for (workers, &flops) in self.flops.iter().enumerate() {
            if flops > best {
                best = flops;
                let mut shape = self.shapes[self.shape_idx[workers] as usize];
                shape.data = workers / (shape.tensor * shape.pipeline);
                steps.push(Step { workers, flops, shape: Some(shape) });
            }
        }
        steps
    }
}

/// The most replicas that leave an interleaved pipeline as many micro-batches as it has stages.
fn full_pipelines(workload: &Workload, shape: &Shape, most_replicas: usize) -> usize {
    match (shape.interleave, shape.pipeline - 1) {
        (1, _) | (_, 0) => most_replicas,
        // ceil(M / d) >= p just where d < M / (p - 1).
        (_, fewer) => {
            let all = workload.micro_batches(shape.micro_batch, 1);
            most_replicas.min(all.div_ceil(fewer) - 1)
        }
    }
}

/// The fewest replicas with which a shape fits in memory, `end` if none below it do.
fn fewest_replicas(workload: &Workload, shape: &Shape, end: usize) -> usize {
    let footprint = Footprint::new(workload, shape);
    let fits = |data| footprint.bytes(data) <= workload.usable_bytes();
    let (mut low, mut high) = (1, end);
    while low < high {
        let middle = low.midpoint(high);
        match fits(middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

#[cfg(test)]
mod tests;
