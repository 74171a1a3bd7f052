//! Failures of processes, from when they happen until they are cured.

use super::member::Trouble;
use crate::core::Attempt;
use crate::detect::{Severity, Status};
use crate::trace::Failure;

/// A failure of a process that isn't cured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    pub id: u64,
    pub task: usize,
    pub node: usize,
    pub status: Status,
    /// What it takes.
    pub severity: Severity,
    pub is_noticed: bool,
    /// What is being tried.
    pub attempt: Option<(Attempt, Severity)>,
}

impl Problem {
    fn is_noticed_on(&self, task: usize, node: usize) -> bool {
        self.is_noticed && self.task == task && self.node == node
    }

    fn is_tried_by(&self, attempt: Attempt) -> bool {
        self.attempt.is_some_and(|(tried, _)| tried.incident == attempt.incident)
    }
}

/// All failures of processes that aren't cured, in the order in which they happened.
#[derive(Debug, Default)]
pub(super) struct Problems {
    open: Vec<Problem>,
    next: u64,
}

impl Problems {
    /// A process of a task fails; the number by which the problem is called.
    pub(super) fn add(&mut self, task: usize, failure: &Failure) -> u64 {
        let id = self.next;
        self.next += 1;
        let Failure { node, status, severity, .. } = *failure;
        let (is_noticed, attempt) = (false, None);
        self.open.push(Problem { id, task, node, status, severity, is_noticed, attempt });
        id
    }

    pub(super) fn get(&self, id: u64) -> Option<Problem> {
        self.open.iter().find(|problem| problem.id == id).copied()
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.open.retain(|problem| problem.id != id);
    }

    /// These are none any more; the tasks that had them.
    pub(super) fn forget(&mut self, which: impl Fn(&Problem) -> bool) -> Vec<usize> {
        let gone = self.open.iter().filter(|problem| which(problem));
        let tasks = gone.map(|problem| problem.task).collect();
        self.open.retain(|problem| !which(problem));
        tasks
    }

    /// Somebody has noticed it.
    pub(super) fn notice(&mut self, id: u64) -> Option<Problem> {
        let problem = self.open.iter_mut().find(|problem| problem.id == id)?;
        problem.is_noticed = true;
        Some(*problem)
    }

    /// Nothing is done about a problem: whatever is tried for others of its task on its node has to cure
    /// it, too.
    pub(super) fn cover(&mut self, Problem { id, task, node, severity, .. }: Problem) {
        self.remove(id);
        let same = self.open.iter_mut().filter(|other| other.task == task && other.node == node);
        same.for_each(|other| other.severity = other.severity.max(severity));
    }

    /// A cure of this level begins for a task on a node. One failure may have covered another there: they
    /// become one, as severe as the worse of them.
    pub(super) fn begin(
        &mut self,
        (task, node): (usize, usize),
        attempt: Attempt,
        level: Severity,
    ) -> Option<Problem> {
        let here = || self.open.iter().filter(|problem| problem.is_noticed_on(task, node));
        let severity = here().map(|problem| problem.severity).max()?;
        let tried = here().find(|problem| problem.is_tried_by(attempt));
        let begun = Problem {
            severity,
            attempt: Some((attempt, level)),
            ..*tried.or_else(|| here().next_back())?
        };
        self.open.retain(|problem| !problem.is_noticed_on(task, node) || problem.id == begun.id);
        self.open.iter_mut().filter(|problem| problem.id == begun.id).for_each(|own| *own = begun);
        Some(begun)
    }

    /// What keeps a task from going on.
    pub(super) fn trouble_of(&self, task: usize) -> Option<Trouble> {
        let mut own = self.open.iter().filter(|problem| problem.task == task).peekable();
        own.peek()?;
        match own.all(|problem| problem.is_noticed) {
            true => Some(Trouble::Attempted),
            false => Some(Trouble::Unnoticed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(incident: u64) -> Attempt {
        Attempt { incident, task: 0, node: 0, epoch: incident }
    }

    #[test]
    fn a_task_is_held_up_until_its_last_problem_is_cured() {
        let mut problems = Problems::default();
        assert_eq!(problems.trouble_of(0), None);
        let first = problems.add(0, &Failure::new(0.0, 3, Status::CudaError, Severity::Sev2));
        let second = problems.add(0, &Failure::new(1.0, 4, Status::CudaError, Severity::Sev2));
        problems.notice(first);
        assert_eq!(problems.trouble_of(0), Some(Trouble::Unnoticed));
        problems.notice(second);
        assert_eq!(
            (problems.trouble_of(0), problems.trouble_of(1)),
            (Some(Trouble::Attempted), None)
        );
        problems.remove(first);
        assert_eq!(problems.forget(|problem| problem.node == 4), [0]);
        assert_eq!(problems.trouble_of(0), None);
    }

    #[test]
    fn problems_of_a_node_are_cured_as_the_worst_of_them() {
        let mut problems = Problems::default();
        let mild = problems.add(0, &Failure::new(0.0, 3, Status::NcclTimeout, Severity::Sev3));
        problems.notice(mild);
        assert!(problems.begin((0, 4), attempt(0), Severity::Sev3).is_none(), "another node");
        problems.begin((0, 3), attempt(0), Severity::Sev3).unwrap();
        // The second is covered by what is being tried for the first.
        let severe = problems.add(0, &Failure::new(1.0, 3, Status::CudaError, Severity::Sev2));
        let severe = problems.notice(severe).unwrap();
        problems.cover(severe);
        assert_eq!(problems.get(mild).unwrap().severity, Severity::Sev2);
        let again = problems.begin((0, 3), attempt(0), Severity::Sev2).unwrap();
        assert_eq!((again.id, again.attempt), (mild, Some((attempt(0), Severity::Sev2))));
    }
}
