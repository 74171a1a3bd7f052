//! Why a plan gives a task what it gives: computed when somebody asks.

use super::rule::Rule;
use super::solve::{Plan, Situation};
use super::value::Size;
use rayon::prelude::*;
use std::fmt::Write;

/// A task's share, and what the best plan with another one would be.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Workers of now, failed ones included.
    pub from: usize,
    /// Workers of the plan.
    pub to: usize,
    /// Seconds that the task stands still for it.
    pub stopped_s: f64,
    /// WAF that the task gains; negative if it loses.
    pub waf_gained: f64,
    /// The best plan that gives it another number of workers.
    pub runner_up: Option<RunnerUp>,
}

/// The next best plan for a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunnerUp {
    /// Workers that the task would have.
    pub workers: usize,
    /// By what part the objective would be less.
    pub loss: f64,
}

/// The reason for every task's share in a plan that was made for this situation by this rule. Takes a
/// solve a task, on all threads.
#[must_use]
pub fn explain(situation: &Situation<'_>, rule: &Rule, plan: &Plan) -> Vec<Reason> {
    let (terms, floors) = (situation.terms(rule), situation.floors(rule));
    let sizes = situation.sizes(&terms, &floors);
    let reason = |index: usize| {
        let (task, assignment) = (&situation.tasks[index], &plan.tasks[index]);
        let to = assignment.size.workers;
        let others: Vec<Size> =
            sizes[index].iter().filter(|size| size.workers != to).copied().collect();
        let mut choices: Vec<&[Size]> = sizes.iter().map(Vec::as_slice).collect();
        choices[index] = &others;
        let other = situation.solve(&terms, &choices, &floors);
        let runner_up = other.map(|other| RunnerUp {
            workers: other.tasks[index].size.workers,
            loss: (plan.objective - other.objective) / plan.objective.abs().max(f64::MIN_POSITIVE),
        });
        Reason {
            from: task.present.workers,
            to,
            stopped_s: assignment.size.interruption.stopped_s,
            waf_gained: assignment.waf - task.waf(task.former_flops()),
            runner_up,
        }
    };
    (0..plan.tasks.len()).into_par_iter().map(reason).collect()
}

impl Reason {
    /// In words, for a person.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = match (self.from, self.to) {
            (0, 0) => "gets none".to_owned(),
            (from, 0) => format!("gives up its {from}"),
            (0, to) => format!("starts on {to}"),
            (from, to) if from == to && self.stopped_s == 0.0 => format!("keeps its {to}"),
            (from, to) if from == to => format!("replaces what failed of its {to}"),
            (from, to) if to > from => format!("grows from {from} to {to}"),
            (from, to) => format!("shrinks from {from} to {to}"),
        };
        // Writing into a string doesn't fail.
        if self.stopped_s > 0.0 {
            let _ = write!(text, ", {:.0} s of standstill", self.stopped_s);
        }
        match self.runner_up {
            Some(RunnerUp { workers, loss }) => {
                let _ = write!(text, "; with {workers} the plan is worth {} less", percent(loss));
            }
            None => text.push_str("; there is no other size for it"),
        }
        text
    }
}

/// A part as a percentage with the digits that show it.
fn percent(part: f64) -> String {
    match 100.0 * part {
        percent if percent >= 0.1 => format!("{percent:.1} %"),
        percent if percent >= 0.001 => format!("{percent:.3} %"),
        _ => "next to nothing".to_owned(),
    }
}
