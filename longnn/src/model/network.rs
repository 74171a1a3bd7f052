//! One model with its settings: how its parameters start, and what it computes.
//!
//! A model that filters the classes' scores is called in two halves, so that training can put many
//! seeds side by side: [`Network::encode`] gives each seed's signals, [`Network::filter_weights`]
//! its filter, and one filter operation serves them all. The other models have no second half.

use super::forward::{Forward, Noise};
use super::hidden_width::HiddenWidth;
use super::layered::Layered;
use super::polynomial::Polynomial;
use super::{Architecture, Initializer, Parameters, Problem, Settings};
use crate::Result;
use crate::propagate::Chebyshev;
use burn::tensor::Tensor;
use std::sync::Arc;

/// A model on a graph.
#[derive(Debug)]
pub struct Network {
    problem: Problem,
    settings: Settings,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Polynomial(Polynomial),
    Layered(Layered),
    HiddenWidth(HiddenWidth),
}

impl Network {
    /// A model with its settings.
    ///
    /// # Errors
    /// If a setting is outside its range.
    pub fn new(architecture: Architecture, settings: Settings, problem: &Problem) -> Result<Self> {
        settings.check()?;
        let form = match architecture {
            Architecture::Gcn => Form::Layered(Layered::gcn()),
            Architecture::ChebNet => Form::Layered(Layered::chebnet()),
            Architecture::FavardGnn => Form::HiddenWidth(HiddenWidth::Favard),
            Architecture::OptBasisGnn => Form::HiddenWidth(HiddenWidth::OptBasis),
            polynomial => Form::Polynomial(Polynomial::new(polynomial, &settings, problem)?),
        };
        Ok(Self { problem: problem.clone(), settings, form })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the parameters start.
    #[must_use]
    pub fn initial(&self, mut initializer: Initializer) -> Parameters {
        match &self.form {
            Form::Polynomial(form) => form.initial(&self.settings, &self.problem, &mut initializer),
            Form::Layered(form) => form.initial(&self.settings, &self.problem, &mut initializer),
            Form::HiddenWidth(form) => {
                form.initial(&self.settings, &self.problem, &mut initializer)
            }
        }
    }

    /// The signals that are to be filtered, `N x C`, or the classes' scores where nothing is.
    #[must_use]
    pub fn encode(&self, parameters: &Parameters, noise: Option<Noise>) -> Tensor<2> {
        let pass = Forward { problem: &self.problem, settings: &self.settings, noise };
        match &self.form {
            Form::Polynomial(form) => form.encode(parameters, pass),
            Form::Layered(form) => form.forward(parameters, pass),
            Form::HiddenWidth(form) => form.forward(parameters, pass),
        }
    }

    /// The engine of the filter that follows [`Self::encode`]; `None` where none does.
    #[must_use]
    pub fn filter_engine(&self) -> Option<&Arc<Chebyshev>> {
        match &self.form {
            Form::Polynomial(form) => form.engine(),
            _ => None,
        }
    }

    /// The filter's Chebyshev weights, `(K+1) x C`; `None` where there is no filter.
    #[must_use]
    pub fn filter_weights(&self, parameters: &Parameters) -> Option<Tensor<2>> {
        match &self.form {
            Form::Polynomial(form) => form.weights(parameters),
            _ => None,
        }
    }

    /// The polynomial form, if that is what the model is.
    #[must_use]
    pub fn polynomial(&self) -> Option<&Polynomial> {
        match &self.form {
            Form::Polynomial(form) => Some(form),
            _ => None,
        }
    }
}
