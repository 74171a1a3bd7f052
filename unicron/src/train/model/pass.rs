//! Forward and backward of one stage over one micro-batch.
//!
//! candle runs on one thread here (the command sees to it), so that the bits of a gradient depend on the
//! weights and the samples alone.

use super::block;
use super::parameters::{Layout, OF_BLOCK};
use crate::train::text::Samples;
use crate::{Error, Result};
use candle_core::{D, Device, Tensor, Var};

/// A stage with weights.
#[derive(Debug)]
pub struct Model {
    layout: Layout,
    weights: Vec<Var>,
    mask: Tensor,
}

/// A forward pass that waits for its backward.
#[derive(Debug)]
pub struct Forward {
    /// The input, where it came from another stage.
    input: Option<Var>,
    /// Rows of the residual stream, or the loss.
    output: Tensor,
}

/// What a backward pass gives.
#[derive(Debug, PartialEq)]
pub struct Backward {
    /// As [`Layout::gradient_len`]: of the mean loss of the micro-batch.
    pub gradient: Vec<f32>,
    /// Of the input, where it came from another stage.
    pub of_input: Option<Vec<f32>>,
}

impl Model {
    /// A stage with these weights.
    ///
    /// # Errors
    /// [`Error::Tensor`] if they are not as many as the layout's.
    pub fn new(layout: Layout, weights: &[f32]) -> Result<Self> {
        if weights.len() != layout.len() {
            return Err(Error::Tensor(format!(
                "a stage of {} weights was given {}",
                layout.len(),
                weights.len()
            )));
        }
        let device = Device::Cpu;
        let tensors = layout.parts().map(|(parameter, range)| {
            let tensor = Tensor::from_slice(&weights[range], &parameter.dims[..], &device)?;
            Var::from_tensor(&tensor)
        });
        let weights = tensors.collect::<candle_core::Result<_>>()?;
        let mask = block::mask(&layout.shape, &device)?;
        Ok(Self { layout, weights, mask })
    }

    /// Its parameters.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A forward pass. `input` is what the stage before gave, nothing for the first.
    ///
    /// # Errors
    /// [`Error::Tensor`] for an input of another size, or what candle says.
    pub fn forward(&self, samples: &Samples, input: Option<&[f32]>) -> Result<Forward> {
        let shape = &self.layout.shape;
        let rows = shape.sequences * shape.context;
        if samples.tokens.len() != rows || input.is_some_and(|i| i.len() != shape.boundary()) {
            return Err(Error::Tensor("the input of a stage has another size".to_owned()));
        }
        let mut weights = &self.weights[..];
        let (input, mut x) = match (self.layout.is_first, input) {
            (true, _) => {
                let (embedding, rest) = weights.split_at(2);
                weights = rest;
                (None, self.embed(samples, embedding)?)
            }
            (false, Some(input)) => {
                let tensor = Tensor::from_slice(input, (rows, shape.hidden), &Device::Cpu)?;
                let input = Var::from_tensor(&tensor)?;
                (Some(input.clone()), input.as_tensor().clone())
            }
            (false, None) => return Err(Error::Tensor("a later stage needs an input".to_owned())),
        };
        for _ in self.layout.layers.clone() {
            let (of_block, rest) = weights.split_at(OF_BLOCK);
            x = block::forward(shape, of_block, &self.mask, &x)?;
            weights = rest;
        }
        let output = if self.layout.is_last { loss(&x, weights, samples)? } else { x };
        Ok(Forward { input, output })
    }

    fn embed(&self, samples: &Samples, weights: &[Var]) -> Result<Tensor> {
        let shape = &self.layout.shape;
        let tokens = Tensor::from_slice(&samples.tokens, samples.tokens.len(), &Device::Cpu)?;
        let tokens = weights[0].index_select(&tokens, 0)?;
        let by_sequence = tokens.reshape((shape.sequences, shape.context, shape.hidden))?;
        let x = by_sequence.broadcast_add(&weights[1])?;
        Ok(x.reshape((shape.sequences * shape.context, shape.hidden))?)
    }

    /// The backward pass. `gradient` is that of the output, from the stage behind; nothing for the last.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a gradient of another size, or what candle says.
    pub fn backward(&self, forward: &Forward, gradient: Option<&[f32]>) -> Result<Backward> {
        let root = match gradient.filter(|_| !self.layout.is_last) {
            // Its derivative by the output is the gradient that came.
            Some(gradient) if gradient.len() == self.layout.shape.boundary() => {
                let dims = forward.output.dims();
                let gradient = Tensor::from_slice(gradient, dims, &Device::Cpu)?;
                (&forward.output * gradient)?.sum_all()?
            }
            None if self.layout.is_last => forward.output.clone(),
            _ => return Err(Error::Tensor("the gradient of an output is missing".to_owned())),
        };
        let gradients = root.backward()?;
        let mut flat = Vec::with_capacity(self.layout.gradient_len());
        for weight in &self.weights {
            match gradients.get(weight) {
                Some(gradient) => flat.extend(gradient.flatten_all()?.to_vec1::<f32>()?),
                None => flat.extend(std::iter::repeat_n(0.0, weight.elem_count())),
            }
        }
        if self.layout.is_last {
            flat.push(forward.output.to_scalar::<f32>()?);
        }
        let of_input = forward.input.as_ref().map(|input| match gradients.get(input) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>(),
            None => Ok(vec![0.0; input.elem_count()]),
        });
        Ok(Backward { gradient: flat, of_input: of_input.transpose()? })
    }
}

impl Forward {
    /// The output's values: the input of the stage behind, or the loss alone.
    ///
    /// # Errors
    /// What candle says.
    pub fn output(&self) -> Result<Vec<f32>> {
        Ok(self.output.flatten_all()?.to_vec1()?)
    }
}

/// Mean cross entropy of the next byte.
fn loss(x: &Tensor, weights: &[Var], samples: &Samples) -> Result<Tensor> {
    let [scale, shift, output] = weights else {
        return Err(Error::Tensor("the output layer has three tensors".to_owned()));
    };
    let logits = block::norm(x, scale, shift)?.matmul(output)?;
    let maximum = block::row_maximum(&logits)?;
    let exponentials = logits.broadcast_sub(&maximum)?.exp()?;
    let normaliser = (exponentials.sum_keepdim(D::Minus1)?.log()? + maximum)?;
    let targets = Tensor::from_slice(&samples.targets, (samples.targets.len(), 1), &Device::Cpu)?;
    let of_target = logits.gather(&targets, D::Minus1)?;
    Ok((normaliser - of_target)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::{Settings, Shape};
    use crate::train::text::{OWN, Text};

    const SHAPE: Shape = Shape { layers: 2, ..Shape::NANO };

    fn samples() -> Samples {
        Text::new(OWN, &SHAPE).unwrap().samples(&SHAPE, 1, 1, 0)
    }

    fn loss_of(layout: &Layout, weights: &[f32]) -> f64 {
        let model = Model::new(layout.clone(), weights).unwrap();
        f64::from(model.forward(&samples(), None).unwrap().output().unwrap()[0])
    }

    /// Along a direction, because a single weight's effect drowns in single precision.
    #[test]
    fn the_gradient_equals_finite_differences() {
        let layout = Layout::new(&Settings::of(SHAPE), 0);
        // Larger than the first weights, so that attention isn't even.
        let weights: Vec<f32> = layout.initial_weights(3).iter().map(|w| w * 5.0).collect();
        let model = Model::new(layout.clone(), &weights).unwrap();
        let forward = model.forward(&samples(), None).unwrap();
        let gradient = model.backward(&forward, None).unwrap().gradient;
        for (parameter, range) in layout.parts() {
            let norm = gradient[range.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
            // Small against the curvature, large against single precision.
            let step = 0.004 / norm.max(1e-3);
            let moved = |sign: f32| {
                let mut weights = weights.clone();
                for i in range.clone() {
                    weights[i] += sign * step * gradient[i];
                }
                loss_of(&layout, &weights)
            };
            let measured = (moved(1.0) - moved(-1.0)) / (2.0 * f64::from(step));
            let expected = f64::from(norm * norm);
            let error = (measured - expected).abs();
            assert!(error < 0.03 * expected + 1e-5, "{}: {measured} {expected}", parameter.name);
        }
    }

    #[test]
    fn two_stages_are_one_model() {
        let whole = Layout::new(&Settings::of(SHAPE), 0);
        let weights = whole.initial_weights(3);
        let model = Model::new(whole, &weights).unwrap();
        let forward = model.forward(&samples(), None).unwrap();
        let expected = model.backward(&forward, None).unwrap().gradient;

        let settings = Settings { stages: 2, ..Settings::of(SHAPE) };
        let [first, last] = [0, 1].map(|stage| {
            let layout = Layout::new(&settings, stage);
            let weights = layout.initial_weights(3);
            Model::new(layout, &weights).unwrap()
        });
        let before = first.forward(&samples(), None).unwrap();
        let behind = last.forward(&samples(), Some(&before.output().unwrap())).unwrap();
        let behind = last.backward(&behind, None).unwrap();
        let before = first.backward(&before, behind.of_input.as_deref()).unwrap();
        let gradient: Vec<f32> = before.gradient.into_iter().chain(behind.gradient).collect();
        assert_eq!(gradient, expected);
    }

    #[test]
    fn what_has_another_size_is_refused() {
        let layout = Layout::new(&Settings { stages: 2, ..Settings::of(SHAPE) }, 1);
        assert!(Model::new(layout.clone(), &[0.0; 3]).is_err());
        let weights = layout.initial_weights(3);
        let model = Model::new(layout, &weights).unwrap();
        assert!(model.forward(&samples(), Some(&[0.0; 3])).is_err());
        assert!(model.forward(&samples(), None).is_err());
    }
}
