//! Training in one process, without anybody who could fail: what all other ways of training must equal,
//! bit for bit.

use super::adam::State;
use super::model::{Layout, Model};
use super::settings::Settings;
use super::sums::Sums;
use super::text::Text;
use crate::transition::tree::Node;
use crate::{Error, Result};

/// Trains and returns the weights of each stage. `committed` is told each iteration and its mean loss.
///
/// # Errors
/// Settings that are out of range, and what the model's passes say.
pub fn train(
    settings: &Settings,
    text: &Text,
    mut committed: impl FnMut(u64, f64),
) -> Result<Vec<Vec<f32>>> {
    settings.check()?;
    let layouts: Vec<Layout> =
        (0..settings.stages).map(|stage| Layout::new(settings, stage)).collect();
    let initial = |layout: &Layout| State::new(layout.initial_weights(settings.seed));
    let mut states: Vec<State> = layouts.iter().map(initial).collect();
    for iteration in 1..=settings.iterations {
        let models = layouts.iter().zip(&states);
        let models = models.map(|(layout, state)| Model::new(layout.clone(), state.weights()));
        let models = models.collect::<Result<Vec<Model>>>()?;
        let gradients = gradients(settings, text, &models, iteration)?;
        for (state, gradient) in states.iter_mut().zip(&gradients) {
            *state = state.step(gradient, settings.micro_batches, settings.shape.learning_rate);
        }
        let loss = gradients.last().and_then(|gradient| gradient.last()).copied();
        committed(iteration, mean_loss(loss.unwrap_or(f32::NAN), settings));
    }
    Ok(states.iter().map(|state| state.weights().to_vec()).collect())
}

/// The mean of a sum over micro-batches.
pub(super) fn mean_loss(sum: f32, settings: &Settings) -> f64 {
    f64::from(sum) / f64::from(settings.micro_batches)
}

/// The sum of each stage's gradient.
fn gradients(
    settings: &Settings,
    text: &Text,
    stages: &[Model],
    iteration: u64,
) -> Result<Vec<Vec<f32>>> {
    let mut sums = vec![Sums::new(settings.micro_batches); stages.len()];
    for micro_batch in 0..settings.micro_batches {
        let samples = text.samples(&settings.shape, settings.seed, iteration, micro_batch);
        let mut input: Option<Vec<f32>> = None;
        let mut forwards = Vec::with_capacity(stages.len());
        for stage in stages {
            let forward = stage.forward(&samples, input.as_deref())?;
            input = Some(forward.output()?);
            forwards.push(forward);
        }
        let mut gradient: Option<Vec<f32>> = None;
        for ((stage, forward), sums) in stages.iter().zip(&forwards).zip(&mut sums).rev() {
            let backward = stage.backward(forward, gradient.as_deref())?;
            sums.add(Node::leaf(micro_batch), backward.gradient);
            gradient = backward.of_input;
        }
    }
    let whole = |sums: &Sums| sums.root().map(<[f32]>::to_vec);
    let gradients = sums.iter().map(whole).collect::<Option<_>>();
    gradients.ok_or_else(|| Error::Tensor("an iteration has micro-batches".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::Shape;
    use crate::train::text::OWN;

    fn trained(stages: u32, iterations: u64) -> (Vec<f32>, Vec<f64>) {
        let settings = Settings { stages, iterations, ..Settings::of(Shape::NANO) };
        let text = Text::new(OWN, &settings.shape).unwrap();
        let mut losses = Vec::new();
        let weights = train(&settings, &text, |_, loss| losses.push(loss)).unwrap();
        (weights.concat(), losses)
    }

    #[test]
    fn it_learns() {
        let (_, losses) = trained(1, 30);
        assert!((losses[0] - 256_f64.ln()).abs() < 0.1, "{}", losses[0]);
        assert!(losses[29] < losses[0] - 0.5, "{losses:?}");
    }

    #[test]
    fn any_number_of_stages_gives_the_same_bits() {
        let one = trained(1, 3);
        assert!((2..=4).all(|stages| trained(stages, 3) == one));
    }
}
