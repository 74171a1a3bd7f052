//! The polynomial filter: parameters to Chebyshev weights, signals and weights to filtered signals.
//!
//! The two halves meet at the `(K+1) x C` weights `W`: before them everything is tiny and in double
//! precision, after them everything is sparse products, `2K` a training step whatever is learned
//! (section 6.3 of the notes).

use super::function::{Function, Matrix, MatrixRef, Tape};
use crate::basis;
use crate::filter::{FilterPenalty, Parameters, Parametrization};
use crate::propagate::{Basis, Chebyshev};
use std::sync::Arc;

/// `Y_c = Σ_k W_kc T_k(Â) Z_c`: `N x C` signals and `(K+1) x C` weights give `N x C`.
#[derive(Debug)]
pub struct ChebyshevFilter {
    engine: Arc<Chebyshev>,
    tape: Tape<(Basis, Vec<f32>)>,
}

impl ChebyshevFilter {
    /// A filter of the engine's graph and order.
    #[must_use]
    pub fn new(engine: Arc<Chebyshev>) -> Self {
        Self { engine, tape: Tape::default() }
    }
}

/// What `expect` says of engine calls: the network gives every matrix its shape.
const SHAPES_FIT: &str = "the network's matrices fit the graph";

impl Function<2> for ChebyshevFilter {
    fn forward(&self, [signals, weights]: [MatrixRef<'_>; 2], training: bool) -> Matrix {
        let mut output = Matrix::zeros(signals.rows, signals.columns);
        if training {
            let basis = self.engine.basis(signals.values).expect(SHAPES_FIT);
            self.engine.combine(&basis, weights.values, &mut output.values).expect(SHAPES_FIT);
            self.tape.keep((basis, weights.values.to_vec()));
        } else {
            let (signals, weights) = (signals.values, weights.values);
            self.engine.filter(signals, weights, &mut output.values).expect(SHAPES_FIT);
        }
        output
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 2] {
        let (basis, weights) = self.tape.take();
        let mut by_signals = Matrix::zeros(gradient.rows, gradient.columns);
        let by_weights = self
            .engine
            .gradients(&basis, &weights, gradient.values, &mut by_signals.values)
            .expect(SHAPES_FIT);
        let values = by_weights.into_iter().map(|value| value as f32).collect();
        [by_signals, Matrix { rows: self.engine.order() + 1, columns: gradient.columns, values }]
    }
}

/// The Chebyshev weights of a filter's parameters: `1 x P`, flattened as [`flatten`] does, give
/// `(K+1) x C`.
///
/// A penalty on the filter's norm enters on the way back, where its gradient is added once to that
/// of the loss; so it costs nothing and the loss that people see stays the likelihood's.
#[derive(Debug)]
pub struct FilterWeights {
    parametrization: Arc<Parametrization>,
    penalty: Option<FilterPenalty>,
    tape: Tape<Vec<f32>>,
}

impl FilterWeights {
    /// The weights of a parametrization.
    #[must_use]
    pub fn new(parametrization: Arc<Parametrization>, penalty: Option<FilterPenalty>) -> Self {
        Self { parametrization, penalty, tape: Tape::default() }
    }
}

impl Function<1> for FilterWeights {
    /// Parameters that are no numbers any more give weights that are none either.
    fn forward(&self, [flat]: [MatrixRef<'_>; 1], training: bool) -> Matrix {
        if training {
            self.tape.keep(flat.values.to_vec());
        }
        let (rows, columns) =
            (self.parametrization.degree() + 1, self.parametrization.n_channels());
        let values = match self.parametrization.weights(restore(&self.parametrization, flat.values))
        {
            Ok(weights) => weights.matrix().to_f32(),
            Err(_) => vec![f32::NAN; rows * columns],
        };
        Matrix { rows, columns, values }
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 1] {
        let flat = self.tape.take();
        let columns = flat.len();
        let values = match self.parametrization.weights(restore(&self.parametrization, &flat)) {
            Ok(weights) => {
                let by_weights =
                    basis::Matrix::from_f32(gradient.rows, gradient.columns, gradient.values);
                let penalty = self.penalty.as_ref().map(|penalty| penalty.of(&weights).1);
                flatten(&weights.backward(&by_weights, penalty.as_ref()))
            }
            Err(_) => vec![f32::NAN; columns],
        };
        [Matrix { rows: 1, columns, values }]
    }
}

/// A filter's parameters one after the other: shared, the channels' own row after row, `a`, `b`.
#[must_use]
pub fn flatten(parameters: &Parameters) -> Vec<f32> {
    let Parameters { shared, per_channel, a, b } = parameters;
    let parts = [&shared[..], per_channel.as_slice(), a, b];
    parts.concat().into_iter().map(|value| value as f32).collect()
}

/// The reverse of [`flatten`].
///
/// # Panics
/// If there are too few values.
#[must_use]
pub fn restore(parametrization: &Parametrization, flat: &[f32]) -> Parameters {
    let mut parameters = parametrization.initial();
    let own = &parameters.per_channel;
    let (rows, columns) = (own.n_rows(), own.n_columns());
    let mut rest = flat;
    let mut take = |n: usize| {
        let (taken, others) = rest.split_at(n);
        rest = others;
        taken
    };
    let widen = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
    parameters.shared = widen(take(parameters.shared.len()));
    parameters.per_channel = basis::Matrix::from_f32(rows, columns, take(rows * columns));
    parameters.a = widen(take(parameters.a.len()));
    parameters.b = widen(take(parameters.b.len()));
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::function::{assert_gradients, test_matrix};
    use crate::basis::{Basis as Polynomials, ExponentMap, Exponents, Measure};
    use crate::filter::{Coefficients, Decomposition, ExponentSource, FilterNorm, Sharing};
    use crate::graph::{Adjacency, SelfLoops};
    use crate::propagate::Operator;

    const DEGREE: usize = 4;
    const CHANNELS: usize = 3;

    fn engine() -> Arc<Chebyshev> {
        let edges: Vec<(u32, u32)> =
            (0..20).flat_map(|i| [(i, (i + 1) % 20), (i, (7 * i + 3) % 20)]).collect();
        let graph = Adjacency::from_edges(21, &edges).unwrap();
        let operator = Operator::new(&graph, SelfLoops::AsGiven).unwrap();
        Arc::new(Chebyshev::new(Arc::new(operator), DEGREE))
    }

    fn parametrization(sharing: Sharing) -> Arc<Parametrization> {
        let exponents = ExponentSource::Learned {
            start: Exponents::new(0.5, -0.25).unwrap(),
            map: ExponentMap::Free,
            sharing,
        };
        let coefficients = Coefficients::Decomposed(Decomposition::Product { alpha: 0.8 });
        let basis = Polynomials::OrthonormalJacobi(Measure::Jacobi);
        let made = Parametrization::new(DEGREE, CHANNELS, basis, coefficients, exponents);
        Arc::new(made.unwrap())
    }

    #[test]
    fn the_filters_gradients_are_those_of_central_differences() {
        let engine = engine();
        let inputs = [test_matrix(21, CHANNELS, 1), test_matrix(DEGREE + 1, CHANNELS, 2)];
        assert_gradients(|| ChebyshevFilter::new(Arc::clone(&engine)), inputs);
    }

    #[test]
    fn the_weights_gradients_are_those_of_central_differences() {
        for sharing in [Sharing::Model, Sharing::Channel] {
            let parametrization = parametrization(sharing);
            let start = flatten(&parametrization.initial());
            let flat = Matrix { rows: 1, columns: start.len(), values: start };
            assert_gradients(|| FilterWeights::new(Arc::clone(&parametrization), None), [flat]);
        }
    }

    #[test]
    fn training_and_evaluation_filter_alike() {
        let engine = engine();
        let (signals, weights) =
            (test_matrix(21, CHANNELS, 1), test_matrix(DEGREE + 1, CHANNELS, 2));
        let result = |training: bool| {
            let filter = ChebyshevFilter::new(Arc::clone(&engine));
            filter.forward([signals.view(), weights.view()], training).values
        };
        common::testing::assert_nmse(&result(true), &result(false), 1e-10, "filter");
    }

    #[test]
    fn a_penalty_moves_the_gradient_only() {
        let parametrization = parametrization(Sharing::Model);
        let start = flatten(&parametrization.initial());
        let flat = Matrix { rows: 1, columns: start.len(), values: start };
        let gradient = Matrix::zeros(DEGREE + 1, CHANNELS);
        let result = |strength: f64| {
            let penalty = FilterPenalty { strength, norm: FilterNorm::orthonormal(DEGREE) };
            let weights = FilterWeights::new(Arc::clone(&parametrization), Some(penalty));
            let value = weights.forward([flat.view()], true);
            let [gradient] = weights.backward(gradient.view());
            (value, gradient)
        };
        let ((plain, none), (penalised, some)) = (result(0.0), result(0.1));
        assert_eq!(plain, penalised);
        assert!(none.values.iter().all(|&value| value == 0.0));
        // 2 λ θ_0c ∂θ_0c/∂m_0c, and θ_0c = m_0c = 1.
        assert!((some.values[DEGREE + 1] - 0.2).abs() < 1e-6, "{:?}", some.values);
    }

    #[test]
    fn parameters_survive_flattening() {
        let parametrization = parametrization(Sharing::Channel);
        let parameters = parametrization.initial();
        assert_eq!(restore(&parametrization, &flatten(&parameters)), parameters);
    }
}
