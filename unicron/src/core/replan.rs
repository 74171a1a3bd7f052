//! When and how the cluster is planned anew.

use super::event::{Change, Command, PlanSource, Reconfiguration, Trigger};
use super::{Core, TableState};
use crate::plan::hazard;
use crate::plan::placed::{Nodes, Placed};
use crate::plan::placement::Placement;
use crate::plan::rule::TransitionTime;
use crate::plan::table::{Class, Entry, State, Table};
use crate::plan::value::Size;
use crate::plan::{Assignment, Plan, Present, Situation, Task};
use crate::transition::duration::{self, Interruption};
use std::collections::BTreeSet;

impl Core {
    /// Plans for what is there now, after these nodes have gone (or have to be free).
    pub(super) fn replan(
        &mut self,
        now_s: f64,
        trigger: Trigger,
        gone: &BTreeSet<usize>,
    ) -> Vec<Command> {
        if self.advises() && trigger != Trigger::PlanAsked {
            return self.make_do(now_s, trigger, gone);
        }
        let hazards = self.hazards_at(now_s);
        let state = self.state(&hazards);
        let class = self.class(&state, trigger, gone);
        let (plan, source) = self.find_or_solve(&state, &class, trigger);
        for &node in gone {
            self.healthy[node] = 0;
        }
        self.epoch += 1;
        let reconfiguration = self.carry_out(plan, source, trigger, &class, &hazards);
        let mut commands = Vec::new();
        if !reconfiguration.changes.is_empty() {
            commands.push(Command::Reconfigure(reconfiguration));
        }
        if !matches!(self.table, TableState::Unused) {
            self.table = TableState::Building;
            commands.push(Command::BuildTable { epoch: self.epoch });
        }
        commands
    }

    /// A table for what may happen next, as of now: what [`Command::BuildTable`] asks for. The snapshot
    /// can be built from on another thread: clone the core.
    #[must_use]
    pub fn build_table(&self, now_s: f64) -> Table {
        let hazards = self.hazards_at(now_s);
        Table::build(&self.state(&hazards), &self.rule)
    }

    pub(super) fn hazards_at(&self, now_s: f64) -> Vec<f64> {
        (0..self.healthy.len()).map(|node| self.hazards.of(node, now_s)).collect()
    }

    pub(super) fn state<'a>(&'a self, hazards: &'a [f64]) -> State<'a> {
        State::new(&self.tasks, self.nodes(hazards), &self.cluster)
    }

    fn nodes<'a>(&'a self, hazards: &'a [f64]) -> Nodes<'a> {
        Nodes { placement: &self.placement, healthy: &self.healthy, hazards }
    }

    /// What is left after something has happened.
    pub(super) fn class(
        &self,
        state: &State<'_>,
        trigger: Trigger,
        gone: &BTreeSet<usize>,
    ) -> Class {
        self.without_ended(match trigger {
            Trigger::NodeLost | Trigger::NodeDrained => state.without(gone),
            Trigger::NodeJoined
            | Trigger::TaskSubmitted
            | Trigger::TaskEnded
            | Trigger::PlanAsked => state.present(),
        })
    }

    /// A task that has ended and still has workers gives them back with this plan.
    fn without_ended(&self, class: Class) -> Class {
        let ended = |&task: &usize| self.has_ended[task] && self.tasks[task].present.workers > 0;
        Class { finished: (0..self.tasks.len()).find(ended), ..class }
    }

    fn find_or_solve(
        &self,
        state: &State<'_>,
        class: &Class,
        trigger: Trigger,
    ) -> (Plan, PlanSource) {
        let source = match &self.table {
            TableState::Unused => PlanSource::Solved,
            TableState::Building => PlanSource::SolvedWhileBuilding,
            // A new task is worth nothing to any plan of the table.
            TableState::Ready(_) if trigger == Trigger::TaskSubmitted => {
                PlanSource::SolvedUnexpected
            }
            TableState::Ready(table) => match table.find(class) {
                Some(entry) => return (self.complete(entry, class), PlanSource::Table),
                None => PlanSource::SolvedUnexpected,
            },
        };
        (state.solve(class, &self.rule), source)
    }

    /// The plan of an entry, which has changes only.
    fn complete(&self, entry: &Entry, class: &Class) -> Plan {
        let mut tasks = self.assigned.clone();
        for (task, assignment) in &entry.changes {
            tasks[*task] = assignment.clone();
        }
        let hazard = hazard::of_bucket(class.hazard_bucket);
        Plan {
            objective: entry.objective,
            total_waf: entry.total_waf,
            workers: tasks.iter().map(|task| task.size.workers).sum(),
            horizon_s: self
                .situation(&self.tasks, class.workers, hazard)
                .terms(&self.rule)
                .horizon_s,
            tasks,
        }
    }

    pub(super) fn situation<'a>(
        &'a self,
        tasks: &'a [Task],
        workers: usize,
        hazard: f64,
    ) -> Situation<'a> {
        Situation { tasks, workers, hazard, cluster: &self.cluster }
    }

    /// Places a plan and makes it the present one.
    pub(super) fn carry_out(
        &mut self,
        plan: Plan,
        source: PlanSource,
        trigger: Trigger,
        class: &Class,
        hazards: &[f64],
    ) -> Reconfiguration {
        let mut tasks = std::mem::take(&mut self.tasks);
        for &(task, lost) in &class.losses {
            tasks[task].present.lost = lost;
        }
        let hazard = hazard::of_bucket(class.hazard_bucket);
        let nodes = self.nodes(hazards);
        let Placed { plan, placement, loss } =
            self.situation(&tasks, class.workers, hazard).place(plan, nodes, &self.rule);
        let moved = self.moved(&placement, tasks.len());
        let mut changes = Vec::new();
        let nodes_of = placement.by_task(tasks.len());
        for ((index, task), nodes) in tasks.iter_mut().enumerate().zip(nodes_of) {
            let (size, from) = (plan.tasks[index].size, task.present.workers);
            let mut change = Change {
                task: index,
                size,
                nodes,
                failed: task.present.lost,
                moved: moved[index],
                meanwhile_flops: task.surviving_flops(),
            };
            if size.workers == from && change.failed == 0 {
                // Plans count workers; that some go elsewhere shows in their places alone.
                match change.moved {
                    0 => continue,
                    moved => change.size.interruption = self.migration(task, moved),
                }
            }
            changes.push(change);
            let shape = size.step.and_then(|step| step.shape);
            let present = Present { workers: size.workers, shape, ..Present::default() };
            task.give(present, &self.cluster, &self.constants);
            if self.has_ended[index] {
                task.throughput = Default::default();
            }
        }
        self.tasks = tasks;
        self.placement = placement;
        self.assigned = plan.tasks.iter().map(settled).collect();
        let epoch = self.epoch;
        Reconfiguration { epoch, trigger, source, changes, plan, placement_loss: loss }
    }

    /// Workers of each task that are on other nodes than before.
    fn moved(&self, placement: &Placement, tasks: usize) -> Vec<usize> {
        let mut moved = vec![0; tasks];
        for (node, shares) in placement.nodes.iter().enumerate() {
            for &(task, workers) in shares {
                moved[task] += workers.saturating_sub(self.placement.on(node, task));
            }
        }
        moved
    }

    /// What it costs a task of the same size that some of its workers go elsewhere, alive.
    fn migration(&self, task: &Task, moved: usize) -> Interruption {
        let durations = match self.rule.transition {
            TransitionTime::Constant(stopped_s) => {
                return Interruption { overlapped_s: 0.0, stopped_s };
            }
            TransitionTime::ByChange(durations) => durations,
        };
        let shape = task.present.shape.as_ref();
        let change = duration::Change {
            training: task.training(),
            restart: task.restart,
            from: task.present.workers,
            from_shape: shape,
            lost: moved,
            from_flops: task.former_flops(),
            to: task.present.workers,
            to_shape: shape,
        };
        durations.of(&change, self.cluster.hardware())
    }
}

/// What a task has once its transition is over.
fn settled(assignment: &Assignment) -> Assignment {
    let size = Size { interruption: Interruption::default(), ..assignment.size };
    Assignment { size, ..assignment.clone() }
}

/// What a task has that was never planned for.
pub(super) fn unassigned() -> Assignment {
    Assignment {
        size: Size { workers: 0, step: None, interruption: Interruption::default(), value: 0.0 },
        waf: 0.0,
        floor: 0,
        floor_is_dropped: false,
    }
}
