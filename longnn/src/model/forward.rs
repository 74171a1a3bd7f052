//! One forward pass: the graph, the settings, where dropout is from, and the steps that networks are
//! made of.

use super::{Affine, Problem, Settings};
use crate::autodiff::features::TimesFeatures;
use crate::autodiff::function::{call1, call2};
use crate::autodiff::pointwise::{DropoutLayer, HiddenLayer};
use crate::autodiff::propagation::Propagation;
use crate::graph::SelfLoops;
use crate::propagate::Dropout;
use burn::tensor::Tensor;
use std::sync::Arc;

/// Where a pass has its dropout from. Every draw is a function of seed, epoch, place in the network
/// and position, so a seed has the same ones whoever is trained beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    /// The seed of the run.
    pub seed: u64,
    /// Differs from pass to pass.
    pub pass: u64,
    /// Only the hidden layer's: what the official code forgets to switch off when it evaluates.
    pub hidden_only: bool,
}

/// The places in a network where values are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Features,
    Hidden,
    Propagation,
}

/// A pass through a network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forward<'a> {
    pub problem: &'a Problem,
    pub settings: &'a Settings,
    /// `None` where nothing is dropped.
    pub noise: Option<Noise>,
}

impl Forward<'_> {
    /// `dropout(X) W`, without the bias.
    pub fn times_features(&self, affine: &Affine) -> Tensor<2> {
        let dropout = self.dropout(Place::Features, self.settings.feature_dropout);
        let features = TimesFeatures::new(Arc::clone(self.problem.features()), dropout);
        call1(features, affine.weight.val())
    }

    /// `dropout(relu(x + b))`.
    pub fn hidden(&self, x: Tensor<2>, affine: &Affine) -> Tensor<2> {
        let dropout = self.dropout(Place::Hidden, self.settings.hidden_dropout);
        call2(HiddenLayer::new(dropout), x, affine.bias.val())
    }

    /// `dropout(x)`, before propagation or after it.
    pub fn drop_values(&self, x: Tensor<2>) -> Tensor<2> {
        match self.dropout(Place::Propagation, self.settings.propagation_dropout) {
            Some(dropout) => call1(DropoutLayer(dropout), x),
            None => x,
        }
    }

    /// `Â x`.
    pub fn propagate(&self, self_loops: SelfLoops, x: Tensor<2>) -> Tensor<2> {
        let operator = Arc::clone(self.problem.operator(self_loops));
        call1(Propagation::new(operator, Arc::clone(self.problem.pool())), x)
    }

    fn dropout(&self, place: Place, rate: f64) -> Option<Dropout> {
        let noise = self.noise.filter(|noise| !noise.hidden_only || place == Place::Hidden)?;
        let pass = noise.pass * 3 + place as u64;
        Dropout::new(rate, noise.seed, pass).expect("settings are checked before training")
    }
}
