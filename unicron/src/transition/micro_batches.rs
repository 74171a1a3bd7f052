//! What is left of an iteration after a failure, and who computes it (section 6.1 of the paper).
//!
//! The replicas of a task share the micro-batches of an iteration, each adds up the gradients of its own,
//! and then the sums are reduced over all replicas, one segment of the gradient after the other. When a
//! replica dies, what it held of segments that aren't reduced is gone: its micro-batches are dealt to the
//! others, who compute them again for these segments only. Segments that are reduced already contain its
//! share and stay. So the gradient is that of the same micro-batches as without the failure, each once.

use std::collections::VecDeque;

/// A micro-batch to be computed: a number within the iteration's global batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work {
    /// Which one.
    pub micro_batch: usize,
    /// The first segment that lacks it; segments are reduced in their order.
    pub from_segment: usize,
}

/// An iteration while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iteration {
    replicas: Vec<Replica>,
    segments: usize,
    /// Segments that are reduced: the first so many.
    reduced: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Replica {
    is_dead: bool,
    /// To be computed, in this order.
    queue: VecDeque<Work>,
    /// In its sums.
    summed: Vec<Work>,
}

/// Why an iteration can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// No replica is left: only a checkpoint has the state.
    NoReplicaLeft,
}

/// What a replica's death leaves to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redistribution {
    /// Who computes what again, beside what they had to do anyway: (replica, work).
    pub dealt: Vec<(usize, Work)>,
    /// How many of these were finished by the dead replica, and are computed a second time.
    pub redone: usize,
}

impl Iteration {
    /// `micro_batches` dealt evenly to `replicas`, the gradient in `segments`.
    ///
    /// # Panics
    /// If there is no replica or no segment.
    #[must_use]
    pub fn new(micro_batches: usize, replicas: usize, segments: usize) -> Self {
        assert!(replicas > 0 && segments > 0, "an iteration has replicas and segments");
        let mut dealt = vec![Replica::default(); replicas];
        for micro_batch in 0..micro_batches {
            dealt[micro_batch % replicas].queue.push_back(Work { micro_batch, from_segment: 0 });
        }
        Self { replicas: dealt, segments, reduced: 0 }
    }

    /// What a replica computes next.
    #[must_use]
    pub fn next(&self, replica: usize) -> Option<Work> {
        self.replicas.get(replica)?.queue.front().copied()
    }

    /// What is left to a replica.
    pub fn left(&self, replica: usize) -> impl ExactSizeIterator<Item = Work> + '_ {
        self.replicas[replica].queue.iter().copied()
    }

    /// Replicas that live.
    pub fn living(&self) -> impl Iterator<Item = usize> + '_ {
        let living = self.replicas.iter().enumerate().filter(|(_, replica)| !replica.is_dead);
        living.map(|(index, _)| index)
    }

    /// Segments that are reduced.
    #[must_use]
    pub fn reduced(&self) -> usize {
        self.reduced
    }

    /// Whether the optimiser can take its step.
    #[must_use]
    pub fn is_reduced(&self) -> bool {
        self.reduced == self.segments
    }

    /// A replica has added its next micro-batch to its sums.
    pub fn finish(&mut self, replica: usize) -> Option<Work> {
        let replica = self.replicas.get_mut(replica)?;
        let work = replica.queue.pop_front()?;
        replica.summed.push(work);
        Some(work)
    }

    /// The next segment is reduced; false while somebody still has to compute.
    pub fn reduce(&mut self) -> bool {
        let is_ready = self.replicas.iter().all(|replica| replica.queue.is_empty());
        let reduces = is_ready && !self.is_reduced();
        self.reduced += usize::from(reduces);
        reduces
    }

    /// A replica has died: its work goes to those that have least left, the first of equals.
    ///
    /// Of a replica that is dead already, or of an iteration whose gradient is reduced, nothing is to be
    /// done again.
    ///
    /// # Errors
    /// If no replica is left.
    pub fn fail(&mut self, replica: usize) -> Result<Redistribution, Stop> {
        let dead = std::mem::take(&mut self.replicas[replica]);
        self.replicas[replica].is_dead = true;
        let mut living: Vec<usize> = self.living().collect();
        if living.is_empty() {
            return Err(Stop::NoReplicaLeft);
        }
        // What it had summed is in the reduced segments, and lost for the others.
        let again = dead.summed.iter().map(|work| Work { from_segment: self.reduced, ..*work });
        let again: Vec<Work> = again.filter(|work| work.from_segment < self.segments).collect();
        let redone = again.len();
        let mut dealt = Vec::with_capacity(redone + dead.queue.len());
        for work in again.into_iter().chain(dead.queue) {
            living.sort_by_key(|&index| (self.replicas[index].queue.len(), index));
            self.replicas[living[0]].queue.push_back(work);
            dealt.push((living[0], work));
        }
        Ok(Redistribution { dealt, redone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How often each micro-batch is in each segment of the reduced gradient; kept beside the iteration,
    /// by what the replicas do, not by what it records.
    struct Gradient {
        sums: Vec<Vec<Vec<usize>>>,
        reduced: Vec<Vec<usize>>,
    }

    impl Gradient {
        fn new(micro_batches: usize, replicas: usize, segments: usize) -> Self {
            let zeros = vec![vec![0; micro_batches]; segments];
            Self { sums: vec![zeros.clone(); replicas], reduced: zeros }
        }

        fn add(&mut self, replica: usize, work: Work) {
            for segment in &mut self.sums[replica][work.from_segment..] {
                segment[work.micro_batch] += 1;
            }
        }

        fn reduce(&mut self, segment: usize, living: &[usize]) {
            for &replica in living {
                for (total, count) in
                    self.reduced[segment].iter_mut().zip(&self.sums[replica][segment])
                {
                    *total += count;
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever fails whenever, before and during the reduction.
        #[test]
        fn every_micro_batch_counts_once(
            micro_batches in 0_usize..24,
            replicas in 1_usize..7,
            segments in 1_usize..5,
            events in prop::collection::vec((any::<bool>(), 0_usize..7), 0..200),
        ) {
            let mut iteration = Iteration::new(micro_batches, replicas, segments);
            let mut gradient = Gradient::new(micro_batches, replicas, segments);
            let mut events = events.into_iter();
            while !iteration.is_reduced() {
                let living: Vec<usize> = iteration.living().collect();
                let (fails, which) = events.next().unwrap_or((false, 0));
                if fails && living.len() > 1 {
                    iteration.fail(living[which % living.len()]).unwrap();
                    continue;
                }
                let busy: Vec<usize> =
                    living.iter().copied().filter(|&replica| iteration.next(replica).is_some()).collect();
                if busy.is_empty() {
                    let segment = iteration.reduced();
                    prop_assert!(iteration.reduce());
                    gradient.reduce(segment, &living);
                } else {
                    prop_assert!(!iteration.reduce());
                    let replica = busy[which % busy.len()];
                    let work = iteration.finish(replica).unwrap();
                    gradient.add(replica, work);
                }
            }
            for segment in &gradient.reduced {
                prop_assert!(segment.iter().all(|&count| count == 1), "{:?}", gradient.reduced);
            }
        }
    }

    #[test]
    fn before_the_reduction_the_others_share_what_the_dead_replica_had() {
        let mut iteration = Iteration::new(8, 4, 2);
        iteration.finish(1);
        let redistribution = iteration.fail(1).unwrap();
        assert_eq!(redistribution.redone, 1);
        let work = |micro_batch| Work { micro_batch, from_segment: 0 };
        assert_eq!(redistribution.dealt, [(0, work(1)), (2, work(5))]);
        assert_eq!(iteration.left(0).len(), 3);
    }

    #[test]
    fn during_the_reduction_only_what_is_not_reduced_is_computed_again() {
        let mut iteration = Iteration::new(4, 2, 3);
        for replica in [0, 0, 1, 1] {
            iteration.finish(replica);
        }
        assert!(iteration.reduce());
        let redistribution = iteration.fail(1).unwrap();
        assert!(
            redistribution
                .dealt
                .iter()
                .all(|(replica, work)| *replica == 0 && work.from_segment == 1)
        );
        assert_eq!(redistribution.redone, 2);
    }

    #[test]
    fn after_the_reduction_nothing_is_lost() {
        let mut iteration = Iteration::new(2, 2, 1);
        iteration.finish(0);
        iteration.finish(1);
        assert!(iteration.reduce());
        assert_eq!(iteration.fail(0), Ok(Redistribution { dealt: Vec::new(), redone: 0 }));
        assert_eq!(iteration.fail(1), Err(Stop::NoReplicaLeft));
    }
}
