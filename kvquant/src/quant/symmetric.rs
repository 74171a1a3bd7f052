//! Symmetric levels with one scale: `s*(q - (2^b - 1)/2)`.
//!
//! For values, whose rotated heads have no offset worth a number: with one bit a head is its signs and
//! one scale.

use super::lanes::{greatest, in_form_of_process, nearest_code, sums};
use super::levels::{Levels, max_code, middle};

/// Alternations between codes and scale.
const ROUNDS: usize = 4;

/// Quantizes `row` into `codes` and gives the scale. The codes are those of the scale of least squares;
/// the scale is the one that the rule asks for.
///
/// # Panics
/// If the lengths differ, or there are no bits.
pub fn quantize(row: &[f32], bits: u32, levels: Levels, codes: &mut [u8]) -> f32 {
    assert_eq!(row.len(), codes.len(), "one code for each element");
    in_form_of_process!(
        quantize_in_lanes,
        (row: &[f32], bits: u32, levels: Levels, codes: &mut [u8]) -> f32
    )
}

#[inline(always)]
fn quantize_in_lanes(row: &[f32], bits: u32, levels: Levels, codes: &mut [u8]) -> f32 {
    let (middle, most) = (middle(bits), f32::from(max_code(bits)));
    let [squares] = sums(row, |value| [value * value]);
    let mut scale = match levels {
        Levels::MinMax => greatest(row, f32::abs) / middle,
        _ => (squares / row.len() as f32).sqrt() * 2.0 / (most + 1.0).sqrt(),
    };
    let rounds = match levels {
        Levels::MinMax => 0,
        Levels::Centroid => 1,
        Levels::LeastSquares | Levels::Unbiased => ROUNDS,
    };
    // A code less the middle, for a scale; without one all codes are 0.
    let unit = |value: f32, scale: f32| match scale > 0.0 {
        true => nearest_code(value / scale + middle, most) - middle,
        false => -middle,
    };
    for _ in 0..rounds {
        let [units, products] = sums(row, |value| {
            let unit = unit(value, scale);
            [unit * unit, value * unit]
        });
        scale = products / units;
    }
    for (code, &value) in codes.iter_mut().zip(row) {
        *code = (unit(value, scale) + middle) as i32 as u8;
    }
    if levels != Levels::Unbiased {
        return scale;
    }
    let [projection] = sums(row, |value| [value * unit(value, scale)]);
    if projection > 0.0 { squares / projection } else { scale }
}

/// The level of `code`.
pub fn decode(code: u8, scale: f32, bits: u32) -> f32 {
    scale * (f32::from(code) - middle(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_bit_is_the_signs() {
        let row = [3.0, -1.0, 0.5, -0.5];
        let mut codes = [0; 4];
        let scale = quantize(&row, 1, Levels::LeastSquares, &mut codes);
        assert_eq!(codes, [1, 0, 1, 0]);
        // Half the distance of the two levels is the mean magnitude.
        assert_eq!(scale / 2.0, 1.25);
    }

    proptest! {
        /// With the unbiased rule the decoded row's projection on the row is the row itself.
        #[test]
        fn unbiased_keeps_the_projection(
            row in proptest::collection::vec(-10.0f32..10.0, 8..100), bits in 1u32..5,
        ) {
            let mut codes = vec![0; row.len()];
            let scale = quantize(&row, bits, Levels::Unbiased, &mut codes);
            let sum = |of: &dyn Fn(usize) -> f32| (0..row.len()).map(|i| f64::from(of(i))).sum::<f64>();
            let projection = sum(&|i| row[i] * decode(codes[i], scale, bits));
            let squares = sum(&|i| row[i] * row[i]);
            prop_assert!((projection / squares - 1.0).abs() < 1e-3, "{} {}", projection, squares);
        }

        #[test]
        fn zeros_stay_near_zero(len in 1usize..70, bits in 1u32..5) {
            let mut codes = vec![0; len];
            let scale = quantize(&vec![0.0; len], bits, Levels::Unbiased, &mut codes);
            prop_assert!(decode(codes[0], scale, bits) == 0.0);
        }
    }
}
