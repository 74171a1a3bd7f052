//! Keys as they were before rotary embedding.
//!
//! Before it, a channel of a key means the same at every position, and the bias of the key's projection,
//! which is large in some models (Qwen2), is the same number for every token. Without both, keys are easier
//! to quantize; they have to be put back whenever the keys are read.

use crate::model::rope::Rope;
use std::ops::Range;
use std::sync::Arc;

/// What is taken off a layer's keys before they are held.
#[derive(Debug, Clone)]
pub struct PreRope {
    rope: Arc<Rope>,
    /// `[KV heads][head_dim]`; empty if there is none.
    bias: Vec<f32>,
}

impl PreRope {
    /// Of a layer with this bias, `[KV heads][head_dim]`, or none.
    pub fn new(rope: Arc<Rope>, bias: Vec<f32>) -> PreRope {
        PreRope { rope, bias }
    }

    /// From the key that attention sees to the one that is held.
    pub(super) fn take_off(&self, head_idx: usize, position: usize, key: &mut [f32]) {
        self.rope.apply(&self.rope.turns(position..position + 1).reversed(), key);
        let bias = self.bias_of(head_idx, key.len());
        for (element, bias) in key.iter_mut().zip(bias) {
            *element -= bias;
        }
    }

    /// From the keys that are held at some positions, `[positions][head_dim]`, to those that attention sees.
    pub(super) fn put_back(&self, head_idx: usize, positions: Range<usize>, keys: &mut [f32]) {
        if positions.is_empty() {
            return;
        }
        let head_dim = keys.len() / positions.len();
        for key in keys.chunks_exact_mut(head_dim) {
            for (element, bias) in key.iter_mut().zip(self.bias_of(head_idx, head_dim)) {
                *element += bias;
            }
        }
        self.rope.apply(&self.rope.turns(positions), keys);
    }

    fn bias_of(&self, head_idx: usize, head_dim: usize) -> &[f32] {
        self.bias.get(head_idx * head_dim..(head_idx + 1) * head_dim).unwrap_or_default()
    }
}
