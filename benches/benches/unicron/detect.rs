//! What watching costs: nothing of this may be felt beside a step.

use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use unicron::agent::watch::{self, Watch};
use unicron::detect::{LogReader, PaperRule, StepKind, StragglerSettings, Stragglers};
use unicron::worker::protocol::{FromWorker, Redone};

/// A second, more or less: steps that repeat only after a thousand.
fn step_s(step: u64) -> f64 {
    1.0 + ((step * 7919) % 1000) as f64 * 1e-4
}

/// A step of a worker, from its begin to its commit, with a look in between whether it hangs; and the paper's
/// rule, which keeps one mean.
pub fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a watched step");
    let mut watch = Watch::new(watch::settings()).unwrap();
    let (mut now_s, mut iteration) = (0.0, 0);
    group.bench_function("usual times by kind", |bencher| {
        bencher.iter(|| {
            let (epoch, kind, redone) = (1, StepKind::Train, Redone::default());
            watch.heard(now_s, &FromWorker::Iteration { epoch, iteration, kind });
            let hang = watch.hang(now_s + 0.1);
            now_s += step_s(iteration);
            watch.heard(now_s, &FromWorker::Committed { epoch, iteration, loss: None, redone });
            iteration += 1;
            hang
        });
    });
    let (mut rule, mut step) = (PaperRule::new(), 0);
    group.bench_function("the paper's mean", |bencher| {
        bencher.iter(|| {
            step += 1;
            rule.record(step_s(step))
        });
    });
    group.finish();
}

/// A log as it usually is, with one error in a thousand lines.
fn log() -> Vec<String> {
    let line = |number: usize| match number {
        600 => "[rank3]: RuntimeError: CUDA error: uncorrectable ECC error encountered".to_owned(),
        _ => format!(
            "[rank3]: 2026-01-02 03:04:05 INFO step {number} | loss 2.{number:04} | lr 3.0e-4 | \
             tokens/s 123456 | grad norm 0.31"
        ),
    };
    (0..1000).map(line).collect()
}

/// A worker's output, line by line; and the same text searched for one word, which reads it at least.
pub fn lines(criterion: &mut Criterion) {
    let log = log();
    let bytes: usize = log.iter().map(|line| line.len() + 1).sum();
    let mut group = criterion.benchmark_group("a log of 1000 lines");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("what they mean", |bencher| {
        bencher.iter(|| {
            let mut reader = LogReader::new();
            log.iter().filter_map(|line| reader.read(black_box(line))).count()
        });
    });
    group.bench_function("one word", |bencher| {
        bencher.iter(|| log.iter().filter(|line| black_box(line).contains("Error")).count());
    });
    group.finish();
}

/// A round of reports of all ranks, and who of them is slow.
pub fn stragglers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stragglers");
    for ranks in [128_u32, 1024] {
        let mut stragglers = Stragglers::new(StragglerSettings::default()).unwrap();
        let mut round = 0;
        group.throughput(Throughput::Elements(u64::from(ranks)));
        group.bench_function(BenchmarkId::new("a round of ranks", ranks), |bencher| {
            bencher.iter(|| {
                round += 1;
                for rank in 0..ranks {
                    stragglers.report(rank, step_s(u64::from(rank) + round));
                }
                stragglers.stragglers()
            });
        });
    }
    group.finish();
}
