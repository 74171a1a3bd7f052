//! How exact the engine's bases are, and how far JacobiConv's code is from Jacobi's polynomials.
//!
//! The engine propagates in Chebyshev's basis and knows every other basis by its Chebyshev
//! coefficients. What that costs in digits is measured here against the recurrence run with twice the
//! digits of `f64`; the unit tests hold the same against 50 digits.

use super::SYSTEM;
use crate::experiment::{Experiment, Size};
use common::progress::Progress;
use common::report::Claim;
use longnn::basis::{Basis, ChangeOfBasis, Exponents, Sign, jacobi_values};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::f64::consts::PI;

/// Exponents from the edge of what is allowed to beyond what training reaches.
const EXPONENTS: [f64; 9] = [-0.999, -0.95, -0.5, -0.25, 0.0, 0.75, 2.0, 5.7, 10.0];
const LARGEST_ORDER: usize = 30;
/// The paper's filters.
const DEGREE: usize = 10;
const N_POINTS: usize = 201;
/// What the change of basis may be off at the paper's degree, as a part of `max |P_k|`.
const BOUND: f64 = 1e-13;
/// JacobiConv's own exponents for Cora.
const PUBLISHED: (f64, f64) = (2.0, -0.25);

/// The engine's bases.
pub struct Bases;

#[derive(Debug, Serialize, Deserialize)]
pub struct BasesMetrics {
    pub orders: Vec<Order>,
    /// `max |P_k − P'_k| / max |P_k|` at the degree 10 between Jacobi's polynomials and those of
    /// JacobiConv's code at its exponents for Cora.
    pub published_sign: f64,
}

/// One order `k`, the worst over all pairs of exponents.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub k: usize,
    /// The largest error of `P_k` through the change of basis, as a part of `max |P_k|`.
    pub error: f64,
    /// The largest `max |P_k|`.
    pub largest_value: f64,
}

impl Experiment for Bases {
    type Metrics = BasesMetrics;

    fn name(&self) -> String {
        "longnn-bases".to_owned()
    }

    fn run(&self, _: Size, _: &Progress) -> anyhow::Result<(BasesMetrics, Value)> {
        let mut orders: Vec<Order> =
            (0..=LARGEST_ORDER).map(|k| Order { k, error: 0.0, largest_value: 0.0 }).collect();
        for a in EXPONENTS {
            for b in EXPONENTS {
                measure(Exponents::new(a, b)?, &mut orders)?;
            }
        }
        let (a, b) = PUBLISHED;
        let published_sign = sign_difference(Exponents::new(a, b)?);
        let configuration = json!({ "exponents": EXPONENTS, "points": N_POINTS });
        Ok((BasesMetrics { orders, published_sign }, configuration))
    }

    fn judged(&self, metrics: &BasesMetrics) -> Vec<Claim> {
        let orders = metrics.orders.iter().take(DEGREE + 1);
        let error = orders.fold(0.0_f64, |worst, order| worst.max(order.error));
        let [exact, sign] = claims();
        let off = format!("off by {:.0} % of the largest value", 100.0 * metrics.published_sign);
        vec![
            exact.judged(format!("{error:.0e}"), error <= BOUND),
            sign.judged(off, metrics.published_sign < BOUND),
        ]
    }

    fn claims(&self) -> Vec<Claim> {
        claims().to_vec()
    }
}

fn claims() -> [Claim; 2] {
    let (a, b) = PUBLISHED;
    let published = format!("JacobiConv's code runs Jacobi's basis, a = {a}, b = {b}");
    [
        Claim::goal(SYSTEM, format!("change of basis, degree {DEGREE}"), "≤ 1e-13"),
        Claim::of_paper(SYSTEM, published, "it does"),
    ]
}

/// Holds the change of basis against the exact values at one pair of exponents.
fn measure(exponents: Exponents, orders: &mut [Order]) -> anyhow::Result<()> {
    let change = Basis::Jacobi(Sign::Corrected).change(LARGEST_ORDER, exponents)?;
    let mut errors = vec![0.0_f64; orders.len()];
    let mut largest = vec![0.0_f64; orders.len()];
    for x in points() {
        let exact = jacobi_values(LARGEST_ORDER, exponents, Sign::Corrected, x);
        for (k, (value, exact)) in values(&change, x).iter().zip(exact).enumerate() {
            errors[k] = errors[k].max((value - exact).abs());
            largest[k] = largest[k].max(exact.abs());
        }
    }
    for (order, (error, largest)) in orders.iter_mut().zip(errors.iter().zip(largest)) {
        order.error = order.error.max(error / largest);
        order.largest_value = order.largest_value.max(largest);
    }
    Ok(())
}

/// `P_0(x) … P_K(x)` through the matrix.
fn values(change: &ChangeOfBasis, x: f64) -> Vec<f64> {
    let chebyshev: Vec<f64> =
        (0..change.matrix.n_rows()).map(|j| (j as f64 * x.acos()).cos()).collect();
    change.matrix.times(&chebyshev)
}

fn sign_difference(exponents: Exponents) -> f64 {
    let mut difference = 0.0_f64;
    let mut largest = 0.0_f64;
    for x in points() {
        let value = |sign| jacobi_values(DEGREE, exponents, sign, x)[DEGREE];
        let exact = value(Sign::Corrected);
        difference = difference.max((value(Sign::Published) - exact).abs());
        largest = largest.max(exact.abs());
    }
    difference / largest
}

/// Points of `[−1, 1]`, denser near its ends, where polynomials are largest.
fn points() -> impl Iterator<Item = f64> {
    (0..N_POINTS).map(|i| (PI * i as f64 / (N_POINTS - 1) as f64).cos())
}
