//! What holds for every rival, whatever the job and the failure.

use super::testing::{job, job_in_shape, job_of};
use super::*;
use crate::simulate::rival::{Blow, Disruption, Job, Symptom};
use crate::throughput::Throughput;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

const STEADY: [Steady; 4] =
    [Steady::PublishedLow, Steady::Published, Steady::PublishedHigh, Steady::Megatron];

/// Jobs of all sorts: the paper's, small ones, one shape only, measured, unknown, impossible.
static JOBS: LazyLock<Vec<Job>> = LazyLock::new(|| {
    let measured = [(8, 1e15), (16, 1.9e15), (40, 4e15), (64, 5e15)];
    let measured = Arc::new(Throughput::measured(&measured).unwrap());
    let known = job_of("gpt3-7b", 64);
    vec![
        job("gpt3-1.3b"),
        job("gpt3-7b"),
        job("gpt3-175b"),
        job_of("gpt3-70b", 64),
        job_of("gpt3-1.3b", 8),
        job_of("gpt3-1.3b", 12),
        job_of("gpt3-1.3b", 1),
        job_in_shape(2, 4, 16, 1),
        job_in_shape(1, 8, 3, 8),
        Job { throughput: Arc::clone(&measured), ..known.clone() },
        Job { throughput: measured, model: None, ..known.clone() },
        Job { throughput: Arc::default(), ..known },
    ]
});

/// All rivals, with one choice of steady throughput.
type Chosen = (Steady, Vec<Box<dyn Rival + Send>>);

/// All rivals for each choice of steady throughput: the artifact's factors are computed once.
static RIVALS: LazyLock<Vec<Chosen>> = LazyLock::new(|| {
    let with = |steady| (steady, all(&Options { steady, ..Options::default() }));
    STEADY.into_iter().map(with).collect()
});

fn check(disruption: &Disruption, trained_s: f64) {
    let Disruption { detection_s, stopped_s, lost_s } = *disruption;
    for seconds in [detection_s, stopped_s, lost_s] {
        assert!(seconds.is_finite() && seconds >= 0.0, "{disruption:?}");
    }
    assert!(lost_s <= trained_s, "{disruption:?} after {trained_s} s");
}

proptest! {
    #[test]
    fn every_failure_has_a_finite_cost_and_takes_back_no_more_than_was_trained(
        trained_s in prop_oneof![Just(0.0), 0.0_f64..1e4, 0.0_f64..1e7],
        draw in 0.0_f64..1.0,
        healthy_share in 0.0_f64..=1.0,
        symptom in prop::sample::select(&[Symptom::Exit, Symptom::Hang, Symptom::NodeGone][..]),
    ) {
        for (steady, rivals) in RIVALS.iter() {
            for (rival, job) in rivals.iter().flat_map(|r| JOBS.iter().map(move |job| (r, job))) {
                let healthy = (job.workers as f64 * healthy_share).round() as usize;
                let blow = Blow { symptom, healthy, trained_s, draw };
                check(&rival.node_lost(job, &blow), trained_s);
                check(&rival.process_failed(job, &blow), trained_s);
                check(&rival.node_joined(job, healthy, true), 0.0);
                check(&rival.node_joined(job, healthy, false), 0.0);
                let flops = rival.flops(job, healthy);
                prop_assert!(flops.is_finite() && flops >= 0.0, "{} {steady:?}", rival.name());
            }
        }
    }

    #[test]
    fn any_sound_choice_gives_finite_costs(
        hang_s in prop::option::of(0.0_f64..1e5),
        checkpoint_interval_s in prop::option::of(1.0_f64..1e6),
        failures_per_node_day in prop_oneof![Just(0.0), 0.0_f64..1e6],
        restart_s in prop::option::of(0.0_f64..1e5),
        (paper, keep_alive) in any::<(bool, bool)>(),
        (draw, trained_s) in (0.0_f64..1.0, 0.0_f64..1e6),
    ) {
        let detection = if paper { Detection::Paper } else { Detection::Torchrun };
        let options = Options {
            steady: Steady::Megatron, detection, hang_s, keep_alive,
            checkpoint_interval_s, failures_per_node_day, restart_s,
        };
        prop_assert!(options.check().is_ok());
        let rivals: [Box<dyn Rival + Send>; 5] = [
            Box::new(Megatron::new(options)),
            Box::new(ReCycle::new(options)),
            Box::new(TorchFt::new(options)),
            Box::new(Nvrx::new(options)),
            Box::new(DlRover::new(options)),
        ];
        for (rival, job) in rivals.iter().flat_map(|r| JOBS.iter().map(move |job| (r, job))) {
            for symptom in [Symptom::Exit, Symptom::Hang, Symptom::NodeGone] {
                let blow = Blow { symptom, healthy: job.workers, trained_s, draw };
                check(&rival.node_lost(job, &blow), trained_s);
                check(&rival.process_failed(job, &blow), trained_s);
            }
            prop_assert!(rival.flops(job, job.workers).is_finite(), "{}", rival.name());
        }
    }
}

#[test]
fn more_healthy_workers_are_never_slower() {
    for (steady, rivals) in RIVALS.iter() {
        for (rival, job) in rivals.iter().flat_map(|r| JOBS.iter().map(move |job| (r, job))) {
            let flops = |healthy| rival.flops(job, healthy);
            for healthy in 0..job.workers {
                let (fewer, more) = (flops(healthy), flops(healthy + 1));
                assert!(fewer <= more, "{} {steady:?} {healthy}: {fewer} {more}", rival.name());
            }
        }
    }
}

#[test]
fn nobody_is_faster_than_megatron() {
    for (_, rivals) in RIVALS.iter() {
        for (rival, job) in rivals.iter().flat_map(|r| JOBS.iter().map(move |job| (r, job))) {
            for healthy in 0..=job.workers {
                let flops = rival.flops(job, healthy);
                // Bubbles and a smaller batch can make up for lost workers; the others do with T.
                let limit = match rival.name() {
                    "recycle" | "torchft" => job.throughput.at(job.workers),
                    _ => job.throughput.at(healthy),
                };
                assert!(flops <= limit, "{} {healthy}: {flops} of {limit}", rival.name());
            }
        }
    }
}

#[test]
fn what_cannot_run_is_not_restarted() {
    for (_, rivals) in RIVALS.iter() {
        for (rival, job) in rivals.iter().flat_map(|r| JOBS.iter().map(move |job| (r, job))) {
            let stuck = (0..job.workers).filter(|&healthy| rival.flops(job, healthy) == 0.0);
            for healthy in stuck {
                let blow = Blow { symptom: Symptom::NodeGone, healthy, trained_s: 1e5, draw: 0.5 };
                assert_eq!(rival.node_lost(job, &blow).stopped_s, 0.0, "{}", rival.name());
                let joined = rival.node_joined(job, healthy, false);
                assert_eq!(joined, Disruption::default(), "{}", rival.name());
            }
        }
    }
}

/// "A strawman counts as a defect": at Megatron-LM's pace, everybody who is elastic beats waiting a day
/// for a repair, and with all nodes nobody is far below the baseline.
#[test]
fn at_megatrons_pace_only_recovery_differs() {
    let job = job("gpt3-7b");
    let (_, rivals) = RIVALS.iter().find(|(steady, _)| *steady == Steady::Megatron).unwrap();
    for rival in rivals {
        let share = rival.flops(&job, 128) / job.throughput.at(128);
        let least = if rival.name() == "bamboo" { 0.8 } else { 0.97 };
        assert!((least..=1.0).contains(&share), "{}: {share}", rival.name());
        let without_a_node = rival.flops(&job, 120);
        assert_eq!(without_a_node == 0.0, rival.name() == "megatron", "{}", rival.name());
    }
}

#[test]
fn rivals_are_found_by_their_names() {
    let options = Options::default();
    for rival in all(&options) {
        assert_eq!(find(rival.name(), &options).unwrap().name(), rival.name());
        assert!(rival.assumptions().len() >= 5, "{}", rival.name());
    }
    let error = find("horovod", &options).err().unwrap().to_string();
    assert!(error.starts_with("rival: `horovod` is no rival; there are megatron, "), "{error}");
    let bad = Options { hang_s: Some(f64::NAN), ..options };
    assert!(find("megatron", &bad).err().unwrap().to_string().starts_with("hang_s: NaN"));
}
/// The page is the text above its first table, and what the code says below.
#[test]
fn the_page_of_assumptions_is_what_the_code_says() {
    let page = include_str!("../../../../docs/unicron/rivals.md");
    let written = page.find("\n## ").map_or("", |start| &page[start + 1..]);
    let expected = assumptions_markdown();
    assert!(written == expected, "docs/unicron/rivals.md should go on with:\n{expected}");
}
