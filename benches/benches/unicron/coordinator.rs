//! What a coordinator does for its agents, without IO: the deciding part of the live system.

use crate::is_whole;
use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;
use std::path::Path;
use unicron::coordinator::TaskFile;
use unicron::coordinator::brain::{Brain, Now, Settings};
use unicron::coordinator::metrics::figures::DriverFigures;
use unicron::coordinator::metrics::{Figures, text};
use unicron::proto::v1;
use unicron::proto::v1::from_agent::Message;
use unicron::worker::protocol::PROTOCOL;

const SLOTS: u32 = 8;

/// Nodes and tasks.
fn sizes() -> Vec<(usize, usize)> {
    let mut sizes = vec![(128, 6)];
    if is_whole() {
        sizes.push((1024, 50));
    }
    sizes
}

fn now(s: f64) -> Now {
    Now { s, wall_ms: (s * 1e3) as i64 }
}

/// All slots are taken by tasks of one size, whose workers have formed their groups.
fn at_work(nodes: usize, tasks: usize) -> Brain {
    let mut brain = Brain::new(Settings::default(), 1, now(0.0));
    for node in 0..nodes {
        let hello = v1::Hello {
            protocol: PROTOCOL,
            node: format!("node-{node}"),
            incarnation: "1".to_owned(),
            slots: SLOTS,
            host: "127.0.0.1".to_owned(),
            ..v1::Hello::default()
        };
        brain.attend(now(0.0), 1, &hello).unwrap();
    }
    for task in 0..tasks {
        let workers = nodes * SLOTS as usize / tasks;
        let text = format!(
            "name = \"task-{task}\"\nworkers = {workers}\n[train]\npreset = \"nano\"\niterations = 9\n"
        );
        let file = TaskFile::parse(&text, Path::new("task.toml")).unwrap();
        brain.submit(now(0.0), file, text).unwrap();
    }
    for (worker, node) in workers(&brain) {
        let started = v1::WorkerStarted { worker, pid: 1 };
        brain.said(now(0.0), node, Message::Started(started));
        let (address, fingerprint) = ("127.0.0.1:9".to_owned(), "f".to_owned());
        let ready = v1::WorkerReady { worker, address, fingerprint };
        brain.said(now(0.0), node, Message::Ready(ready));
    }
    assert!(brain.tasks().iter().all(|task| task.group.is_some()));
    drop(brain.take());
    brain
}

/// All workers with their nodes.
fn workers(brain: &Brain) -> Vec<(u64, usize)> {
    let of_tasks = brain.tasks().iter().flat_map(|task| &task.workers);
    of_tasks.map(|(&number, worker)| (number, worker.node)).collect()
}

/// What comes all the time, for all nodes or workers together, and a worker that dies.
pub fn brain(criterion: &mut Criterion) {
    for (nodes, tasks) in sizes() {
        let at_work = at_work(nodes, tasks);
        let mut group = criterion.benchmark_group(format!("brain/{nodes} nodes, {tasks} tasks"));
        let mut brain = at_work.clone();
        group.throughput(Throughput::Elements(nodes as u64));
        group.bench_function("a heartbeat of all", |bencher| {
            bencher.iter(|| (0..nodes).filter(|&node| brain.heartbeat(now(1.0), node, 1)).count());
        });
        let all = commits(&brain);
        group.throughput(Throughput::Elements(all.len() as u64));
        group.bench_function("an iteration of all", |bencher| {
            bencher.iter_batched(
                || (at_work.clone(), all.clone()),
                |(mut brain, all)| {
                    for (node, committed) in all {
                        brain.said(now(1.0), node, Message::Committed(committed));
                    }
                    (brain.take(), brain)
                },
                BatchSize::LargeInput,
            );
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function("a tick", |bencher| {
            bencher.iter(|| {
                brain.tick(now(1.0));
                brain.take()
            });
        });
        let (worker, node) = workers(&at_work)[0];
        let ended = v1::WorkerEnded { worker, code: Some(137), ..v1::WorkerEnded::default() };
        group.bench_function("a dead worker, and who is told", |bencher| {
            bencher.iter_batched(
                || (at_work.clone(), ended.clone()),
                |(mut brain, ended)| {
                    brain.said(now(1.0), node, Message::Ended(ended));
                    let nodes = brain.take().pushes;
                    (brain.tell(&nodes), brain)
                },
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

fn commits(brain: &Brain) -> Vec<(usize, v1::Committed)> {
    let mut commits = Vec::new();
    for task in brain.tasks() {
        let epoch = task.epoch();
        for (&worker, known) in &task.workers {
            let committed =
                v1::Committed { worker, epoch, iteration: 1, ..v1::Committed::default() };
            commits.push((known.node, committed));
        }
    }
    commits
}

/// The page that Prometheus reads: the figures, their text, and the bytes of the text copied.
pub fn metrics(criterion: &mut Criterion) {
    for (nodes, tasks) in sizes() {
        let brain = at_work(nodes, tasks);
        let figures = Figures::of(&brain, now(1.0), DriverFigures::default());
        let page = text::text(Some(figures.clone())).unwrap();
        let mut group = criterion.benchmark_group(format!("metrics/{nodes} nodes, {tasks} tasks"));
        group.throughput(Throughput::Bytes(page.len() as u64));
        group.bench_function("figures", |bencher| {
            bencher.iter(|| Figures::of(black_box(&brain), now(1.0), DriverFigures::default()));
        });
        group.bench_function("text", |bencher| {
            bencher.iter_batched(
                || figures.clone(),
                |figures| text::text(Some(figures)).unwrap(),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("a copy", |bencher| bencher.iter(|| black_box(&page).clone()));
        group.finish();
    }
}
