//! Every gradient against central differences, and channels that don't depend on their neighbours.

use super::*;
use crate::basis::{Measure, Sign};
use crate::filter::{Decomposition, FilterNorm, FilterPenalty};
use proptest::prelude::*;

const DEGREE: usize = 10;
/// What a gradient may be off its central difference, relative to the larger of itself and one.
const GRADIENT_BOUND: f64 = 1e-6;

fn learned(map: ExponentMap, sharing: Sharing) -> ExponentSource {
    ExponentSource::Learned { start: Exponents::new(0.75, -0.5).unwrap(), map, sharing }
}

/// The models of the paper and of its baselines, and what else can be combined.
fn parametrizations(n_channels: usize) -> Vec<Parametrization> {
    let product = Coefficients::Decomposed(Decomposition::Product { alpha: 0.75 });
    let direct = Coefficients::Decomposed(Decomposition::Direct { alpha: 1.25 });
    let fixed = ExponentSource::Fixed(Exponents::new(2.0, -0.25).unwrap());
    let orthonormal = Basis::OrthonormalJacobi(Measure::Jacobi);
    let probability = Basis::OrthonormalJacobi(Measure::Probability);
    [
        (orthonormal, product, learned(ExponentMap::Free, Sharing::Model)),
        (orthonormal, direct, learned(ExponentMap::PUBLISHED_CLAMP, Sharing::Model)),
        (probability, product, learned(ExponentMap::SOFT, Sharing::Channel)),
        (Basis::Jacobi(Sign::Corrected), product, learned(ExponentMap::Free, Sharing::Channel)),
        (Basis::Jacobi(Sign::Published), product, fixed),
        (Basis::ChebyshevInterpolation, Coefficients::SharedRectified, fixed),
        (Basis::Bernstein, Coefficients::SharedRectified, fixed),
        (Basis::Monomial, Coefficients::Shared, fixed),
        (Basis::Legendre, Coefficients::PerChannel, fixed),
    ]
    .map(|(basis, coefficients, exponents)| {
        Parametrization::new(DEGREE, n_channels, basis, coefficients, exponents).unwrap()
    })
    .to_vec()
}

/// Numbers in `[-0.5, 0.5)` that look random.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    }
}

fn perturbed(parametrization: &Parametrization, seed: u64) -> Parameters {
    let mut noise = noise(seed);
    let mut parameters = parametrization.initial();
    for_each(&mut parameters, |value| *value += 0.8 * noise());
    parameters
}

fn for_each(parameters: &mut Parameters, mut change: impl FnMut(&mut f64)) {
    let Parameters { shared, per_channel, a, b } = parameters;
    let own = per_channel.as_mut_slice();
    shared.iter_mut().chain(own).chain(a).chain(b).for_each(&mut change);
}

fn flat(parameters: &Parameters) -> Vec<f64> {
    let mut values = Vec::new();
    for_each(&mut parameters.clone(), |value| values.push(*value));
    values
}

/// A loss that is not linear in the weights, and its gradient.
fn loss(weights: &Matrix) -> (f64, Matrix) {
    let factor = |j: usize, c: usize| 1.0 / (1.0 + (j * j) as f64 + c as f64);
    let mut value = 0.0;
    let mut gradient = weights.clone();
    for j in 0..weights.n_rows() {
        for c in 0..weights.n_columns() {
            value += factor(j, c) * weights[(j, c)].sin();
            gradient[(j, c)] = factor(j, c) * weights[(j, c)].cos();
        }
    }
    (value, gradient)
}

fn check_gradient(parametrization: &Parametrization, seed: u64, penalty: &FilterPenalty) {
    const STEP: f64 = 1e-6;
    let parameters = perturbed(parametrization, seed);
    let total = |parameters: Parameters| {
        let weights = parametrization.weights(parameters).unwrap();
        loss(weights.matrix()).0 + penalty.of(&weights).0
    };
    let weights = parametrization.weights(parameters.clone()).unwrap();
    let (_, by_penalty) = penalty.of(&weights);
    let gradient = weights.backward(&loss(weights.matrix()).1, Some(&by_penalty));
    for (position, exact) in flat(&gradient).into_iter().enumerate() {
        let moved = |step: f64| {
            let (mut moved, mut at) = (parameters.clone(), 0);
            for_each(&mut moved, |value| {
                *value += if at == position { step } else { 0.0 };
                at += 1;
            });
            total(moved)
        };
        let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let error = (exact - difference).abs() / exact.abs().max(1.0);
        assert!(error < GRADIENT_BOUND, "{parametrization:?} at {position}: {exact} {difference}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_are_central_differences(seed: u64) {
        let moments: Vec<f64> = (0..=2 * DEGREE).map(|j| 0.5_f64.powi(j as i32)).collect();
        let norms = [
            FilterNorm::orthonormal(DEGREE),
            FilterNorm::sobolev(DEGREE, 1.0),
            FilterNorm::of_moments(DEGREE, &moments).unwrap(),
        ];
        for parametrization in parametrizations(3) {
            for norm in &norms {
                let penalty = FilterPenalty { strength: 0.01, norm: norm.clone() };
                check_gradient(&parametrization, seed, &penalty);
            }
        }
    }
}

#[test]
fn a_channel_has_the_same_bits_alone() {
    for (many, one) in parametrizations(3).iter().zip(parametrizations(1)) {
        let all = perturbed(many, 5);
        let channel = 1;
        let pick = |values: &[f64]| match values.len() {
            3 => vec![values[channel]],
            _ => values.to_vec(),
        };
        let mut own = Matrix::zeros(all.per_channel.n_rows(), 1);
        own.set_column(0, &all.per_channel.column(channel));
        let alone = Parameters {
            shared: all.shared.clone(),
            per_channel: own,
            a: pick(&all.a),
            b: pick(&all.b),
        };
        let beside = many.weights(all).unwrap().matrix().column(channel);
        assert_eq!(one.weights(alone).unwrap().matrix().column(0), beside);
    }
}

#[test]
fn lon_gnn_starts_as_published() {
    let lon = &parametrizations(2)[0];
    let start = lon.initial();
    assert_eq!((start.a.as_slice(), start.b.as_slice()), (&[0.75][..], &[-0.5][..]));
    assert!(start.shared.iter().all(|&eta| eta == 1.0), "min(1/0.75, 1)");
    let weights = lon.weights(start).unwrap();
    let factor = 0.75 * 1_f64.tanh();
    assert!((weights.coefficients()[(3, 1)] - factor.powi(3)).abs() < 1e-15);
}

#[test]
fn what_does_not_fit_is_named() {
    let lon = &parametrizations(2)[0];
    let mut parameters = lon.initial();
    parameters.shared.pop();
    let error = lon.weights(parameters).unwrap_err().to_string();
    assert!(error.contains("(10, (11, 2), 1, 1), not (11, (11, 2), 1, 1)"), "{error}");
    let mut parameters = lon.initial();
    parameters.a[0] = -1.25;
    let error = lon.weights(parameters).unwrap_err().to_string();
    assert!(error.contains("exponent a: -1.25"), "{error}");
    let learned = learned(ExponentMap::Free, Sharing::Model);
    let none = Parametrization::new(3, 1, Basis::Legendre, Coefficients::Shared, learned);
    assert!(none.unwrap_err().to_string().contains("Legendre has none"));
}
