//! The search against trying every shape, and what T promises.

use super::*;
use crate::cluster::Hardware;
use crate::model::{LanguageModel, Sizes};
use crate::throughput::{Constants, Software, Throughput};
use proptest::prelude::*;

/// Every shape with every number of replicas and every recomputation, by the public estimates.
fn exhaustive(workload: &Workload, max_workers: usize) -> Vec<Step> {
    let mut best: Vec<Option<Step>> = vec![None; max_workers + 1];
    for_each_shape(workload, max_workers, |shape, _| {
        for data in 1..=max_workers / (shape.tensor * shape.pipeline) {
            for recompute in [Recompute::None, Recompute::Selective, Recompute::Full] {
                let shape = Shape { data, recompute, ..shape };
                if workload.fits(&shape) {
                    let (workers, flops) = (shape.workers(), workload.flops(&shape));
                    if best[workers].is_none_or(|step| step.flops < flops) {
                        best[workers] = Some(Step { workers, flops, shape: Some(shape) });
                    }
                }
            }
        }
    });
    let mut steps: Vec<Step> = Vec::new();
    for step in best.into_iter().flatten() {
        if steps.last().is_none_or(|last| last.flops < step.flops) {
            steps.push(step);
        }
    }
    steps
}

fn with_workload<T>(
    model: &LanguageModel,
    hardware: &Hardware,
    software: Software,
    run: impl FnOnce(&Workload) -> T,
) -> T {
    let constants = Constants::default();
    run(&Workload { model, hardware, gpus_per_node: 8, constants: &constants, software })
}

fn table(model: &LanguageModel, hardware: &Hardware, max_workers: usize) -> Throughput {
    Throughput::megatron(model, hardware, 8, max_workers, &Constants::default())
}

/// Models of 4 to 48 layers that need 1 to some dozens of GPUs, and hardware around the known.
fn workloads() -> impl Strategy<Value = (LanguageModel, Hardware)> {
    let sizes = (1_usize..=12, 1_usize..=24, 1_usize..=3, 1_usize..=160);
    let hardware = (0.1_f64..2.0, 0.2_f64..2.0, 0.1_f64..2.0);
    (sizes, hardware).prop_map(|((layers, heads, words, batch), (memory, intra, inter))| {
        let sizes = Sizes {
            layers: 4 * layers,
            hidden: 128 * 2 * heads,
            heads: 2 * heads,
            sequence: 2048,
            vocabulary: 32_000 * words,
            batch,
        };
        let mut hardware = Hardware::kind("a100-80gb").unwrap();
        hardware.memory_bytes *= memory;
        hardware.intra_node_bandwidth *= intra;
        hardware.inter_node_bandwidth *= inter;
        (LanguageModel::new("any", sizes).unwrap(), hardware)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_search_finds_what_trying_everything_finds(
        (model, hardware) in workloads(),
        max_workers in 1_usize..200,
        fused_attention in any::<bool>(),
    ) {
        let software = Software { fused_attention, ..Software::CURRENT };
        with_workload(&model, &hardware, software, |workload| {
            let found = fastest_shapes(workload, max_workers);
            let figures = |steps: &[Step]| -> Vec<(usize, f64)> {
                steps.iter().map(|step| (step.workers, step.flops)).collect()
            };
            assert_eq!(figures(&found), figures(&exhaustive(workload, max_workers)));
            for step in found {
                let shape = step.shape.unwrap();
                assert!(workload.fits(&shape), "{shape}");
                assert_eq!((shape.workers(), workload.flops(&shape)), (step.workers, step.flops));
            }
        });
    }

    #[test]
    fn more_workers_never_lower_it_and_nothing_exceeds_the_peak(
        (model, hardware) in workloads(),
    ) {
        let throughput = table(&model, &hardware, 512);
        for pair in throughput.steps().windows(2) {
            prop_assert!(pair[0].workers < pair[1].workers && pair[0].flops < pair[1].flops);
        }
        for step in throughput.steps() {
            prop_assert!(step.flops < step.workers as f64 * hardware.peak_flops);
        }
    }

    #[test]
    fn a_longer_table_begins_like_a_shorter_one((model, hardware) in workloads()) {
        let (short, long) = (table(&model, &hardware, 100), table(&model, &hardware, 300));
        let begin = long.steps().iter().take_while(|step| step.workers <= 100);
        prop_assert!(begin.eq(short.steps()));
    }

    #[test]
    fn more_bandwidth_or_memory_never_lowers_it(
        (model, hardware) in workloads(),
        factor in 1.0_f64..4.0,
        figure in 1_usize..5,
    ) {
        let name = Hardware::FIGURES[figure];
        let mut better = hardware;
        match name {
            "memory_bytes" => better.memory_bytes *= factor,
            "memory_bandwidth" => better.memory_bandwidth *= factor,
            "intra_node_bandwidth" => better.intra_node_bandwidth *= factor,
            _ => better.inter_node_bandwidth *= factor,
        }
        let (before, after) = (table(&model, &hardware, 200), table(&model, &better, 200));
        for workers in 1..=200 {
            let (before, after) = (before.at(workers), after.at(workers));
            prop_assert!(after >= before * (1.0 - 1e-12), "{name}, {workers}: {before} {after}");
        }
    }

    #[test]
    fn recomputing_costs_time_and_replicas_save_memory(
        (model, hardware) in workloads(),
        (tensor, data) in (0_u32..4, 1_usize..64),
        fused_attention in any::<bool>(),
    ) {
        let software = Software { fused_attention, ..Software::CURRENT };
        let shape = Shape {
            tensor: 1 << tensor,
            pipeline: 2,
            data,
            micro_batch: 1,
            interleave: 1,
            recompute: Recompute::None,
            sharded_optimizer: true,
        };
        with_workload(&model, &hardware, software, |workload| {
            let by_recomputation = [Recompute::None, Recompute::Selective, Recompute::Full]
                .map(|recompute| Shape { recompute, ..shape });
            for pair in by_recomputation.windows(2) {
                assert!(workload.flops(&pair[0]) >= workload.flops(&pair[1]));
            }
            let bytes = |shape: Shape| workload.memory_bytes(&shape);
            assert!(bytes(shape) >= bytes(Shape { data: data + 1, ..shape }));
            assert!(bytes(shape) < bytes(Shape { micro_batch: 2, ..shape }));
            assert!(bytes(shape) > bytes(Shape { tensor: 2 * shape.tensor, ..shape }));
            assert!(bytes(shape) >= bytes(Shape { recompute: Recompute::Selective, ..shape }));
        });
    }
}

#[test]
fn a_hundred_thousand_gpus_are_searched_as_exactly_as_two_hundred() {
    // The same shapes at two sizes, beyond what trying everything reaches.
    let model = LanguageModel::preset("gpt3-7b").unwrap();
    let hardware = Hardware::kind("a800-80gb").unwrap();
    let (large, small) = (table(&model, &hardware, 100_000), table(&model, &hardware, 256));
    for workers in 1..=256 {
        assert_eq!(large.step_at(workers), small.step_at(workers));
    }
}

#[test]
fn what_fits_nowhere_has_no_steps() {
    let model = LanguageModel::preset("gpt3-175b").unwrap();
    let throughput = table(&model, &Hardware::kind("a800-80gb").unwrap(), 8);
    assert_eq!((throughput.smallest(), throughput.at(8)), (None, 0.0));
    assert_eq!(table(&model, &Hardware::kind("a800-80gb").unwrap(), 0).steps(), []);
}
