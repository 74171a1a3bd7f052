//! Models that compute the classes' scores of each node first and filter them then: LON-GNN (section
//! 1.4 of the notes), JacobiConv, ChebNetII, BernNet, GPRGNN, APPNP. MLP is the one without a filter.

use super::forward::Forward;
use super::settings::Reparametrization;
use super::{Architecture, Initializer, Parameters, Problem, Settings};
use crate::Result;
use crate::autodiff::filter::{FilterWeights, flatten};
use crate::autodiff::function::call1;
use crate::basis::{Basis, ExponentMap, Exponents, Measure, Sign};
use crate::filter::{
    self, Coefficients, Decomposition, ExponentSource, FilterNorm, FilterPenalty, Parametrization,
    Sharing, personalized_pagerank,
};
use crate::graph::SelfLoops;
use crate::propagate::Chebyshev;
use burn::module::Param;
use burn::tensor::Tensor;
use std::sync::Arc;

/// How near to the pole of the weight a free exponent may come.
const LEAST_EXPONENT: f32 = -0.999;

/// A model of this form.
#[derive(Debug)]
pub struct Polynomial {
    /// Whether the scores are linear in the features (JacobiConv) or have a hidden layer.
    is_linear: bool,
    filter: Option<Filter>,
}

#[derive(Debug)]
struct Filter {
    engine: Arc<Chebyshev>,
    parametrization: Arc<Parametrization>,
    penalty: Option<FilterPenalty>,
    start: filter::Parameters,
    /// Whether the coefficients are learned; APPNP's are not.
    is_learned: bool,
    /// Whether exponents have to be kept from the pole after each step.
    is_free: bool,
}

impl Polynomial {
    /// The form of one of these architectures.
    pub(super) fn new(
        architecture: Architecture,
        settings: &Settings,
        problem: &Problem,
    ) -> Result<Self> {
        let is_linear =
            matches!(architecture, Architecture::Jacobi | Architecture::JacobiPublished);
        let filter = match architecture {
            Architecture::Mlp => None,
            _ => Some(Filter::new(architecture, settings, problem)?),
        };
        Ok(Self { is_linear, filter })
    }

    pub(super) fn initial(
        &self,
        settings: &Settings,
        problem: &Problem,
        initializer: &mut Initializer,
    ) -> Parameters {
        let (n_features, n_classes) = (problem.n_features(), problem.n_classes());
        let encoder = if self.is_linear {
            vec![initializer.affine(n_features, n_classes)]
        } else {
            let hidden = initializer.affine(n_features, settings.hidden);
            vec![hidden, initializer.affine(settings.hidden, n_classes)]
        };
        let mut parameters = Parameters { encoder, coefficients: None, mixing: None, basis: None };
        let learned = self.filter.as_ref().filter(|filter| filter.is_learned);
        if let Some(Filter { start, .. }) = learned {
            let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
            let given = |rows: usize, columns: usize, values: Vec<f32>| {
                (!values.is_empty()).then(|| initializer.given(rows, columns, values))
            };
            parameters.coefficients = given(1, start.shared.len(), narrow(&start.shared));
            let own = &start.per_channel;
            parameters.mixing = given(own.n_rows(), own.n_columns(), narrow(own.as_slice()));
            let exponents = [&start.a[..], &start.b].concat();
            parameters.basis = given(1, exponents.len(), narrow(&exponents));
        }
        parameters
    }

    /// The scores before the filter.
    pub(super) fn encode(&self, parameters: &Parameters, pass: Forward<'_>) -> Tensor<2> {
        let first = &parameters.encoder[0];
        let product = pass.times_features(first);
        let scores = if self.is_linear {
            product + first.bias.val()
        } else {
            parameters.encoder[1].forward(pass.hidden(product, first))
        };
        pass.drop_values(scores)
    }

    pub(super) fn engine(&self) -> Option<&Arc<Chebyshev>> {
        self.filter.as_ref().map(|filter| &filter.engine)
    }

    pub(super) fn weights(&self, parameters: &Parameters) -> Option<Tensor<2>> {
        let filter = self.filter.as_ref()?;
        let flat = if filter.is_learned {
            let parts = [&parameters.coefficients, &parameters.mixing, &parameters.basis];
            let row = |part: &Param<Tensor<2>>| {
                let part = part.val();
                let n_values = part.dims().iter().product::<usize>();
                part.reshape([1, n_values])
            };
            Tensor::cat(parts.into_iter().flatten().map(row).collect(), 1)
        } else {
            let values = flatten(&filter.start);
            let device = parameters.encoder[0].weight.val().device();
            Tensor::<1>::from_floats(values.as_slice(), &device).reshape([1, values.len()])
        };
        let weights =
            FilterWeights::new(Arc::clone(&filter.parametrization), filter.penalty.clone());
        Some(call1(weights, flat))
    }

    /// Moves free exponents back to where the weight has a finite integral, after a step.
    #[must_use]
    pub fn project(&self, mut parameters: Parameters) -> Parameters {
        if self.filter.as_ref().is_some_and(|filter| filter.is_free) {
            parameters.basis = parameters.basis.map(|basis| {
                basis.map(|exponents| {
                    let moved = exponents.inner().clamp_min(LEAST_EXPONENT);
                    Tensor::from_inner(moved).require_grad()
                })
            });
        }
        parameters
    }

    /// What is learned of the filter, as [`flatten`] lays it out.
    #[must_use]
    pub fn filter_values(&self, parameters: &Parameters) -> Option<Vec<f32>> {
        let filter = self.filter.as_ref()?;
        if !filter.is_learned {
            return Some(flatten(&filter.start));
        }
        let parts = [&parameters.coefficients, &parameters.mixing, &parameters.basis];
        let values = parts.into_iter().flatten().flat_map(|part| {
            part.val().into_data().try_to_vec::<f32>().expect("parameters are of single precision")
        });
        Some(values.collect())
    }

    /// How the filter's parameters become a filter.
    #[must_use]
    pub fn parametrization(&self) -> Option<&Arc<Parametrization>> {
        self.filter.as_ref().map(|filter| &filter.parametrization)
    }
}

impl Filter {
    fn new(architecture: Architecture, settings: &Settings, problem: &Problem) -> Result<Self> {
        let &Settings { degree, alpha, .. } = settings;
        let exponents = Exponents::new(settings.a, settings.b)?;
        let decomposed = Coefficients::Decomposed(Decomposition::Product { alpha });
        let fixed = ExponentSource::Fixed(Exponents::new(0.0, 0.0)?);
        let (basis, coefficients, exponents) = match architecture {
            Architecture::Lon => (
                Basis::OrthonormalJacobi(Measure::Jacobi),
                decomposed,
                ExponentSource::Learned {
                    start: exponents,
                    map: exponent_map(settings.reparametrization),
                    sharing: Sharing::Model,
                },
            ),
            Architecture::Jacobi => {
                (Basis::Jacobi(Sign::Corrected), decomposed, ExponentSource::Fixed(exponents))
            }
            Architecture::JacobiPublished => {
                (Basis::Jacobi(Sign::Published), decomposed, ExponentSource::Fixed(exponents))
            }
            Architecture::ChebNetII => {
                (Basis::ChebyshevInterpolation, Coefficients::SharedRectified, fixed)
            }
            Architecture::BernNet => (Basis::Bernstein, Coefficients::SharedRectified, fixed),
            _ => (Basis::Monomial, Coefficients::Shared, fixed),
        };
        let is_pagerank = matches!(architecture, Architecture::GprGnn | Architecture::Appnp);
        let loops = if is_pagerank { SelfLoops::Added } else { SelfLoops::AsGiven };
        let operator = Arc::clone(problem.operator(loops));
        let parametrization =
            Parametrization::new(degree, problem.n_classes(), basis, coefficients, exponents)?;
        let mut start = parametrization.initial();
        if is_pagerank {
            start.shared = personalized_pagerank(alpha, degree);
        }
        let penalty = (settings.filter_norm > 0.0).then(|| FilterPenalty {
            strength: settings.filter_norm,
            norm: FilterNorm::orthonormal(degree),
        });
        Ok(Self {
            engine: Arc::new(Chebyshev::new(operator, degree)),
            parametrization: Arc::new(parametrization),
            penalty,
            start,
            is_learned: architecture != Architecture::Appnp,
            is_free: architecture == Architecture::Lon
                && settings.reparametrization == Reparametrization::Free,
        })
    }
}

fn exponent_map(reparametrization: Reparametrization) -> ExponentMap {
    match reparametrization {
        Reparametrization::Free => ExponentMap::Free,
        Reparametrization::Clamp => ExponentMap::PUBLISHED_CLAMP,
        Reparametrization::Softplus => ExponentMap::SOFT,
    }
}
