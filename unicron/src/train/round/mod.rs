//! What a worker holds and does of one iteration, without doing it: pure, so that a test can run a whole
//! group through any history.
//!
//! There is no schedule. A pass can be done when what it needs is there; backwards go first, because they
//! free memory and others wait for them. What was sent is kept until the iteration is committed: somebody
//! new may need it.

mod reduce;
#[cfg(test)]
mod tests;

use super::mesh::{Message, Values};
use super::sums::Sums;
use crate::transition::regroup::{Batch, InStage, Pass, Peer, Plan, Progress, Worker};
use crate::transition::tree::Node;
use std::collections::{BTreeMap, BTreeSet};

/// What doesn't change with the iteration.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The worker's number.
    pub me: Worker,
    /// Its stage.
    pub stage: u32,
    /// What an iteration consists of.
    pub batch: Batch,
    /// Values of the stage's gradient.
    pub gradient_len: usize,
}

/// Something to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The forward of a micro-batch.
    Forward(u32),
    /// The backward of a micro-batch.
    Backward(u32),
}

/// A worker's part of an iteration. `G` is what a forward leaves for its backward.
#[derive(Debug)]
pub struct Round<G> {
    frame: Frame,
    iteration: u64,
    members: Vec<Peer>,
    plan: Plan,
    sums: Sums,
    forwards: BTreeMap<u32, G>,
    inputs: BTreeMap<u32, Values>,
    gradients: BTreeMap<u32, Values>,
    outputs: BTreeMap<u32, Values>,
    input_gradients: BTreeMap<u32, Values>,
    segments: BTreeMap<u32, Values>,
    /// What this worker collects of segments that it reduces.
    reducing: BTreeMap<u32, Sums>,
    begun: BTreeSet<InStage<u32>>,
    redone: Vec<InStage<u32>>,
    /// Whether the whole iteration is done again, because all went back.
    is_again: bool,
    forwards_left: BTreeSet<u32>,
    backwards_left: BTreeSet<u32>,
    has_contributed: bool,
    has_voted: bool,
    votes: BTreeSet<Worker>,
    out: Vec<(Worker, Message)>,
}

impl<G> Round<G> {
    /// An iteration of which this worker has nothing. It does nothing before [`Round::adopt`].
    #[must_use]
    pub fn new(frame: Frame, iteration: u64, is_again: bool) -> Self {
        let sums = Sums::new(frame.batch.micro_batches);
        Self {
            frame,
            iteration,
            members: Vec::new(),
            plan: Plan::default(),
            sums,
            forwards: BTreeMap::new(),
            inputs: BTreeMap::new(),
            gradients: BTreeMap::new(),
            outputs: BTreeMap::new(),
            input_gradients: BTreeMap::new(),
            segments: BTreeMap::new(),
            reducing: BTreeMap::new(),
            begun: BTreeSet::new(),
            redone: Vec::new(),
            is_again,
            forwards_left: BTreeSet::new(),
            backwards_left: BTreeSet::new(),
            has_contributed: false,
            has_voted: false,
            votes: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    /// The iteration's number.
    #[must_use]
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// What this worker holds, for the one who decides.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let keys = |values: &BTreeMap<u32, Values>| values.keys().copied().collect();
        Progress {
            nodes: self.sums.nodes().map(|(node, _)| node).collect(),
            forwards: self.forwards.keys().copied().collect(),
            inputs: keys(&self.inputs),
            gradients: keys(&self.gradients),
            outputs: keys(&self.outputs),
            input_gradients: keys(&self.input_gradients),
            segments: keys(&self.segments),
            begun: self.begun.clone(),
            redone: self.redone.clone(),
        }
    }

    /// Takes up a plan: what it doesn't want is dropped, what it wants sent again is sent.
    pub fn adopt(
        &mut self,
        plan: Plan,
        members: Vec<Peer>,
        begun: BTreeSet<InStage<u32>>,
        redone: Vec<InStage<u32>>,
    ) {
        (self.plan, self.members) = (plan, members);
        (self.begun, self.redone) = (begun, redone);
        (self.has_contributed, self.has_voted) = (false, false);
        self.reducing.clear();
        self.votes.clear();
        self.out.clear();
        let mine: BTreeSet<Node> =
            self.plan.sums.iter().filter(|sum| sum.0 == self.frame.me).map(|sum| sum.1).collect();
        self.sums.retain(|node| mine.contains(&node));
        let passes = || self.plan.passes.iter().filter(|pass| pass.worker == self.frame.me);
        let own = |is: fn(&Pass) -> bool| {
            passes().filter(|pass| is(pass)).map(|pass| pass.micro_batch).collect()
        };
        self.forwards_left = own(|pass| pass.has_forward);
        self.backwards_left = own(|pass| pass.has_backward);
        let (again, left) = (&self.forwards_left, &self.backwards_left);
        self.forwards.retain(|m, _| left.contains(m) && !again.contains(m));
        for micro_batch in self.outputs.keys().copied().collect::<Vec<_>>() {
            self.deliver_output(micro_batch);
        }
        for micro_batch in self.input_gradients.keys().copied().collect::<Vec<_>>() {
            self.deliver_gradient(micro_batch);
        }
        self.deliver_segments();
        self.contribute_when_done();
    }

    /// What can be computed now.
    #[must_use]
    pub fn next(&self) -> Option<Work> {
        let is_last = self.frame.stage + 1 == self.frame.batch.stages;
        let can_go_back =
            |m: &&u32| self.forwards.contains_key(m) && (is_last || self.gradients.contains_key(m));
        let can_go_on = |m: &&u32| self.frame.stage == 0 || self.inputs.contains_key(m);
        let backward = self.backwards_left.iter().find(can_go_back).copied().map(Work::Backward);
        let forward = || self.forwards_left.iter().find(can_go_on).copied().map(Work::Forward);
        backward.or_else(forward)
    }

    /// The input of a forward; nothing in the first stage.
    #[must_use]
    pub fn input(&self, micro_batch: u32) -> Option<&Values> {
        self.inputs.get(&micro_batch)
    }

    /// What a backward needs: the forward's, and the gradient of the output, nothing in the last stage.
    #[must_use]
    pub fn backward_needs(&self, micro_batch: u32) -> Option<(&G, Option<&Values>)> {
        Some((self.forwards.get(&micro_batch)?, self.gradients.get(&micro_batch)))
    }

    /// A forward is done. Its output is nothing in the last stage.
    pub fn forward_is_done(&mut self, micro_batch: u32, left: G, output: Option<Values>) {
        let Frame { stage, .. } = self.frame;
        self.forwards_left.remove(&micro_batch);
        self.inputs.remove(&micro_batch);
        if self.backwards_left.contains(&micro_batch) {
            self.forwards.insert(micro_batch, left);
        }
        let is_redone = self.is_again || self.begun.contains(&(stage, micro_batch));
        self.note_begun(stage, micro_batch, is_redone);
        self.tell_all(&Message::Begun { stage, micro_batch, is_redone });
        if let Some(output) = output {
            self.outputs.insert(micro_batch, output);
            self.deliver_output(micro_batch);
        }
    }

    /// A backward is done; the gradient of the input is nothing in the first stage. Returns whether the
    /// micro-batch is now in this worker's sums, and if so, whether it was done before by another.
    pub fn backward_is_done(
        &mut self,
        micro_batch: u32,
        gradient: Vec<f32>,
        of_input: Option<Values>,
    ) -> Option<bool> {
        let stage = self.frame.stage;
        self.backwards_left.remove(&micro_batch);
        self.forwards.remove(&micro_batch);
        self.gradients.remove(&micro_batch);
        if let Some(of_input) = of_input {
            self.input_gradients.insert(micro_batch, of_input);
            self.deliver_gradient(micro_batch);
        }
        if !self.plan.pass(stage, micro_batch).is_some_and(|pass| pass.counts) {
            return None;
        }
        self.sums.add(Node::leaf(micro_batch), gradient);
        self.contribute_when_done();
        Some(self.redone.contains(&(stage, micro_batch)))
    }

    /// Hears a message of this iteration. What it has no use for is ignored: a peer may send what it is
    /// told to have, twice.
    pub fn receive(&mut self, from: Worker, message: Message) {
        let within = |micro_batch: u32| micro_batch < self.frame.batch.micro_batches;
        match message {
            Message::Begun { stage, micro_batch, is_redone } if within(micro_batch) => {
                self.note_begun(stage, micro_batch, is_redone);
            }
            Message::Activation(micro_batch, values)
                if self.forwards_left.contains(&micro_batch) =>
            {
                self.inputs.insert(micro_batch, values);
            }
            Message::Gradient(micro_batch, values)
                if self.backwards_left.contains(&micro_batch) =>
            {
                self.gradients.insert(micro_batch, values);
            }
            Message::Sum(segment, node, values) => self.receive_sum(segment, node, &values),
            Message::Segment(segment, values) => self.receive_segment(segment, values),
            Message::Prepared => {
                self.votes.insert(from);
            }
            _ => {}
        }
    }

    /// What is to be sent.
    pub fn outgoing(&mut self) -> Vec<(Worker, Message)> {
        std::mem::take(&mut self.out)
    }

    /// What was begun a second time so far, by all of the group.
    #[must_use]
    pub fn redone(&self) -> &[InStage<u32>] {
        &self.redone
    }

    /// Workers without whose messages this one can't go on.
    #[must_use]
    pub fn waits_for(&self) -> BTreeSet<Worker> {
        let mut workers = BTreeSet::new();
        for pass in self.plan.passes.iter().filter(|pass| pass.worker == self.frame.me) {
            let m = &pass.micro_batch;
            if self.forwards_left.contains(m) && !self.inputs.contains_key(m) {
                workers.extend(pass.input_from);
            }
            if self.backwards_left.contains(m) && !self.gradients.contains_key(m) {
                workers.extend(pass.gradient_from);
            }
        }
        workers.extend(self.reduction_waits_for());
        if self.has_voted {
            let members = self.members.iter().map(|member| member.worker);
            workers.extend(members.filter(|worker| !self.votes.contains(worker)));
        }
        workers.remove(&self.frame.me);
        workers
    }

    fn note_begun(&mut self, stage: u32, micro_batch: u32, is_redone: bool) {
        self.begun.insert((stage, micro_batch));
        if is_redone {
            self.redone.push((stage, micro_batch));
        }
    }

    fn tell_all(&mut self, message: &Message) {
        let others = self.members.iter().map(|member| member.worker);
        let others = others.filter(|&worker| worker != self.frame.me);
        self.out.extend(others.map(|worker| (worker, message.clone())));
    }

    /// Sends an output to whoever is to get it from this worker.
    fn deliver_output(&mut self, micro_batch: u32) {
        let pass = self.plan.pass(self.frame.stage + 1, micro_batch);
        let pass = pass.filter(|pass| pass.input_from == Some(self.frame.me));
        if let (Some(pass), Some(output)) = (pass, self.outputs.get(&micro_batch)) {
            self.out.push((pass.worker, Message::Activation(micro_batch, output.clone())));
        }
    }

    fn deliver_gradient(&mut self, micro_batch: u32) {
        let before = self.frame.stage.checked_sub(1);
        let pass = before.and_then(|stage| self.plan.pass(stage, micro_batch));
        let pass = pass.filter(|pass| pass.gradient_from == Some(self.frame.me));
        if let (Some(pass), Some(gradient)) = (pass, self.input_gradients.get(&micro_batch)) {
            self.out.push((pass.worker, Message::Gradient(micro_batch, gradient.clone())));
        }
    }
}
