//! Which parameters a stage has, in which order, and what they are at first.

use crate::train::settings::{Settings, Shape, VOCABULARY};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use std::ops::Range;

/// Spread of the initial weights, GPT-2's.
const INITIAL_DEVIATION: f32 = 0.02;

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// Of a bias.
    Zero,
    /// Of a norm's scale.
    One,
    /// Of a matrix.
    Normal,
}

/// A tensor of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a file of weights.
    pub name: String,
    /// Its shape.
    pub dims: Vec<usize>,
    /// How it starts.
    pub initial: Initial,
}

impl Parameter {
    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The parameters of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The model.
    pub shape: Shape,
    /// Its blocks.
    pub layers: Range<usize>,
    /// Whether it has the embedding.
    pub is_first: bool,
    /// Whether it has the output layer and the loss.
    pub is_last: bool,
    /// In the order of the flat vector.
    pub parameters: Vec<Parameter>,
    /// Place of the first among the parameters of the whole model.
    first_parameter: usize,
}

/// Parameters of the embedding, before those of the blocks.
const OF_EMBEDDING: usize = 2;
/// Parameters of a block.
pub(super) const OF_BLOCK: usize = 12;

impl Layout {
    /// That of a stage: the blocks are spread evenly.
    ///
    /// # Panics
    /// If there is no such stage.
    #[must_use]
    pub fn new(settings: &Settings, stage: u32) -> Self {
        assert!(stage < settings.stages, "stages are 0 to {}", settings.stages - 1);
        let shape = settings.shape;
        let bound = |stage: u32| shape.layers * stage as usize / settings.stages as usize;
        let layers = bound(stage)..bound(stage + 1);
        let (is_first, is_last) = (stage == 0, stage + 1 == settings.stages);
        let mut parameters = Vec::new();
        if is_first {
            parameters.extend(embedding(&shape));
        }
        for layer in layers.clone() {
            parameters.extend(block(&shape, layer));
        }
        if is_last {
            parameters.extend(output(&shape));
        }
        let first_parameter = match is_first {
            true => 0,
            false => OF_EMBEDDING + layers.start * OF_BLOCK,
        };
        Self { shape, layers, is_first, is_last, parameters, first_parameter }
    }

    /// How many values the stage has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values its gradient has: the loss is summed up like a gradient, behind the last stage's.
    #[must_use]
    pub fn gradient_len(&self) -> usize {
        self.len() + usize::from(self.is_last)
    }

    /// Each parameter with its part of the flat vector.
    pub fn parts(&self) -> impl Iterator<Item = (&Parameter, Range<usize>)> {
        self.parameters.iter().scan(0, |end, parameter| {
            let start = *end;
            *end += parameter.len();
            Some((parameter, start..*end))
        })
    }

    /// The first weights, each parameter from a random stream of its own.
    ///
    /// # Panics
    /// Never: the spread is finite.
    #[must_use]
    pub fn initial_weights(&self, seed: u64) -> Vec<f32> {
        let normal = Normal::new(0.0, INITIAL_DEVIATION).expect("the spread is finite");
        let mut weights = Vec::with_capacity(self.len());
        for (index, parameter) in self.parameters.iter().enumerate() {
            let len = parameter.len();
            match parameter.initial {
                Initial::Zero => weights.extend(std::iter::repeat_n(0.0, len)),
                Initial::One => weights.extend(std::iter::repeat_n(1.0, len)),
                Initial::Normal => {
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    // Streams from the top: those of the samples count from below.
                    random.set_stream(u64::MAX - (self.first_parameter + index) as u64);
                    weights.extend(normal.sample_iter(&mut random).take(len));
                }
            }
        }
        weights
    }
}

fn parameter(name: String, dims: &[usize], initial: Initial) -> Parameter {
    Parameter { name, dims: dims.to_vec(), initial }
}

fn embedding(shape: &Shape) -> [Parameter; OF_EMBEDDING] {
    [
        parameter("embedding.tokens".into(), &[VOCABULARY, shape.hidden], Initial::Normal),
        parameter("embedding.positions".into(), &[shape.context, shape.hidden], Initial::Normal),
    ]
}

/// Matrices are input by output.
fn block(shape: &Shape, layer: usize) -> [Parameter; OF_BLOCK] {
    let h = shape.hidden;
    let named = |name: &str, dims: &[usize], initial| {
        parameter(format!("blocks.{layer}.{name}"), dims, initial)
    };
    [
        named("attention.norm.scale", &[h], Initial::One),
        named("attention.norm.shift", &[h], Initial::Zero),
        named("attention.queries_keys_values.weight", &[h, 3 * h], Initial::Normal),
        named("attention.queries_keys_values.bias", &[3 * h], Initial::Zero),
        named("attention.output.weight", &[h, h], Initial::Normal),
        named("attention.output.bias", &[h], Initial::Zero),
        named("mlp.norm.scale", &[h], Initial::One),
        named("mlp.norm.shift", &[h], Initial::Zero),
        named("mlp.up.weight", &[h, 4 * h], Initial::Normal),
        named("mlp.up.bias", &[4 * h], Initial::Zero),
        named("mlp.down.weight", &[4 * h, h], Initial::Normal),
        named("mlp.down.bias", &[h], Initial::Zero),
    ]
}

fn output(shape: &Shape) -> [Parameter; 3] {
    [
        parameter("output.norm.scale".into(), &[shape.hidden], Initial::One),
        parameter("output.norm.shift".into(), &[shape.hidden], Initial::Zero),
        parameter("output.weight".into(), &[shape.hidden, VOCABULARY], Initial::Normal),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_parts_of_one_model() {
        let whole = Layout::new(&Settings::of(Shape::NANO), 0);
        for stages in 1..=4 {
            let settings = Settings { stages, ..Settings::of(Shape::NANO) };
            let parts: Vec<Layout> =
                (0..stages).map(|stage| Layout::new(&settings, stage)).collect();
            let weights: Vec<f32> = parts.iter().flat_map(|part| part.initial_weights(7)).collect();
            assert_eq!(weights, whole.initial_weights(7));
            let parameters: Vec<Parameter> =
                parts.into_iter().flat_map(|part| part.parameters).collect();
            assert_eq!(parameters, whole.parameters);
        }
    }
}
