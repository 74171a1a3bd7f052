//! Cases of the decision. That whatever happens every micro-batch counts once is a property of the whole
//! group, tested where a worker's part of an iteration is: in `train::round`.

use super::*;
use crate::transition::micro_batches::Iteration;

const BATCH: Batch = Batch { stages: 2, micro_batches: 4, segments: 2 };

/// Workers 1 and 2 in stage 0, 3 and 4 in stage 1, each stage on nodes a and b.
fn members() -> Vec<Peer> {
    let peer = |worker, stage, node: &str| Peer { worker, stage, node: node.to_owned() };
    vec![peer(1, 0, "a"), peer(2, 0, "b"), peer(3, 1, "a"), peer(4, 1, "b")]
}

fn applied(iteration: u64) -> Status {
    Status { applied: Some(iteration), highest: iteration, ..Status::default() }
}

fn all_at(iteration: u64) -> BTreeMap<Worker, Status> {
    (1..=4).map(|worker| (worker, applied(iteration))).collect()
}

fn set<T: Ord + Copy>(values: &[T]) -> BTreeSet<T> {
    values.iter().copied().collect()
}

#[test]
fn a_new_group_shares_the_passes_in_neighbouring_parts() {
    let decision = regroup(&BATCH, &members(), &BTreeMap::new(), None);
    assert_eq!((decision.applied, decision.highest), (0, 0));
    assert!(decision.sources.values().all(|source| *source == Source::Initial));
    let workers: Vec<Worker> = decision.plan.passes.iter().map(|pass| pass.worker).collect();
    assert_eq!(workers, [1, 1, 2, 2, 3, 3, 4, 4]);
    let pass = decision.plan.pass(1, 2).unwrap();
    assert_eq!((pass.input_from, pass.gradient_from), (Some(2), None));
    let pass = decision.plan.pass(0, 1).unwrap();
    assert_eq!((pass.input_from, pass.gradient_from), (None, Some(3)));
    let by = |a, b| vec![Reduction::By(a), Reduction::By(b)];
    assert_eq!(decision.plan.reductions, [by(1, 2), by(3, 4)]);
}

#[test]
fn a_replica_is_nearest_then_memory_then_disk() {
    let mut statuses = all_at(7);
    statuses.insert(2, Status::default());
    let decision = regroup(&BATCH, &members(), &statuses, Some(5));
    assert_eq!((decision.applied, decision.sources[&2]), (7, Source::Replica(1)));

    // All of stage 0 is gone, and worker 4 has a copy.
    statuses.insert(1, Status::default());
    statuses.get_mut(&4).unwrap().memory = set(&[(0, 6), (0, 7)]);
    let decision = regroup(&BATCH, &members(), &statuses, Some(5));
    assert_eq!((decision.applied, decision.sources[&1]), (7, Source::Memory(4)));

    // The copy is older: all go back to it, stage 1 by its own memory and by that of its replica.
    statuses.get_mut(&4).unwrap().memory = set(&[(0, 6), (1, 6)]);
    let decision = regroup(&BATCH, &members(), &statuses, Some(5));
    assert_eq!((decision.applied, decision.highest), (6, 7));
    let expected = [(1, 4), (2, 4), (3, 4)].map(|(to, from)| (to, Source::Memory(from)));
    let expected: BTreeMap<Worker, Source> =
        expected.into_iter().chain([(4, Source::OwnMemory)]).collect();
    assert_eq!(decision.sources, expected);

    statuses.get_mut(&4).unwrap().memory = set(&[(0, 6)]);
    let decision = regroup(&BATCH, &members(), &statuses, Some(5));
    assert!(decision.applied == 5 && decision.sources.values().all(|s| *s == Source::Disk));
}

/// Worker 1 had heard all votes and taken the step, the others had not heard them all.
#[test]
fn who_is_prepared_takes_the_step_that_another_has_taken() {
    let mut statuses = all_at(7);
    statuses.insert(1, applied(8));
    for worker in [3, 4] {
        statuses.get_mut(&worker).unwrap().progress.segments = set(&[0, 1]);
    }
    let decision = regroup(&BATCH, &members(), &statuses, None);
    let sources: Vec<Source> = decision.sources.values().copied().collect();
    assert_eq!(decision.applied, 8);
    assert_eq!(sources, [Source::Own, Source::Replica(1), Source::Step, Source::Step]);
}

/// All are prepared and nobody is known to have taken the step: that is for the vote.
#[test]
fn nobody_steps_without_a_vote() {
    let mut statuses = all_at(7);
    for status in statuses.values_mut() {
        status.progress.segments = set(&[0, 1]);
    }
    let decision = regroup(&BATCH, &members(), &statuses, None);
    assert!(decision.applied == 7 && decision.sources.values().all(|s| *s == Source::Own));
    assert!(decision.plan.passes.is_empty());
}

/// Worker 3 has died when all passes were done: its two of stage 1 are needed again, from inputs that
/// stage 0 has kept; stage 0 does nothing.
#[test]
fn only_what_the_dead_held_is_computed_again() {
    let mut statuses = all_at(7);
    statuses.remove(&3);
    let members: Vec<Peer> = members().into_iter().filter(|m| m.worker != 3).collect();
    for (worker, micro_batches) in [(1, [0, 1]), (2, [2, 3])] {
        let progress = &mut statuses.get_mut(&worker).unwrap().progress;
        progress.nodes = set(&[Node { level: 1, index: micro_batches[0] / 2 }]);
        progress.outputs = set(&micro_batches);
    }
    statuses.get_mut(&4).unwrap().progress.nodes = set(&[Node { level: 1, index: 1 }]);
    let plan = regroup(&BATCH, &members, &statuses, None).plan;
    assert_eq!(plan.passes.len(), 2);
    for (pass, micro_batch) in plan.passes.iter().zip([0, 1]) {
        let expected = Pass {
            stage: 1,
            micro_batch,
            worker: 4,
            has_forward: true,
            has_backward: true,
            counts: true,
            input_from: Some(1),
            gradient_from: None,
        };
        assert_eq!(*pass, expected);
    }
}

/// The dead one's share is in a segment that is reduced: it isn't needed for that one again, and for none
/// if all are.
#[test]
fn a_reduced_segment_needs_nobody() {
    let batch = Batch { stages: 1, ..BATCH };
    let members = members()[..2].to_vec();
    let mut status = applied(7);
    status.progress.nodes = set(&[Node { level: 1, index: 0 }]);
    status.progress.segments = set(&[0]);
    let statuses = BTreeMap::from([(1, status.clone()), (2, Status::default())]);
    let plan = regroup(&batch, &members, &statuses, None).plan;
    assert_eq!(plan.reductions, [[Reduction::Done(1), Reduction::By(1)]]);
    assert_eq!(plan.passes.len(), 2);
    status.progress.segments = set(&[0, 1]);
    let statuses = BTreeMap::from([(1, status), (2, Status::default())]);
    assert!(regroup(&batch, &members, &statuses, None).plan.passes.is_empty());
}

/// Stage 1 is lost and stage 0 reduced, but who had done its second half is dead: its outputs are needed
/// again, its gradients are not.
#[test]
fn an_output_may_be_needed_without_its_gradient() {
    let mut statuses = all_at(7);
    let progress = &mut statuses.get_mut(&1).unwrap().progress;
    progress.segments = set(&[0, 1]);
    progress.outputs = set(&[0, 1]);
    let plan = regroup(&BATCH, &members(), &statuses, None).plan;
    let of_stage_0: Vec<&Pass> = plan.passes.iter().filter(|pass| pass.stage == 0).collect();
    assert_eq!(of_stage_0.len(), 2);
    assert!(of_stage_0.iter().all(|p| p.has_forward && !p.has_backward && !p.counts));
    assert_eq!(plan.pass(1, 0).unwrap().input_from, Some(1));
    assert_eq!(plan.pass(1, 3).unwrap().input_from, Some(of_stage_0[1].worker));
}

/// Somebody who had been given up comes back with what was computed again meanwhile.
#[test]
fn of_two_who_have_the_same_one_counts() {
    let batch = Batch { stages: 1, ..BATCH };
    let members = members()[..2].to_vec();
    let mut statuses = all_at(7);
    statuses.get_mut(&1).unwrap().progress.nodes = set(&[Node::leaf(0), Node::leaf(2)]);
    statuses.get_mut(&2).unwrap().progress.nodes = set(&[Node { level: 1, index: 0 }]);
    let plan = regroup(&batch, &members, &statuses, None).plan;
    assert_eq!(plan.sums, [(1, Node::leaf(2)), (2, Node { level: 1, index: 0 })]);
    let micro_batches: Vec<u32> = plan.passes.iter().map(|pass| pass.micro_batch).collect();
    assert_eq!(micro_batches, [3]);
}

/// The simulator counts what is left of an iteration by its own, simpler rules: for replicas of one stage
/// that fail before the reduction they say the same.
#[test]
fn the_simulator_leaves_as_much_to_be_done() {
    for (replicas, micro_batches, finished) in [(2, 8, 2), (3, 8, 1), (4, 9, 2), (4, 16, 4)] {
        let batch = Batch { stages: 1, micro_batches, segments: 2 };
        let peer = |worker| Peer { worker, stage: 0, node: worker.to_string() };
        let peers: Vec<Peer> = (0..replicas).map(peer).collect();
        let mut simulated = Iteration::new(micro_batches as usize, replicas as usize, 2);
        let plan = Plan::fresh(&batch, &peers);
        let mut statuses = BTreeMap::new();
        for worker in 0..replicas {
            let passes = plan.passes.iter().filter(|pass| pass.worker == worker);
            let done = passes.take(finished).map(|pass| Node::leaf(pass.micro_batch));
            let mut status = applied(0);
            status.progress.nodes = done.collect();
            statuses.insert(worker, status);
            for _ in 0..finished {
                simulated.finish(worker as usize).unwrap();
            }
        }
        statuses.remove(&1);
        simulated.fail(1).unwrap();
        let others: Vec<Peer> = peers.into_iter().filter(|peer| peer.worker != 1).collect();
        let plan = regroup(&batch, &others, &statuses, None).plan;
        let left: usize = simulated.living().map(|replica| simulated.left(replica).len()).sum();
        assert_eq!(plan.passes.len(), left, "{replicas} replicas");
        let most = |counts: Vec<usize>| counts.into_iter().max();
        let of = |peer: &Peer| plan.passes.iter().filter(|p| p.worker == peer.worker).count();
        let simulated = simulated.living().map(|replica| simulated.left(replica).len()).collect();
        assert_eq!(most(others.iter().map(of).collect()), most(simulated));
    }
}
