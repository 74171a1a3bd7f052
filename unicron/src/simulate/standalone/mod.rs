//! Policies for a single job, each job by itself on the nodes that it was given at the start.
//!
//! All rivals meet the same mechanics. Jobs have whole nodes; by default those that are expected to give
//! most WAF at the rival's own throughput, by an operator who knows how much of their time nodes are away:
//! a job that waits for each of its nodes should be small. Spare nodes are taken out at the start, and nodes that no job can use are spares
//! as well. A spare takes over when a node is lost. A repaired node goes to the job that has lacked one
//! longest, else it is a spare. A job joins a node only if that makes it faster.

mod job;

use super::allocation::{Strategy, deal, whole_nodes};
use super::ledger::Ledger;
use super::outcome::Outcome;
use super::rival::{Blow, Disruption, Job, Rival, Symptom};
use super::scenario::{Happening, Scenario};
use super::timers::{System, Timers, run};
use crate::plan::Task;
use crate::trace::Failure;
use crate::{Error, Result};
use job::{JobState, Phase};

/// Simulates a rival that keeps so many spare nodes.
///
/// # Errors
/// If there are no nodes beside the spares.
pub fn run_rival(
    scenario: &Scenario<'_>,
    rival: &dyn Rival,
    spares: usize,
    strategy: Strategy,
) -> Result<Outcome> {
    let mut standalone = Standalone::new(scenario, rival, spares, strategy)?;
    let events = run(scenario, &mut standalone);
    Ok(Outcome::new(scenario, standalone.ledger.close(scenario.duration_s()), events))
}

/// What a rival achieves with this task on so many nodes when all is well, in weighted FLOP/s.
#[must_use]
pub fn steady_waf(scenario: &Scenario<'_>, rival: &dyn Rival, task: &Task, nodes: usize) -> f64 {
    let job = job_of(scenario, task, nodes);
    if job.workers < task.min_workers { 0.0 } else { task.waf(rival.flops(&job, job.workers)) }
}

/// What is expected of a job whose nodes are each missing for this part of the time: all it can do where it
/// goes on with one less, about; what it does while all are there where it doesn't.
fn expected_waf(
    scenario: &Scenario<'_>,
    rival: &dyn Rival,
    task: &Task,
    nodes: usize,
    missing: f64,
) -> f64 {
    let waf = steady_waf(scenario, rival, task, nodes);
    let job = job_of(scenario, task, nodes);
    let less = job.workers.saturating_sub(job.gpus_per_node);
    let goes_on = less > 0 && less >= task.min_workers && rival.flops(&job, less) > 0.0;
    if goes_on { waf } else { waf * (1.0 - missing).powi(nodes as i32) }
}

/// How many nodes are missing on average beside spares, where those that are away are Poisson distributed.
fn missing_beside(away: f64, spares: usize) -> f64 {
    let (mut probability, mut missing) = ((-away).exp(), away);
    // E (N - s)+ = E N - sum over n < s of P(N > n).
    let mut above = 1.0;
    for n in 0..spares {
        above -= probability;
        missing -= above;
        probability *= away / (n + 1) as f64;
    }
    missing.max(0.0)
}

pub(super) fn job_of(scenario: &Scenario<'_>, task: &Task, nodes: usize) -> Job {
    let cluster = scenario.cluster();
    Job {
        model: task.model.clone(),
        throughput: task.throughput.clone(),
        workers: nodes * cluster.gpus_per_node(),
        hardware: *cluster.hardware(),
        gpus_per_node: cluster.gpus_per_node(),
    }
}

enum Timer {
    /// A phase of the job is over.
    Phase { task: usize, generation: u64 },
    /// Its work is done.
    Done { task: usize, generation: u64 },
}

struct Standalone<'a> {
    rival: &'a dyn Rival,
    ledger: Ledger,
    timers: Timers<Timer>,
    /// By task.
    jobs: Vec<JobState>,
    min_workers: Vec<usize>,
    /// By node, whose it is.
    owner: Vec<Option<usize>>,
    /// Nodes that are there and that nobody has.
    spares: Vec<usize>,
}

impl<'a> Standalone<'a> {
    fn new(
        scenario: &Scenario<'a>,
        rival: &'a dyn Rival,
        spares: usize,
        strategy: Strategy,
    ) -> Result<Self> {
        let nodes = scenario.cluster().nodes();
        let Some(used) = nodes.checked_sub(spares).filter(|used| *used > 0) else {
            let problem = format!("{spares} of {nodes} nodes leave none to train on");
            return Err(Error::Setting { setting: "spares".into(), problem });
        };
        let tasks: Vec<&Task> = scenario.tasks().iter().map(|task| &task.task).collect();
        let missing =
            missing_beside(scenario.node_time_lost() * nodes as f64, spares) / nodes as f64;
        let waf =
            |task: usize, nodes: usize| expected_waf(scenario, rival, tasks[task], nodes, missing);
        let shares = whole_nodes(strategy, &tasks, used, waf);
        let mut owner = vec![None; nodes];
        let mut jobs: Vec<JobState> =
            tasks.iter().map(|task| JobState::new(job_of(scenario, task, 0), Vec::new())).collect();
        for (task, nodes) in deal(&shares) {
            nodes.iter().for_each(|&node| owner[node] = Some(task));
            jobs[task] = JobState::new(job_of(scenario, tasks[task], nodes.len()), nodes);
        }
        let mut standalone = Self {
            rival,
            ledger: scenario.ledger(),
            timers: Timers::new(),
            jobs,
            min_workers: tasks.iter().map(|task| task.min_workers).collect(),
            spares: (0..nodes).filter(|&node| owner[node].is_none()).collect(),
            owner,
        };
        for task in 0..standalone.jobs.len() {
            let flops = standalone.flops(task);
            standalone.jobs[task].train(flops);
            standalone.refresh(0.0, task);
        }
        Ok(standalone)
    }

    /// FLOP/s of a job on the nodes that it has.
    fn flops(&self, task: usize) -> f64 {
        let state = &self.jobs[task];
        let healthy = state.healthy();
        if healthy == 0 || healthy < self.min_workers[task] {
            return 0.0;
        }
        self.rival.flops(&state.job, healthy)
    }

    /// Whatever has changed about a job shows from now on.
    fn refresh(&mut self, now_s: f64, task: usize) {
        let state = &mut self.jobs[task];
        state.pass(now_s);
        let generation = state.generation;
        self.ledger.set(now_s, task, state.occupancy());
        if let Some(ends_s) = state.phase_ends_s(now_s) {
            self.timers.at(ends_s, Timer::Phase { task, generation });
        } else if let Some(done_s) = self.ledger.finishes_at_s(now_s, task) {
            self.timers.at(done_s, Timer::Done { task, generation });
        }
    }

    fn fails(&mut self, now_s: f64, failure: &Failure, draw: f64) {
        let node = failure.node;
        let is_away = failure.repair_s.is_some();
        let Some(task) = self.owner[node] else {
            if is_away {
                self.spares.retain(|&spare| spare != node);
            }
            return;
        };
        self.jobs[task].pass(now_s);
        if is_away {
            self.loses(now_s, task, node);
        }
        let state = &mut self.jobs[task];
        let blow = Blow {
            symptom: Symptom::of(failure.status),
            healthy: state.healthy(),
            trained_s: state.trained_s(),
            draw,
        };
        let disruption = match is_away {
            true => self.rival.node_lost(&state.job, &blow),
            false => self.rival.process_failed(&state.job, &blow),
        };
        state.disrupt(now_s, disruption);
        self.refresh(now_s, task);
    }

    /// A node leaves a job; a spare takes over if there is one.
    fn loses(&mut self, now_s: f64, task: usize, node: usize) {
        self.owner[node] = None;
        let state = &mut self.jobs[task];
        let has_lacked = state.lacks_nodes();
        state.nodes.retain(|&other| other != node);
        if self.spares.is_empty() {
            if !has_lacked {
                state.lacks_since_s = now_s;
            }
            return;
        }
        let spare = self.spares.remove(0);
        self.owner[spare] = Some(task);
        state.nodes.push(spare);
    }

    /// A node is there that nobody has.
    fn gains(&mut self, now_s: f64, node: usize) {
        let lacking = (0..self.jobs.len()).filter(|&task| self.jobs[task].lacks_nodes());
        let longest = lacking.min_by(|&left, &right| {
            self.jobs[left].lacks_since_s.total_cmp(&self.jobs[right].lacks_since_s)
        });
        let Some(task) = longest else {
            self.spares.push(node);
            return;
        };
        self.owner[node] = Some(task);
        self.jobs[task].pass(now_s);
        self.jobs[task].nodes.push(node);
        let flops = self.flops(task);
        match self.jobs[task].phase {
            Phase::Training if flops > self.jobs[task].flops => self.joins(now_s, task, flops),
            Phase::Waiting if flops > 0.0 => self.starts(now_s, task, flops),
            // It is part of the recovery that is under way, or of no use yet.
            _ => {}
        }
        self.refresh(now_s, task);
    }

    /// A job that trains takes a node in.
    fn joins(&mut self, now_s: f64, task: usize, flops: f64) {
        let state = &mut self.jobs[task];
        let disruption = self.rival.node_joined(&state.job, state.healthy(), true);
        match disruption == Disruption::default() {
            true => state.train(flops),
            false => state.disrupt(now_s, disruption),
        }
    }

    /// A job that waited has enough nodes. What it lost is known from when it failed.
    fn starts(&mut self, now_s: f64, task: usize, flops: f64) {
        let state = &mut self.jobs[task];
        let Disruption { detection_s, stopped_s, .. } =
            self.rival.node_joined(&state.job, state.healthy(), false);
        let takes_s = detection_s + stopped_s;
        match takes_s > 0.0 {
            true => state.phase = Phase::Stopped { until_s: now_s + takes_s },
            false => state.train(flops),
        }
    }

    fn ends(&mut self, now_s: f64, task: usize) {
        let state = &mut self.jobs[task];
        state.phase = Phase::Ended;
        let nodes = std::mem::take(&mut state.nodes);
        self.ledger.finish(now_s, task);
        for node in nodes {
            self.owner[node] = None;
            self.gains(now_s, node);
        }
    }
}

impl System for Standalone<'_> {
    type Timer = Timer;

    fn timers(&mut self) -> &mut Timers<Timer> {
        &mut self.timers
    }

    fn happens(&mut self, now_s: f64, happening: &Happening<'_>) {
        match *happening {
            Happening::Failure { failure, draw } => self.fails(now_s, failure, draw),
            Happening::NodeBack { node, .. } => self.gains(now_s, node),
        }
    }

    fn wakes(&mut self, now_s: f64, timer: Timer) -> bool {
        let (Timer::Phase { task, generation } | Timer::Done { task, generation }) = timer;
        if self.jobs[task].generation != generation {
            return false;
        }
        self.jobs[task].pass(now_s);
        let flops = self.flops(task);
        let state = &mut self.jobs[task];
        match (timer, state.phase) {
            (Timer::Done { .. }, _) => self.ends(now_s, task),
            (_, Phase::Detecting { stopped_s, .. }) if flops > 0.0 && stopped_s > 0.0 => {
                state.phase = Phase::Stopped { until_s: now_s + stopped_s };
            }
            (_, Phase::Detecting { .. } | Phase::Stopped { .. }) => state.train(flops),
            // It has caught up with what it lost.
            (_, Phase::Training | Phase::Waiting | Phase::Ended) => {}
        }
        self.refresh(now_s, task);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::missing_beside;

    #[test]
    fn spares_stand_in_for_the_first_that_are_away() {
        assert_eq!(missing_beside(0.7, 0), 0.7);
        // One is enough but for two at once: E N - P(N > 0).
        assert!((missing_beside(0.7, 1) - (0.7 - (1.0 - (-0.7_f64).exp()))).abs() < 1e-12);
        let two = missing_beside(0.7, 2);
        let more: f64 = (3..30)
            .map(|n| {
                let factorial: f64 = (1..=n).map(f64::from).product();
                (f64::from(n) - 2.0) * (-0.7_f64).exp() * 0.7_f64.powi(n) / factorial
            })
            .sum();
        assert!((two - more).abs() < 1e-12, "{two} {more}");
    }
}
