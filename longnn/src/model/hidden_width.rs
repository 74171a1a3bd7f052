//! Models that filter the hidden features, each channel in a basis of its own: FavardGNN and
//! OptBasisGNN (Guo and Wei 2023; section 2 of the notes).
//!
//! Favard's theorem: every three-term recurrence with positive `β` is that of some orthonormal basis.
//! FavardGNN learns the recurrence; OptBasisGNN takes the one whose basis is orthonormal with respect
//! to the channel's own spectrum, which is Lanczos' algorithm and has nothing to learn.

use super::forward::Forward;
use super::{Initializer, Parameters, Problem, Settings};
use crate::graph::SelfLoops;
use burn::tensor::Tensor;

/// `√β` is kept above.
const LEAST_ROOT_BETA: f64 = 1e-2;
/// Added to a squared norm, so that a channel of zeros stays one.
const LEAST_SQUARE: f64 = 1e-12;

/// A model of this form: `(Σ_k α_k ⊙ h_k) W + b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenWidth {
    /// The recurrence is learned.
    Favard,
    /// The recurrence follows from the signals.
    OptBasis,
}

/// A basis' last two functions.
struct Recurrence {
    last: Tensor<2>,
    before: Option<Tensor<2>>,
}

impl HiddenWidth {
    pub(super) fn initial(
        self,
        settings: &Settings,
        problem: &Problem,
        initializer: &mut Initializer,
    ) -> Parameters {
        let (hidden, n_orders) = (settings.hidden, settings.degree + 1);
        let first = initializer.affine(problem.n_features(), hidden);
        let last = initializer.affine(hidden, problem.n_classes());
        // The filter starts as the identity, the recurrence as h_k = Â h_{k-1} − h_{k-2}.
        let row_of_ones = |row: bool| vec![if row { 1.0 } else { 0.0 }; hidden];
        let mixing = (0..n_orders).flat_map(|order| row_of_ones(order == 0)).collect();
        let recurrence = (0..2 * n_orders).flat_map(|row| row_of_ones(row < n_orders)).collect();
        Parameters {
            encoder: vec![first, last],
            coefficients: None,
            mixing: Some(initializer.given(n_orders, hidden, mixing)),
            basis: (self == Self::Favard)
                .then(|| initializer.given(2 * n_orders, hidden, recurrence)),
        }
    }

    /// The classes' scores.
    pub(super) fn forward(self, parameters: &Parameters, pass: Forward<'_>) -> Tensor<2> {
        let first = &parameters.encoder[0];
        let hidden = pass.hidden(pass.times_features(first), first);
        let filtered = self.filter(hidden, parameters, pass);
        parameters.encoder[1].forward(pass.drop_values(filtered))
    }

    fn filter(self, signals: Tensor<2>, parameters: &Parameters, pass: Forward<'_>) -> Tensor<2> {
        let degree = pass.settings.degree;
        let mixing = parameters.mixing.as_ref().expect("both models have it").val();
        let weight = |order: usize| row(&mixing, order);
        let learned = parameters
            .basis
            .as_ref()
            .map(|basis| LearnedRecurrence { values: basis.val(), n_orders: degree + 1 });
        let first = match &learned {
            Some(learned) => signals / learned.root_beta(0),
            None => normalized(signals),
        };
        let mut sum = first.clone() * weight(0);
        let mut state = Recurrence { last: first, before: None };
        for order in 1..=degree {
            let product = pass.propagate(SelfLoops::AsGiven, state.last.clone());
            let next = match &learned {
                Some(learned) => learned.next(order, product, &state),
                None => orthonormalized(product, &state),
            };
            sum = sum + next.clone() * weight(order);
            state = Recurrence { before: Some(state.last), last: next };
        }
        sum
    }
}

/// FavardGNN's `√β_0 … √β_K` and `η_0 … η_K` of each channel, one below the other.
struct LearnedRecurrence {
    values: Tensor<2>,
    n_orders: usize,
}

impl LearnedRecurrence {
    fn root_beta(&self, order: usize) -> Tensor<2> {
        row(&self.values, order).clamp_min(LEAST_ROOT_BETA)
    }

    fn eta(&self, order: usize) -> Tensor<2> {
        row(&self.values, self.n_orders + order)
    }

    /// `h_k = (Â h_{k−1} − η_{k−1} h_{k−1} − √β_{k−1} h_{k−2}) / √β_k`.
    fn next(&self, order: usize, product: Tensor<2>, state: &Recurrence) -> Tensor<2> {
        let mut next = product - state.last.clone() * self.eta(order - 1);
        if let Some(before) = &state.before {
            next = next - before.clone() * self.root_beta(order - 1);
        }
        next / self.root_beta(order)
    }
}

/// `Â h_{k−1}` without its parts along the two functions before, of length one.
fn orthonormalized(product: Tensor<2>, state: &Recurrence) -> Tensor<2> {
    let without = |x: Tensor<2>, direction: &Tensor<2>| {
        let along = (product.clone() * direction.clone()).sum_dim(0);
        x - direction.clone() * along
    };
    let mut next = without(product.clone(), &state.last);
    if let Some(before) = &state.before {
        next = without(next, before);
    }
    normalized(next)
}

/// Each channel of length one.
fn normalized(x: Tensor<2>) -> Tensor<2> {
    let length = (x.clone() * x.clone()).sum_dim(0).add_scalar(LEAST_SQUARE).sqrt();
    x / length
}

/// A row of a matrix, `1 x H`.
fn row(matrix: &Tensor<2>, row: usize) -> Tensor<2> {
    matrix.clone().slice_dim(0, row..row + 1)
}
