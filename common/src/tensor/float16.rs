//! Half precision that saturates.
//!
//! The IEEE conversion turns everything from 65520 up into infinity, and one infinity in a scale
//! or a cache turns a whole row into NaN. Saturation keeps the row finite and its error bounded.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// `x` rounded to half precision; what lies beyond ±65504 becomes ±65504 (infinities too), and
/// NaN stays NaN.
#[must_use]
pub fn f16_saturating(x: f32) -> f16 {
    const LARGEST: f32 = 65504.0;
    f16::from_f32(x.clamp(-LARGEST, LARGEST))
}

/// Writes `values`, rounded by [`f16_saturating`], to `out`.
///
/// # Panics
/// If the slices differ in length.
pub fn to_f16(values: &[f32], out: &mut [f16]) {
    assert_eq!(values.len(), out.len(), "to_f16: values and out differ in length");
    for (out, &value) in out.iter_mut().zip(values) {
        *out = f16_saturating(value);
    }
}

/// Writes `values` to `out`; every half-precision value has its exact single-precision equal.
///
/// # Panics
/// If the slices differ in length.
pub fn to_f32(values: &[f16], out: &mut [f32]) {
    assert_eq!(values.len(), out.len(), "to_f32: values and out differ in length");
    values.convert_to_f32_slice(out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn beyond_the_range_it_saturates() {
        for x in [65504.0, 65519.0, 65520.0, 1e30, f32::INFINITY] {
            assert_eq!(f16_saturating(x), f16::MAX, "{x}");
            assert_eq!(f16_saturating(-x), f16::MIN, "-{x}");
        }
    }

    #[test]
    fn nan_stays_nan_and_zero_keeps_its_sign() {
        assert!(f16_saturating(f32::NAN).is_nan());
        assert_eq!(f16_saturating(-0.0).to_bits(), 0x8000);
    }

    #[test]
    fn every_half_value_survives_the_round_trip() {
        let halves: Vec<f16> =
            (0..=u16::MAX).map(f16::from_bits).filter(|half| half.is_finite()).collect();
        let mut singles = vec![0.0; halves.len()];
        to_f32(&halves, &mut singles);
        let mut back = vec![f16::ZERO; halves.len()];
        to_f16(&singles, &mut back);
        assert!(halves.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    proptest! {
        #[test]
        fn within_the_range_it_is_the_ieee_conversion(x in -65504.0f32..=65504.0) {
            prop_assert_eq!(f16_saturating(x).to_bits(), f16::from_f32(x).to_bits());
        }
    }
}
