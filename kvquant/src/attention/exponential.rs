//! Exponentials in lanes: at thousands of tokens they are as many as a layer's multiplications. The results are the
//! same on every processor.

use super::kernels::Arithmetic;
use std::f32::consts::{LN_2, LOG2_E};

/// Below, the result is less than the smallest normal number, and 0 here.
const LEAST: f32 = -87.0;

/// Added to a number of this magnitude at most, it leaves the nearest integer in the lowest bits: 1.5 x 2^23.
pub(super) const ROUND: f32 = 12_582_912.0;

/// `e^x` for x up to 0, within 2e-7 of it.
///
/// With n the integer nearest to x/ln 2 it is 2^n e^r, |r| ≤ ln 2 / 2, and the second factor is the Taylor
/// polynomial of degree 7.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
pub(super) unsafe fn exp<K: Arithmetic>(k: K, x: K::Lanes) -> K::Lanes {
    /// -ln 2 in two parts; the products of the first with n are exact.
    const PARTS: [f32; 2] = [-355.0 / 512.0, 2.121_944_4e-4];
    // SAFETY: as the caller says.
    unsafe {
        let least = k.all(LEAST);
        let clamped = k.max(x, least);
        let rounded = k.mul_add(clamped, k.all(LOG2_E), k.all(ROUND));
        let n = k.sub(rounded, k.all(ROUND));
        let r = k.mul_add(n, k.all(PARTS[0]), clamped);
        let r = k.mul_add(n, k.all(PARTS[1]), r);
        k.where_at_least(x, least, k.mul(near_one(k, r), k.power_of_two(rounded)))
    }
}

/// `2^x` for |x| up to 100, within 2e-7 of it.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
pub(super) unsafe fn exp2<K: Arithmetic>(k: K, x: K::Lanes) -> K::Lanes {
    // SAFETY: as the caller says.
    unsafe {
        let rounded = k.add(x, k.all(ROUND));
        let rest = k.sub(x, k.sub(rounded, k.all(ROUND)));
        k.mul(near_one(k, k.mul(rest, k.all(LN_2))), k.power_of_two(rounded))
    }
}

/// `e^r` for |r| up to ln 2 / 2: pairs of terms, so that few operations wait for each other.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
unsafe fn near_one<K: Arithmetic>(k: K, r: K::Lanes) -> K::Lanes {
    // SAFETY: as the caller says.
    unsafe {
        let square = k.mul(r, r);
        let first = k.mul_add(r, k.all(1.0), k.all(1.0));
        let second = k.mul_add(r, k.all(1.0 / 6.0), k.all(0.5));
        let third = k.mul_add(r, k.all(1.0 / 120.0), k.all(1.0 / 24.0));
        let fourth = k.mul_add(r, k.all(1.0 / 5040.0), k.all(1.0 / 720.0));
        let sum = k.mul_add(square, fourth, third);
        k.mul_add(square, k.mul_add(square, sum, second), first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::kernels::scalar::Scalar;

    #[test]
    fn exponentials_are_those_of_double_precision() {
        for step in 0..870_000 / 16 {
            let x: [f32; 16] = std::array::from_fn(|lane| -((16 * step + lane) as f32) * 1e-4);
            // SAFETY: plain loops.
            for (x, found) in x.into_iter().zip(unsafe { exp(Scalar, x) }) {
                let error = (f64::from(found) / f64::from(x).exp() - 1.0).abs();
                assert!(error < 2e-7, "e^{x}: off by {error:e}");
            }
        }
        let mut x = [0.0; 16];
        x[..3].copy_from_slice(&[f32::NEG_INFINITY, -88.0, f32::MIN]);
        // SAFETY: plain loops.
        assert_eq!(unsafe { exp(Scalar, x) }[..4], [0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn powers_of_two_are_those_of_double_precision() {
        for step in -1_000..1_000 {
            let x: [f32; 16] = std::array::from_fn(|lane| (16 * step + lane as i32) as f32 / 160.0);
            // SAFETY: plain loops.
            for (x, found) in x.into_iter().zip(unsafe { exp2(Scalar, x) }) {
                let error = (f64::from(found) / f64::from(x).exp2() - 1.0).abs();
                assert!(error < 2e-7, "2^{x}: off by {error:e}");
            }
        }
    }
}
