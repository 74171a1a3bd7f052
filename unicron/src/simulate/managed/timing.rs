//! How long things take under Unicron: noticing a failure, and curing it where it is.
//!
//! Changes of a task's workers take what [`crate::transition::duration`] says, whatever the planner's rule
//! believes: a rule decides, it doesn't make a network faster.

use crate::detect::Method;
use crate::plan::Task;
use crate::throughput::Step;
use crate::transition::duration::{Change, Durations};

/// Seconds from a failure to its notice, by what notices it (table 2 of the paper, as remembered: the
/// notes, 1.4). That they lie between 0.3 and 5.6 s is confirmed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionTimes {
    /// The lease of a node's agent runs out.
    pub node_health_s: f64,
    /// An agent sees a process end.
    pub process_s: f64,
    /// A process passes on what went wrong.
    pub exception_s: f64,
    /// Times of an iteration that an iteration may take.
    pub iterations: f64,
    /// What an iteration takes of a task that is known by its throughput alone. Our guess.
    pub unknown_iteration_s: f64,
}

impl Default for DetectionTimes {
    fn default() -> Self {
        Self {
            node_health_s: 5.6,
            process_s: 1.8,
            exception_s: 0.3,
            iterations: 3.0,
            unknown_iteration_s: 10.0,
        }
    }
}

impl DetectionTimes {
    /// By a method, of a task with such iterations.
    #[must_use]
    pub fn of(&self, method: Method, iteration_s: f64) -> f64 {
        match method {
            Method::NodeHealth => self.node_health_s,
            Method::ProcessSupervision => self.process_s,
            Method::ExceptionPropagation => self.exception_s,
            Method::StatisticalMonitoring => self.iterations * iteration_s,
        }
    }

    /// Seconds of an iteration of a task on this step of its throughput.
    #[must_use]
    pub fn iteration_s(&self, task: &Task, step: Option<&Step>) -> f64 {
        match (&task.model, step) {
            (Some(model), Some(step)) if step.flops > 0.0 => model.iteration_flops() / step.flops,
            _ => self.unknown_iteration_s,
        }
    }
}

/// A process is started again on its node: it fetches its part of the state from a replica or from a
/// peer's memory, then communicators are built anew. The others wait.
pub(super) fn restart_s(durations: &Durations, change: &Change<'_>, bandwidth: f64) -> f64 {
    let state_bytes = change.training.map_or(0.0, |training| training.state_bytes);
    let replicas = change.from_shape.map_or(1, |shape| shape.data);
    let part_bytes = state_bytes * replicas as f64 / change.from.max(1) as f64;
    durations.start_s + part_bytes / bandwidth + durations.rebuild_s
}

/// A network operation is done again by the same processes.
pub(super) fn reattempt_s(durations: &Durations) -> f64 {
    durations.edit_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_take_the_papers_seconds() {
        let times = DetectionTimes::default();
        let of = |method| times.of(method, 20.0);
        assert_eq!(of(Method::NodeHealth), 5.6);
        assert_eq!(of(Method::ExceptionPropagation), 0.3);
        assert_eq!(of(Method::StatisticalMonitoring), 60.0);
    }
}
