//! Which passes of an iteration are to be done, by whom, and who sends what to whom for them.
//!
//! Micro-batches don't depend on each other. Within one, need spreads over the stages: a backward needs the
//! gradient from the stage behind and the forward's graph, a forward the activation from the stage before;
//! where a living member kept such a tensor it is sent again, else it is computed again.

use super::{Batch, InStage, Pass, Peer, Plan, Progress, Reduction, Worker};
use crate::transition::tree::Node;
use std::collections::{BTreeMap, BTreeSet};

/// What each member that has something of the iteration has.
type Held<'a> = BTreeMap<Worker, &'a Progress>;

pub(super) fn plan(batch: &Batch, members: &[Peer], held: &Held) -> Plan {
    let survey = Survey { batch, members, held };
    let reductions: Vec<Vec<Reduction>> =
        (0..batch.stages).map(|stage| survey.reductions(stage)).collect();
    let mut sums = Vec::new();
    let mut lacking = vec![BTreeSet::new(); batch.stages as usize];
    for stage in 0..batch.stages {
        let is_reduced = |reduction: &Reduction| matches!(reduction, Reduction::Done(_));
        if !reductions[stage as usize].iter().all(is_reduced) {
            let chosen = survey.sums(stage);
            let is_in = |micro_batch: &u32| {
                let mut nodes = chosen.iter().map(|(_, node)| node);
                nodes.any(|node| node.micro_batches(batch.micro_batches).contains(micro_batch))
            };
            lacking[stage as usize] =
                (0..batch.micro_batches).filter(|micro_batch| !is_in(micro_batch)).collect();
            sums.extend(chosen);
        }
    }
    let needs: Vec<Vec<Need>> =
        (0..batch.micro_batches).map(|micro_batch| survey.needs(micro_batch, &lacking)).collect();
    Plan { passes: survey.passes(&needs, &lacking), sums, reductions }
}

/// What is needed of a stage for one micro-batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Need {
    forward: bool,
    backward: bool,
}

struct Survey<'a> {
    batch: &'a Batch,
    members: &'a [Peer],
    held: &'a Held<'a>,
}

impl Survey<'_> {
    /// Members of a stage, in order.
    fn of(&self, stage: u32) -> impl Iterator<Item = Worker> + '_ {
        self.members.iter().filter(move |m| m.stage == stage).map(|member| member.worker)
    }

    /// The first member of a stage of whose progress this is true.
    fn first(&self, stage: u32, is: impl Fn(&Progress) -> bool) -> Option<Worker> {
        self.of(stage).find(|worker| self.held.get(worker).is_some_and(|held| is(held)))
    }

    fn reductions(&self, stage: u32) -> Vec<Reduction> {
        let owners: Vec<Worker> = self.of(stage).collect();
        let mut owners = owners.into_iter().cycle();
        let segments = 0..self.batch.segments;
        let reductions = segments.filter_map(|segment| {
            match self.first(stage, |held| held.segments.contains(&segment)) {
                Some(holder) => Some(Reduction::Done(holder)),
                None => owners.next().map(Reduction::By),
            }
        });
        reductions.collect()
    }

    /// The sums of a stage that count. Nodes of a tree are within each other or apart: the largest first,
    /// and of equals the first member's.
    fn sums(&self, stage: u32) -> Vec<(Worker, Node)> {
        let of = self.batch.micro_batches;
        let mut nodes: Vec<(Worker, Node)> = Vec::new();
        for worker in self.of(stage) {
            let held = self.held.get(&worker).into_iter().flat_map(|held| held.nodes.iter());
            nodes.extend(held.filter(|node| node.is_within(of)).map(|&node| (worker, node)));
        }
        nodes.sort_by_key(|(_, node)| std::cmp::Reverse(node.micro_batches(of).len()));
        let mut covered = BTreeSet::new();
        nodes.retain(|(_, node)| {
            let is_new = !covered.contains(&node.micro_batches(of).start);
            covered.extend(node.micro_batches(of));
            is_new
        });
        nodes.sort_unstable();
        nodes
    }

    /// Who should do a pass because of what it holds: of a graph the rest, of a tensor that came the use.
    fn bound(&self, stage: u32, micro_batch: u32) -> Option<Worker> {
        self.first(stage, |held| held.forwards.contains(&micro_batch))
            .or_else(|| self.first(stage, |held| held.inputs.contains(&micro_batch)))
            .or_else(|| self.first(stage, |held| held.gradients.contains(&micro_batch)))
    }

    /// Whether the one who is bound to a pass holds this for it.
    fn is_at_hand(&self, stage: u32, micro_batch: u32, which: Which) -> bool {
        let bound = self.bound(stage, micro_batch).and_then(|worker| self.held.get(&worker));
        bound.is_some_and(|held| which(held).contains(&micro_batch))
    }

    /// What each stage has to do for a micro-batch, until no need brings another.
    fn needs(&self, micro_batch: u32, lacking: &[BTreeSet<u32>]) -> Vec<Need> {
        let counts = |stage: u32| lacking[stage as usize].contains(&micro_batch);
        let need = |stage| Need { forward: false, backward: counts(stage) };
        let mut needs: Vec<Need> = (0..self.batch.stages).map(need).collect();
        loop {
            let before = needs.clone();
            for stage in 0..self.batch.stages {
                let at = stage as usize;
                needs[at].forward |=
                    needs[at].backward && !self.is_at_hand(stage, micro_batch, forwards);
                if needs[at].backward && self.gradient_is_missing(stage, micro_batch) {
                    needs[at + 1].backward = true;
                }
                if needs[at].forward && self.input_is_missing(stage, micro_batch) {
                    needs[at - 1].forward = true;
                }
            }
            if needs == before {
                return needs;
            }
        }
    }

    fn gradient_is_missing(&self, stage: u32, micro_batch: u32) -> bool {
        stage + 1 < self.batch.stages
            && !self.is_at_hand(stage, micro_batch, gradients)
            && self.kept_gradient(stage, micro_batch).is_none()
    }

    fn input_is_missing(&self, stage: u32, micro_batch: u32) -> bool {
        stage > 0
            && !self.is_at_hand(stage, micro_batch, inputs)
            && self.kept_input(stage, micro_batch).is_none()
    }

    /// Who kept the gradient that a stage's backward needs.
    fn kept_gradient(&self, stage: u32, micro_batch: u32) -> Option<Worker> {
        self.first(stage + 1, |held| held.input_gradients.contains(&micro_batch))
    }

    /// Who kept the activation that a stage's forward needs.
    fn kept_input(&self, stage: u32, micro_batch: u32) -> Option<Worker> {
        self.first(stage.checked_sub(1)?, |held| held.outputs.contains(&micro_batch))
    }

    fn passes(&self, needs: &[Vec<Need>], lacking: &[BTreeSet<u32>]) -> Vec<Pass> {
        let mut passes = Vec::new();
        for stage in 0..self.batch.stages {
            let at = stage as usize;
            let is_needed = |&m: &u32| needs[m as usize][at] != Need::default();
            let needed: Vec<u32> = (0..self.batch.micro_batches).filter(is_needed).collect();
            for (micro_batch, worker) in self.assign(stage, &needed) {
                let need = needs[micro_batch as usize][at];
                passes.push(Pass {
                    stage,
                    micro_batch,
                    worker,
                    has_forward: need.forward,
                    has_backward: need.backward,
                    counts: lacking[at].contains(&micro_batch),
                    input_from: None,
                    gradient_from: None,
                });
            }
        }
        let doers: BTreeMap<InStage<u32>, Worker> =
            passes.iter().map(|pass| ((pass.stage, pass.micro_batch), pass.worker)).collect();
        for pass in &mut passes {
            self.connect(pass, &doers);
        }
        passes
    }

    /// Who sends a pass what it lacks: whoever kept it, else whoever computes it.
    fn connect(&self, pass: &mut Pass, doers: &BTreeMap<InStage<u32>, Worker>) {
        let (stage, micro_batch) = (pass.stage, pass.micro_batch);
        if pass.has_forward && stage > 0 && !self.is_at_hand(stage, micro_batch, inputs) {
            let kept = self.kept_input(stage, micro_batch);
            pass.input_from = kept.or_else(|| doers.get(&(stage - 1, micro_batch)).copied());
        }
        let is_last = stage + 1 == self.batch.stages;
        if pass.has_backward && !is_last && !self.is_at_hand(stage, micro_batch, gradients) {
            let kept = self.kept_gradient(stage, micro_batch);
            pass.gradient_from = kept.or_else(|| doers.get(&(stage + 1, micro_batch)).copied());
        }
    }

    /// Spreads a stage's passes over its members: what somebody is bound to goes there, the rest to
    /// whoever has least, in neighbouring parts, so that sums become few nodes.
    fn assign(&self, stage: u32, needed: &[u32]) -> BTreeMap<u32, Worker> {
        let mut load: BTreeMap<Worker, usize> = self.of(stage).map(|worker| (worker, 0)).collect();
        let mut assigned = BTreeMap::new();
        for &micro_batch in needed {
            if let Some(worker) = self.bound(stage, micro_batch) {
                *load.entry(worker).or_default() += 1;
                assigned.insert(micro_batch, worker);
            }
        }
        let free: Vec<u32> = needed.iter().copied().filter(|m| !assigned.contains_key(m)).collect();
        let mut share: BTreeMap<Worker, usize> = BTreeMap::new();
        for _ in &free {
            let least = load.iter_mut().min_by_key(|(worker, load)| (**load, **worker));
            if let Some((worker, load)) = least {
                *load += 1;
                *share.entry(*worker).or_default() += 1;
            }
        }
        let workers = share.iter().flat_map(|(&worker, &n)| std::iter::repeat_n(worker, n));
        assigned.extend(free.into_iter().zip(workers));
        assigned
    }
}

/// One of a member's sets of micro-batches.
type Which = fn(&Progress) -> &BTreeSet<u32>;

fn forwards(held: &Progress) -> &BTreeSet<u32> {
    &held.forwards
}

fn inputs(held: &Progress) -> &BTreeSet<u32> {
    &held.inputs
}

fn gradients(held: &Progress) -> &BTreeSet<u32> {
    &held.gradients
}
