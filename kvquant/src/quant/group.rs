//! The paper's quantizer: round to nearest between the least and the greatest element of a group; or
//! between levels of another rule ([`Levels`]).
//!
//! For a group M and b bits (AsymKV section 2.2, equations 4 to 6):
//!
//! ```text
//! z  = min(M)       s = (max(M) - min(M)) / (2^b - 1)
//! MQ = round((M - z) / s)
//! M* = MQ * s + z
//! ```
//!
//! The paper prints `M* = (MQ + z) * s`, which does not give M back; KIVI's code, on which the paper
//! builds, has the form above. Scale and zero are stored in 16 bits and codes are chosen for the
//! *stored* numbers, so that decoding applies what encoding assumed. With 1 bit a group keeps only
//! its least and its greatest element.

use super::bits::BitWidth;
use super::levels::{Affine, Levels};
use common::tensor::f16_saturating;
use half::f16;

/// What a group stores beside its codes.
#[derive(Debug, Clone, Copy, PartialEq, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct GroupParams {
    /// Distance between neighbouring levels, s.
    pub scale: f16,
    /// The level of code 0, z.
    pub zero: f16,
}

impl GroupParams {
    /// Bytes of a stored pair.
    pub const BYTES: usize = size_of::<GroupParams>();

    /// Scale and zero of `group`. A group without a finite element gives zeros; infinities count as
    /// the largest finite half-precision number, NaN does not count.
    pub fn fit(group: &[f32], width: BitWidth, levels: Levels) -> GroupParams {
        let limit = f16::MAX.to_f32();
        let is_finite = group.iter().all(|value| value.abs() <= limit);
        let affine = match is_finite {
            true => Affine::fit(group, width.bits(), levels),
            false => {
                let numbers = group.iter().filter(|value| !value.is_nan());
                let finite: Vec<f32> = numbers.map(|value| value.clamp(-limit, limit)).collect();
                Affine::fit(&finite, width.bits(), levels)
            }
        };
        GroupParams { scale: f16_saturating(affine.scale), zero: f16_saturating(affine.zero) }
    }

    /// The levels as stored.
    pub fn affine(self) -> Affine {
        Affine { scale: self.scale.to_f32(), zero: self.zero.to_f32() }
    }
}

/// Quantizes `group` into `codes`, one for each element.
///
/// # Panics
/// If the lengths differ.
pub fn quantize(group: &[f32], width: BitWidth, levels: Levels, codes: &mut [u8]) -> GroupParams {
    assert_eq!(group.len(), codes.len(), "one code for each element");
    let params = GroupParams::fit(group, width, levels);
    params.affine().encode_all(group, width.bits(), codes);
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(group: &[f32], width: BitWidth) -> Vec<f32> {
        let mut codes = vec![0; group.len()];
        let affine = quantize(group, width, Levels::MinMax, &mut codes).affine();
        codes.iter().map(|&code| affine.decode(code)).collect()
    }

    #[test]
    fn one_bit_keeps_least_and_greatest() {
        assert_eq!(
            round_trip(&[-1.0, -0.25, 0.0, 0.5, 3.0], BitWidth::One),
            [-1.0, -1.0, -1.0, -1.0, 3.0]
        );
    }

    #[test]
    fn two_bits_have_four_even_levels() {
        assert_eq!(
            round_trip(&[0.0, 0.9, 1.1, 2.2, 3.0], BitWidth::Two),
            [0.0, 1.0, 1.0, 2.0, 3.0]
        );
    }

    /// `(MQ + z) * s` as the paper prints it would give 0.0, not -4.0, for the least element here.
    #[test]
    fn decodes_as_kivi_does_not_as_printed() {
        let group = [-4.0, 0.0, 4.0, 8.0];
        assert_eq!(round_trip(&group, BitWidth::Two), group);
    }

    #[test]
    fn constant_groups_come_back_exactly() {
        for value in [0.0, 1.5, -7.25] {
            for width in BitWidth::ALL {
                assert_eq!(round_trip(&[value; 32], width), [value; 32]);
            }
        }
    }

    #[test]
    fn non_finite_elements_spoil_nothing() {
        let inf = f32::INFINITY;
        for width in BitWidth::ALL {
            let decoded = round_trip(&[1.0, f32::NAN, inf, -inf, 2.0], width);
            assert!(decoded.iter().all(|value| value.is_finite()), "{width} bits: {decoded:?}");
            assert_eq!(round_trip(&[f32::NAN; 3], width), [0.0; 3]);
        }
        // NaN neither moves the levels nor the codes of its neighbours.
        assert_eq!(round_trip(&[0.0, f32::NAN, 3.0], BitWidth::Two), [0.0, 0.0, 3.0]);
    }

    proptest! {
        /// No element moves by more than half a step (plus what rounding scale and zero to half
        /// precision costs), for any width and any length.
        #[test]
        fn error_is_at_most_half_a_step(
            group in proptest::collection::vec(-100.0f32..100.0, 1..150),
            which in 0usize..4,
        ) {
            let width = BitWidth::ALL[which];
            let mut codes = vec![0; group.len()];
            let params = quantize(&group, width, Levels::MinMax, &mut codes);
            let half_precision = 200.0 * f16::EPSILON.to_f32();
            let bound = params.scale.to_f32() / 2.0 + half_precision;
            for (&code, &value) in codes.iter().zip(&group) {
                prop_assert!(code <= width.max_code());
                prop_assert!((params.affine().decode(code) - value).abs() <= bound);
            }
        }
    }
}
