//! Jacobi polynomials and their orthonormal form, for all exponents above −1.
//!
//! The weight is `w(x) = (1−x)^a (1+x)^b` on `[−1, 1]`. Printed formulas for the norms have `Γ(a+b+1)`
//! in them, with a pole at `a+b = −1` and the wrong sign below; the quotient of the first step is 0/0
//! there. Every form here has those factors cancelled. All of them are written in `a+1` and `b+1`:
//! near −1 these are exact where a sum like `a+b+2` would lose its digits.

use super::double_double::DoubleDouble;
use super::scalar::{Dual, Field, Scalar};
use super::{Recurrence, Step};
use crate::{Error, Result};

/// The exponents `a` and `b` of the weight, as `a+1` and `b+1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponents<S = f64> {
    /// `a + 1`.
    pub a_plus_1: S,
    /// `b + 1`.
    pub b_plus_1: S,
}

/// The sign of the middle coefficient from the second step on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sign {
    /// `+(a²−b²)`: Jacobi polynomials.
    #[default]
    Corrected,
    /// `−(a²−b²)`, as JacobiConv's code has it, which isn't the Jacobi basis unless `|a| = |b|`.
    Published,
}

/// What an orthonormal basis is orthonormal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// The weight `w(x) dx`, as in the paper.
    #[default]
    Jacobi,
    /// The weight divided by its total: `p_0 = 1`, and no Γ anywhere. Differs by one factor only,
    /// which the coefficients absorb.
    Probability,
}

impl Exponents {
    /// The largest exponent, far above what training reaches: the norms stay finite up to here.
    pub const LARGEST: f64 = 500.0;

    /// The exponents `a` and `b`.
    ///
    /// # Errors
    /// If one isn't in `[−1, 500]`. Exactly −1 has un-normalised polynomials, but no weight and so
    /// no orthonormal ones: see [`Self::check_weight`].
    pub fn new(a: f64, b: f64) -> Result<Self> {
        for (name, value) in [("a", a), ("b", b)] {
            if !(-1.0..=Self::LARGEST).contains(&value) {
                return Err(exponent_error(name, value));
            }
        }
        Ok(Self { a_plus_1: a + 1.0, b_plus_1: b + 1.0 })
    }

    /// `a`.
    #[must_use]
    pub fn a(self) -> f64 {
        self.a_plus_1 - 1.0
    }

    /// `b`.
    #[must_use]
    pub fn b(self) -> f64 {
        self.b_plus_1 - 1.0
    }

    /// Whether the weight can be integrated, which an orthonormal basis needs.
    ///
    /// # Errors
    /// If one of the exponents is −1 or less.
    pub fn check_weight(self) -> Result<()> {
        for (name, plus_1) in [("a", self.a_plus_1), ("b", self.b_plus_1)] {
            if !(plus_1 > 0.0 && plus_1 <= Self::LARGEST + 1.0) {
                return Err(exponent_error(name, plus_1 - 1.0));
            }
        }
        Ok(())
    }

    /// Whether the un-normalised recurrence divides by no zero: −1 is allowed for one exponent.
    ///
    /// # Errors
    /// If an exponent is below −1, or both are −1.
    pub fn check_polynomials(self) -> Result<()> {
        Self::new(self.a(), self.b())?;
        // Both -1 make the divisor of the second step zero.
        if self.a_plus_1 + self.b_plus_1 > 0.0 {
            Ok(())
        } else {
            Err(exponent_error("a and b", -1.0))
        }
    }

    /// Both as numbers that carry derivatives.
    #[must_use]
    pub fn dual(self) -> Exponents<Dual> {
        Exponents { a_plus_1: Dual::of_a(self.a_plus_1), b_plus_1: Dual::of_b(self.b_plus_1) }
    }
}

/// `a = b = 0`: Legendre polynomials.
impl Default for Exponents {
    fn default() -> Self {
        Self { a_plus_1: 1.0, b_plus_1: 1.0 }
    }
}

impl<S: Field> Exponents<S> {
    /// `a + b + 2`.
    fn sum(self) -> S {
        self.a_plus_1 + self.b_plus_1
    }

    /// `a − b`.
    fn difference(self) -> S {
        self.a_plus_1 - self.b_plus_1
    }
}

/// The Jacobi polynomials `P_0 … P_K`, un-normalised.
#[must_use]
pub fn jacobi<S: Field>(degree: usize, exponents: Exponents<S>, sign: Sign) -> Recurrence<S> {
    let number = S::constant;
    let (sum, difference) = (exponents.sum(), exponents.difference());
    let sign = number(if sign == Sign::Corrected { 1.0 } else { -1.0 });
    let step = |n: f64| {
        // With s = 2n+a+b: `last` is s, and `sum + 2n − 4` is s − 2.
        let last = sum + number(2.0 * n - 2.0);
        let divisor = number(2.0 * n) * (sum + number(n - 2.0));
        let beside = last - number(1.0);
        let inner = divisor * (sum + number(2.0 * n - 4.0));
        let (a_term, b_term) =
            (exponents.a_plus_1 + number(n - 2.0), exponents.b_plus_1 + number(n - 2.0));
        Step {
            slope: last * beside / divisor,
            shift: sign * beside * difference * (sum - number(2.0)) / inner,
            previous: number(2.0) * a_term * b_term * last / inner,
        }
    };
    let half = number(0.5);
    let first = Step { slope: half * sum, shift: half * difference, previous: number(0.0) };
    let later = (2..=degree).map(|n| step(n as f64));
    let steps = std::iter::once(first).take(degree).chain(later).collect();
    Recurrence { start: number(1.0), steps }
}

/// `P_0(x) … P_K(x)`, exact to rounding: the recurrence is run on numbers of twice the digits.
#[must_use]
pub fn jacobi_values(degree: usize, exponents: Exponents, sign: Sign, x: f64) -> Vec<f64> {
    let exact = DoubleDouble::constant;
    let exponents =
        Exponents { a_plus_1: exact(exponents.a_plus_1), b_plus_1: exact(exponents.b_plus_1) };
    jacobi(degree, exponents, sign).values(x).into_iter().map(DoubleDouble::round).collect()
}

/// The orthonormal polynomials `P̂_k = P_k / √h_k`, `k = 0 … K`, by their own recurrence
/// `β_{k+1} p_{k+1} = (x − α_k) p_k − β_k p_{k−1}`, which neither over- nor underflows.
#[must_use]
pub fn orthonormal_jacobi<S: Scalar>(
    degree: usize,
    exponents: Exponents<S>,
    measure: Measure,
) -> Recurrence<S> {
    let number = S::constant;
    let (sum, difference) = (exponents.sum(), exponents.difference());
    let alpha = |k: f64| {
        if k == 0.0 {
            return -difference / sum;
        }
        -difference * (sum - number(2.0))
            / ((sum + number(2.0 * k - 2.0)) * (sum + number(2.0 * k)))
    };
    let beta = |k: f64| {
        let (a_term, b_term) =
            (exponents.a_plus_1 + number(k - 1.0), exponents.b_plus_1 + number(k - 1.0));
        let middle = sum + number(2.0 * k - 2.0);
        let product = number(4.0) * a_term * b_term / (middle * middle * (middle + number(1.0)));
        // For k = 1 the two factors that are left are equal; their quotient is 0/0 at a+b = −1.
        if k == 1.0 {
            return product.sqrt();
        }
        (product * number(k) * (sum + number(k - 2.0)) / (middle - number(1.0))).sqrt()
    };
    let step = |k: usize| {
        let (k, scale) = (k as f64, number(1.0) / beta(k as f64 + 1.0));
        let previous = if k == 0.0 { number(0.0) } else { beta(k) * scale };
        Step { slope: scale, shift: -alpha(k) * scale, previous }
    };
    let start = match measure {
        Measure::Probability => number(1.0),
        Measure::Jacobi => number(1.0) / total_weight(exponents).sqrt(),
    };
    Recurrence { start, steps: (0..degree).map(step).collect() }
}

/// The squared norms `h_k = ∫ P_k² dμ`, `k = 0 … K`: after `h_0` they are rational in `a` and `b`.
#[must_use]
pub fn squared_norms<S: Scalar>(
    degree: usize,
    exponents: Exponents<S>,
    measure: Measure,
) -> Vec<S> {
    let number = S::constant;
    let sum = exponents.sum();
    let mut norms = vec![match measure {
        Measure::Probability => number(1.0),
        Measure::Jacobi => total_weight(exponents),
    }];
    for k in (1..=degree).map(|k| k as f64) {
        let terms = (exponents.a_plus_1 + number(k - 1.0)) * (exponents.b_plus_1 + number(k - 1.0));
        let last = sum + number(2.0 * k - 1.0);
        let ratio = if k == 1.0 {
            terms / last
        } else {
            (last - number(2.0)) / last * terms / (number(k) * (sum + number(k - 2.0)))
        };
        norms.push(norms[norms.len() - 1] * ratio);
    }
    norms
}

/// `h_0 = ∫ w = 2^{a+b+1} Γ(a+1) Γ(b+1) / Γ(a+b+2)`.
fn total_weight<S: Scalar>(exponents: Exponents<S>) -> S {
    let sum = exponents.sum();
    let ln_two = S::constant(std::f64::consts::LN_2);
    let ln_beta = exponents.a_plus_1.ln_gamma() + exponents.b_plus_1.ln_gamma() - sum.ln_gamma();
    ((sum - S::constant(1.0)) * ln_two + ln_beta).exp()
}

fn exponent_error(name: &str, value: f64) -> Error {
    Error::Setting {
        setting: format!("Jacobi exponent {name}"),
        problem: format!("{value} is not above -1 and at most {}", Exponents::LARGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basis::golden::{self, Case};
    use proptest::prelude::*;

    /// What the un-normalised values may be off, relative to `max(|P_k(x)|, 1e-3 max |P_k|)`.
    const VALUE_BOUND: f64 = 1e-12;

    fn exponents(case: &Case) -> Exponents {
        Exponents::new(case.a, case.b).unwrap()
    }

    #[test]
    fn values_against_fifty_digits() {
        let golden = golden::jacobi();
        for case in &golden.cases {
            for (point, &x) in golden.points.iter().enumerate() {
                let values = jacobi_values(30, exponents(case), Sign::Corrected, x);
                for (row, &k) in golden.orders.iter().enumerate() {
                    let exact = case.values[row][point];
                    let error = (values[k] - exact).abs();
                    let scale = exact.abs().max(1e-3 * case.largest[row]);
                    assert!(
                        error <= VALUE_BOUND * scale,
                        "P_{k}({x}) of ({}, {}) is off by {:e}",
                        case.a,
                        case.b,
                        error / scale
                    );
                }
            }
        }
    }

    #[test]
    fn norms_against_fifty_digits() {
        let golden = golden::jacobi();
        for case in &golden.cases {
            let norms = squared_norms(30, exponents(case), Measure::Jacobi);
            for (row, &k) in golden.orders.iter().enumerate() {
                let error = (norms[k] / case.norms[row] - 1.0).abs();
                assert!(error < 1e-13, "h_{k} of ({}, {}) is off by {error:e}", case.a, case.b);
            }
        }
    }

    /// Quadrature nodes and weights come from closed forms, so that a wrong recurrence can't be
    /// orthonormal to its own measure.
    #[test]
    fn the_gram_matrix_is_the_identity() {
        for case in &golden::jacobi().cases {
            let bound = if case.a.min(case.b) < -0.99 { 1e-9 } else { 1e-10 };
            for measure in [Measure::Jacobi, Measure::Probability] {
                let recurrence = orthonormal_jacobi(30, exponents(case), measure);
                let values: Vec<_> = case.nodes.iter().map(|&x| recurrence.values(x)).collect();
                let total = match measure {
                    Measure::Jacobi => 1.0,
                    Measure::Probability => case.weights.iter().sum(),
                };
                for i in 0..=30 {
                    for j in 0..=i {
                        let products = case.weights.iter().zip(&values);
                        let product: f64 = products.map(|(w, p)| w / total * p[i] * p[j]).sum();
                        let error = (product - f64::from(u8::from(i == j))).abs();
                        assert!(error < bound, "({}, {}) {i} {j}: {error:e}", case.a, case.b);
                    }
                }
            }
        }
    }

    #[test]
    fn the_published_sign_is_another_basis() {
        let largest_difference = |a: f64, b: f64| {
            let exponents = Exponents::new(a, b).unwrap();
            let [right, wrong] =
                [Sign::Corrected, Sign::Published].map(|sign| jacobi(10, exponents, sign));
            (0..=1000)
                .map(|i| f64::from(i) / 500.0 - 1.0)
                .flat_map(|x| std::iter::zip(right.values(x), wrong.values(x)))
                .fold(0.0, |worst: f64, (right, wrong)| worst.max((right - wrong).abs()))
        };
        assert_eq!(largest_difference(0.7, 0.7), 0.0);
        assert!((largest_difference(2.0, -0.25) - 58.5906).abs() < 1e-4);
    }

    #[test]
    fn exponents_out_of_range_are_named() {
        let error = Exponents::new(0.0, -1.5).unwrap_err().to_string();
        assert!(error.contains("exponent b") && error.contains("-1.5"), "{error}");
        assert!(Exponents::new(f64::NAN, 0.0).is_err());
        // JacobiConv's setting for Actor has a = -1.
        let edge = Exponents::new(-1.0, 0.5).unwrap();
        assert!(edge.check_weight().is_err());
        let values = jacobi(10, edge, Sign::Published).values(0.3);
        assert!(values.iter().all(|value| value.is_finite()));
    }

    /// An exponent above −1, often close to it.
    fn exponent() -> impl Strategy<Value = f64> {
        prop_oneof![-0.9999..-0.99, -0.99..0.0, 0.0..10.0]
    }

    proptest! {
        #[test]
        fn orthonormal_is_divided_by_the_norm(a in exponent(), b in exponent(), x in -1.0..1.0) {
            let exponents = Exponents::new(a, b).unwrap();
            let plain = jacobi(20, exponents, Sign::Corrected).values(x);
            let norms = squared_norms(20, exponents, Measure::Jacobi);
            let orthonormal = orthonormal_jacobi(20, exponents, Measure::Jacobi);
            let values = orthonormal.values(x);
            // The ends hold the largest values, up to what lies between for small exponents.
            let ends = [orthonormal.values(-1.0), orthonormal.values(1.0)];
            for k in 0..=20 {
                let scale = ends[0][k].abs().max(ends[1][k].abs()).max(1.0);
                let error = (plain[k] / norms[k].sqrt() - values[k]).abs();
                prop_assert!(error <= 1e-12 * scale, "{k}: {error:e} of {scale:e}");
            }
        }

        #[test]
        fn derivatives_are_central_differences(
            a in -0.9..10.0, b in -0.9..10.0, x in -1.0..1.0
        ) {
            const STEP: f64 = 1e-5;
            let values = |a: f64, b: f64| {
                let exponents = Exponents::new(a, b).unwrap();
                let mut all = jacobi(10, exponents, Sign::Corrected).values(x);
                all.extend(jacobi(10, exponents, Sign::Published).values(x));
                all.extend(orthonormal_jacobi(10, exponents, Measure::Jacobi).values(x));
                all.extend(orthonormal_jacobi(10, exponents, Measure::Probability).values(x));
                all.extend(squared_norms(10, exponents, Measure::Jacobi));
                all
            };
            let exponents = Exponents::new(a, b).unwrap().dual();
            let mut exact = jacobi(10, exponents, Sign::Corrected).values(x);
            exact.extend(jacobi(10, exponents, Sign::Published).values(x));
            exact.extend(orthonormal_jacobi(10, exponents, Measure::Jacobi).values(x));
            exact.extend(orthonormal_jacobi(10, exponents, Measure::Probability).values(x));
            exact.extend(squared_norms(10, exponents, Measure::Jacobi));
            let (up, down) = (values(a + STEP, b), values(a - STEP, b));
            for (i, dual) in exact.iter().enumerate() {
                let difference = (up[i] - down[i]) / (2.0 * STEP);
                let scale = difference.abs().max(up[i].abs()).max(1.0);
                prop_assert!((dual.by_a - difference).abs() < 1e-6 * scale, "{i} by a");
            }
            let (up, down) = (values(a, b + STEP), values(a, b - STEP));
            for (i, dual) in exact.iter().enumerate() {
                let difference = (up[i] - down[i]) / (2.0 * STEP);
                let scale = difference.abs().max(up[i].abs()).max(1.0);
                prop_assert!((dual.by_b - difference).abs() < 1e-6 * scale, "{i} by b");
            }
        }
    }
}
