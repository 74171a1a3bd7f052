//! Models that propagate inside each of two layers: GCN (Kipf and Welling 2017) and ChebNet
//! (Defferrard et al. 2016; section 2 of the notes).

use super::forward::Forward;
use super::{Initializer, Parameters, Problem, Settings};
use crate::graph::SelfLoops;
use burn::tensor::Tensor;

/// A model of this form: `Σ_k p_k(Â) X W_k + b` twice, a rectifier between.
#[derive(Debug)]
pub struct Layered {
    /// GCN has the one term `Ã X W`; ChebNet has `T_0 … T_{K-1}` of `L − I = −Â`.
    is_chebyshev: bool,
}

impl Layered {
    /// GCN.
    #[must_use]
    pub fn gcn() -> Self {
        Self { is_chebyshev: false }
    }

    /// ChebNet, of [`Settings::degree`].
    #[must_use]
    pub fn chebnet() -> Self {
        Self { is_chebyshev: true }
    }

    fn n_terms(&self, settings: &Settings) -> usize {
        if self.is_chebyshev { settings.degree + 1 } else { 1 }
    }

    pub(super) fn initial(
        &self,
        settings: &Settings,
        problem: &Problem,
        initializer: &mut Initializer,
    ) -> Parameters {
        let n_terms = self.n_terms(settings);
        let mut layer = |n_inputs: usize, n_outputs: usize| {
            (0..n_terms).map(|_| initializer.glorot(n_inputs, n_outputs)).collect::<Vec<_>>()
        };
        let mut encoder = layer(problem.n_features(), settings.hidden);
        encoder.extend(layer(settings.hidden, problem.n_classes()));
        Parameters { encoder, coefficients: None, mixing: None, basis: None }
    }

    /// The classes' scores.
    pub(super) fn forward(&self, parameters: &Parameters, pass: Forward<'_>) -> Tensor<2> {
        let (first, second) = parameters.encoder.split_at(self.n_terms(pass.settings));
        let terms = first.iter().map(|affine| pass.times_features(affine));
        let hidden = pass.hidden(self.propagate(terms.collect(), pass), &first[0]);
        let terms = second.iter().map(|affine| hidden.clone().matmul(affine.weight.val()));
        self.propagate(terms.collect(), pass) + second[0].bias.val()
    }

    /// `Σ_k T_k(−Â) Z_k` by Clenshaw's rule, or `Ã Z_0`.
    fn propagate(&self, mut terms: Vec<Tensor<2>>, pass: Forward<'_>) -> Tensor<2> {
        if !self.is_chebyshev {
            return pass.propagate(SelfLoops::Added, terms.remove(0));
        }
        let propagate = |x: Tensor<2>| pass.propagate(SelfLoops::AsGiven, x);
        // b_k = Z_k − 2 Â b_{k+1} − b_{k+2}, and at the end only once Â b_1.
        let (mut last, mut before): (Option<Tensor<2>>, Option<Tensor<2>>) = (None, None);
        while terms.len() > 1 {
            let mut next = terms.pop().expect("there are more than one");
            if let Some(last) = &last {
                next = next - propagate(last.clone()).mul_scalar(2.0);
            }
            if let Some(before) = before {
                next = next - before;
            }
            (before, last) = (last, Some(next));
        }
        let mut sum = terms.remove(0);
        if let Some(last) = last {
            sum = sum - propagate(last);
        }
        if let Some(before) = before {
            sum = sum - before;
        }
        sum
    }
}
