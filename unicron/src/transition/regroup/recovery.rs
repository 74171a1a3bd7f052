//! At which iteration a group goes on, and who gets the state from whom: the newest iteration of which
//! every stage's state can be had decides; then the nearest source.

use super::{Batch, Peer, Source, Status, Worker};
use std::collections::{BTreeMap, BTreeSet};

/// The iteration, and each member's source.
pub(super) fn recover(
    batch: &Batch,
    members: &[Peer],
    statuses: &BTreeMap<Worker, Status>,
    disk: Option<u64>,
) -> (u64, BTreeMap<Worker, Source>) {
    let view = View { batch, members, statuses, disk };
    let applied = view.newest();
    let sources = members.iter().map(|member| (member.worker, view.source(member, applied)));
    (applied, sources.collect())
}

struct View<'a> {
    batch: &'a Batch,
    members: &'a [Peer],
    statuses: &'a BTreeMap<Worker, Status>,
    disk: Option<u64>,
}

impl View<'_> {
    fn applied(&self, worker: Worker) -> Option<u64> {
        self.statuses.get(&worker)?.applied
    }

    /// The newest iteration that anybody has and everybody can have.
    fn newest(&self) -> u64 {
        let most = self.members.iter().filter_map(|member| self.applied(member.worker)).max();
        let in_memory = self.statuses.values().flat_map(|status| status.memory.iter());
        let candidates: BTreeSet<u64> =
            in_memory.map(|&(_, iteration)| iteration).chain(most).chain(self.disk).collect();
        let is_whole =
            |iteration: u64| (0..self.batch.stages).all(|stage| self.is_there(stage, iteration));
        candidates.into_iter().rev().find(|&iteration| is_whole(iteration)).unwrap_or(0)
    }

    /// Whether a stage's state of an iteration can be had. What anybody has in any form, all had voted for:
    /// then, and only then, others take the step outside of a vote.
    fn is_there(&self, stage: u32, iteration: u64) -> bool {
        let in_memory = |status: &Status| status.memory.contains(&(stage, iteration));
        self.disk == Some(iteration)
            || self.statuses.values().any(in_memory)
            || self.members.iter().any(|member| {
                member.stage == stage
                    && (self.applied(member.worker) == Some(iteration)
                        || self.can_step(member, iteration))
            })
    }

    /// Whether a member has the whole gradient of this iteration, and the state before it.
    fn can_step(&self, member: &Peer, iteration: u64) -> bool {
        self.statuses.get(&member.worker).is_some_and(|status| {
            status.applied.map(|applied| applied + 1) == Some(iteration)
                && status.progress.segments.len() == self.batch.segments as usize
        })
    }

    /// The nearest source of a member's state.
    fn source(&self, member: &Peer, iteration: u64) -> Source {
        if self.applied(member.worker) == Some(iteration) {
            return Source::Own;
        }
        if self.can_step(member, iteration) {
            return Source::Step;
        }
        let has = |worker: Worker| {
            let status = self.statuses.get(&worker);
            status.is_some_and(|status| status.memory.contains(&(member.stage, iteration)))
        };
        if has(member.worker) {
            return Source::OwnMemory;
        }
        let far = |other: &&Peer| (other.node != member.node, other.worker);
        let others = || self.members.iter().filter(|other| other.worker != member.worker);
        let replica = others().filter(|other| {
            other.stage == member.stage
                && (self.applied(other.worker) == Some(iteration)
                    || self.can_step(other, iteration))
        });
        if let Some(replica) = replica.min_by_key(far) {
            return Source::Replica(replica.worker);
        }
        match others().filter(|other| has(other.worker)).min_by_key(far) {
            Some(holder) => Source::Memory(holder.worker),
            None if self.disk == Some(iteration) => Source::Disk,
            None => Source::Initial,
        }
    }
}
