//! Whole groups through random histories: members compute, hear, die, lose connections, come back and
//! join, in any order. Gradients are one number per micro-batch, so that a sum shows what is in it.

use super::*;
use crate::transition::regroup::{Decision, Source, Status, regroup};
use proptest::prelude::*;

const MICRO_BATCHES: u32 = 6;

struct Member {
    worker: Worker,
    stage: u32,
    applied: Option<u64>,
    /// Iterations of its stage in its memory, its own and its buddy's.
    memory: BTreeSet<InStage<u64>>,
    highest: u64,
    round: Round<()>,
}

struct World {
    batch: Batch,
    members: Vec<Member>,
    /// Given up, but living: they may come back.
    outside: Vec<Member>,
    wire: Vec<(Worker, Worker, u64, Message)>,
    /// Passes of which a living member holds something, by iteration: they must not be computed again.
    next_worker: Worker,
    committed: u64,
    disk: Option<u64>,
    computed: u64,
    redone: u64,
    lost: u64,
}

fn frame(batch: Batch, worker: Worker, stage: u32) -> Frame {
    Frame { me: worker, stage, batch, gradient_len: (MICRO_BATCHES * batch.segments) as usize }
}

/// A one at its own place, in each segment.
fn gradient(batch: &Batch, micro_batch: u32) -> Vec<f32> {
    let values = 0..MICRO_BATCHES * batch.segments;
    values.map(|i| f32::from(u8::from(i % MICRO_BATCHES == micro_batch))).collect()
}

impl World {
    fn new(batch: Batch, replicas: u32) -> Self {
        let mut world = Self {
            batch,
            members: Vec::new(),
            outside: Vec::new(),
            wire: Vec::new(),
            next_worker: 1,
            committed: 0,
            disk: None,
            computed: 0,
            redone: 0,
            lost: 0,
        };
        for stage in 0..batch.stages {
            for _ in 0..replicas {
                world.join(stage);
            }
        }
        world.regroup();
        world
    }

    fn join(&mut self, stage: u32) {
        let worker = self.next_worker;
        self.next_worker += 1;
        let round = Round::new(frame(self.batch, worker, stage), 1, false);
        let memory = BTreeSet::new();
        let member = Member { worker, stage, applied: None, memory, highest: 0, round };
        self.members.push(member);
    }

    fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self
            .members
            .iter()
            .map(|m| Peer { worker: m.worker, stage: m.stage, node: (m.worker % 3).to_string() })
            .collect();
        peers.sort_by_key(|peer| peer.worker);
        peers
    }

    fn statuses(&self) -> BTreeMap<Worker, Status> {
        let status = |m: &Member| Status {
            applied: m.applied,
            progress: m.round.progress(),
            memory: m.memory.clone(),
            highest: m.highest,
        };
        self.members.iter().map(|m| (m.worker, status(m))).collect()
    }

    fn regroup(&mut self) {
        self.wire.clear();
        let (peers, statuses) = (self.peers(), self.statuses());
        let decision = regroup(&self.batch, &peers, &statuses, self.disk);
        self.check(&decision, &statuses);
        self.lost += u64::from(decision.applied < decision.highest);
        self.committed = self.committed.min(decision.applied);
        for member in &mut self.members {
            let keeps = member.applied == Some(decision.applied);
            member.applied = Some(decision.applied);
            member.highest = decision.highest;
            if !keeps {
                let is_again = decision.applied < decision.highest;
                let frame = frame(self.batch, member.worker, member.stage);
                member.round = Round::new(frame, decision.applied + 1, is_again);
            }
            let Decision { plan, begun, redone, .. } = decision.clone();
            member.round.adopt(plan, peers.clone(), begun, redone);
        }
        self.collect();
    }

    /// What a decision must be: sources that have what they are asked for, and nothing of a survivor done
    /// again.
    fn check(&self, decision: &Decision, statuses: &BTreeMap<Worker, Status>) {
        let member = |worker| self.members.iter().find(|m| m.worker == worker).unwrap();
        for (&worker, source) in &decision.sources {
            let stage = member(worker).stage;
            match *source {
                Source::Own => assert_eq!(member(worker).applied, Some(decision.applied)),
                Source::Step => assert!(member(worker).round.is_whole()),
                Source::Replica(from) => {
                    assert_eq!(member(from).stage, stage);
                    let own = matches!(decision.sources[&from], Source::Own | Source::Step);
                    assert!(own, "{decision:?}");
                }
                Source::Memory(from) => {
                    assert!(member(from).memory.contains(&(stage, decision.applied)));
                }
                Source::OwnMemory => {
                    assert!(member(worker).memory.contains(&(stage, decision.applied)));
                }
                Source::Disk => assert_eq!(self.disk, Some(decision.applied)),
                Source::Initial => assert_eq!(decision.applied, 0),
            }
        }
        for pass in decision.plan.passes.iter().filter(|pass| pass.counts) {
            for member in self.members.iter().filter(|m| m.stage == pass.stage) {
                let progress = &statuses[&member.worker].progress;
                let mut nodes = progress.nodes.iter();
                let holds = member.applied == Some(decision.applied)
                    && nodes.any(|n| n.micro_batches(MICRO_BATCHES).contains(&pass.micro_batch));
                assert!(!holds, "{pass:?} is in {progress:?}");
            }
        }
    }

    /// Takes what members want to send.
    fn collect(&mut self) {
        for member in &mut self.members {
            let iteration = member.round.iteration();
            for (to, message) in member.round.outgoing() {
                self.wire.push((member.worker, to, iteration, message));
            }
        }
    }

    /// One thing happens: a message arrives, or a member does what it can. False if nothing can.
    fn step(&mut self, choice: usize) -> bool {
        let able: Vec<usize> = (0..self.members.len()).filter(|&i| self.is_able(i)).collect();
        // The first message between two workers that the receiver can take: connections keep order.
        let mut seen = BTreeSet::new();
        let mut heads = Vec::new();
        for (place, (from, to, iteration, _)) in self.wire.iter().enumerate() {
            let receiver = self.members.iter().find(|m| m.worker == *to).unwrap();
            if seen.insert((*from, *to)) && receiver.round.iteration() >= *iteration {
                heads.push(place);
            }
        }
        let choices = able.len() + heads.len();
        if choices == 0 {
            return false;
        }
        match able.get(choice % choices) {
            Some(&member) => self.act(member),
            None => {
                let (from, to, iteration, message) =
                    self.wire.remove(heads[choice % choices - able.len()]);
                let receiver = self.members.iter_mut().find(|m| m.worker == to).unwrap();
                if receiver.round.iteration() == iteration {
                    receiver.round.receive(from, message);
                }
            }
        }
        self.collect();
        true
    }

    fn is_able(&self, member: usize) -> bool {
        let round = &self.members[member].round;
        round.next().is_some() || round.can_vote() || round.is_voted()
    }

    fn act(&mut self, place: usize) {
        let peers = self.peers();
        let batch = self.batch;
        let member = &mut self.members[place];
        let is_last = member.stage + 1 == batch.stages;
        match member.round.next() {
            Some(Work::Forward(m)) => {
                assert_eq!(member.round.input(m).is_some(), member.stage > 0);
                let output = (!is_last).then(|| vec![m as f32].into());
                member.round.forward_is_done(m, (), output);
                self.computed += 1;
            }
            Some(Work::Backward(m)) => {
                assert!(member.round.backward_needs(m).is_some());
                let of_input = (member.stage > 0).then(|| vec![m as f32].into());
                member.round.backward_is_done(m, gradient(&batch, m), of_input);
            }
            None if member.round.can_vote() => member.round.vote(),
            None => {
                let whole = member.round.gradient().unwrap();
                // Each micro-batch once, in every segment.
                assert!(whole.iter().all(|&count| count == 1.0), "{whole:?}");
                let iteration = member.round.iteration();
                self.redone += member.round.redone().len() as u64;
                self.committed = self.committed.max(iteration);
                member.applied = Some(iteration);
                member.highest = member.highest.max(iteration);
                member.memory.insert((member.stage, iteration));
                member.memory.retain(|&(_, kept)| kept + 1 >= iteration);
                let is_again = iteration < member.highest;
                member.round =
                    Round::new(frame(batch, member.worker, member.stage), iteration + 1, is_again);
                let plan = Plan::fresh(&batch, &peers);
                member.round.adopt(plan, peers, BTreeSet::new(), Vec::new());
                let (stage, place) = (member.stage, place + 1);
                let buddy = place % self.members.len();
                self.members[buddy].memory.insert((stage, iteration));
            }
        }
    }

    fn fault(&mut self, kind: u8, which: usize) {
        let which = which % self.members.len();
        let stage = self.members[which].stage;
        let is_only = self.members.iter().filter(|m| m.stage == stage).count() == 1;
        match kind % 6 {
            // A death; where nobody is left in the stage, a replacement comes before the group goes on.
            0 | 1 => {
                self.members.remove(which);
                if is_only {
                    self.join(stage);
                }
            }
            // Given up though it lives; it may come back with what it has.
            2 if !is_only => self.outside.push(self.members.remove(which)),
            3 if !self.outside.is_empty() => {
                let back = self.outside.remove(0);
                self.members.push(back);
            }
            4 => self.join(stage),
            // A reset.
            _ => {}
        }
        self.regroup();
    }
}

fn run(stages: u32, replicas: u32, segments: u32, events: &[(u8, u16)]) -> World {
    let batch = Batch { stages, micro_batches: MICRO_BATCHES, segments };
    let mut world = World::new(batch, replicas);
    for &(kind, choice) in events {
        if kind < 6 {
            world.fault(kind, usize::from(choice));
        } else if !world.step(usize::from(choice)) {
            panic!("the group stands still");
        }
    }
    // Undisturbed, the group goes on.
    let target = world.committed + 2;
    for choice in 0..100_000 {
        if world.committed >= target {
            return world;
        }
        assert!(world.step(choice * 7), "the group stands still");
    }
    panic!("the group doesn't get on");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_micro_batch_counts_once_whatever_happens(
        stages in 1_u32..4,
        replicas in 1_u32..4,
        segments in 1_u32..4,
        // Of hundred events, three are faults.
        events in prop::collection::vec((0_u8..200, any::<u16>()), 0..600),
    ) {
        run(stages, replicas, segments, &events);
    }
}

#[test]
fn without_faults_nothing_is_computed_twice() {
    let world = run(2, 2, 3, &[]);
    assert_eq!((world.redone, world.lost), (0, 0));
    assert!(world.computed <= 3 * 2 * u64::from(MICRO_BATCHES));
}

/// Three replicas, of whom one dies when all passes are done and nothing is reduced: its two are redone.
#[test]
fn what_only_the_dead_held_is_redone_once() {
    let batch = Batch { stages: 1, micro_batches: MICRO_BATCHES, segments: 2 };
    let mut world = World::new(batch, 3);
    while (0..3).any(|place| world.members[place].round.next().is_some()) {
        for place in 0..3 {
            if world.members[place].round.next().is_some() {
                world.act(place);
            }
        }
        world.collect();
    }
    // All hear what the others have begun.
    let is_begun = |message: &Message| matches!(message, Message::Begun { .. });
    for (from, to, _, message) in std::mem::take(&mut world.wire) {
        if is_begun(&message) {
            let receiver = world.members.iter_mut().find(|m| m.worker == to).unwrap();
            receiver.round.receive(from, message);
        }
    }
    world.fault(0, 1);
    let left: usize = world.members.iter().map(|m| m.round.forwards_left.len()).sum();
    assert_eq!(left, 2);
    while world.committed < 1 {
        assert!(world.step(0));
    }
    assert_eq!(world.computed, u64::from(MICRO_BATCHES) + 2);
    assert_eq!(world.redone, 2);
}
