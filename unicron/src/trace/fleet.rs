//! Which node fails, while a trace is made up in order of time.

use super::{Failure, mix};
use crate::detect::{Severity, Status};
use rand::{Rng, RngExt};

/// A node that is away is redrawn so often. Where nearly all are away, one of those is taken in the
/// end: a failure that nobody feels.
const REDRAWS: usize = 32;

/// Who is away until when. A node that is away doesn't fail again, so that a trace of so many
/// failures has so many that are felt.
#[derive(Debug)]
pub(super) struct Fleet {
    gpus_per_node: usize,
    back_at_s: Vec<f64>,
}

impl Fleet {
    pub(super) fn new(nodes: usize, gpus_per_node: usize) -> Self {
        Self { gpus_per_node, back_at_s: vec![f64::NEG_INFINITY; nodes] }
    }

    /// Whether the node is there.
    pub(super) fn is_up(&self, node: usize, at_s: f64) -> bool {
        self.back_at_s[node] < at_s
    }

    /// Any of the nodes that are there.
    pub(super) fn any(&self, at_s: f64, rng: &mut impl Rng) -> usize {
        let n_nodes = self.back_at_s.len();
        self.choose(at_s, rng, |rng| rng.random_range(0..n_nodes))
    }

    /// A node by `draw`, drawn again while it isn't there.
    pub(super) fn choose<R: Rng>(
        &self,
        at_s: f64,
        rng: &mut R,
        draw: impl Fn(&mut R) -> usize,
    ) -> usize {
        let mut node = draw(rng);
        for _ in 0..REDRAWS {
            if self.is_up(node, at_s) {
                break;
            }
            node = draw(rng);
        }
        node
    }

    /// A failure of the node, which is then away for its repair. The GPU is drawn where the status
    /// is one of a GPU.
    pub(super) fn fail(
        &mut self,
        at_s: f64,
        node: usize,
        (status, severity): (Status, Severity),
        repair_s: Option<f64>,
        rng: &mut impl Rng,
    ) -> Failure {
        let is_of_gpu = mix::is_of_one_gpu(status);
        let gpu = is_of_gpu.then(|| rng.random_range(0..self.gpus_per_node));
        let failure = Failure { gpu, repair_s, ..Failure::new(at_s, node, status, severity) };
        self.take(&failure);
        failure
    }

    /// Notes how long a failure takes its node away.
    pub(super) fn take(&mut self, failure: &Failure) {
        if let Some(back_at_s) = failure.back_at_s() {
            let node_back_at_s = &mut self.back_at_s[failure.node];
            *node_back_at_s = node_back_at_s.max(back_at_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn only_nodes_that_are_there_fail() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut fleet = Fleet::new(8, 8);
        let kind = (Status::EccError, Severity::Sev1);
        for node in 0..5 {
            fleet.fail(0.0, node, kind, Some(10.0), &mut rng);
        }
        // A node is away at the instant of its return: failures come before returns.
        for at_s in [0.0, 5.0, 10.0] {
            assert!((0..100).all(|_| fleet.any(at_s, &mut rng) >= 5));
        }
        assert!((0..100).any(|_| fleet.any(10.001, &mut rng) < 5));
        for node in 5..8 {
            fleet.fail(5.0, node, kind, Some(1.0), &mut rng);
        }
        assert!(fleet.any(5.5, &mut rng) < 8, "somebody fails even where nobody is there");
    }
}
