//! Adam (Kingma and Ba 2015) with coupled weight decay as PyTorch has it, in one pass.
//!
//! burn's own makes a dozen passes over parameter, gradient and moments, which on these small networks
//! is a quarter of an epoch. This one is an [`Optimizer`] like any other: burn's groups, learning rates
//! and records work with it, and its state is that of burn's Adam.

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::optim::{AdamState, AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
/// PyTorch's; burn's default is another.
const EPSILON: f32 = 1e-8;
/// Values of a task.
const BLOCK: usize = 1 << 14;

/// Adam for a group of parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adam {
    /// Added to the gradient times the parameter.
    pub weight_decay: f32,
}

impl Optimizer for Adam {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
    ) -> (Tensor<D>, Option<AdamState<D>>) {
        let mut moments = match state {
            Some(state) => state.momentum,
            None => AdaptiveMomentumState::new(0, parameter.zeros_like(), parameter.zeros_like()),
        };
        moments.time += 1;
        let steps = moments.time as i32;
        let root_2 = (1.0 - BETA_2.powi(steps)).sqrt();
        let update = Update {
            weight_decay: self.weight_decay,
            rate: learning_rate as f32 * root_2 / (1.0 - BETA_1.powi(steps)),
            epsilon: EPSILON * root_2,
        };
        let (parameter, first, second) = <Dispatch as AdamBackend>::adam(
            update,
            parameter.into_dispatch(),
            gradient.into_dispatch(),
            moments.moment_1.into_dispatch(),
            moments.moment_2.into_dispatch(),
        );
        moments.moment_1 = Tensor::from_dispatch(first);
        moments.moment_2 = Tensor::from_dispatch(second);
        (Tensor::from_dispatch(parameter), Some(AdamState::new(moments)))
    }

    fn to_device<const D: usize>(mut state: AdamState<D>, device: &Device) -> AdamState<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

/// The numbers of one step; the moments' corrections are folded in.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    weight_decay: f32,
    rate: f32,
    epsilon: f32,
}

/// What a backend must do for Adam; burn's macro routes to it.
#[backend_extension(Flex)]
pub trait AdamBackend: Backend {
    /// Parameter and moments after a step.
    fn adam(
        update: Update,
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl AdamBackend for Flex {
    fn adam(
        update: Update,
        parameter: FlexTensor,
        gradient: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let gradient = gradient.to_contiguous();
        let [mut parameter, mut first, mut second] =
            [parameter, first, second].map(|tensor| tensor.to_contiguous());
        let blocks = parameter.storage_mut::<f32>().par_chunks_mut(BLOCK);
        let gradients = gradient.as_slice::<f32>().expect("contiguous").par_chunks(BLOCK);
        let firsts = first.storage_mut::<f32>().par_chunks_mut(BLOCK);
        let seconds = second.storage_mut::<f32>().par_chunks_mut(BLOCK);
        blocks.zip(gradients).zip(firsts.zip(seconds)).for_each(
            |((parameter, gradient), (first, second))| {
                Arch::new().dispatch(Block { update, parameter, gradient, first, second });
            },
        );
        (parameter, first, second)
    }
}

/// A block of values, compiled for the widest vectors.
struct Block<'a> {
    update: Update,
    parameter: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl NullaryFnOnce for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Update { weight_decay, rate, epsilon } = self.update;
        let moments = self.first.iter_mut().zip(self.second);
        let values = self.parameter.iter_mut().zip(self.gradient).zip(moments);
        for ((parameter, gradient), (first, second)) in values {
            let gradient = gradient + weight_decay * *parameter;
            *first = BETA_1 * *first + (1.0 - BETA_1) * gradient;
            *second = BETA_2 * *second + (1.0 - BETA_2) * gradient * gradient;
            *parameter -= rate * *first / (second.sqrt() + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::AdamConfig;
    use burn::optim::decay::WeightDecayConfig;

    /// Twenty steps beside burn's, which differs in the order of its roundings only.
    #[test]
    fn steps_are_those_of_burns_adam() {
        let device = Device::flex();
        let start: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut ours = (Tensor::<1>::from_floats(start.as_slice(), &device), None);
        let mut theirs = (ours.0.clone(), None);
        let decay = WeightDecayConfig::new(1e-2);
        let config = AdamConfig::new().with_epsilon(EPSILON).with_weight_decay(Some(decay));
        let reference = config.build();
        for step in 0..20 {
            let gradient = ours.0.clone().mul_scalar(0.3).add_scalar((step as f32).cos());
            ours = Adam { weight_decay: 1e-2 }.step(0.05, ours.0, gradient.clone(), ours.1);
            theirs = reference.step(0.05, theirs.0, gradient, theirs.1);
        }
        let difference = (ours.0 - theirs.0).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "{difference}");
    }
}
