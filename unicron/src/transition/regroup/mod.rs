//! What a new group does with what its members have: the decision of one of them, pure.
//!
//! Whatever has changed — a member died, joined, or lost a connection — the members tell one of them
//! what they hold, and it decides, once, from that alone: at which iteration all go on, who gets the state
//! from whom (section 6.2 of the paper), and which passes of the running iteration are computed by whom
//! (section 6.1). So there is one path for all failures at all moments.
//!
//! - What a member holds is kept: sums, activations and gradients at the boundaries of stages, reduced
//!   segments. Only what nobody holds and somebody needs is computed again.
//! - A reduced segment contains everybody's share, that of the dead, too: who died is needed again only
//!   for segments that aren't reduced.
//!
//! **Invariant:** in each segment of each stage every micro-batch counts exactly once.

mod passes;
mod recovery;
#[cfg(test)]
mod tests;

use super::tree::Node;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A worker's number.
pub type Worker = u64;

/// A stage and a micro-batch, or a stage and an iteration.
pub type InStage<T> = (u32, T);

/// What an iteration consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Pipeline stages.
    pub stages: u32,
    /// Micro-batches, over all replicas.
    pub micro_batches: u32,
    /// Parts of a stage's gradient that are reduced on their own.
    pub segments: u32,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub worker: Worker,
    /// Its stage.
    pub stage: u32,
    /// Its node.
    pub node: String,
}

/// What a member holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The last iteration that is in its weights; nothing if it has none.
    pub applied: Option<u64>,
    /// What it has of the iteration behind that.
    pub progress: Progress,
    /// Checkpoints in its memory, its own and others': stage and iteration.
    pub memory: BTreeSet<InStage<u64>>,
    /// The highest iteration that it knows to have been committed.
    pub highest: u64,
}

/// What a member has of an iteration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Sums of gradients.
    pub nodes: BTreeSet<Node>,
    /// Micro-batches whose forward it has done, and whose backward it has not.
    pub forwards: BTreeSet<u32>,
    /// Inputs that came and were not used yet.
    pub inputs: BTreeSet<u32>,
    /// Gradients of outputs that came and were not used yet.
    pub gradients: BTreeSet<u32>,
    /// Outputs that it has computed, which the stage behind needs.
    pub outputs: BTreeSet<u32>,
    /// Gradients of inputs that it has computed, which the stage before needs.
    pub input_gradients: BTreeSet<u32>,
    /// Reduced segments.
    pub segments: BTreeSet<u32>,
    /// Passes that anybody is known to have begun, by what all are told: stage and micro-batch.
    pub begun: BTreeSet<InStage<u32>>,
    /// Passes that were begun a second time, each as often as it was.
    pub redone: Vec<InStage<u32>>,
}

/// Where a member's state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// It has it.
    Own,
    /// It has the whole gradient of that iteration, for which all have voted: it takes the step.
    Step,
    /// A checkpoint in its own memory.
    OwnMemory,
    /// A replica that has it.
    Replica(Worker),
    /// A checkpoint in another's memory.
    Memory(Worker),
    /// The checkpoint on disk that counts.
    Disk,
    /// The beginning.
    Initial,
}

/// A pass of one stage over one micro-batch that is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The stage.
    pub stage: u32,
    /// The micro-batch.
    pub micro_batch: u32,
    /// By whom.
    pub worker: Worker,
    /// Whether the forward is to be computed; else the worker has done it.
    pub has_forward: bool,
    /// Whether the backward is to be computed; else only the output is needed.
    pub has_backward: bool,
    /// Whether the gradient counts; else it is in a sum already, and only that of the input is needed.
    pub counts: bool,
    /// Who sends the input; nobody if it isn't needed or is there.
    pub input_from: Option<Worker>,
    /// Who sends the output's gradient; nobody if it isn't needed or is there.
    pub gradient_from: Option<Worker>,
}

/// How a segment of a stage's gradient gets to all members of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// It is reduced; this one has it and sends it to those who lack it.
    Done(Worker),
    /// This one collects the sums of all, adds them up and sends the result to all.
    By(Worker),
}

/// What is left of an iteration, and who does it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// What is to be computed, by stage and micro-batch.
    pub passes: Vec<Pass>,
    /// Sums that count, by who holds them. Others are dropped: a member that had been given up may come
    /// back with what was computed again meanwhile.
    pub sums: Vec<(Worker, Node)>,
    /// By stage, then by segment.
    pub reductions: Vec<Vec<Reduction>>,
}

impl Plan {
    /// The pass of a stage over a micro-batch, if one is to be done.
    #[must_use]
    pub fn pass(&self, stage: u32, micro_batch: u32) -> Option<&Pass> {
        let key = (stage, micro_batch);
        let place = self.passes.binary_search_by_key(&key, |pass| (pass.stage, pass.micro_batch));
        place.ok().map(|place| &self.passes[place])
    }

    /// The plan of an iteration of which nobody has anything.
    #[must_use]
    pub fn fresh(batch: &Batch, members: &[Peer]) -> Self {
        passes::plan(batch, members, &BTreeMap::new())
    }
}

/// How a group goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The last iteration that is in everybody's weights, as soon as they have them.
    pub applied: u64,
    /// The highest iteration that was ever committed. Greater than `applied` where all go back.
    pub highest: u64,
    /// Where each gets its state.
    pub sources: BTreeMap<Worker, Source>,
    /// The iteration behind `applied`.
    pub plan: Plan,
    /// What is known to have been begun of it.
    pub begun: BTreeSet<InStage<u32>>,
    /// What was begun a second time so far.
    pub redone: Vec<InStage<u32>>,
}

/// Decides for a group. `disk` is the iteration of the checkpoint on disk that counts.
///
/// Every stage needs a member; a member without a status counts as one that has nothing.
#[must_use]
pub fn regroup(
    batch: &Batch,
    members: &[Peer],
    statuses: &BTreeMap<Worker, Status>,
    disk: Option<u64>,
) -> Decision {
    let (applied, sources) = recovery::recover(batch, members, statuses, disk);
    let highest = statuses.values().map(|status| status.highest.max(status.applied.unwrap_or(0)));
    let highest = highest.max().unwrap_or(0).max(applied);
    // What members have counts if it is of the very iteration that runs, whether or not their state is
    // still needed: those who go back have nothing of it.
    let is_of_it = |worker: &Worker| statuses[worker].applied == Some(applied);
    let progress: BTreeMap<Worker, &Progress> = members
        .iter()
        .map(|member| member.worker)
        .filter(|worker| statuses.contains_key(worker) && is_of_it(worker))
        .map(|worker| (worker, &statuses[&worker].progress))
        .collect();
    let plan = passes::plan(batch, members, &progress);
    let begun = progress.values().flat_map(|progress| progress.begun.iter().copied()).collect();
    let redone = progress.values().map(|progress| &progress.redone).max_by_key(|list| list.len());
    let redone = redone.cloned().unwrap_or_default();
    Decision { applied, highest, sources, plan, begun, redone }
}
