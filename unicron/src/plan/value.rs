//! What each size of a task is worth: `G(t, x')` of the paper (section 5), or ours.
//!
//! The paper's is the new WAF for as long as the plan is expected to hold, less the old WAF for as long as
//! the transition takes, if there is one:
//!
//! `G = F(x') · D_running − 1 · F(x) · D_transition`
//!
//! Ours is what the task is expected to compute: the old WAF while newcomers get ready (`C` seconds), nothing
//! while the task stands still (`S`), the new WAF after that, until a random time of mean `D_t`:
//!
//! `G = D/D_t · (F(x) · D_t (1 − e^(−C/D_t)) + F(x') · D_t e^(−(C+S)/D_t))`
//!
//! It is the paper's where nothing overlaps and `S` is short, never negative, and charges a transition for
//! the WAF that is really lost.
//!
//! `D_t` is when one of the task's own workers is expected to fail, `D n'/x'`. A failure elsewhere ends the
//! plan, but the next plan begins with what this one has made of the task, so that a transition pays off for
//! as long as the task itself is left alone. With `D` in its place, a large cluster in which something fails
//! every few minutes would never start a task that takes as long to read its state.

use super::knapsack::Choice;
use super::rule::{Charge, Rule, TransitionTime};
use super::task::Task;
use crate::cluster::Cluster;
use crate::throughput::Step;
use crate::transition::duration::{Change, Interruption, Restart, Training};

/// A size that a task may get, and what that is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Workers that it takes.
    pub workers: usize,
    /// What they achieve and how they are arranged; `None` without workers.
    pub step: Option<Step>,
    /// What getting there costs in time.
    pub interruption: Interruption,
    /// `G(t, x')`.
    pub value: f64,
}

impl Size {
    /// For the solver.
    #[must_use]
    pub fn choice(&self) -> Choice {
        Choice { workers: self.workers, value: self.value }
    }

    /// FLOP/s of this size.
    #[must_use]
    pub fn flops(&self) -> f64 {
        self.step.map_or(0.0, |step| step.flops)
    }
}

/// What is the same for all tasks of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The nodes, their GPUs and their links.
    pub cluster: &'a Cluster,
    /// `D_running` in seconds.
    pub horizon_s: f64,
    /// The same of one worker, if a transition is paid off by what its own task's workers are expected to
    /// do, and not by those of all.
    pub worker_horizon_s: Option<f64>,
}

/// What is the same for all sizes of a task.
struct Before {
    training: Option<Training>,
    restart: Option<Restart>,
    former_flops: f64,
    surviving_flops: f64,
}

impl Before {
    fn of(task: &Task) -> Self {
        Self {
            training: task.training(),
            restart: task.restart,
            former_flops: task.former_flops(),
            surviving_flops: task.surviving_flops(),
        }
    }
}

impl Terms<'_> {
    /// The sizes that can be part of an optimal plan, at most `capacity`, at least `floor`: the steps of
    /// the throughput, those of the present arrangement, and the present size. By workers.
    #[must_use]
    pub fn sizes(&self, task: &Task, floor: usize, capacity: usize) -> Vec<Size> {
        let unit = task.unit(self.cluster);
        let before = Before::of(task);
        let steps = task.throughput.steps().iter().chain(&task.present.replicas);
        let mut sizes: Vec<Size> = steps
            .filter_map(|step| {
                // A step below the floor is reached with workers that idle.
                let workers = step.workers.max(task.min_workers).max(floor).next_multiple_of(unit);
                (workers <= capacity).then(|| self.size(task, &before, workers, Some(*step)))
            })
            .collect();
        let present = task.present.workers;
        let is_allowed = present >= floor.max(task.min_workers) && present <= capacity;
        if present > 0 && is_allowed && present.is_multiple_of(unit) {
            let step = task.throughput.step_at(present).copied();
            let arranged = task.present.replicas.iter().rev().find(|step| step.workers <= present);
            sizes.extend(step.map(|step| self.size(task, &before, present, Some(step))));
            sizes.extend(arranged.map(|step| self.size(task, &before, present, Some(*step))));
        }
        if floor == 0 {
            sizes.push(self.none(task));
        }
        sizes.sort_by_key(|size| size.workers);
        sizes
    }

    /// No workers.
    #[must_use]
    pub fn none(&self, task: &Task) -> Size {
        self.size(task, &Before::of(task), 0, None)
    }

    fn size(&self, task: &Task, before: &Before, workers: usize, step: Option<Step>) -> Size {
        let present = &task.present;
        let change = Change {
            training: before.training,
            restart: before.restart,
            from: present.workers,
            from_shape: present.shape.as_ref(),
            lost: present.lost,
            from_flops: before.former_flops,
            to: workers,
            to_shape: step.as_ref().and_then(|step| step.shape.as_ref()),
        };
        let is_changed = present.lost > 0 || workers != present.workers;
        let interruption = match self.rule.transition {
            TransitionTime::Constant(stopped_s) if is_changed => {
                Interruption { overlapped_s: 0.0, stopped_s }
            }
            TransitionTime::Constant(_) => Interruption::default(),
            TransitionTime::ByChange(durations) => durations.of(&change, self.cluster.hardware()),
        };
        let after = task.waf(step.map_or(0.0, |step| step.flops));
        let value = self.value(task, before, (workers, after), interruption);
        Size { workers, step, interruption, value }
    }

    /// The time in which a transition to so many workers has to pay off.
    fn payoff_s(&self, workers: usize) -> f64 {
        self.worker_horizon_s.map_or(self.horizon_s, |seconds| seconds / workers.max(1) as f64)
    }

    /// Of getting to so many workers and their WAF.
    fn value(
        &self,
        task: &Task,
        before: &Before,
        (workers, after): (usize, f64),
        interruption: Interruption,
    ) -> f64 {
        let (horizon_s, payoff_s) = (self.horizon_s, self.payoff_s(workers));
        // A task that hasn't failed is moved only for more than it costs.
        let reluctance = if task.present.lost > 0 { 1.0 } else { 1.0 + self.rule.hysteresis };
        let Interruption { overlapped_s, stopped_s } = interruption;
        let stopped_s = reluctance * stopped_s;
        match self.rule.charge {
            Charge::FormerWaf => {
                let before = task.waf(before.former_flops);
                after * horizon_s - before * (overlapped_s + stopped_s) * (horizon_s / payoff_s)
            }
            Charge::Standstill => {
                let before = task.waf(before.surviving_flops);
                let overlapped = -(-overlapped_s / payoff_s).exp_m1();
                let left = (-(overlapped_s + stopped_s) / payoff_s).exp();
                horizon_s * (before * overlapped + after * left)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::solve::Situation;
    use super::super::task::{Present, Unit};
    use super::super::testing::task_of;
    use super::*;
    use crate::throughput::Throughput;

    const HORIZON_S: f64 = 10_000.0;

    fn sizes(rule: &Rule, task: &Task, floor: usize) -> Vec<Size> {
        let cluster = Cluster::paper();
        let terms = Terms { rule, cluster: &cluster, horizon_s: HORIZON_S, worker_horizon_s: None };
        terms.sizes(task, floor, 32)
    }

    fn value(rule: &Rule, task: &Task, workers: usize) -> f64 {
        let of_size = sizes(rule, task, 0).into_iter().filter(|size| size.workers == workers);
        of_size.map(|size| size.value).fold(f64::NEG_INFINITY, f64::max)
    }

    /// 1, 1.9 and 2.7 FLOP/s on 8, 16 and 24 workers, weight 2.
    fn task(workers: usize, lost: usize) -> Task {
        let throughput = Throughput::measured(&[(8, 1.0), (16, 1.9), (24, 2.7)]).unwrap();
        Task { weight: 2.0, ..task_of(throughput, Present { workers, lost, ..Present::default() }) }
    }

    #[test]
    fn the_papers_value_is_reward_less_penalty() {
        let rule = Rule { transition: TransitionTime::Constant(60.0), ..Rule::paper() };
        assert_eq!(value(&rule, &task(16, 0), 24), 2.0 * (2.7 * HORIZON_S - 1.9 * 60.0));
        assert_eq!(value(&rule, &task(16, 0), 16), 2.0 * 1.9 * HORIZON_S);
        // A failed worker costs the transition whatever the task gets: nothing, too.
        assert_eq!(value(&rule, &task(16, 8), 16), 2.0 * (1.9 * HORIZON_S - 1.9 * 60.0));
        assert_eq!(value(&rule, &task(16, 8), 0), -2.0 * 1.9 * 60.0);
        assert_eq!(value(&rule, &task(0, 0), 8), 2.0 * HORIZON_S);
    }

    #[test]
    fn ours_is_the_papers_where_the_standstill_is_short() {
        let ours = Rule { hysteresis: 0.0, ..Rule::ours() };
        let stopped_s = 10.0; // A rebuild, and nothing is known to move.
        let stopped_s = stopped_s + 5.0;
        let expected = 2.0 * (2.7 * HORIZON_S - 2.7 * stopped_s);
        let error = value(&ours, &task(16, 8), 24) / expected - 1.0;
        assert!(error.abs() < 0.003, "{error}");
    }

    #[test]
    fn a_transition_pays_off_until_its_own_task_fails() {
        // Something fails every 100 s in a cluster of 10,000 workers, but in 1,000 s in this task's 1,000.
        let cluster = Cluster::new(1250, 8, *Cluster::paper().hardware()).unwrap();
        let throughput = Throughput::measured(&[(1000, 1.0)]).unwrap();
        let idle = task_of(throughput, Present::default());
        let (workers, hazard) = (10_000, 0.01);
        let (tasks, cluster) = (std::slice::from_ref(&idle), &cluster);
        let situation = Situation { tasks, workers, hazard, cluster };
        let ours = Rule::ours();
        let start = situation.terms(&ours).sizes(&idle, 1, 1000)[0];
        let stopped_s = start.interruption.stopped_s * (1.0 + ours.hysteresis);
        assert!(stopped_s > 50.0, "{stopped_s}");
        assert!((start.value / (100.0 * (-stopped_s / 1000.0).exp()) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn fewer_than_necessary_are_worth_nothing_and_are_no_choice() {
        let needy = Task { min_workers: 12, ..task(0, 0) };
        let workers: Vec<usize> =
            sizes(&Rule::paper(), &needy, 0).iter().map(|size| size.workers).collect();
        assert_eq!(workers, [0, 12, 16, 24]);
        assert_eq!(value(&Rule::paper(), &needy, 12), 2.0 * HORIZON_S);
        assert_eq!(needy.smallest(), Some(12));
    }

    #[test]
    fn a_floor_leaves_nothing_below_it() {
        let above = sizes(&Rule::ours(), &task(0, 0), 20);
        assert!(above.iter().all(|size| size.workers >= 20), "{above:?}");
        let whole = Task { unit: Unit::Node, ..task(0, 0) };
        assert_eq!(sizes(&Rule::ours(), &whole, 9)[0].workers, 16);
    }

    #[test]
    fn nobody_moves_for_next_to_nothing() {
        // 0.18 % more for a standstill of 15 s in 10,000, half as much again with reluctance.
        let throughput = Throughput::measured(&[(8, 1.0), (9, 1.0018)]).unwrap();
        let task = task_of(throughput, Present { workers: 8, ..Present::default() });
        let eager = Rule { hysteresis: 0.0, ..Rule::ours() };
        let gains = |rule: &Rule| value(rule, &task, 9) > value(rule, &task, 8);
        assert!(gains(&eager) && !gains(&Rule::ours()));
    }
}
