//! What happens to a cluster, and what is to be done about it.

use crate::detect::Status;
use crate::plan::table::Table;
use crate::plan::value::Size;
use crate::plan::{Plan, Task};

/// What happens. Tasks are called by their index, in the order in which they were submitted.
#[derive(Debug, Clone)]
pub enum Event {
    /// A node is there, for the first time or again, with so many healthy workers.
    NodeJoined {
        /// The node.
        node: usize,
        /// Its workers.
        workers: usize,
    },
    /// A node's lease has run out.
    NodeLost {
        /// The node.
        node: usize,
    },
    /// A node is to be free of tasks, which are alive on it.
    DrainAsked {
        /// The node.
        node: usize,
    },
    /// A task wants workers. Boxed, for it is rare and large.
    TaskSubmitted {
        /// The task, which has no workers yet.
        task: Box<Task>,
    },
    /// A task has done its work, or somebody has stopped it.
    TaskEnded {
        /// The task.
        task: usize,
    },
    /// Something is wrong with a task on a node: the root cause, not its echoes on other nodes.
    Failed {
        /// The task.
        task: usize,
        /// The node.
        node: usize,
        /// What is wrong.
        status: Status,
    },
    /// A task has finished iterations since it last failed.
    Progressed {
        /// The task.
        task: usize,
    },
    /// A reattempt or a restart has ended.
    Attempted {
        /// Which one.
        incident: u64,
        /// Whether the task goes on.
        succeeded: bool,
    },
    /// A table of plans has been built.
    TableBuilt {
        /// The epoch that it was built for.
        epoch: u64,
        /// The table.
        table: Table,
    },
    /// Somebody wants the cluster to be planned now.
    PlanAsked,
    /// Time has passed.
    Ticked,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Do the failed operation again, in the same process.
    Reattempt(Attempt),
    /// Start the process again on its node; state from a replica or a checkpoint.
    Restart(Attempt),
    /// Let nobody use this node until it has been looked at.
    Isolate {
        /// The node.
        node: usize,
        /// Why.
        status: Status,
    },
    /// Give tasks other workers.
    Reconfigure(Reconfiguration),
    /// End a task that can't recover.
    Stop {
        /// The task.
        task: usize,
        /// For a person: what happened, and how often.
        evidence: String,
    },
    /// Make plans for what may happen next, in the background, and answer with
    /// [`Event::TableBuilt`].
    BuildTable {
        /// For the answer.
        epoch: u64,
    },
    /// Say this, and do nothing: the core may not ([`super::Authority::Advise`]).
    Advise(Advice),
    /// Say [`Event::Ticked`] then.
    WakeAt {
        /// Seconds.
        at_s: f64,
    },
}

/// What would be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Advice {
    /// Nobody should use this node until it has been looked at.
    Isolate {
        /// The node.
        node: usize,
        /// The task that has failed there.
        task: usize,
        /// Why.
        status: Status,
    },
    /// A task can't recover, and should be ended.
    Stop {
        /// The task.
        task: usize,
        /// For a person: what happened, and how often.
        evidence: String,
    },
    /// Tasks should have other workers. `None` takes back what was said before. Boxed, for it is large.
    Plan(Option<Box<Reconfiguration>>),
}

/// An action on one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// For the answer.
    pub incident: u64,
    /// The task.
    pub task: usize,
    /// The node.
    pub node: usize,
    /// Messages of an older epoch are refused.
    pub epoch: u64,
}

/// A new plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconfiguration {
    /// Messages of an older epoch are refused.
    pub epoch: u64,
    /// What made it necessary.
    pub trigger: Trigger,
    /// How the plan was found.
    pub source: PlanSource,
    /// Tasks whose workers change.
    pub changes: Vec<Change>,
    /// The whole plan.
    pub plan: Plan,
    /// What places cost against the best plan by counts.
    pub placement_loss: f64,
}

/// A task's new workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The task.
    pub task: usize,
    /// Their number, their arrangement, and the interruption.
    pub size: Size,
    /// Workers by node.
    pub nodes: Vec<(usize, usize)>,
    /// Of the workers of before, how many are on nodes that are gone.
    pub failed: usize,
    /// Of the new workers, how many are on nodes where the task had fewer.
    pub moved: usize,
    /// FLOP/s while newcomers get ready.
    pub meanwhile_flops: f64,
}

impl Change {
    /// Workers whose part of the state has to come from elsewhere though the task had it: those that have
    /// failed, or those that go elsewhere while the size stays.
    #[must_use]
    pub fn replaced(&self, from: usize) -> usize {
        let stays = self.failed == 0 && self.size.workers == from;
        if stays { self.moved } else { self.failed }
    }
}

/// What makes a new plan necessary (section 4 of the paper).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// A node is lost or isolated.
    NodeLost,
    /// A node is to be free.
    NodeDrained,
    /// A node is there.
    NodeJoined,
    /// A task has ended.
    TaskEnded,
    /// A task was submitted.
    TaskSubmitted,
    /// Somebody has asked for a plan.
    PlanAsked,
}

/// Where a plan came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlanSource {
    /// The table had it.
    Table,
    /// It was solved for: no table is kept.
    Solved,
    /// It was solved for: the table was still being built.
    SolvedWhileBuilding,
    /// It was solved for: the table has nothing like this.
    SolvedUnexpected,
}
