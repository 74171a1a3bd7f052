//! Unicron: its core decides, as in the live system, and what it commands takes its time here.
//!
//! A failure is told to the core once it is noticed. A reattempt succeeds where the trace says SEV3, a
//! restart where it says SEV2 or SEV3; what only isolation cures goes through the levels below it where its
//! status doesn't tell. A node that is away is lost when its agent's lease runs out, or at once where its
//! last word was of a SEV1 status. A node that the core isolates and that needs no repair joins again at
//! once. The first plan costs nothing: every policy begins with all tasks running.

mod member;
mod timing;

pub use timing::DetectionTimes;

use super::allocation::{self, Strategy};
use super::ledger::Ledger;
use super::outcome::Outcome;
use super::scenario::{Happening, Scenario};
use super::timers::{System, Timers, run};
use crate::Result;
use crate::cluster::Cluster;
use crate::core::{self, Attempt, Command, Config, Core, Event};
use crate::detect::{Severity, Status};
use crate::plan::rule::TransitionTime;
use crate::plan::{Rule, Task};
use crate::trace::Failure;
use crate::transition::duration::{Change, Durations, Interruption};
use member::{Leg, Legs, Member, Trouble};

/// Unicron as it is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    /// By which rule it plans.
    pub rule: Rule,
    /// Budgets and time-outs.
    pub config: Config,
    /// When it notices what.
    pub detection: DetectionTimes,
    /// How long changes take in truth.
    pub durations: Durations,
    /// Whether it plans for all tasks together. Else every task keeps the whole nodes that it was given at
    /// the start, and recovers on them by itself.
    pub plans_together: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rule: Rule::ours(),
            config: Config::default(),
            detection: DetectionTimes::default(),
            durations: Durations::default(),
            plans_together: true,
        }
    }
}

impl Setup {
    /// Simulates it.
    ///
    /// # Errors
    /// If the cluster's hardware isn't sound.
    pub fn run(&self, scenario: &Scenario<'_>) -> Result<Outcome> {
        let mut managed = Managed::new(scenario, *self)?;
        let events = run(scenario, &mut managed);
        Ok(Outcome::new(scenario, managed.ledger.close(scenario.duration_s()), events))
    }
}

/// A core, and which of the cluster's nodes and tasks are its own. Everything outside of it counts nodes
/// and tasks by the cluster.
struct Unit {
    core: Core,
    nodes: Vec<usize>,
    tasks: Vec<usize>,
}

/// A failure of a process that isn't cured.
#[derive(Debug, Clone, Copy)]
struct Problem {
    id: u64,
    task: usize,
    node: usize,
    status: Status,
    /// What it takes.
    severity: Severity,
    is_noticed: bool,
    /// What is being tried.
    attempt: Option<(Attempt, Severity)>,
}

enum Timer {
    /// The absence of a node is noticed.
    NodeMissed { node: usize },
    /// A failure of a process is noticed.
    Noticed { problem: u64 },
    /// A reattempt or a restart ends.
    Attempted { problem: u64, epoch: u64 },
    /// The core's patience is over.
    Tick { unit: usize },
    /// A leg of the task is over.
    Leg { task: usize, generation: u64 },
    /// The task finishes the first iteration after a failure.
    Progress { task: usize, generation: u64 },
    /// The task's work is done.
    Done { task: usize, generation: u64 },
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
    problems: Vec<Problem>,
    next_problem: u64,
}

impl<'a> Managed<'a> {
    fn new(scenario: &Scenario<'a>, setup: Setup) -> Result<Self> {
        let cluster = scenario.cluster();
        let tasks: Vec<&Task> = scenario.tasks().iter().map(|task| &task.task).collect();
        let shares = match setup.plans_together {
            true => vec![((0..cluster.nodes()).collect(), (0..tasks.len()).collect())],
            false => alone(&tasks, cluster),
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
            problems: Vec::new(),
            next_problem: 0,
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

    fn tell(&mut self, now_s: f64, unit: usize, event: Event) {
        let commands = self.units[unit].core.step(now_s, event);
        self.obey(now_s, unit, commands);
    }

    fn obey(&mut self, now_s: f64, unit: usize, commands: Vec<Command>) {
        let mut answers_at_s = now_s;
        let mut isolated = Vec::new();
        for command in commands {
            match command {
                Command::Reattempt(attempt) => {
                    answers_at_s = self.attempt(now_s, unit, attempt, Severity::Sev3);
                }
                Command::Restart(attempt) => {
                    answers_at_s = self.attempt(now_s, unit, attempt, Severity::Sev2);
                }
                // Of interest only to those that answer late.
                Command::WakeAt { at_s } if at_s < answers_at_s => {
                    self.timers.at(at_s, Timer::Tick { unit });
                }
                Command::WakeAt { .. } | Command::BuildTable { .. } => {}
                Command::Isolate { node, .. } => isolated.push(self.units[unit].nodes[node]),
                Command::Reconfigure(reconfiguration) => {
                    for change in reconfiguration.changes {
                        self.change(now_s, unit, &change);
                    }
                }
                Command::Stop { task, .. } => {
                    let task = self.units[unit].tasks[task];
                    self.members[task].has_ended = true;
                    self.forget(now_s, |problem| problem.task == task);
                    self.refresh(now_s, task);
                }
            }
        }
        for node in isolated {
            self.forget(now_s, |problem| problem.node == node);
            self.missed.retain(|&missed| missed != node);
            if self.is_up[node] {
                self.join(now_s, node);
            }
        }
    }

    fn join(&mut self, now_s: f64, node: usize) {
        if let Some((unit, local)) = self.home_of_node[node] {
            let workers = self.cluster.gpus_per_node();
            self.tell(now_s, unit, Event::NodeJoined { node: local, workers });
        }
    }

    /// A cure in place begins; when it ends.
    fn attempt(&mut self, now_s: f64, unit: usize, attempt: Attempt, level: Severity) -> f64 {
        let (task, node) =
            (self.units[unit].tasks[attempt.task], self.units[unit].nodes[attempt.node]);
        let is_same = |other: Option<(Attempt, Severity)>| {
            other.is_some_and(|(other, _)| other.incident == attempt.incident)
        };
        let is_here =
            |problem: &Problem| problem.task == task && problem.node == node && problem.is_noticed;
        // One failure may have covered another on the same node: the worse of them counts.
        let severity = self.problems.iter().filter(|problem| is_here(problem));
        let severity = severity.map(|problem| problem.severity).max();
        let found = self
            .problems
            .iter()
            .position(|problem| is_here(problem) && is_same(problem.attempt))
            .or_else(|| self.problems.iter().rposition(is_here));
        let (Some(found), Some(severity)) = (found, severity) else { return now_s };
        let id = self.problems[found].id;
        self.problems.retain(|problem| !is_here(problem) || problem.id == id);
        let change = self.stay(task);
        let durations = &self.setup.durations;
        let takes_s = match level {
            Severity::Sev3 => timing::reattempt_s(durations),
            _ => {
                let bandwidth = self.cluster.hardware().inter_node_bandwidth;
                timing::restart_s(durations, &change, bandwidth)
            }
        };
        let mut ends_at_s = now_s + takes_s;
        for problem in self.problems.iter_mut().filter(|problem| problem.id == id) {
            problem.attempt = Some((attempt, level));
            problem.severity = severity;
        }
        if severity > level {
            // That it hasn't helped has to be noticed again.
            let status = self.problems.iter().find(|problem| problem.id == id);
            let status = status.map_or(Status::Other, |problem| problem.status);
            ends_at_s += self.notice_s(task, status);
        }
        let timer = Timer::Attempted { problem: id, epoch: attempt.epoch };
        self.timers.at(ends_at_s, timer);
        self.refresh(now_s, task);
        ends_at_s
    }

    /// Seconds until a failure of a task is noticed.
    fn notice_s(&self, task: usize, status: Status) -> f64 {
        let detection = &self.setup.detection;
        let step = self.members[task].step.as_ref();
        detection.of(status.method(), detection.iteration_s(self.tasks[task], step))
    }

    /// The task as it is, with one process that has failed.
    fn stay(&self, task: usize) -> Change<'_> {
        let member = &self.members[task];
        let shape = member.step.as_ref().and_then(|step| step.shape.as_ref());
        Change {
            training: self.tasks[task].training(),
            from: member.workers,
            from_shape: shape,
            lost: 1,
            from_flops: member.flops(),
            to: member.workers,
            to_shape: shape,
        }
    }

    /// A task gets other workers.
    fn change(&mut self, now_s: f64, unit: usize, change: &core::Change) {
        let Unit { core, nodes, tasks } = &self.units[unit];
        let task = tasks[change.task];
        let new_nodes: Vec<(usize, usize)> =
            change.nodes.iter().map(|&(node, workers)| (nodes[node], workers)).collect();
        let is_dead = |node: usize| match self.home_of_node[node] {
            Some((_, local)) => core.healthy()[local] == 0,
            None => true,
        };
        let member = &self.members[task];
        let dead: usize = member
            .nodes
            .iter()
            .filter(|(node, _)| is_dead(*node))
            .map(|(_, workers)| workers)
            .sum();
        let moved = moved(&member.nodes, &new_nodes);
        let workers = change.size.workers;
        let is_same = workers == member.workers && dead == 0;
        let shape = change.size.step.as_ref().and_then(|step| step.shape.as_ref());
        let now = duration_of(
            &self.setup.durations,
            self.cluster,
            &Change {
                lost: if is_same { moved } else { dead },
                to: workers,
                to_shape: shape,
                ..self.stay(task)
            },
        );
        debug_assert!(
            self.setup.rule.transition != TransitionTime::ByChange(self.setup.durations)
                || is_close(now.0, change.size.interruption),
            "the planner expects {:?}, and it takes {:?}",
            change.size.interruption,
            now.0
        );
        let trouble = self.trouble(task);
        let member = &mut self.members[task];
        member.pass(now_s, trouble);
        // What was before the task still is: it starts no sooner for being changed once more.
        let before = member.legs;
        let (Interruption { overlapped_s, stopped_s }, redone_s) = now;
        member.legs = match workers {
            0 => Legs::default(),
            _ => Legs {
                overlapped_s,
                stopped_s: (stopped_s - redone_s).max(before.stopped_s),
                redone_s: redone_s.max(before.redone_s),
            },
        };
        let survivors = member.workers.saturating_sub(dead);
        let is_training = before.stopped_s == 0.0;
        member.meanwhile = (survivors, if is_training { change.meanwhile_flops } else { 0.0 });
        member.nodes = new_nodes;
        member.workers = workers;
        member.step = change.size.step;
        self.refresh(now_s, task);
    }

    /// What keeps a task from going on.
    fn trouble(&self, task: usize) -> Option<Trouble> {
        let is_on = |node: &usize| self.members[task].nodes.iter().any(|(other, _)| other == node);
        if self.missed.iter().any(is_on) {
            return Some(Trouble::Unnoticed);
        }
        let mut own = self.problems.iter().filter(|problem| problem.task == task).peekable();
        own.peek()?;
        match own.all(|problem| problem.is_noticed) {
            true => Some(Trouble::Attempted),
            false => Some(Trouble::Unnoticed),
        }
    }

    /// Whatever has changed about a task shows from now on.
    fn refresh(&mut self, now_s: f64, task: usize) {
        let trouble = self.trouble(task);
        let is_there = |node: usize| self.is_up[node] && !self.missed.contains(&node);
        let nodes = self.members[task].nodes.iter();
        let there = nodes.filter(|(node, _)| is_there(*node)).map(|(_, workers)| workers).sum();
        let member = &mut self.members[task];
        member.pass(now_s, trouble);
        self.ledger.set(now_s, task, member.occupancy(there, trouble));
        if member.has_ended || member.step.is_none() || trouble.is_some() {
            return;
        }
        let generation = member.generation;
        match member.legs.current() {
            Some(leg) => {
                self.timers.at(now_s + leg.left_s(), Timer::Leg { task, generation });
                if !matches!(leg, Leg::Overlapped(_)) {
                    return;
                }
            }
            None if member.owes_progress => {
                let detection = &self.setup.detection;
                let step = member.step.as_ref();
                let iteration_s = detection.iteration_s(self.tasks[task], step);
                self.timers.at(now_s + iteration_s, Timer::Progress { task, generation });
            }
            None => {}
        }
        if let Some(done_at_s) = self.ledger.finishes_at_s(now_s, task) {
            self.timers.at(done_at_s, Timer::Done { task, generation });
        }
    }

    /// These problems are none any more.
    fn forget(&mut self, now_s: f64, which: impl Fn(&Problem) -> bool) {
        let gone: Vec<usize> = self.problems.iter().filter(|p| which(p)).map(|p| p.task).collect();
        self.problems.retain(|problem| !which(problem));
        for task in gone {
            self.refresh(now_s, task);
        }
    }

    fn fails(&mut self, now_s: f64, failure: &Failure, draw: f64) {
        let Some((unit, local)) = self.home_of_node[failure.node] else {
            self.is_up[failure.node] &= failure.repair_s.is_none();
            return;
        };
        let shares = &self.units[unit].core.placement().nodes[local];
        let shares: Vec<(usize, usize)> =
            shares.iter().map(|&(task, workers)| (self.units[unit].tasks[task], workers)).collect();
        let node = failure.node;
        if failure.repair_s.is_some() {
            self.node_goes(now_s, node, failure.status, &shares);
        } else if !self.missed.contains(&node) {
            let gpus = self.cluster.gpus_per_node();
            let slot = failure.gpu.unwrap_or(((draw * gpus as f64) as usize).min(gpus - 1));
            if let Some(task) = on_slot(&shares, slot) {
                self.process_fails(now_s, task, failure);
            }
        }
    }

    fn node_goes(&mut self, now_s: f64, node: usize, status: Status, shares: &[(usize, usize)]) {
        self.is_up[node] = false;
        if !self.missed.contains(&node) {
            let lease_s = self.setup.detection.node_health_s;
            let is_told = status.severity() == Some(Severity::Sev1);
            let told_s = |&(task, _): &(usize, usize)| self.notice_s(task, status);
            let noticed_s = match is_told {
                true => shares.iter().map(told_s).fold(lease_s, f64::min),
                false => lease_s,
            };
            self.missed.push(node);
            self.timers.at(now_s + noticed_s, Timer::NodeMissed { node });
        }
        for &(task, _) in shares {
            self.refresh(now_s, task);
        }
    }

    fn process_fails(&mut self, now_s: f64, task: usize, failure: &Failure) {
        let id = self.next_problem;
        self.next_problem += 1;
        self.problems.push(Problem {
            id,
            task,
            node: failure.node,
            status: failure.status,
            severity: failure.severity,
            is_noticed: false,
            attempt: None,
        });
        let noticed_s = self.notice_s(task, failure.status);
        self.timers.at(now_s + noticed_s, Timer::Noticed { problem: id });
        self.refresh(now_s, task);
    }

    fn is_noticed(&mut self, now_s: f64, id: u64) -> bool {
        let Some(problem) = self.problems.iter_mut().find(|problem| problem.id == id) else {
            return false;
        };
        problem.is_noticed = true;
        let Problem { task, node, status, severity, .. } = *problem;
        let (Some((unit, local_task)), Some((_, local_node))) =
            (self.home_of_task[task], self.home_of_node[node])
        else {
            return false;
        };
        self.members[task].owes_progress = true;
        let failed = Event::Failed { task: local_task, node: local_node, status };
        let commands = self.units[unit].core.step(now_s, failed);
        let is_attempt =
            |command: &Command| matches!(command, Command::Reattempt(_) | Command::Restart(_));
        if !commands.iter().any(is_attempt) {
            // Nothing is done about it: it is covered by what is being tried on that node, or the node or
            // the task is given up.
            self.problems.retain(|problem| problem.id != id);
            for other in self.problems.iter_mut().filter(|p| p.task == task && p.node == node) {
                other.severity = other.severity.max(severity);
            }
        }
        self.obey(now_s, unit, commands);
        self.refresh(now_s, task);
        true
    }

    fn is_attempted(&mut self, now_s: f64, id: u64, epoch: u64) -> bool {
        let Some(problem) = self.problems.iter().find(|problem| problem.id == id).copied() else {
            return false;
        };
        let Some((attempt, level)) = problem.attempt.filter(|(attempt, _)| attempt.epoch == epoch)
        else {
            return false;
        };
        let Some((unit, _)) = self.home_of_task[problem.task] else { return false };
        let succeeded = problem.severity <= level;
        if succeeded {
            self.problems.retain(|problem| problem.id != id);
            if level > Severity::Sev3 {
                let redone_s = Durations::redone_s(&self.stay(problem.task));
                let legs = &mut self.members[problem.task].legs;
                legs.redone_s = legs.redone_s.max(redone_s);
            }
        }
        self.tell(now_s, unit, Event::Attempted { incident: attempt.incident, succeeded });
        self.refresh(now_s, problem.task);
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
        let is_current = |members: &[Member], task: usize, generation: u64| {
            members[task].generation == generation && !members[task].has_ended
        };
        match timer {
            Timer::NodeMissed { node } => {
                let Some((unit, local)) = self.home_of_node[node] else { return false };
                if !self.missed.contains(&node) {
                    return false;
                }
                self.tell(now_s, unit, Event::NodeLost { node: local });
            }
            Timer::Noticed { problem } => return self.is_noticed(now_s, problem),
            Timer::Attempted { problem, epoch } => return self.is_attempted(now_s, problem, epoch),
            Timer::Tick { unit } => self.tell(now_s, unit, Event::Ticked),
            Timer::Leg { task, generation } => {
                if !is_current(&self.members, task, generation) {
                    return false;
                }
                self.refresh(now_s, task);
            }
            Timer::Progress { task, generation } => {
                if !is_current(&self.members, task, generation) {
                    return false;
                }
                self.members[task].owes_progress = false;
                if let Some((unit, local)) = self.home_of_task[task] {
                    self.tell(now_s, unit, Event::Progressed { task: local });
                }
            }
            Timer::Done { task, generation } => {
                if !is_current(&self.members, task, generation) {
                    return false;
                }
                self.members[task].has_ended = true;
                self.ledger.finish(now_s, task);
                if let Some((unit, local)) = self.home_of_task[task] {
                    self.tell(now_s, unit, Event::TaskEnded { task: local });
                }
            }
        }
        true
    }
}

/// What a change takes, and the part of the standstill in which work is done again.
fn duration_of(
    durations: &Durations,
    cluster: &Cluster,
    change: &Change<'_>,
) -> (Interruption, f64) {
    let interruption = durations.of(change, cluster.hardware());
    (interruption, Durations::redone_s(change).min(interruption.stopped_s))
}

/// Whether two interruptions are the same but for rounding.
fn is_close(left: Interruption, right: Interruption) -> bool {
    let is_close = |left: f64, right: f64| (left - right).abs() <= 1e-6 * left.abs().max(1.0);
    is_close(left.overlapped_s, right.overlapped_s) && is_close(left.stopped_s, right.stopped_s)
}

/// Every task with the whole nodes that the plan would give it.
fn alone(tasks: &[&Task], cluster: &Cluster) -> Vec<(Vec<usize>, Vec<usize>)> {
    let waf = |task: usize, nodes: usize| {
        let workers = nodes * cluster.gpus_per_node();
        let task = tasks[task];
        if workers < task.min_workers { 0.0 } else { task.waf(task.throughput.at(workers)) }
    };
    let shares = allocation::whole_nodes(Strategy::Plan, tasks, cluster.nodes(), waf);
    allocation::deal(&shares).map(|(task, nodes)| (nodes, vec![task])).collect()
}

/// Workers that are on other nodes than before.
fn moved(before: &[(usize, usize)], after: &[(usize, usize)]) -> usize {
    let had = |node: usize| before.iter().find(|(other, _)| *other == node).map_or(0, |had| had.1);
    after.iter().map(|&(node, workers)| workers.saturating_sub(had(node))).sum()
}

/// Whose process is on a GPU of a node, tasks in the order of their shares.
fn on_slot(shares: &[(usize, usize)], slot: usize) -> Option<usize> {
    let mut end = 0;
    shares.iter().find_map(|&(task, workers)| {
        end += workers;
        (slot < end).then_some(task)
    })
}
