//! Unicron: its core decides, as in the live system, and what it commands takes its time here.
//!
//! A failure is told to the core once it is noticed. A reattempt succeeds where the trace says SEV3, a
//! restart where it says SEV2 or SEV3; what only isolation cures goes through the levels below it where its
//! status doesn't tell. A node that is away is lost when its agent's lease runs out, or at once where its
//! last word was of a SEV1 status. A node that the core isolates and that needs no repair joins again at
//! once. The first plan costs nothing: every policy begins with all tasks running.

mod changes;
mod commands;
mod failures;
mod member;
mod problem;
mod setup;
mod timing;
mod unit;

pub use setup::Setup;
pub use timing::DetectionTimes;

use super::ledger::Ledger;
use super::scenario::{Happening, Scenario};
use super::timers::{System, Timers};
use crate::Result;
use crate::cluster::Cluster;
use crate::core::{Core, Event};
use crate::plan::Task;
use member::{Legs, Member};
use problem::Problems;
use unit::Unit;

enum Timer {
    /// The absence of a node is noticed.
    NodeMissed { node: usize },
    /// A failure of a process is noticed.
    Noticed { problem: u64 },
    /// A reattempt or a restart ends.
    Attempted { problem: u64, epoch: u64 },
    /// The core's patience is over.
    Tick { unit: usize },
    /// A task gets somewhere, if nothing has happened to it since.
    Reached { milestone: Milestone, task: usize, generation: u64 },
}

/// What a task gets to.
#[derive(Debug, Clone, Copy)]
enum Milestone {
    /// A leg is over.
    Leg,
    /// The first iteration after a failure is finished.
    Progress,
    /// The work is done.
    Done,
}

struct Managed<'a> {
    setup: Setup,
    cluster: &'a Cluster,
    tasks: Vec<&'a Task>,
    ledger: Ledger,
    timers: Timers<Timer>,
    units: Vec<Unit>,
    /// By node and by task: its unit, and its number there.
    home_of_node: Vec<Option<(usize, usize)>>,
    home_of_task: Vec<Option<(usize, usize)>>,
    members: Vec<Member>,
    is_up: Vec<bool>,
    /// Nodes whose absence isn't noticed yet; some may be back.
    missed: Vec<usize>,
    problems: Problems,
}

impl<'a> Managed<'a> {
    fn new(scenario: &Scenario<'a>, setup: Setup) -> Result<Self> {
        let cluster = scenario.cluster();
        let tasks: Vec<&Task> = scenario.tasks().iter().map(|task| &task.task).collect();
        let shares = match setup.plans_together {
            true => vec![((0..cluster.nodes()).collect(), (0..tasks.len()).collect())],
            false => unit::alone(&tasks, cluster),
        };
        let mut managed = Self {
            setup,
            cluster,
            ledger: scenario.ledger(),
            timers: Timers::new(),
            units: Vec::new(),
            home_of_node: vec![None; cluster.nodes()],
            home_of_task: vec![None; tasks.len()],
            members: vec![Member::default(); tasks.len()],
            is_up: vec![true; cluster.nodes()],
            missed: Vec::new(),
            problems: Problems::default(),
            tasks,
        };
        for (nodes, tasks) in shares {
            managed.found(nodes, tasks)?;
        }
        for task in 0..managed.tasks.len() {
            managed.refresh(0.0, task);
        }
        Ok(managed)
    }

    /// A core of its own for these nodes and tasks, which begin at once.
    fn found(&mut self, nodes: Vec<usize>, tasks: Vec<usize>) -> Result<()> {
        let is_whole = nodes.len() == self.cluster.nodes();
        let cluster = match is_whole {
            true => self.cluster.clone(),
            false => {
                Cluster::new(nodes.len(), self.cluster.gpus_per_node(), *self.cluster.hardware())?
            }
        };
        let unit = self.units.len();
        for (local, &node) in nodes.iter().enumerate() {
            self.home_of_node[node] = Some((unit, local));
        }
        for (local, &task) in tasks.iter().enumerate() {
            self.home_of_task[task] = Some((unit, local));
        }
        let mut core = Core::new(cluster, self.setup.rule, self.setup.config, 0.0);
        let fresh =
            |&task: &usize| Task { present: Default::default(), ..self.tasks[task].clone() };
        let commands = core.start(0.0, tasks.iter().map(fresh).collect());
        self.units.push(Unit { core, nodes, tasks });
        self.obey(0.0, unit, commands);
        for &task in &self.units[unit].tasks {
            self.members[task].legs = Legs::default();
        }
        Ok(())
    }

    /// A task gets somewhere; whether it is still on the way that led there.
    fn reaches(&mut self, now_s: f64, milestone: Milestone, task: usize, generation: u64) -> bool {
        let member = &mut self.members[task];
        if member.generation != generation || member.has_ended {
            return false;
        }
        let event = match milestone {
            Milestone::Leg => {
                self.refresh(now_s, task);
                return true;
            }
            Milestone::Progress => {
                member.owes_progress = false;
                |task| Event::Progressed { task }
            }
            Milestone::Done => {
                member.has_ended = true;
                self.ledger.finish(now_s, task);
                |task| Event::TaskEnded { task }
            }
        };
        if let Some((unit, local)) = self.home_of_task[task] {
            self.tell(now_s, unit, event(local));
        }
        true
    }
}

impl System for Managed<'_> {
    type Timer = Timer;

    fn timers(&mut self) -> &mut Timers<Timer> {
        &mut self.timers
    }

    fn happens(&mut self, now_s: f64, happening: &Happening<'_>) {
        match *happening {
            Happening::Failure { failure, draw } => self.fails(now_s, failure, draw),
            Happening::NodeBack { node, .. } => {
                self.is_up[node] = true;
                // Whose absence nobody has noticed joins once somebody has.
                if !self.missed.contains(&node) {
                    self.join(now_s, node);
                }
            }
        }
    }

    fn wakes(&mut self, now_s: f64, timer: Timer) -> bool {
        match timer {
            Timer::NodeMissed { node } => self.is_missed(now_s, node),
            Timer::Noticed { problem } => self.is_noticed(now_s, problem),
            Timer::Attempted { problem, epoch } => self.is_attempted(now_s, problem, epoch),
            Timer::Tick { unit } => {
                self.tell(now_s, unit, Event::Ticked);
                true
            }
            Timer::Reached { milestone, task, generation } => {
                self.reaches(now_s, milestone, task, generation)
            }
        }
    }
}
