//! The all-reduce of a round, segment by segment, and the vote.
//!
//! One member of the stage collects the sums that all hold of a segment, adds them up in the tree's order
//! and sends the result to all. The sums stay as they were: the reduction is out of place, so that after a
//! failure in its midst what is reduced is kept and the rest is reduced again by others.

use super::Round;
use crate::train::mesh::{Message, Values};
use crate::train::sums::Sums;
use crate::transition::regroup::{Reduction, Worker};
use crate::transition::tree::Node;
use std::collections::BTreeSet;
use std::ops::Range;

impl<G> Round<G> {
    /// The part of the gradient that a segment is.
    fn range(&self, segment: u32) -> Range<usize> {
        let segments = self.frame.batch.segments as usize;
        let bound = |index: usize| self.frame.gradient_len * index / segments;
        bound(segment as usize)..bound(segment as usize + 1)
    }

    /// How a segment of the own stage is reduced.
    fn reduction(&self, segment: u32) -> Option<Reduction> {
        let reductions = self.plan.reductions.get(self.frame.stage as usize)?;
        reductions.get(segment as usize).copied()
    }

    /// Once all own passes are in the sums, sends the sums to those who reduce.
    pub(super) fn contribute_when_done(&mut self) {
        let counts = |micro_batch: &u32| {
            let pass = self.plan.pass(self.frame.stage, *micro_batch);
            pass.is_some_and(|pass| pass.counts)
        };
        if self.has_contributed || self.backwards_left.iter().any(counts) {
            return;
        }
        self.has_contributed = true;
        let nodes: Vec<_> =
            self.sums.nodes().map(|(node, values)| (node, values.clone())).collect();
        for segment in 0..self.frame.batch.segments {
            let Some(Reduction::By(owner)) = self.reduction(segment) else { continue };
            let range = self.range(segment);
            for (node, values) in &nodes {
                if owner == self.frame.me {
                    self.collect(segment, *node, values[range.clone()].to_vec());
                } else {
                    let part = Values::part(values, range.clone());
                    self.out.push((owner, Message::Sum(segment, *node, part)));
                }
            }
            self.finish(segment);
        }
    }

    pub(super) fn receive_sum(&mut self, segment: u32, node: Node, values: &Values) {
        let is_owner = self.reduction(segment) == Some(Reduction::By(self.frame.me));
        let fits = node.is_within(self.frame.batch.micro_batches);
        if is_owner && fits && values.len() == self.range(segment).len() {
            self.collect(segment, node, values.to_vec());
            self.finish(segment);
        }
    }

    fn collect(&mut self, segment: u32, node: Node, values: Vec<f32>) {
        let of = self.frame.batch.micro_batches;
        self.reducing.entry(segment).or_insert_with(|| Sums::new(of)).add(node, values);
    }

    /// Sends a segment to all of the stage, once all of it is there.
    fn finish(&mut self, segment: u32) {
        let Some(root) = self.reducing.get(&segment).and_then(Sums::root) else { return };
        let values = Values::from(root.to_vec());
        self.reducing.remove(&segment);
        self.segments.insert(segment, values);
        self.send_segment(segment);
    }

    fn send_segment(&mut self, segment: u32) {
        let Some(values) = self.segments.get(&segment) else { return };
        let same = self.members.iter().filter(|member| member.stage == self.frame.stage);
        for member in same.filter(|member| member.worker != self.frame.me) {
            self.out.push((member.worker, Message::Segment(segment, values.clone())));
        }
    }

    /// Sends the reduced segments that this worker is to send.
    pub(super) fn deliver_segments(&mut self) {
        for segment in 0..self.frame.batch.segments {
            if self.reduction(segment) == Some(Reduction::Done(self.frame.me)) {
                self.send_segment(segment);
            }
        }
    }

    pub(super) fn receive_segment(&mut self, segment: u32, values: Values) {
        let fits = segment < self.frame.batch.segments && values.len() == self.range(segment).len();
        if fits {
            self.segments.entry(segment).or_insert(values);
        }
    }

    /// Whether all own passes that count are in the sums, and these on their way.
    #[must_use]
    pub fn has_contributed(&self) -> bool {
        self.has_contributed
    }

    /// How many segments are reduced, of how many.
    #[must_use]
    pub fn reduced(&self) -> (usize, usize) {
        (self.segments.len(), self.frame.batch.segments as usize)
    }

    /// Numbers of gradients that are held: sums, what is being reduced, and what is.
    #[must_use]
    pub fn held_numbers(&self) -> usize {
        let of_sums = |sums: &Sums| sums.nodes().map(|(_, values)| values.len()).sum::<usize>();
        let reducing = self.reducing.values().map(of_sums).sum::<usize>();
        let reduced = self.segments.values().map(|values| values.len()).sum::<usize>();
        of_sums(&self.sums) + reducing + reduced
    }

    /// Whether this worker holds its stage's whole gradient.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let (reduced, segments) = self.reduced();
        reduced == segments
    }

    /// The whole gradient, once it is there.
    #[must_use]
    pub fn gradient(&self) -> Option<Vec<f32>> {
        self.is_whole()
            .then(|| self.segments.values().flat_map(|values| values.iter().copied()).collect())
    }

    /// Whether this worker can vote: its gradient is whole, and no one waits for a pass of its.
    #[must_use]
    pub fn can_vote(&self) -> bool {
        let is_idle = self.forwards_left.is_empty() && self.backwards_left.is_empty();
        !self.has_voted && self.is_whole() && is_idle
    }

    /// Votes for the iteration.
    pub fn vote(&mut self) {
        self.has_voted = true;
        self.votes.insert(self.frame.me);
        self.tell_all(&Message::Prepared);
    }

    /// Whether all have voted: the optimiser may step.
    #[must_use]
    pub fn is_voted(&self) -> bool {
        self.has_voted && self.members.iter().all(|member| self.votes.contains(&member.worker))
    }

    /// Members of the stage that have passes or sums, while a segment that this worker reduces isn't
    /// whole; else those who reduce or have what is missing here.
    pub(super) fn reduction_waits_for(&self) -> BTreeSet<Worker> {
        let mut workers = BTreeSet::new();
        let missing = (0..self.frame.batch.segments).filter(|s| !self.segments.contains_key(s));
        for segment in missing {
            match self.reduction(segment) {
                Some(Reduction::By(owner)) if owner == self.frame.me => {
                    let passes = self.plan.passes.iter().filter(|pass| pass.counts);
                    let missing = passes.filter(|pass| {
                        let sums = self.reducing.get(&segment);
                        pass.stage == self.frame.stage
                            && !sums.is_some_and(|sums| sums.has(pass.micro_batch))
                    });
                    workers.extend(missing.map(|pass| pass.worker));
                }
                Some(Reduction::By(worker) | Reduction::Done(worker)) => {
                    workers.insert(worker);
                }
                None => {}
            }
        }
        workers
    }
}
