//! The training loss: mean negative log-likelihood of the training nodes, for several seeds whose
//! logits stand side by side.
//!
//! Each seed has its own training nodes. Only their rows are touched, and the sums run in the order
//! of the nodes in double precision, so a seed's loss has the same bits whoever stands beside it.

use super::function::{Function, Matrix, MatrixRef, Tape};
use std::sync::Arc;

/// Mean negative log-likelihood of each seed's training nodes.
///
/// `N x (S C)` logits, the `C` columns of a seed together, give `1 x S` losses.
#[derive(Debug)]
pub struct CrossEntropy {
    labels: Arc<[u16]>,
    n_classes: usize,
    /// The training nodes of each seed.
    nodes: Vec<Arc<[u32]>>,
    /// The shape of the logits, and each seed's `softmax - one-hot` over its training nodes.
    tape: Tape<(usize, Vec<Vec<f32>>)>,
}

impl CrossEntropy {
    /// The loss of `nodes[s]` for each seed `s`.
    #[must_use]
    pub fn new(labels: Arc<[u16]>, n_classes: usize, nodes: Vec<Arc<[u32]>>) -> Self {
        Self { labels, n_classes, nodes, tape: Tape::default() }
    }

    /// A seed's loss, and its `softmax - one-hot` row after row.
    fn seed(&self, seed: usize, logits: MatrixRef<'_>) -> (f32, Vec<f32>) {
        let nodes = &self.nodes[seed];
        let mut residuals = Vec::with_capacity(nodes.len() * self.n_classes);
        let mut sum = 0.0_f64;
        for &node in nodes.iter() {
            let node = node as usize;
            let start = node * logits.columns + seed * self.n_classes;
            let row = &logits.values[start..start + self.n_classes];
            let label = usize::from(self.labels[node]);
            let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let first = residuals.len();
            residuals.extend(row.iter().map(|&logit| (logit - greatest).exp()));
            let total: f32 = residuals[first..].iter().sum();
            for value in &mut residuals[first..] {
                *value /= total;
            }
            residuals[first + label] -= 1.0;
            sum += f64::from(total.ln() + (greatest - row[label]));
        }
        ((sum / nodes.len() as f64) as f32, residuals)
    }
}

impl Function<1> for CrossEntropy {
    fn forward(&self, [logits]: [MatrixRef<'_>; 1], training: bool) -> Matrix {
        let (losses, residuals): (Vec<f32>, Vec<_>) =
            (0..self.nodes.len()).map(|seed| self.seed(seed, logits)).unzip();
        if training {
            self.tape.keep((logits.rows, residuals));
        }
        Matrix { rows: 1, columns: losses.len(), values: losses }
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 1] {
        let (rows, residuals) = self.tape.take();
        let columns = self.nodes.len() * self.n_classes;
        let mut values = vec![0.0; rows * columns];
        for (seed, (nodes, residuals)) in self.nodes.iter().zip(&residuals).enumerate() {
            let scale = gradient.values[seed] / nodes.len() as f32;
            for (&node, residual) in nodes.iter().zip(residuals.chunks_exact(self.n_classes)) {
                let start = node as usize * columns + seed * self.n_classes;
                for (value, r) in values[start..start + self.n_classes].iter_mut().zip(residual) {
                    *value = r * scale;
                }
            }
        }
        [Matrix { rows, columns, values }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::function::{assert_gradients, test_matrix};

    fn loss(nodes: &[&[u32]]) -> CrossEntropy {
        let labels: Arc<[u16]> = [0, 2, 1, 2, 0].into();
        CrossEntropy::new(labels, 3, nodes.iter().map(|&nodes| nodes.into()).collect())
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        assert_gradients(|| loss(&[&[0, 1, 4], &[3, 2]]), [test_matrix(5, 6, 1)]);
    }

    #[test]
    fn a_seed_is_the_same_beside_another() {
        let both = test_matrix(5, 6, 2);
        let second = Matrix {
            rows: 5,
            columns: 3,
            values: both.values.chunks(6).flat_map(|row| row[3..].to_vec()).collect(),
        };
        let (pair, alone) = (loss(&[&[0, 1], &[2, 3, 4]]), loss(&[&[2, 3, 4]]));
        let beside = pair.forward([both.view()], true).values[1];
        assert_eq!(beside.to_bits(), alone.forward([second.view()], true).values[0].to_bits());
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes() {
        let logits = Matrix { rows: 5, columns: 3, values: vec![1e4; 15] };
        let value = loss(&[&[0, 1, 2, 3, 4]]).forward([logits.view()], false).values[0];
        assert!((value - 3.0_f32.ln()).abs() < 1e-6);
    }
}
