//! LON-GNN's own way to a filter: Adam on the coefficients and the exponents of the basis.
//!
//! The official image code trains the coefficients `m` and the exponents `a`, `b`; the factors `γ` of
//! the decomposition stay where they start, and exponents are clamped. Here the same descent runs on
//! the eleven numbers that an image comes down to instead of on its pixels, in `f64`: same function,
//! same gradient. Adam is its dozen lines because the parameters are plain numbers, thirteen of them, and
//! a step of an optimiser for tensors would cost more than everything else together.

use crate::Result;
use crate::basis::{Basis, ExponentMap, Exponents, Matrix, Measure};
use crate::filter::fit::{FilterFit, ReducedProblem, TargetFilter};
use crate::filter::{Coefficients, Decomposition, ExponentSource, Parametrization, Sharing};

/// The descent's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent {
    /// Learning rate of the coefficients.
    pub learning_rate: f64,
    /// Learning rate of the exponents.
    pub exponent_learning_rate: f64,
    /// Epochs at most.
    pub max_epochs: usize,
    /// Epochs without a smaller error, after which it stops.
    pub patience: usize,
}

/// The official code's.
impl Default for Descent {
    fn default() -> Self {
        Self { learning_rate: 0.05, exponent_learning_rate: 2e-4, max_epochs: 1000, patience: 200 }
    }
}

/// What is tuned for each target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StartingPoint {
    /// Exponent `a`.
    pub a: f64,
    /// Exponent `b`.
    pub b: f64,
    /// `α` of the decomposition, which sets `γ_k = min(1/α, 1)`.
    pub alpha: f64,
    /// Weight decay of the coefficients.
    pub weight_decay: f64,
}

impl StartingPoint {
    /// The official code's.
    #[must_use]
    pub fn published(target: TargetFilter) -> Self {
        let (a, b, alpha, weight_decay) = match target {
            TargetFilter::Low => (-0.8, 0.9, 1.0, 5e-5),
            TargetFilter::High => (-0.95, 0.7, 1.25, 1e-3),
            TargetFilter::Band => (-0.95, 0.95, 0.75, 5e-5),
            TargetFilter::Rejection => (-0.8, 0.65, 2.5, 0.0),
            TargetFilter::Comb => (-0.9, 0.75, 0.5, 1e-4),
        };
        Self { a, b, alpha, weight_decay }
    }

    fn parametrization(self, degree: usize) -> Result<Parametrization> {
        Parametrization::new(
            degree,
            1,
            Basis::OrthonormalJacobi(Measure::Jacobi),
            Coefficients::Decomposed(Decomposition::Direct { alpha: self.alpha }),
            ExponentSource::Learned {
                start: Exponents::new(self.a, self.b)?,
                map: ExponentMap::PUBLISHED_CLAMP,
                sharing: Sharing::Model,
            },
        )
    }
}

/// Where a descent got to.
#[derive(Debug, Clone, PartialEq)]
pub struct Descended {
    /// The best epoch's filter.
    pub fit: FilterFit,
    /// Its exponents `(a, b)`.
    pub exponents: (f64, f64),
    /// Epochs run.
    pub epochs: usize,
}

impl Descent {
    /// Descends from `start` and keeps the epoch with the smallest error.
    ///
    /// # Errors
    /// If the degree or the start is out of range.
    pub fn run(&self, problem: &ReducedProblem, start: StartingPoint) -> Result<Descended> {
        let parametrization = start.parametrization(problem.n_coefficients() - 1)?;
        let mut parameters = parametrization.initial();
        let mut of_coefficients = Adam::new(self.learning_rate, start.weight_decay);
        let mut of_a = Adam::new(self.exponent_learning_rate, 0.0);
        let mut of_b = of_a.clone();
        let mut best = (f64::INFINITY, parametrization.weights(parameters.clone())?, 0);
        let mut epochs = 0;
        while epochs < self.max_epochs && epochs - best.2 <= self.patience {
            let weights = parametrization.weights(parameters.clone())?;
            let (squared_error, gradient) = problem.squared_error(weights.matrix().as_slice());
            let gradient = Matrix::from_fn(gradient.len(), 1, |j, _| gradient[j]);
            let gradient = weights.backward(&gradient, None);
            epochs += 1;
            if squared_error < best.0 {
                best = (squared_error, weights, epochs);
            }
            let coefficients = parameters.per_channel.as_mut_slice();
            of_coefficients.step(coefficients, gradient.per_channel.as_slice());
            of_a.step(&mut parameters.a, &gradient.a);
            of_b.step(&mut parameters.b, &gradient.b);
        }
        let (squared_error, weights, _) = best;
        let exponents = weights.exponents()?[0];
        Ok(Descended {
            fit: problem.fit(weights.matrix().column(0), squared_error),
            exponents: (exponents.a(), exponents.b()),
            epochs,
        })
    }
}

/// Adam with weight decay as a part of the gradient, as the official code has it.
#[derive(Debug, Clone)]
struct Adam {
    learning_rate: f64,
    weight_decay: f64,
    n_steps: i32,
    /// Running means of the gradient and of its square, by parameter.
    moments: Vec<(f64, f64)>,
}

impl Adam {
    const DECAYS: (f64, f64) = (0.9, 0.999);
    const EPSILON: f64 = 1e-8;

    fn new(learning_rate: f64, weight_decay: f64) -> Self {
        Self { learning_rate, weight_decay, n_steps: 0, moments: Vec::new() }
    }

    fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        self.n_steps += 1;
        self.moments.resize(parameters.len(), (0.0, 0.0));
        let unbias = |decay: f64| 1.0 / (1.0 - decay.powi(self.n_steps));
        let (unbias_mean, unbias_square) = (unbias(Self::DECAYS.0), unbias(Self::DECAYS.1));
        for ((parameter, slope), (mean, square)) in
            parameters.iter_mut().zip(gradient).zip(&mut self.moments)
        {
            let slope = slope + self.weight_decay * *parameter;
            *mean += (1.0 - Self::DECAYS.0) * (slope - *mean);
            *square += (1.0 - Self::DECAYS.1) * (slope * slope - *square);
            let size = (*square * unbias_square).sqrt() + Self::EPSILON;
            *parameter -= self.learning_rate * *mean * unbias_mean / size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::fit::LeastSquares;

    /// Two steps against the values that Adam's formulas give by hand.
    #[test]
    fn adam_by_hand() {
        let mut adam = Adam::new(0.1, 0.5);
        let mut parameter = [1.0];
        adam.step(&mut parameter, &[1.5]);
        // The first step is the learning rate, whatever the gradient: 2 with the decay.
        assert!((parameter[0] - 0.9).abs() < 1e-9, "{parameter:?}");
        adam.step(&mut parameter, &[0.55]);
        let mean = (0.9 * 0.1 * 2.0 + 0.1) / (1.0 - 0.81);
        let square = (0.999 * 0.001 * 4.0 + 0.001) / (1.0 - 0.999_f64.powi(2));
        assert!((parameter[0] - (0.9 - 0.1 * mean / square.sqrt())).abs() < 1e-8, "{parameter:?}");
    }

    /// A problem whose columns are `T_0 … T_3` at Chebyshev nodes.
    fn problem(target: impl Fn(f64) -> f64) -> ReducedProblem {
        let nodes: Vec<f64> =
            (0..40).map(|i| (std::f64::consts::PI * (f64::from(i) + 0.5) / 40.0).cos()).collect();
        let column = |j: i32| nodes.iter().map(|x| (f64::from(j) * x.acos()).cos()).collect();
        let target: Vec<f64> = nodes.iter().map(|&x| target(x)).collect();
        LeastSquares::new((0..4).map(column).collect()).reduced(&target)
    }

    #[test]
    fn it_gets_near_the_floor_and_never_below() {
        let problem = problem(|x| x.exp());
        let start = StartingPoint { a: -0.5, b: 0.5, alpha: 1.0, weight_decay: 0.0 };
        let descent = Descent { max_epochs: 2000, ..Descent::default() };
        let descended = descent.run(&problem, start).unwrap();
        let floor = problem.solution().squared_error;
        assert!(descended.fit.squared_error >= floor);
        assert!(descended.fit.squared_error < 1.01 * floor, "{descended:?} {floor}");
        let again = problem.squared_error(&descended.fit.coefficients).0;
        assert!((again / descended.fit.squared_error - 1.0).abs() < 1e-12);
        assert_ne!(descended.exponents, (-0.5, 0.5), "exponents move");
    }

    #[test]
    fn patience_ends_it() {
        let problem = problem(|x| x);
        // Steps of this size only ever jump about.
        let descent = Descent { learning_rate: 1e3, patience: 7, ..Descent::default() };
        let start = StartingPoint { a: 0.0, b: 0.0, alpha: 1.0, weight_decay: 0.0 };
        let descended = descent.run(&problem, start).unwrap();
        assert!(descended.epochs < 200, "{descended:?}");
        assert!(StartingPoint { a: -2.0, ..start }.parametrization(3).is_err());
    }
}
