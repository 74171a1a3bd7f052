//! From parameters to the weights `W` of the propagation, `Y_c = Σ_j W_jc T_j(Â) Z_c`, and from the
//! weights' gradient back to the parameters'.
//!
//! A model is a basis, a source of coefficients and a source of exponents: `W_c = B(a_c, b_c)ᵀ θ_c`.
//! Everything learnable about a filter is here, in `f64` and independent of the graph; the sparse
//! products see `W` only, so a training step costs the same number of them for every model.

use super::Coefficients;
use super::norm::PenaltyGradient;
use crate::basis::{Basis, ChangeOfBasis, ExponentMap, Exponents, Matrix};
use crate::{Error, Result};

/// What of a filter is learned, and how it becomes a filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Parametrization {
    degree: usize,
    n_channels: usize,
    basis: Basis,
    coefficients: Coefficients,
    exponents: ExponentSource,
    /// The change of basis where nothing about it is learned.
    fixed: Option<ChangeOfBasis>,
}

/// Whether channels have their exponents in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One pair for all channels, as in the paper.
    Model,
    /// A pair for each channel.
    Channel,
}

/// Where a Jacobi basis has its exponents from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExponentSource {
    /// They stay as they are. For bases without exponents as well.
    Fixed(Exponents),
    /// They are learned.
    Learned {
        /// Where they start.
        start: Exponents,
        /// How a parameter becomes an exponent.
        map: ExponentMap,
        /// For the model or for each channel.
        sharing: Sharing,
    },
}

/// The parameters of a filter, or their gradient. What a model doesn't have is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// `K + 1` shared parameters: `γ` or `η`.
    pub shared: Vec<f64>,
    /// The channels' own: `m`, `(K+1) × C`, or zero rows.
    pub per_channel: Matrix,
    /// What the exponents `a` come from: one, or one a channel.
    pub a: Vec<f64>,
    /// What the exponents `b` come from: one, or one a channel.
    pub b: Vec<f64>,
}

/// The weights that parameters give, with what the way back needs.
#[derive(Debug, Clone)]
pub struct Weights<'a> {
    parametrization: &'a Parametrization,
    parameters: Parameters,
    /// One, or one a channel.
    changes: Vec<ChangeOfBasis>,
    coefficients: Matrix,
    weights: Matrix,
}

impl Parametrization {
    /// A filter of degree `K` for each of `C` channels.
    ///
    /// # Errors
    /// If a setting is outside its range, or exponents are to be learned of a basis without.
    pub fn new(
        degree: usize,
        n_channels: usize,
        basis: Basis,
        coefficients: Coefficients,
        exponents: ExponentSource,
    ) -> Result<Self> {
        coefficients.check()?;
        let start = match exponents {
            ExponentSource::Fixed(exponents) => exponents,
            ExponentSource::Learned { start, map, .. } => {
                map.check()?;
                if !basis.has_exponents() {
                    return Err(Error::Setting {
                        setting: "exponents".into(),
                        problem: format!("{basis:?} has none that could be learned"),
                    });
                }
                start
            }
        };
        let change = basis.change(degree, start)?;
        let fixed = matches!(exponents, ExponentSource::Fixed(_)).then_some(change);
        Ok(Self { degree, n_channels, basis, coefficients, exponents, fixed })
    }

    /// The degree `K`.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The basis.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// The number of channels `C`.
    #[must_use]
    pub fn n_channels(&self) -> usize {
        self.n_channels
    }

    /// The parameters that training starts from: ones, `η = min(1/α, 1)`, the given exponents.
    #[must_use]
    pub fn initial(&self) -> Parameters {
        let rows = if self.coefficients.has_per_channel() { self.degree + 1 } else { 0 };
        let n_shared = if self.coefficients.has_shared() { self.degree + 1 } else { 0 };
        let (a, b) = match self.exponents {
            ExponentSource::Fixed(_) => (Vec::new(), Vec::new()),
            ExponentSource::Learned { start, map, .. } => {
                let n = self.n_exponents();
                (vec![map.parameter(start.a()); n], vec![map.parameter(start.b()); n])
            }
        };
        Parameters {
            shared: vec![self.coefficients.initial_shared(); n_shared],
            per_channel: Matrix::from_fn(rows, self.n_channels, |_, _| 1.0),
            a,
            b,
        }
    }

    /// The weights that `parameters` give.
    ///
    /// # Errors
    /// If there are too many or too few parameters, or an exponent has left its range.
    pub fn weights(&self, parameters: Parameters) -> Result<Weights<'_>> {
        self.check_shapes(&parameters)?;
        let changes = self.changes(&parameters)?;
        let coefficients =
            self.coefficients.matrix(self.degree, &parameters.shared, &parameters.per_channel);
        let mut weights = Matrix::zeros(self.degree + 1, self.n_channels);
        for channel in 0..self.n_channels {
            let change = &changes[channel % changes.len()];
            let column = change.matrix.transposed_times(&coefficients.column(channel));
            weights.set_column(channel, &column);
        }
        Ok(Weights { parametrization: self, parameters, changes, coefficients, weights })
    }

    /// The exponents `(a, b)` in effect: one pair, or one a channel.
    ///
    /// # Errors
    /// If one has left its range.
    pub fn exponents(&self, parameters: &Parameters) -> Result<Vec<Exponents>> {
        let (map, start) = match self.exponents {
            ExponentSource::Fixed(exponents) => return Ok(vec![exponents]),
            ExponentSource::Learned { map, start, .. } => (map, start),
        };
        let pairs = parameters.a.iter().zip(&parameters.b);
        let exponents = pairs.map(|(&a, &b)| {
            let exponents = Exponents { a_plus_1: map.plus_1(a).0, b_plus_1: map.plus_1(b).0 };
            exponents.check_weight().map(|()| exponents)
        });
        // Without a channel there is no parameter either.
        let exponents: Vec<_> = exponents.collect::<Result<_>>()?;
        Ok(if exponents.is_empty() { vec![start] } else { exponents })
    }

    fn changes(&self, parameters: &Parameters) -> Result<Vec<ChangeOfBasis>> {
        if let Some(fixed) = &self.fixed {
            return Ok(vec![fixed.clone()]);
        }
        let exponents = self.exponents(parameters)?.into_iter();
        exponents.map(|exponents| self.basis.change(self.degree, exponents)).collect()
    }

    fn n_exponents(&self) -> usize {
        match self.exponents {
            ExponentSource::Fixed(_) => 0,
            ExponentSource::Learned { sharing: Sharing::Model, .. } => 1,
            ExponentSource::Learned { sharing: Sharing::Channel, .. } => self.n_channels,
        }
    }

    fn check_shapes(&self, parameters: &Parameters) -> Result<()> {
        let of = |parameters: &Parameters| {
            let own = &parameters.per_channel;
            (
                parameters.shared.len(),
                (own.n_rows(), own.n_columns()),
                parameters.a.len(),
                parameters.b.len(),
            )
        };
        let (given, expected) = (of(parameters), of(&self.initial()));
        if given == expected {
            return Ok(());
        }
        Err(Error::Shape {
            operation: "filter weights",
            problem: format!(
                "(shared, per channel, a, b) parameters are {given:?}, not {expected:?}"
            ),
        })
    }
}

impl Weights<'_> {
    /// `W`, `(K+1) × C`: the filters' Chebyshev coefficients.
    #[must_use]
    pub fn matrix(&self) -> &Matrix {
        &self.weights
    }

    /// `θ`, `(K+1) × C`: the filters' coefficients in their own basis.
    #[must_use]
    pub fn coefficients(&self) -> &Matrix {
        &self.coefficients
    }

    /// The exponents `(a, b)` that gave the weights: one pair, or one a channel.
    ///
    /// # Errors
    /// Never of weights that were made: they have been checked.
    pub fn exponents(&self) -> Result<Vec<Exponents>> {
        self.parametrization.exponents(&self.parameters)
    }

    /// The gradient of all parameters from that of `W`, `(K+1) × C`, and that of a penalty.
    ///
    /// # Panics
    /// If a gradient has another shape than `W`.
    #[must_use]
    pub fn backward(&self, by_weights: &Matrix, penalty: Option<&PenaltyGradient>) -> Parameters {
        let shape = |matrix: &Matrix| (matrix.n_rows(), matrix.n_columns());
        assert_eq!(shape(by_weights), shape(&self.weights), "the shape of the gradient");
        let mut by_coefficients = Matrix::zeros(by_weights.n_rows(), by_weights.n_columns());
        let mut by_exponents =
            [vec![0.0; self.parameters.a.len()], vec![0.0; self.parameters.b.len()]];
        for channel in 0..by_weights.n_columns() {
            let mut upstream = by_weights.column(channel);
            if let Some(PenaltyGradient::Weights(penalty)) = penalty {
                add(&mut upstream, &penalty.column(channel));
            }
            let change = &self.changes[channel % self.changes.len()];
            let mut column = change.matrix.times(&upstream);
            if let Some(PenaltyGradient::Coefficients(penalty)) = penalty {
                add(&mut column, &penalty.column(channel));
            }
            by_coefficients.set_column(channel, &column);
            self.add_by_exponents(channel, &upstream, &mut by_exponents);
        }
        let (shared, per_channel) = self.parametrization.coefficients.backward(
            &self.parameters.shared,
            &self.parameters.per_channel,
            &by_coefficients,
        );
        let [a, b] = self.through_map(by_exponents);
        Parameters { shared, per_channel, a, b }
    }

    /// Adds `Σ_kj (∂B/∂a)_kj θ_k G_j` of one channel, and the same for `b`.
    fn add_by_exponents(&self, channel: usize, upstream: &[f64], sums: &mut [Vec<f64>; 2]) {
        if self.parameters.a.is_empty() {
            return;
        }
        let position = channel % self.changes.len();
        let coefficients = self.coefficients.column(channel);
        if let Some(slopes) = &self.changes[position].slopes {
            for (sums, slope) in sums.iter_mut().zip(slopes) {
                let products = coefficients.iter().zip(slope.times(upstream));
                sums[position] += products.map(|(theta, slope)| theta * slope).sum::<f64>();
            }
        }
    }

    fn through_map(&self, by_exponents: [Vec<f64>; 2]) -> [Vec<f64>; 2] {
        let ExponentSource::Learned { map, .. } = self.parametrization.exponents else {
            return by_exponents;
        };
        let [by_a, by_b] = by_exponents;
        let chain = |gradient: Vec<f64>, parameters: &[f64]| {
            let slopes = parameters.iter().map(|&parameter| map.plus_1(parameter).1);
            gradient.into_iter().zip(slopes).map(|(gradient, slope)| gradient * slope).collect()
        };
        [chain(by_a, &self.parameters.a), chain(by_b, &self.parameters.b)]
    }
}

fn add(sum: &mut [f64], terms: &[f64]) {
    for (sum, term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

#[cfg(test)]
mod tests;
