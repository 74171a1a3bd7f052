//! The polynomial filter: parameters to Chebyshev weights, signals and weights to filtered signals.
//!
//! The two halves meet at the `(K+1) x C` weights `W`: before them everything is tiny and in double
//! precision, after them everything is sparse products, `2K` a training step whatever is learned
//! (section 6.3 of the notes).

use super::function::{Function, Matrix, MatrixRef};
use crate::basis;
use crate::filter::{FilterPenalty, Parameters, Parametrization};
use crate::propagate::{Basis, Chebyshev};
use std::sync::{Arc, Mutex, PoisonError};

/// `Y_c = Σ_k W_kc T_k(Â) Z_c`: `N x C` signals and `(K+1) x C` weights give `N x C`.
#[derive(Debug)]
pub struct ChebyshevFilter {
    engine: Arc<Chebyshev>,
    tape: Mutex<Option<(Basis, Vec<f32>)>>,
}

impl ChebyshevFilter {
    /// A filter of the engine's graph and order.
    #[must_use]
    pub fn new(engine: Arc<Chebyshev>) -> Self {
        Self { engine, tape: Mutex::default() }
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
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((basis, weights.values.to_vec()));
        } else {
            let (signals, weights) = (signals.values, weights.values);
            self.engine.filter(signals, weights, &mut output.values).expect(SHAPES_FIT);
        }
        output
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 2] {
        let tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (basis, weights) = tape.expect("the forward pass went before");
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
    tape: Mutex<Vec<f32>>,
}

impl FilterWeights {
    /// The weights of a parametrization.
    #[must_use]
    pub fn new(parametrization: Arc<Parametrization>, penalty: Option<FilterPenalty>) -> Self {
        Self { parametrization, penalty, tape: Mutex::default() }
    }
}

impl Function<1> for FilterWeights {
    /// Parameters that are no numbers any more give weights that are none either.
    fn forward(&self, [flat]: [MatrixRef<'_>; 1], training: bool) -> Matrix {
        if training {
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = flat.values.to_vec();
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
        let flat = std::mem::take(&mut *self.tape.lock().unwrap_or_else(PoisonError::into_inner));
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
