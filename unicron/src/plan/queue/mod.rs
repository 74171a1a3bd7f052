//! Who waits for workers and why, and who would have to give workers up, each in its order: for people who
//! ask why their task doesn't run, computed from the values that the plan is made of.
//!
//! A floor comes before any gain, so tasks that wait for their floor are first, in the order in which floors
//! are kept; a task without one waits until it is worth more than what others have. A later task that needs
//! fewer workers may start before the first in line: the plan leaves no worker idle for a queue's sake.
//!
//! In the other direction, whoever gains least by its last workers loses them first, down to its floor;
//! floors go last, in the opposite order. What a node has that is lost isn't chosen by anybody.

#[cfg(test)]
mod tests;

use super::rule::Rule;
use super::solve::{Floors, Situation};
use super::value::{Size, Terms};

/// The two orders. Tasks are called by their index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Queue {
    /// Tasks without workers, the first in line first.
    pub waiting: Vec<Waiting>,
    /// Tasks with workers, who would lose some first.
    pub givers: Vec<Giver>,
}

/// A task that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub task: usize,
    /// The fewest workers that it could start on.
    pub needs: usize,
    /// Workers that no task has.
    pub free: usize,
    /// What stands in its way.
    pub why: Why,
}

/// Why a task has no workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is no node that may have tasks.
    NoNode,
    /// The cluster as a whole has too few: so many.
    TooSmall(usize),
    /// Its floor doesn't fit beside those of tasks that come before it.
    Floors {
        /// Whose floors are kept.
        before: Vec<usize>,
        /// Workers of all these floors.
        kept: usize,
        /// Workers that there are.
        there: usize,
    },
    /// It has no floor, and these have workers that are worth more.
    WorthLess(Vec<usize>),
    /// There are enough by their number, but no node that it could use has them.
    NoPlace,
}

/// A task that would give workers up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Giver {
    /// Which.
    pub task: usize,
    /// Workers that it would lose together: the last that make it faster.
    pub workers: usize,
    /// What each of these is worth, in weighted FLOP/s.
    pub worth: f64,
    /// Whether it would go below its floor, which is kept for as long as all floors fit.
    pub is_floor: bool,
}

impl Situation<'_> {
    /// Who waits, and who would give workers up, by a rule.
    #[must_use]
    pub fn queue(&self, rule: &Rule) -> Queue {
        let (terms, floors) = (self.terms(rule), self.floors(rule));
        Queue { waiting: self.waiting(&terms, &floors), givers: self.givers(&terms, &floors) }
    }

    fn waiting(&self, terms: &Terms<'_>, floors: &Floors) -> Vec<Waiting> {
        let used: usize = self.tasks.iter().map(|task| task.present.workers).sum();
        let free = self.workers.saturating_sub(used);
        // What has no size has ended.
        let waits = |&task: &usize| {
            self.tasks[task].present.workers == 0 && self.tasks[task].smallest().is_some()
        };
        let has_floor = |&task: &usize| terms.rule.has_floors && self.floor(task).is_some();
        let in_order = self.floor_order();
        let (for_floors, mut for_gain): (Vec<usize>, Vec<usize>) =
            in_order.iter().copied().filter(waits).partition(has_floor);
        let worth = |task: usize| self.first_worth(terms, task);
        for_gain.sort_by(|&left, &right| worth(right).total_cmp(&worth(left)));
        let of = |task: usize| {
            let needs = self.needs(task, terms.rule);
            let why = match has_floor(&task) {
                _ if self.workers == 0 => Why::NoNode,
                _ if needs > self.workers => Why::TooSmall(self.workers),
                _ if needs <= free => Why::NoPlace,
                true => self.kept_before(&in_order, task, floors),
                false => Why::WorthLess(self.worth_more(terms, worth(task))),
            };
            Waiting { task, needs, free, why }
        };
        for_floors.into_iter().chain(for_gain).map(of).collect()
    }

    /// The fewest workers that a task could start on; 0 if it can't.
    fn needs(&self, task: usize, rule: &Rule) -> usize {
        let floor = self.floor(task).filter(|_| rule.has_floors);
        floor.or_else(|| self.tasks[task].fewest(self.cluster, 0)).unwrap_or(0)
    }

    /// Floors that are kept because they come before a task's.
    fn kept_before(&self, in_order: &[usize], task: usize, floors: &Floors) -> Why {
        let earlier = in_order.iter().copied().take_while(|&other| other != task);
        let before: Vec<usize> = earlier.filter(|&other| floors.kept[other] > 0).collect();
        let kept = before.iter().map(|&other| floors.kept[other]).sum();
        Why::Floors { before, kept, there: self.workers }
    }

    /// What each worker of a task's smallest size is worth.
    fn first_worth(&self, terms: &Terms<'_>, task: usize) -> f64 {
        let sizes = terms.sizes(&self.tasks[task], 0, self.workers.max(1));
        let smallest = sizes.iter().find(|size| size.workers > 0);
        smallest.map_or(0.0, |size| size.value / size.workers as f64 / terms.horizon_s)
    }

    /// Tasks whose last workers are worth more than this, most first.
    fn worth_more(&self, terms: &Terms<'_>, than: f64) -> Vec<usize> {
        let running = (0..self.tasks.len()).filter(|&task| self.tasks[task].present.workers > 0);
        let mut more: Vec<(f64, usize)> = running
            .map(|task| (self.giver(terms, task, 0).worth, task))
            .filter(|(worth, _)| *worth > than)
            .collect();
        more.sort_by(|left, right| right.0.total_cmp(&left.0));
        more.into_iter().map(|(_, task)| task).collect()
    }

    fn givers(&self, terms: &Terms<'_>, floors: &Floors) -> Vec<Giver> {
        let mut place = vec![0; self.tasks.len()];
        for (at, task) in self.floor_order().into_iter().enumerate() {
            place[task] = at;
        }
        let running = (0..self.tasks.len()).filter(|&task| self.tasks[task].present.workers > 0);
        let mut givers: Vec<Giver> =
            running.map(|task| self.giver(terms, task, floors.kept[task])).collect();
        givers.sort_by(|left, right| {
            let by_worth = match left.is_floor {
                true => place[right.task].cmp(&place[left.task]),
                // Of equal ones the earlier keeps more.
                false => left.worth.total_cmp(&right.worth).then(right.task.cmp(&left.task)),
            };
            left.is_floor.cmp(&right.is_floor).then(by_worth)
        });
        givers
    }

    /// The last workers of a task that has some, above a floor or, where it has no more, of it.
    fn giver(&self, terms: &Terms<'_>, task: usize, floor: usize) -> Giver {
        let present = self.tasks[task].present.workers;
        let sizes = terms.sizes(&self.tasks[task], 0, present);
        let best = |of: &dyn Fn(&&Size) -> bool| {
            let sizes = sizes.iter().filter(of);
            sizes.max_by(|left, right| left.value.total_cmp(&right.value))
        };
        let now = best(&|size| size.workers == present);
        let below = sizes.iter().map(|size| size.workers).filter(|&workers| workers < present);
        let above_floor = below.filter(|&workers| workers >= floor.max(1)).max();
        let next = above_floor.unwrap_or(0);
        let after = best(&|size| size.workers == next);
        let value = |size: Option<&Size>| size.map_or(0.0, |size| size.value);
        let workers = present - next;
        let worth = (value(now) - value(after)) / workers as f64 / terms.horizon_s;
        Giver { task, workers, worth, is_floor: floor > 0 && next < floor }
    }
}

impl Waiting {
    /// In words, for a person; `place` counts from 1, `name` knows the tasks.
    #[must_use]
    pub fn to_text<'a>(&self, place: usize, name: impl Fn(usize) -> &'a str) -> String {
        let line = match place {
            1 => "first in line".to_owned(),
            place => format!("{place}. in line"),
        };
        let list =
            |tasks: &[usize]| listed(&tasks.iter().map(|&task| name(task)).collect::<Vec<_>>());
        let Self { needs, free, .. } = self;
        let count =
            format!("needs {needs} workers, {free} {}", if *free == 1 { "is" } else { "are" });
        match &self.why {
            Why::NoNode => format!("no node may have tasks; needs {needs} workers; {line}"),
            Why::TooSmall(there) => {
                format!("needs {needs} workers, the cluster has {there}; {line}")
            }
            Why::Floors { before, .. } if before.is_empty() => format!("{count} free; {line}"),
            Why::Floors { before, kept, there } => {
                let before = list(before);
                format!("{count} free; {before} may keep {kept} of {there}; {line}")
            }
            Why::WorthLess(more) if more.is_empty() => {
                format!("{count} free, and starting it costs more than it gains; {line}")
            }
            Why::WorthLess(more) => {
                let more = list(more);
                format!("{count} free; worth less than {more} by weight × FLOP/s; {line}")
            }
            Why::NoPlace => format!("{count} free, but not on nodes that it could use; {line}"),
        }
    }
}

/// More names than these say little.
const MOST_NAMES: usize = 3;

fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        names if names.len() > MOST_NAMES => {
            format!("{} and {} more", names[..MOST_NAMES].join(", "), names.len() - MOST_NAMES)
        }
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
