//! Gradients: added up in memory, and reduced over connections of this machine.

use crate::is_whole;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use unicron::train::cost::{Case, Cost, Costs, measure};
use unicron::train::sums::Sums;
use unicron::transition::tree::Node;

/// Of an iteration.
const MICRO_BATCHES: u32 = 8;
/// As the reference trainer cuts a gradient for its reduction.
const SEGMENTS: u32 = 8;

fn numbers() -> Vec<usize> {
    if is_whole() { vec![1 << 18, 1 << 20, 1 << 22] } else { vec![1 << 20] }
}

/// The gradients of an iteration over the tree of its micro-batches, and one after the other into one sum,
/// which reads and writes no more than it must.
pub fn sums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gradients of an iteration");
    for numbers in numbers() {
        let gradients: Vec<Vec<f32>> =
            (0..MICRO_BATCHES).map(|micro_batch| vec![micro_batch as f32; numbers]).collect();
        group.throughput(Throughput::Bytes(4 * u64::from(MICRO_BATCHES) * numbers as u64));
        group.bench_function(BenchmarkId::new("tree", numbers), |bencher| {
            bencher.iter_batched(
                || gradients.clone(),
                |gradients| {
                    let mut sums = Sums::new(MICRO_BATCHES);
                    for (micro_batch, gradient) in (0..).zip(gradients) {
                        sums.add(Node::leaf(micro_batch), gradient);
                    }
                    sums
                },
                criterion::BatchSize::PerIteration,
            );
        });
        let mut total = vec![0.0_f32; numbers];
        group.bench_function(BenchmarkId::new("one sum", numbers), |bencher| {
            bencher.iter(|| {
                for gradient in &gradients {
                    for (sum, value) in total.iter_mut().zip(black_box(gradient)) {
                        *sum += value;
                    }
                }
            });
        });
    }
    group.finish();
}

/// A gradient reduced over the tree, and around a ring, whose bits change with the number of replicas; beside
/// a bare connection that carries as many bytes as the replica that sends most.
pub fn reductions(criterion: &mut Criterion) {
    let replicas = if is_whole() { vec![2, 3, 4, 8] } else { vec![2, 4] };
    for numbers in numbers() {
        for &members in &replicas {
            let case = Case { members, micro_batches: MICRO_BATCHES, segments: SEGMENTS, numbers };
            let costs = measure(&case).unwrap();
            assert!(costs.tree_equals_one);
            let name = format!("reduction/{numbers} numbers, {members} replicas");
            let mut group = criterion.benchmark_group(name);
            // Criterion plans by the time that is counted, a reduction's; connecting takes longer.
            group.sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(1));
            group.measurement_time(Duration::from_millis(50));
            for (way, cost) in
                [("tree", (|costs| &costs.tree) as fn(&Costs) -> &Cost), ("ring", |c| &c.ring)]
            {
                let sent_bytes = cost(&costs).sent_bytes;
                group.throughput(Throughput::Bytes(sent_bytes));
                group.bench_function(way, |bencher| {
                    bencher.iter_custom(|repeats| {
                        let ms = |_| cost(&measure(&case).unwrap()).milliseconds;
                        Duration::from_secs_f64((0..repeats).map(ms).sum::<f64>() / 1e3)
                    });
                });
                let mut connection = Connection::new(sent_bytes as usize);
                group.bench_function(format!("TCP, as many bytes as the {way}"), |bencher| {
                    bencher.iter(|| connection.carry());
                });
            }
            group.finish();
        }
    }
}

/// Bytes over the loopback interface, answered by one.
struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    fn new(n_bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        for end in [&stream, &other] {
            end.set_nodelay(true).unwrap();
        }
        // It ends when this end is dropped.
        thread::spawn(move || {
            let mut bytes = vec![0; n_bytes];
            while other.read_exact(&mut bytes).is_ok() && other.write_all(&[1]).is_ok() {}
        });
        Self { stream, bytes: vec![7; n_bytes] }
    }

    fn carry(&mut self) {
        self.stream.write_all(&self.bytes).unwrap();
        self.stream.read_exact(&mut [0]).unwrap();
    }
}
