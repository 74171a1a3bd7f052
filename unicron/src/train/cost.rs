//! What the reduction over the tree costs, beside a plain ring over the same connections.
//!
//! A ring adds up in the order of the ranks: it sends and keeps as little as can be, and its bits change
//! with the number of replicas. The tree's don't. What that costs in bytes, memory and time is measured
//! here, members being threads that are connected over the loopback interface.

use super::mesh::{Mesh, MeshEvent, Message, Values};
use super::round::{Frame, Round};
use crate::transition::regroup::{Batch, Peer, Plan};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any reduction takes that is worth measuring.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Replicas.
    pub members: usize,
    /// Micro-batches, over all of them.
    pub micro_batches: u32,
    /// Segments of the gradient.
    pub segments: u32,
    /// Numbers of the gradient.
    pub numbers: usize,
}

/// What one way of reducing costs the member that it costs most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Bytes that it sends.
    pub sent_bytes: u64,
    /// Most bytes of gradients that it holds at once, its own sum included.
    pub held_bytes: u64,
    /// Milliseconds from when the last has its sum until the last has the result.
    pub milliseconds: f64,
}

/// Both ways, and whether they give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Costs {
    /// Over the tree.
    pub tree: Cost,
    /// Around a ring.
    pub ring: Cost,
    /// Whether the tree's bits are those of one member alone.
    pub tree_equals_one: bool,
    /// Whether the ring's are.
    pub ring_equals_one: bool,
}

/// A member's connections.
struct Node {
    rank: usize,
    mesh: Mesh,
    events: Receiver<MeshEvent>,
}

/// What a member has at the end.
struct Outcome {
    cost: Cost,
    result: Vec<f32>,
}

/// Gradients that are no round numbers: their sums differ with the order.
fn gradient(micro_batch: u32, numbers: usize) -> Vec<f32> {
    (0..numbers).map(|i| ((i as f32 + 1.0) * (micro_batch as f32 + 0.7)).sin()).collect()
}

/// Measures a case.
///
/// # Errors
/// [`Error::Network`] if the members can't be connected, or one of them fails.
pub fn measure(case: &Case) -> Result<Costs> {
    let one = reduce(&Case { members: 1, ..*case }, tree)?;
    let (tree, ring) = (reduce(case, tree)?, reduce(case, ring)?);
    let is_one = |of: &Outcome| of.result == one.result;
    Ok(Costs {
        tree_equals_one: is_one(&tree),
        ring_equals_one: is_one(&ring),
        tree: tree.cost,
        ring: ring.cost,
    })
}

type Way = fn(&Case, &mut Node, &Barrier) -> Result<Outcome>;

/// Lets all members reduce in one way; of each cost the greatest.
fn reduce(case: &Case, way: Way) -> Result<Outcome> {
    let barrier = Arc::new(Barrier::new(case.members));
    let nodes = connect(case)?;
    let threads: Vec<_> = nodes
        .into_iter()
        .map(|mut node| {
            let (case, barrier) = (*case, barrier.clone());
            thread::spawn(move || way(&case, &mut node, &barrier))
        })
        .collect();
    let mut worst: Option<Outcome> = None;
    for thread in threads {
        let outcome = thread.join().map_err(|_| failed("it panicked"))??;
        worst = Some(match worst {
            None => outcome,
            Some(worst) => Outcome { cost: worse(&worst.cost, &outcome.cost), ..outcome },
        });
    }
    worst.ok_or_else(|| failed("there is none"))
}

fn worse(a: &Cost, b: &Cost) -> Cost {
    Cost {
        sent_bytes: a.sent_bytes.max(b.sent_bytes),
        held_bytes: a.held_bytes.max(b.held_bytes),
        milliseconds: a.milliseconds.max(b.milliseconds),
    }
}

fn failed(problem: &str) -> Error {
    Error::Network { what: "a member of the measured group".into(), problem: problem.into() }
}

fn connect(case: &Case) -> Result<Vec<Node>> {
    let mut nodes = Vec::with_capacity(case.members);
    for rank in 0..case.members {
        let (sender, events) = mpsc::channel();
        let sink = Arc::new(move |event| drop(sender.send(event)));
        nodes.push(Node {
            rank,
            mesh: Mesh::listen("127.0.0.1", rank as u64, case.numbers, sink)?,
            events,
        });
    }
    let addresses: Vec<(u64, String)> =
        nodes.iter().map(|n| (n.rank as u64, n.mesh.address().to_string())).collect();
    for node in &mut nodes {
        let mut others = addresses.clone();
        others.remove(node.rank);
        node.mesh.switch(1, &others)?;
        // The first message takes the time of connecting; it is none of the reduction's.
        node.mesh.broadcast(0, &Message::Over);
    }
    Ok(nodes)
}

impl Node {
    /// The next message of the reduction.
    fn hear(&self) -> Result<(u64, Message)> {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(MeshEvent::Message(from, envelope)) if envelope.iteration == 1 => {
                    return Ok((from, envelope.message));
                }
                Ok(MeshEvent::Message(..)) => {}
                Ok(MeshEvent::Lost(_, _, error)) => return Err(failed(&error)),
                Err(RecvTimeoutError::Timeout) => return Err(failed("it waits for too long")),
                Err(RecvTimeoutError::Disconnected) => return Err(failed("its mesh has ended")),
            }
        }
    }

    /// Waits until all are connected.
    fn greet(&self, members: usize) -> Result<()> {
        for _ in 1..members {
            match self.events.recv_timeout(PATIENCE) {
                Ok(MeshEvent::Message(..)) => {}
                _ => return Err(failed("it can't be reached")),
            }
        }
        Ok(())
    }
}

fn tree(case: &Case, node: &mut Node, barrier: &Barrier) -> Result<Outcome> {
    node.greet(case.members)?;
    let batch = Batch { stages: 1, micro_batches: case.micro_batches, segments: case.segments };
    let peer = |worker: usize| Peer { worker: worker as u64, stage: 0, node: String::new() };
    let peers: Vec<Peer> = (0..case.members).map(peer).collect();
    let me = node.rank as u64;
    let frame = Frame { me, stage: 0, batch, gradient_len: case.numbers };
    let mut round: Round<()> = Round::new(frame, 1, false);
    let plan = Plan::fresh(&batch, &peers);
    let mut own: Vec<u32> =
        plan.passes.iter().filter(|p| p.worker == me).map(|p| p.micro_batch).collect();
    let last = own.pop().map(|last| (last, gradient(last, case.numbers)));
    round.adopt(plan, peers, BTreeSet::new(), Vec::new());
    for micro_batch in own {
        round.forward_is_done(micro_batch, (), None);
        round.backward_is_done(micro_batch, gradient(micro_batch, case.numbers), None);
    }
    if let Some((last, _)) = last {
        round.forward_is_done(last, (), None);
    }
    drop(round.outgoing());
    let before = node.mesh.sent_bytes();
    barrier.wait();
    let clock = Instant::now();
    if let Some((last, gradient)) = last {
        round.backward_is_done(last, gradient, None);
    }
    let mut held = 0;
    loop {
        held = held.max(4 * round.held_numbers() as u64);
        for (to, message) in round.outgoing() {
            node.mesh.send(to, 1, message);
        }
        if round.is_whole() {
            break;
        }
        let (from, message) = node.hear()?;
        round.receive(from, message);
    }
    let milliseconds = clock.elapsed().as_secs_f64() * 1e3;
    let sent_bytes = node.mesh.sent_bytes() - before;
    // What is in the queues is still for others.
    barrier.wait();
    let result = round.gradient().unwrap_or_default();
    Ok(Outcome { cost: Cost { sent_bytes, held_bytes: held, milliseconds }, result })
}

fn ring(case: &Case, node: &mut Node, barrier: &Barrier) -> Result<Outcome> {
    node.greet(case.members)?;
    let (rank, members) = (node.rank, case.members);
    let mut sum = vec![0.0_f32; case.numbers];
    // The same shares as in the tree, added up one after the other.
    let share = |rank: usize| case.micro_batches as usize * rank / members;
    for micro_batch in share(rank)..share(rank + 1) {
        let gradient = gradient(micro_batch as u32, case.numbers);
        sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
    }
    let part = |index: usize| {
        let index = index % members;
        case.numbers * index / members..case.numbers * (index + 1) / members
    };
    let next = ((rank + 1) % members) as u64;
    let before = node.mesh.sent_bytes();
    barrier.wait();
    let clock = Instant::now();
    let mut held = 4 * sum.len() as u64;
    // Around once to add up, and once more to hand on.
    for step in 0..2 * (members - 1) {
        let sends = rank + 2 * members - step;
        let values: Values = sum[part(sends)].to_vec().into();
        held = held.max(4 * (sum.len() + 2 * values.len()) as u64);
        node.mesh.send(next, 1, Message::Segment(sends as u32, values));
        let Message::Segment(_, values) = node.hear()?.1 else {
            return Err(failed("it is no ring"));
        };
        let into = &mut sum[part(sends + members - 1)];
        if step + 1 < members {
            into.iter_mut().zip(values.iter()).for_each(|(sum, value)| *sum += value);
        } else {
            into.copy_from_slice(&values);
        }
    }
    let milliseconds = clock.elapsed().as_secs_f64() * 1e3;
    let sent_bytes = node.mesh.sent_bytes() - before;
    barrier.wait();
    Ok(Outcome { cost: Cost { sent_bytes, held_bytes: held, milliseconds }, result: sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tree buys, and that it costs few more bytes.
    #[test]
    fn the_trees_bits_are_those_of_one() {
        for members in 2..=4 {
            let case = Case { members, micro_batches: 8, segments: 8, numbers: 20_000 };
            let costs = measure(&case).unwrap();
            assert!(costs.tree_equals_one && !costs.ring_equals_one, "{costs:?}");
            // Of eight in three parts of neighbours, a part is up to two nodes of the tree.
            assert!(costs.tree.sent_bytes < 2 * costs.ring.sent_bytes, "{members}: {costs:?}");
            let vector = 4 * case.numbers as u64;
            assert!(costs.ring.held_bytes >= vector && costs.tree.held_bytes < 5 * vector);
        }
    }
}
