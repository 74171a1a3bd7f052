//! The part of a step in which all runs are one: filter and loss on signals that stand side by side.
//!
//! Each run's own network is a graph of its own in burn, built and walked back in parallel with the
//! others'. The joint part starts from leaves cut off them, and its gradients are handed back over
//! the cut: a single graph would make ten backward passes of what two cores can share.

use super::run::Run;
use crate::autodiff::cross_entropy::CrossEntropy;
use crate::autodiff::filter::ChebyshevFilter;
use crate::autodiff::function::{Function, Matrix, MatrixRef, call1, call2};
use crate::model::Problem;
use burn::tensor::{Gradients, Tensor};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// What a run brings to the joint part.
pub(super) struct Pass {
    /// `N x C`.
    pub signals: Tensor<2>,
    /// The Chebyshev weights of its filter, `(K+1) x C`, if it has one.
    pub weights: Option<Tensor<2>>,
}

impl Pass {
    /// Walks back through the run's own network from the joint part's gradients.
    pub fn backward(self, gradients: PassGradients) -> Gradients {
        let cut = match (self.weights, gradients.weights) {
            (Some(weights), Some(by_weights)) => {
                let given = GivenGradients::new([gradients.signals, by_weights]);
                call2(given, self.signals, weights)
            }
            _ => call1(GivenGradients::new([gradients.signals]), self.signals),
        };
        cut.backward()
    }
}

/// The gradients of the run's loss with respect to what it brought.
pub(super) struct PassGradients {
    signals: Matrix,
    weights: Option<Matrix>,
}

/// The losses of all runs, and the gradients of each.
pub(super) fn losses(
    problem: &Problem,
    runs: &[&mut Run],
    passes: &[Pass],
) -> (Vec<f32>, Vec<PassGradients>) {
    let leaf = |matrices: Vec<Tensor<2>>| Tensor::from_inner(beside(matrices)).require_grad();
    let signals = leaf(passes.iter().map(|pass| pass.signals.clone().inner()).collect());
    let weights: Option<Vec<Tensor<2>>> =
        passes.iter().map(|pass| Some(pass.weights.clone()?.inner())).collect();
    let weights = weights.map(leaf);
    let scores = filtered(runs, signals.clone(), weights.clone());
    let nodes = runs.iter().map(|run| Arc::clone(&run.train_nodes)).collect();
    let labels = Arc::clone(problem.labels());
    let losses = call1(CrossEntropy::new(labels, problem.n_classes(), nodes), scores);
    let mut gradients = losses.clone().sum().backward();
    let mut split = |leaf: &Tensor<2>| {
        let gradient = leaf.grad_remove(&mut gradients).expect("the losses depend on every leaf");
        columns_apart(&gradient, runs.len())
    };
    let by_signals = split(&signals).into_iter();
    let mut by_weights = weights.map(|weights| split(&weights).into_iter());
    let gradients = by_signals.map(|signals| PassGradients {
        signals,
        weights: by_weights.as_mut().and_then(Iterator::next),
    });
    (values(losses), gradients.collect())
}

/// The classes' scores of each run, `N x C`, without gradients.
pub(super) fn scores(runs: &[&mut Run], passes: Vec<Pass>) -> Vec<Matrix> {
    let (signals, weights): (Vec<_>, Vec<_>) =
        passes.into_iter().map(|pass| (pass.signals, pass.weights)).unzip();
    let weights: Option<Vec<Tensor<2>>> = weights.into_iter().collect();
    columns_apart(&filtered(runs, beside(signals), weights.map(beside)), runs.len())
}

/// One filter for all runs, where they have one; `runs` are of the same model.
fn filtered(runs: &[&mut Run], signals: Tensor<2>, weights: Option<Tensor<2>>) -> Tensor<2> {
    match (weights, runs[0].network.filter_engine()) {
        (Some(weights), Some(engine)) => {
            call2(ChebyshevFilter::new(Arc::clone(engine)), signals, weights)
        }
        _ => signals,
    }
}

fn beside(mut matrices: Vec<Tensor<2>>) -> Tensor<2> {
    if matrices.len() == 1 { matrices.remove(0) } else { Tensor::cat(matrices, 1) }
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("our tensors are of single precision")
}

/// The columns of each run in a matrix of its own.
fn columns_apart(matrix: &Tensor<2>, n_runs: usize) -> Vec<Matrix> {
    let [rows, width] = matrix.dims();
    let columns = width / n_runs;
    let values = values(matrix.clone());
    if n_runs == 1 {
        return vec![Matrix { rows, columns, values }];
    }
    let part = |place: usize| {
        let mut part = Vec::with_capacity(rows * columns);
        for row in values.chunks_exact(width) {
            part.extend_from_slice(&row[place * columns..][..columns]);
        }
        Matrix { rows, columns, values: part }
    };
    (0..n_runs).into_par_iter().map(part).collect()
}

/// A function whose value nobody asks for and whose gradients are known already.
#[derive(Debug)]
struct GivenGradients<const N: usize>(Mutex<Option<[Matrix; N]>>);

impl<const N: usize> GivenGradients<N> {
    fn new(gradients: [Matrix; N]) -> Self {
        Self(Mutex::new(Some(gradients)))
    }
}

impl<const N: usize> Function<N> for GivenGradients<N> {
    fn forward(&self, _: [MatrixRef<'_>; N], _: bool) -> Matrix {
        Matrix::zeros(1, 1)
    }

    fn backward(&self, _: MatrixRef<'_>) -> [Matrix; N] {
        let gradients = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        gradients.expect("burn walks back once")
    }
}
