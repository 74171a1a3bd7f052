//! How long a task stands still when its workers change: the paper has one constant for all changes, but
//! a task that loses a replica goes on in a second, and one that changes its shape moves its state.
//!
//! Estimates for the planner, before any rank is placed; [`super::state`] counts the bytes of a layout.

use crate::cluster::Hardware;
use crate::throughput::Shape;

/// What a task's change of workers does to it for a while.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Interruption {
    /// Seconds in which newcomers get ready while the others go on.
    pub overlapped_s: f64,
    /// Seconds in which nobody trains, work that is done again included.
    pub stopped_s: f64,
}

/// How long the phases of a change take that don't depend on the task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Durations {
    /// Communicators lose or gain members. An edit takes under a second (ElasWave; field notes 1 and 7.3).
    pub edit_s: f64,
    /// All communicators are built anew: 5 to 15 s (Lazarus; notes 7).
    pub rebuild_s: f64,
    /// A process starts: interpreter, libraries, device. Our own estimate, in the range of what restarts
    /// in place report (field notes 1.1).
    pub start_s: f64,
    /// The first iterations of a new shape are slower: allocations, kernels that are chosen.
    pub warm_up_s: f64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { edit_s: 1.0, rebuild_s: 10.0, start_s: 30.0, warm_up_s: 5.0 }
    }
}

/// What training a task means for a change of its workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Bytes of weights and optimiser state, each once.
    pub state_bytes: f64,
    /// FLOPs of an iteration.
    pub iteration_flops: f64,
}

/// What it costs a task that starts again as a whole whenever its workers change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Restart {
    /// Seconds from its end to its first step.
    pub start_s: f64,
    /// Seconds of work since its last checkpoint, on average.
    pub lost_s: f64,
}

/// A change of a task's workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change<'a> {
    /// What it trains; `None` of a task that is known only by its measured throughput.
    pub training: Option<Training>,
    /// What it costs if it starts again as a whole.
    pub restart: Option<Restart>,
    /// Workers before, those that have failed included.
    pub from: usize,
    /// How they were arranged, where that is known.
    pub from_shape: Option<&'a Shape>,
    /// Of the workers before, how many have failed.
    pub lost: usize,
    /// FLOP/s before.
    pub from_flops: f64,
    /// Workers after.
    pub to: usize,
    /// How they are arranged.
    pub to_shape: Option<&'a Shape>,
}

impl Durations {
    /// The interruption of a change on this hardware. None of a task that stays as it is and has lost
    /// nothing, or that ends.
    #[must_use]
    pub fn of(&self, change: &Change<'_>, hardware: &Hardware) -> Interruption {
        let Change { from, lost, to, .. } = *change;
        if to == 0 || (from == to && lost == 0 && !self.is_reshaped(change)) {
            return Interruption::default();
        }
        if let Some(Restart { start_s, lost_s }) = change.restart {
            // What stands still has lost its work already.
            let lost_s = if from > 0 { lost_s } else { 0.0 };
            return Interruption { overlapped_s: 0.0, stopped_s: start_s + lost_s };
        }
        let state = change.training.map_or(0.0, |training| training.state_bytes);
        if from == 0 {
            // Its state is in the store; it stands still anyway.
            let stopped_s =
                self.start_s + state / hardware.storage_bandwidth + self.rebuild_s + self.warm_up_s;
            return Interruption { overlapped_s: 0.0, stopped_s };
        }
        // Each worker fetches what it lacks from a peer over its own link.
        let fetch_s = state / to as f64 / hardware.inter_node_bandwidth;
        let redone_s = Self::redone_s(change);
        let has_newcomers = to + lost > from;
        let overlapped_s = if has_newcomers { self.start_s } else { 0.0 };
        if self.is_reshaped(change) {
            let stopped_s = fetch_s + self.rebuild_s + self.warm_up_s + redone_s;
            return Interruption { overlapped_s, stopped_s };
        }
        // Replicas come or go: newcomers copy a replica's state while the others train, and shards of the
        // optimiser move to where they belong.
        let copy_s = match change.to_shape {
            Some(shape) => state * shape.data as f64 / to as f64 / hardware.inter_node_bandwidth,
            None => fetch_s,
        };
        let overlapped_s = if has_newcomers { overlapped_s + copy_s } else { 0.0 };
        Interruption { overlapped_s, stopped_s: self.edit_s + fetch_s + redone_s }
    }

    /// Whether a model-parallel part changes; of unknown shapes, whether the size does.
    fn is_reshaped(&self, change: &Change<'_>) -> bool {
        match (change.from_shape, change.to_shape) {
            (Some(from), Some(to)) => {
                let part = |shape: &Shape| (shape.tensor, shape.pipeline, shape.interleave);
                part(from) != part(to)
            }
            _ => change.from != change.to,
        }
    }

    /// Seconds in which the others do again what is lost of the running iteration: the failed replicas'
    /// share; all of it if there was no other replica. [`Interruption::stopped_s`] contains them.
    #[must_use]
    pub fn redone_s(change: &Change<'_>) -> f64 {
        let Some(training) = change.training else { return 0.0 };
        if change.lost == 0 || change.from_flops <= 0.0 {
            return 0.0;
        }
        let replicas = change.from_shape.map_or(1, |shape| shape.data) as f64;
        let per_replica = change.from as f64 / replicas;
        let lost = (change.lost as f64 / per_replica).ceil().min(replicas);
        training.iteration_flops / change.from_flops * lost / replicas
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throughput::Recompute;

    fn shape(tensor: usize, pipeline: usize, data: usize) -> Shape {
        Shape {
            tensor,
            pipeline,
            data,
            micro_batch: 1,
            interleave: 1,
            recompute: Recompute::Selective,
            sharded_optimizer: true,
        }
    }

    fn hardware() -> Hardware {
        Hardware::kind(Hardware::DEFAULT_KIND).unwrap()
    }

    fn change<'a>(from: &'a Shape, lost: usize, to: &'a Shape) -> Change<'a> {
        Change {
            // A 7B model in 20 s.
            training: Some(Training { state_bytes: 1e11, iteration_flops: 5e16 }),
            restart: None,
            from: from.workers(),
            from_shape: Some(from),
            lost,
            from_flops: 2.5e15,
            to: to.workers(),
            to_shape: Some(to),
        }
    }

    #[test]
    fn nothing_stops_what_stays() {
        let same = shape(4, 1, 4);
        assert_eq!(
            Durations::default().of(&change(&same, 0, &same), &hardware()),
            Interruption::default()
        );
    }

    #[test]
    fn losing_a_replica_is_cheaper_than_another_shape() {
        let (four, three, deep) = (shape(4, 1, 4), shape(4, 1, 3), shape(2, 2, 3));
        let durations = Durations::default();
        let less = durations.of(&change(&four, 4, &three), &hardware());
        let reshaped = durations.of(&change(&four, 4, &deep), &hardware());
        // An edit, the lost shards, and a quarter of the iteration.
        assert!((6.0..8.0).contains(&less.stopped_s), "{less:?}");
        assert_eq!(less.overlapped_s, 0.0);
        assert!(reshaped.stopped_s > 2.0 * less.stopped_s, "{reshaped:?}");
    }

    #[test]
    fn newcomers_get_ready_while_the_others_train() {
        let (three, four) = (shape(4, 1, 3), shape(4, 1, 4));
        let grown = Durations::default().of(&change(&three, 0, &four), &hardware());
        assert!(grown.overlapped_s > 30.0 && grown.stopped_s < 3.0, "{grown:?}");
    }

    #[test]
    fn a_failed_worker_costs_something_at_the_same_size() {
        let same = shape(4, 1, 4);
        let replaced = Durations::default().of(&change(&same, 4, &same), &hardware());
        assert!(replaced.stopped_s > 5.0 && replaced.overlapped_s > 30.0, "{replaced:?}");
    }

    #[test]
    fn a_task_that_starts_reads_its_state_from_the_store() {
        let to = shape(4, 1, 4);
        let start = Change { from: 0, from_shape: None, from_flops: 0.0, ..change(&to, 0, &to) };
        let started = Durations::default().of(&start, &hardware());
        assert!((80.0..90.0).contains(&started.stopped_s), "{started:?}");
        let end = Change { to: 0, ..change(&to, 0, &to) };
        assert_eq!(Durations::default().of(&end, &hardware()), Interruption::default());
    }

    #[test]
    fn a_task_that_starts_again_as_a_whole_pays_for_every_change() {
        let (three, four) = (shape(4, 1, 3), shape(4, 1, 4));
        let restart = Some(Restart { start_s: 40.0, lost_s: 300.0 });
        let of = |change: Change<'_>| {
            Durations::default().of(&Change { restart, ..change }, &hardware())
        };
        assert_eq!(of(change(&three, 0, &four)).stopped_s, 340.0);
        assert_eq!(of(change(&four, 4, &four)).stopped_s, 340.0);
        assert_eq!(of(change(&four, 0, &four)), Interruption::default());
        assert_eq!(
            of(Change { from: 0, from_shape: None, ..change(&four, 0, &four) }).stopped_s,
            40.0
        );
    }
}
