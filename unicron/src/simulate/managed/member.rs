//! A task under Unicron: where it is, and what it has to go through before it trains.

use crate::simulate::ledger::Occupancy;
use crate::throughput::Step;

/// Below this a phase is over: rounding of times must not leave phases of nanoseconds.
const OVER_S: f64 = 1e-6;

/// What a task has to go through, in seconds that are left of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Legs {
    /// Newcomers get ready, the others train.
    pub overlapped_s: f64,
    /// Nobody trains.
    pub stopped_s: f64,
    /// What was lost is done again.
    pub redone_s: f64,
}

/// The first of the legs that is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leg {
    Overlapped(f64),
    Stopped(f64),
    Redone(f64),
}

impl Legs {
    pub(super) fn current(&self) -> Option<Leg> {
        if self.overlapped_s > 0.0 {
            Some(Leg::Overlapped(self.overlapped_s))
        } else if self.stopped_s > 0.0 {
            Some(Leg::Stopped(self.stopped_s))
        } else if self.redone_s > 0.0 {
            Some(Leg::Redone(self.redone_s))
        } else {
            None
        }
    }

    fn pass(&mut self, mut seconds: f64) {
        for leg in [&mut self.overlapped_s, &mut self.stopped_s, &mut self.redone_s] {
            let passed = leg.min(seconds);
            *leg -= passed;
            seconds -= passed;
            if *leg < OVER_S {
                *leg = 0.0;
            }
        }
    }
}

impl Leg {
    pub(super) fn left_s(self) -> f64 {
        match self {
            Self::Overlapped(left_s) | Self::Stopped(left_s) | Self::Redone(left_s) => left_s,
        }
    }
}

/// What keeps a task from going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A failure that nobody has noticed.
    Unnoticed,
    /// One that is being cured in place.
    Attempted,
}

/// A task and where it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    /// (Node, workers) by the last plan.
    pub nodes: Vec<(usize, usize)>,
    /// Workers by the last plan.
    pub workers: usize,
    /// How they are arranged.
    pub step: Option<Step>,
    /// What is before it.
    pub legs: Legs,
    /// GPUs that train while newcomers get ready, and what they achieve.
    pub meanwhile: (usize, f64),
    /// Whether it has done its work, or was stopped.
    pub has_ended: bool,
    /// Whether it has failed since it last finished an iteration.
    pub owes_progress: bool,
    /// Timers of an older generation mean nothing any more.
    pub generation: u64,
    is_held_up: bool,
    since_s: f64,
}

impl Member {
    pub(super) fn flops(&self) -> f64 {
        self.step.map_or(0.0, |step| step.flops)
    }

    /// Lets time pass, and says what holds the task up from now on.
    pub(super) fn pass(&mut self, now_s: f64, trouble: Option<Trouble>) {
        if !self.is_held_up {
            self.legs.pass(now_s - self.since_s);
        }
        self.since_s = now_s;
        self.is_held_up = trouble.is_some();
        self.generation += 1;
    }

    /// What its GPUs do, of which so many are there.
    pub(super) fn occupancy(&self, there: usize, trouble: Option<Trouble>) -> Occupancy {
        if self.has_ended {
            return Occupancy::default();
        }
        let Some(step) = self.step else {
            return Occupancy { is_starved: true, idle: there, ..Occupancy::default() };
        };
        let active = step.workers.min(there);
        let rest = Occupancy { idle: there - active, ..Occupancy::default() };
        match (trouble, self.legs.current()) {
            (Some(Trouble::Unnoticed), _) => Occupancy { detecting: active, ..rest },
            (Some(Trouble::Attempted), _) | (None, Some(Leg::Stopped(_))) => {
                Occupancy { in_transition: active, ..rest }
            }
            (None, Some(Leg::Overlapped(_))) => {
                let (survivors, flops) = self.meanwhile;
                let useful = if flops > 0.0 { survivors.min(active) } else { 0 };
                Occupancy { useful, in_transition: active - useful, flops, ..rest }
            }
            (None, Some(Leg::Redone(_))) => Occupancy { redone: active, ..rest },
            (None, None) => Occupancy { useful: active, flops: step.flops, ..rest },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_pass_one_after_the_other_and_not_while_held_up() {
        let step = Step { workers: 6, flops: 9.0, shape: None };
        let legs = Legs { overlapped_s: 10.0, stopped_s: 5.0, redone_s: 1.0 };
        let mut member =
            Member { step: Some(step), legs, meanwhile: (4, 5.0), ..Member::default() };
        let now = member.occupancy(8, None);
        assert_eq!((now.useful, now.in_transition, now.idle, now.flops), (4, 2, 2, 5.0));
        member.pass(12.0, Some(Trouble::Unnoticed));
        assert_eq!(member.legs.current(), Some(Leg::Stopped(3.0)));
        assert_eq!(member.occupancy(8, Some(Trouble::Unnoticed)).detecting, 6);
        member.pass(100.0, None);
        assert_eq!(member.occupancy(8, None).in_transition, 6);
        member.pass(103.5, None);
        assert_eq!(member.legs.current(), Some(Leg::Redone(0.5)));
        member.pass(104.0, None);
        assert_eq!(member.occupancy(8, None).flops, 9.0);
    }
}
