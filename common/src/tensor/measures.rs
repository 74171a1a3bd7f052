//! How far an approximation is from its reference. All sums run in `f64`, whatever the length.
//!
//! A NaN or an infinite error on either side makes the measure NaN or infinite: a bound that is
//! checked by `measure <= bound` then fails, as it should.

/// Mean squared error; 0 for empty slices.
///
/// # Panics
/// If the slices differ in length.
#[must_use]
pub fn mse(reference: &[f32], approximation: &[f32]) -> f64 {
    if reference.is_empty() {
        assert!(approximation.is_empty(), "mse: the slices differ in length");
        return 0.0;
    }
    squared_error(reference, approximation) / reference.len() as f64
}

/// Normalised mean squared error: Σ(r - a)² / Σr², the measure by which kernels are held to their
/// oracle, because its bound doesn't depend on the scale of the data.
///
/// A reference of zeros has no scale: the measure is then 0 for an exact approximation and
/// infinite for any other.
///
/// # Panics
/// If the slices differ in length.
#[must_use]
pub fn nmse(reference: &[f32], approximation: &[f32]) -> f64 {
    let error = squared_error(reference, approximation);
    let energy: f64 = reference.iter().map(|&r| f64::from(r) * f64::from(r)).sum();
    if error == 0.0 {
        0.0
    } else if energy == 0.0 {
        if error.is_nan() { f64::NAN } else { f64::INFINITY }
    } else {
        error / energy
    }
}

/// The largest absolute error; 0 for empty slices, NaN when any difference is.
///
/// # Panics
/// If the slices differ in length.
#[must_use]
pub fn max_abs_error(reference: &[f32], approximation: &[f32]) -> f64 {
    assert_eq!(reference.len(), approximation.len(), "the slices differ in length");
    // `f64::max` drops a NaN, which would hide the worst error there is.
    reference
        .iter()
        .zip(approximation)
        .map(|(&r, &a)| (f64::from(r) - f64::from(a)).abs())
        .fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
}

/// Cosine of the angle between the two vectors, from -1 to 1. Two zero vectors point the same way
/// (1); a zero vector and another have no angle, which counts as a right one (0).
///
/// # Panics
/// If the slices differ in length.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "cosine: the slices differ in length");
    let (mut dot, mut aa, mut bb) = (0.0f64, 0.0f64, 0.0f64);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    match (aa == 0.0, bb == 0.0) {
        (true, true) => 1.0,
        (true, false) | (false, true) => {
            if (aa + bb).is_nan() {
                f64::NAN
            } else {
                0.0
            }
        }
        // Rounding may carry equal vectors a hair beyond 1.
        (false, false) => (dot / (aa * bb).sqrt()).clamp(-1.0, 1.0),
    }
}

fn squared_error(reference: &[f32], approximation: &[f32]) -> f64 {
    assert_eq!(reference.len(), approximation.len(), "the slices differ in length");
    reference
        .iter()
        .zip(approximation)
        .map(|(&r, &a)| {
            let difference = f64::from(r) - f64::from(a);
            difference * difference
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn measures_of_a_small_example() {
        let (reference, approximation) = ([3.0, 4.0], [3.0, 2.0]);
        assert_eq!(mse(&reference, &approximation), 2.0);
        assert_eq!(nmse(&reference, &approximation), 4.0 / 25.0);
        assert_eq!(max_abs_error(&reference, &approximation), 2.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 1.0], &[-2.0, -2.0]), -1.0);
    }

    #[test]
    fn a_zero_reference_is_defined() {
        assert_eq!(nmse(&[0.0, 0.0], &[0.0, -0.0]), 0.0);
        assert_eq!(nmse(&[0.0, 0.0], &[0.0, 1e-20]), f64::INFINITY);
        assert_eq!(nmse(&[], &[]), 0.0);
        assert_eq!((cosine(&[0.0], &[0.0]), cosine(&[0.0], &[3.0])), (1.0, 0.0));
    }

    #[test]
    fn a_nan_is_never_hidden() {
        for (reference, approximation) in [
            ([1.0, 2.0], [f32::NAN, 2.0]),
            ([f32::NAN, 2.0], [1.0, 2.0]),
            ([0.0; 2], [f32::NAN; 2]),
        ] {
            assert!(mse(&reference, &approximation).is_nan());
            assert!(nmse(&reference, &approximation).is_nan());
            assert!(max_abs_error(&reference, &approximation).is_nan());
            assert!(cosine(&reference, &approximation).is_nan());
        }
    }

    #[test]
    fn a_long_sum_keeps_small_terms() {
        // In f32 the sum would stop growing at 2^24 = 16,777,216 ones.
        let n = 20_000_000;
        assert_eq!(mse(&vec![1.0; n], &vec![0.0; n]), 1.0);
    }

    proptest! {
        #[test]
        fn the_normalised_error_ignores_the_scale(
            pairs in prop::collection::vec((-10.0f32..10.0, -10.0f32..10.0), 1..50),
            exponent in -8i32..8,
        ) {
            let scale = (exponent as f32).exp2();
            let (r, a): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let (rs, as_): (Vec<f32>, Vec<f32>) =
                pairs.iter().map(|&(r, a)| (r * scale, a * scale)).unzip();
            let (plain, scaled) = (nmse(&r, &a), nmse(&rs, &as_));
            prop_assert!(plain == scaled || (plain - scaled).abs() <= 1e-9 * plain);
        }
    }
}
