//! Numbers that carry their derivatives with respect to the two exponents of a Jacobi basis.
//!
//! The recurrences of Jacobi polynomials are written once, over [`Field`] and [`Scalar`]. With `f64` they give
//! values; with [`Dual`] the same lines give `∂/∂a` and `∂/∂b` as well, exact to rounding: forward
//! mode, because there are two inputs and many outputs.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number that polynomials are evaluated on.
pub trait Field:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// A number that depends on nothing.
    fn constant(value: f64) -> Self;
}

/// A number that norms can be taken of.
pub trait Scalar: Field {
    /// The square root.
    fn sqrt(self) -> Self;
    /// The exponential.
    fn exp(self) -> Self;
    /// `ln Γ` of a positive number.
    fn ln_gamma(self) -> Self;
}

impl Field for f64 {
    fn constant(value: f64) -> Self {
        value
    }
}

impl Scalar for f64 {
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn ln_gamma(self) -> Self {
        libm::lgamma(self)
    }
}

/// A value with its derivatives with respect to the exponents `a` and `b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dual {
    /// The value.
    pub value: f64,
    /// Its derivative with respect to `a`.
    pub by_a: f64,
    /// Its derivative with respect to `b`.
    pub by_b: f64,
}

impl Dual {
    /// The exponent `a` itself, or `a` plus a constant.
    #[must_use]
    pub fn of_a(value: f64) -> Self {
        Self { value, by_a: 1.0, by_b: 0.0 }
    }

    /// The exponent `b` itself, or `b` plus a constant.
    #[must_use]
    pub fn of_b(value: f64) -> Self {
        Self { value, by_a: 0.0, by_b: 1.0 }
    }

    /// A function's value at this number, given the function's slope there.
    fn chain(self, value: f64, slope: f64) -> Self {
        Self { value, by_a: slope * self.by_a, by_b: slope * self.by_b }
    }
}

impl Field for Dual {
    fn constant(value: f64) -> Self {
        Self { value, by_a: 0.0, by_b: 0.0 }
    }
}

impl Scalar for Dual {
    fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        self.chain(root, 0.5 / root)
    }

    fn exp(self) -> Self {
        let value = self.value.exp();
        self.chain(value, value)
    }

    fn ln_gamma(self) -> Self {
        self.chain(libm::lgamma(self.value), digamma(self.value))
    }
}

impl Add for Dual {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            by_a: self.by_a + other.by_a,
            by_b: self.by_b + other.by_b,
        }
    }
}

impl Sub for Dual {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Dual {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            by_a: self.by_a * other.value + self.value * other.by_a,
            by_b: self.by_b * other.value + self.value * other.by_b,
        }
    }
}

impl Div for Dual {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self {
            value,
            by_a: (self.by_a - value * other.by_a) / other.value,
            by_b: (self.by_b - value * other.by_b) / other.value,
        }
    }
}

impl Neg for Dual {
    type Output = Self;

    fn neg(self) -> Self {
        Self { value: -self.value, by_a: -self.by_a, by_b: -self.by_b }
    }
}

/// The slope of `ln Γ` at a positive number: the recurrence `ψ(x) = ψ(x+1) − 1/x` up to where seven
/// terms of the asymptotic series (Abramowitz and Stegun, 6.3.18) are exact to rounding.
fn digamma(x: f64) -> f64 {
    const SERIES_FROM: f64 = 12.0;
    const BERNOULLI: [f64; 7] = [
        1.0 / 12.0,
        -1.0 / 120.0,
        1.0 / 252.0,
        -1.0 / 240.0,
        1.0 / 132.0,
        -691.0 / 32760.0,
        1.0 / 12.0,
    ];
    let (mut x, mut shifted) = (x, 0.0);
    while x < SERIES_FROM {
        shifted -= 1.0 / x;
        x += 1.0;
    }
    let inverse_square = 1.0 / (x * x);
    let series = BERNOULLI.iter().rev().fold(0.0, |sum, term| (sum + term) * inverse_square);
    shifted + x.ln() - 0.5 / x - series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digamma_at_known_points() {
        const EULER: f64 = 0.577_215_664_901_532_9;
        let two_ln_2 = 2.0 * std::f64::consts::LN_2;
        for (x, exact) in [
            (1.0, -EULER),
            (0.5, -EULER - two_ln_2),
            (2.0, 1.0 - EULER),
            (1e-3, -1_000.575_571_931_810_6),
            (30.0, 3.384_438_132_685_525),
        ] {
            let error = (digamma(x) - exact).abs();
            assert!(error <= 1e-14 * exact.abs().max(1.0), "ψ({x}) is off by {error:e}");
        }
    }

    #[test]
    fn the_chain_rule_through_every_operation() {
        let function = |a: f64, b: f64| {
            let (a, b) = (Dual::of_a(a), Dual::of_b(b));
            ((a * b - b / a).sqrt() + a.ln_gamma() * (-b).exp()) / (a + b)
        };
        let (a, b, step) = (2.3, 1.7, 1e-5);
        let exact = function(a, b);
        let by_a = (function(a + step, b).value - function(a - step, b).value) / (2.0 * step);
        let by_b = (function(a, b + step).value - function(a, b - step).value) / (2.0 * step);
        assert!((exact.by_a - by_a).abs() < 1e-9, "{exact:?} {by_a}");
        assert!((exact.by_b - by_b).abs() < 1e-9, "{exact:?} {by_b}");
    }
}
