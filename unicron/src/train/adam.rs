//! A stage's state, and the optimiser's step: Adam in single precision, element by element.
//!
//! A step writes a new state and leaves the old one: the old is the checkpoint in memory, without a copy.

use std::sync::Arc;

/// Weights and Adam's moments.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Steps that were taken.
    pub iteration: u64,
    /// Weights, first moments, second moments, one behind the other.
    pub values: Arc<Vec<f32>>,
}

/// Decay of the mean of gradients.
const FIRST_DECAY: f32 = 0.9;
/// Decay of the mean of their squares.
const SECOND_DECAY: f32 = 0.99;
/// Keeps a step from dividing by zero.
const EPSILON: f32 = 1e-8;

impl State {
    /// Before the first step.
    #[must_use]
    pub fn new(mut weights: Vec<f32>) -> Self {
        weights.resize(3 * weights.len(), 0.0);
        Self { iteration: 0, values: Arc::new(weights) }
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.values[..self.values.len() / 3]
    }

    /// The state after a step along a gradient that is the sum of `micro_batches`.
    ///
    /// # Panics
    /// If the gradient is shorter than the weights.
    #[must_use]
    pub fn step(&self, gradient: &[f32], micro_batches: u32, learning_rate: f32) -> Self {
        let len = self.values.len() / 3;
        let gradient = &gradient[..len];
        let (weights, moments) = self.values.split_at(len);
        let (first, second) = moments.split_at(len);
        let iteration = self.iteration + 1;
        let share = 1.0 / micro_batches as f32;
        let rate = learning_rate / bias(FIRST_DECAY, iteration);
        let second_bias = bias(SECOND_DECAY, iteration);
        let mut values = vec![0.0; 3 * len];
        let (new_weights, moments) = values.split_at_mut(len);
        let (new_first, new_second) = moments.split_at_mut(len);
        for i in 0..len {
            let gradient = gradient[i] * share;
            new_first[i] = FIRST_DECAY * first[i] + (1.0 - FIRST_DECAY) * gradient;
            new_second[i] = SECOND_DECAY * second[i] + (1.0 - SECOND_DECAY) * gradient * gradient;
            let deviation = (new_second[i] / second_bias).sqrt() + EPSILON;
            new_weights[i] = weights[i] - rate * new_first[i] / deviation;
        }
        Self { iteration, values: Arc::new(values) }
    }
}

/// `1 − decay^iteration`, by multiplications only: a library's power may differ in its last bit.
fn bias(decay: f32, iteration: u64) -> f32 {
    let (mut power, mut base, mut left) = (1.0_f64, f64::from(decay), iteration);
    while left > 0 {
        if left % 2 == 1 {
            power *= base;
        }
        base *= base;
        left /= 2;
    }
    (1.0 - power) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first step is the learning rate against the gradient's sign, whatever its size.
    #[test]
    fn the_first_step_is_the_learning_rate() {
        let state = State::new(vec![1.0, 1.0, 1.0]);
        let after = state.step(&[4.0, -0.004, 0.0, 99.0], 4, 0.1);
        let expected = [0.9, 1.1, 1.0];
        for (weight, expected) in after.weights().iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-5, "{weight} {expected}");
        }
        assert_eq!((after.iteration, state.iteration), (1, 0));
    }

    #[test]
    fn the_bias_is_a_power() {
        for iteration in [1, 2, 7, 1000] {
            let expected = 1.0 - 0.9_f64.powf(iteration as f64);
            assert!((f64::from(bias(0.9, iteration)) - expected).abs() < 1e-6);
        }
    }
}
