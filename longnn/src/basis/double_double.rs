//! Numbers of about 32 digits, as the unevaluated sum of two `f64`.
//!
//! Plain `f64` loses `k` roundings of the largest value by order `k`. That is harmless except near the
//! zeros of `P_k` with both exponents below −1/2, whose largest values lie in between: there it is
//! several times more than the 1e-12 that is asked for. The same recurrence over these numbers is
//! exact to the last bit of the rounded result (Dekker; Knuth's and Møller's error-free sums).

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::scalar::Field;

/// `high + low`, with `low` less than half a unit in the last place of `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DoubleDouble {
    high: f64,
    low: f64,
}

impl DoubleDouble {
    /// The sum of two numbers, exactly, where the first is the larger.
    fn renormalised(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self { high: sum, low: low - (sum - high) }
    }

    /// The sum of any two numbers, exactly.
    fn sum(a: f64, b: f64) -> Self {
        let sum = a + b;
        let b_part = sum - a;
        Self { high: sum, low: (a - (sum - b_part)) + (b - b_part) }
    }

    /// The product of two numbers, exactly.
    fn product(a: f64, b: f64) -> Self {
        let product = a * b;
        Self { high: product, low: a.mul_add(b, -product) }
    }

    /// Rounded to `f64`.
    pub(super) fn round(self) -> f64 {
        self.high
    }
}

impl Field for DoubleDouble {
    fn constant(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }
}

impl Add for DoubleDouble {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (high, low) = (Self::sum(self.high, other.high), Self::sum(self.low, other.low));
        let partial = Self::renormalised(high.high, high.low + low.high);
        Self::renormalised(partial.high, partial.low + low.low)
    }
}

impl Sub for DoubleDouble {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for DoubleDouble {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let product = Self::product(self.high, other.high);
        let cross = self.high.mul_add(other.low, self.low * other.high);
        Self::renormalised(product.high, product.low + cross)
    }
}

impl Div for DoubleDouble {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let first = self.high / other.high;
        let rest = self - other * Self::constant(first);
        let second = rest.high / other.high;
        let rest = rest - other * Self::constant(second);
        Self::renormalised(first, second) + Self::constant(rest.high / other.high)
    }
}

impl Neg for DoubleDouble {
    type Output = Self;

    fn neg(self) -> Self {
        Self { high: -self.high, low: -self.low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each identity holds to about 1e-31 of its largest term.
        #[test]
        fn arithmetic_has_twice_the_digits(a in 0.1..10.0, b in 0.1..10.0, c in -5.0..5.0) {
            let [a, b, c] = [a, b, c].map(DoubleDouble::constant);
            let distributed = (a + c) * b - a * b - c * b;
            prop_assert!(distributed.round().abs() < 1e-29, "{distributed:?}");
            let divided = (a / b) * b - a;
            prop_assert!(divided.round().abs() < 1e-29, "{divided:?}");
        }
    }
}
