//! Messages on their way: worker and agent, agent and coordinator, worker and worker.

use criterion::{Criterion, Throughput};
use prost::Message as _;
use std::hint::black_box;
use unicron::proto::v1;
use unicron::train::mesh::message::{Envelope, Message, read, write};
use unicron::worker::protocol::{self, FromWorker, Group, Member, Redone};

/// What a worker says after every iteration: lines of JSON, read as a message, and as no more than JSON.
pub fn of_workers(criterion: &mut Criterion) {
    let (loss, redone) = (Some(2.5), Redone::default());
    let message = FromWorker::Committed { epoch: 1 << 32, iteration: 123_456, loss, redone };
    let mut line = Vec::new();
    protocol::write(&mut line, &message).unwrap();
    let mut group = criterion.benchmark_group("message of a worker");
    group.throughput(Throughput::Bytes(line.len() as u64));
    let mut out = Vec::new();
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            out.clear();
            protocol::write(&mut out, black_box(&message)).unwrap();
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| protocol::parse::<FromWorker>(black_box(&line)).unwrap());
    });
    group.bench_function("read as JSON", |bencher| {
        bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&line)).unwrap());
    });
    group.finish();
}

/// The largest message there is, a group of a thousand: to agents as protocol buffers, to workers as JSON.
pub fn of_agents(criterion: &mut Criterion) {
    let member = |worker: u64| Member {
        worker,
        stage: 0,
        node: format!("node-{}", worker / 8),
        address: format!("10.0.0.1:{}", 40_000 + worker),
    };
    let members = (0..1000).map(member).collect();
    let json = Group { epoch: 1 << 32, attempt: 1, members, checkpoint: None };
    let wire = v1::Group::of("gpt", &json);
    let (json_bytes, bytes) = (serde_json::to_vec(&json).unwrap(), wire.encode_to_vec());
    let mut group = criterion.benchmark_group("message of a group of 1000");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("write to an agent", |bencher| {
        bencher.iter(|| black_box(&wire).encode_to_vec());
    });
    group.bench_function("read by an agent", |bencher| {
        bencher.iter(|| v1::Group::decode(black_box(bytes.as_slice())).unwrap());
    });
    group.bench_function("write to a worker", |bencher| {
        bencher.iter(|| serde_json::to_vec(black_box(&json)).unwrap());
    });
    group.bench_function("read by a worker", |bencher| {
        bencher.iter(|| protocol::parse::<Group>(black_box(&json_bytes)).unwrap());
    });
    group.finish();
}

/// A segment of a gradient into memory and out of it, beside a copy of it.
pub fn of_members(criterion: &mut Criterion) {
    const NUMBERS: usize = 1 << 18;
    let numbers: Vec<f32> = (0..NUMBERS).map(|i| i as f32).collect();
    let message = Message::Segment(0, numbers.clone().into());
    let envelope = Envelope { epoch: 1, iteration: 1, message };
    let mut out = Vec::new();
    write(&mut out, &envelope).unwrap();
    let bytes = out.clone();
    let mut group = criterion.benchmark_group("message of 1 MiB of numbers");
    group.throughput(Throughput::Bytes(4 * NUMBERS as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            out.clear();
            write(&mut out, black_box(&envelope)).unwrap();
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| read(&mut black_box(bytes.as_slice()), NUMBERS).unwrap());
    });
    group.bench_function("copy", |bencher| bencher.iter(|| black_box(&numbers).clone()));
    group.finish();
}
