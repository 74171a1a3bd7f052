//! Models that filter the hidden features, each channel in a basis of its own: FavardGNN and
//! OptBasisGNN (Guo and Wei 2023; section 2 of the notes).
//!
//! FavardGNN learns the recurrence of the basis; OptBasisGNN's follows from the signals, which leaves
//! nothing to learn.

use super::forward::Forward;
use super::{Initializer, Parameters, Problem, Settings};
use crate::autodiff::function::call2;
use crate::autodiff::recurrence::{FavardFilter, LanczosFilter};
use crate::graph::SelfLoops;
use burn::tensor::Tensor;
use std::sync::Arc;

/// A model of this form: `(Σ_k α_k ⊙ h_k) W + b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenWidth {
    /// The recurrence is learned.
    Favard,
    /// The recurrence follows from the signals.
    OptBasis,
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
        let mixing = parameters.mixing.as_ref().expect("both models have it").val();
        let operator = Arc::clone(pass.problem.operator(SelfLoops::AsGiven));
        let pool = Arc::clone(pass.problem.pool());
        match &parameters.basis {
            Some(recurrence) => {
                let all = Tensor::cat(vec![mixing, recurrence.val()], 0);
                call2(FavardFilter::new(operator, pool), signals, all)
            }
            None => call2(LanczosFilter::new(operator, pool), signals, mixing),
        }
    }
}
