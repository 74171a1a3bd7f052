//! Dropout as a function of position: forward and backward make the same mask and store none.
//!
//! A counter-based generator (a keyed hash of the counter) gives each value its own draw, whatever the
//! order, the task or the vector it is computed in.

use crate::{Error, Result};
use pulp::{Arch, NullaryFnOnce};

/// Which features are dropped in one forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// A draw below is dropped.
    threshold: u32,
    /// What keeps the expectation: `1 / (1 - p)`.
    scale: f32,
    keys: [u32; 2],
}

impl Dropout {
    /// Drops each value with probability `rate`, in `[0, 1)`; `None` where that is never. Seeds and
    /// epochs have independent masks.
    ///
    /// # Errors
    /// If the rate is outside its range.
    pub fn new(rate: f64, seed: u64, epoch: u64) -> Result<Option<Self>> {
        if !(0.0..1.0).contains(&rate) {
            let problem = format!("{rate} is outside [0, 1)");
            return Err(Error::Setting { setting: "dropout".into(), problem });
        }
        if rate == 0.0 {
            return Ok(None);
        }
        let key = mix64(mix64(seed).wrapping_add(epoch));
        Ok(Some(Self {
            threshold: (rate * f64::from(u32::MAX)) as u32,
            scale: (1.0 - rate).recip() as f32,
            keys: [key as u32, (key >> 32) as u32],
        }))
    }

    /// `out = mask ⊙ values / (1 - p)`: value `i` has place `first + i` of the mask's `row`.
    pub(super) fn apply(self, row: u32, first: u32, values: &[f32], out: &mut [f32]) {
        Arch::new().dispatch(Masked { mask: self.of_row(row), first, values, out });
    }

    /// The factor of what is kept, `1 / (1 - p)`.
    #[must_use]
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// The mask of one row: what [`Self::kept`] asks.
    #[inline(always)]
    pub(crate) fn of_row(self, row: u32) -> Self {
        Self { keys: [self.keys[0], mix32(row ^ self.keys[1])], ..self }
    }

    /// The value with this place in the mask's row: dropped, or scaled.
    #[inline(always)]
    pub(crate) fn kept(self, place: u32, value: f32) -> f32 {
        let draw = mix32(mix32(place ^ self.keys[0]) ^ self.keys[1]);
        if draw < self.threshold { 0.0 } else { value * self.scale }
    }
}

/// Consecutive places of a mask's row, compiled for the widest vectors.
struct Masked<'a> {
    mask: Dropout,
    first: u32,
    values: &'a [f32],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Masked<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (place, (&value, out)) in self.values.iter().zip(self.out).enumerate() {
            *out = self.mask.kept(self.first.wrapping_add(place as u32), value);
        }
    }
}

/// A bijection of 32 bits in which each bit of the input flips each of the output with probability
/// near a half: `lowbias32` of Wellens' search for such functions.
#[inline(always)]
fn mix32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn mix64(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 100_000;

    fn kept(rate: f64, seed: u64, epoch: u64, row: u32) -> Vec<bool> {
        let mut out = vec![0.0; N];
        Dropout::new(rate, seed, epoch).unwrap().unwrap().apply(row, 0, &[1.0; N], &mut out);
        out.into_iter().map(|value| value != 0.0).collect()
    }

    /// How far the frequency of `N` draws is from `p`, in standard errors.
    fn deviation(draws: impl Iterator<Item = bool>, p: f64) -> f64 {
        let count = draws.filter(|&draw| draw).count() as f64;
        (count - N as f64 * p).abs() / (N as f64 * p * (1.0 - p)).sqrt()
    }

    #[test]
    fn the_expected_part_is_kept() {
        for rate in [0.1, 0.5, 0.9] {
            assert!(deviation(kept(rate, 1, 2, 3).into_iter(), 1.0 - rate) < 4.0, "{rate}");
        }
    }

    #[test]
    fn places_rows_epochs_and_seeds_are_independent() {
        let mask = kept(0.5, 1, 2, 3);
        let shifted = |by: usize| [&mask[by..], &mask[..by]].concat();
        let others = [
            kept(0.5, 2, 2, 3),
            kept(0.5, 1, 3, 3),
            kept(0.5, 2, 1, 3),
            kept(0.5, 1, 2, 4),
            shifted(1),
            shifted(2),
            shifted(16),
        ];
        for (i, other) in others.iter().enumerate() {
            let agree = mask.iter().zip(other).map(|(a, b)| a == b);
            assert!(deviation(agree, 0.5) < 4.0, "{i}");
        }
    }

    #[test]
    fn a_place_has_its_draw_wherever_a_pass_starts() {
        let dropout = Dropout::new(0.3, 7, 0).unwrap().unwrap();
        let values: Vec<f32> = (0..100).map(|i| i as f32 + 1.0).collect();
        let (mut whole, mut part) = ([0.0; 100], [0.0; 59]);
        dropout.apply(5, 0, &values, &mut whole);
        dropout.apply(5, 41, &values[41..], &mut part);
        assert_eq!(whole[41..], part);
        let mask = dropout.of_row(5);
        assert!(
            (0..100).all(|place| mask.kept(place, values[place as usize]) == whole[place as usize])
        );
        let scale = (1.0 / (1.0 - 0.3_f64)) as f32;
        assert!(whole.iter().zip(&values).all(|(&out, &value)| out == 0.0 || out == value * scale));
    }

    #[test]
    fn rates_are_checked() {
        assert_eq!(Dropout::new(0.0, 1, 1).unwrap(), None);
        for rate in [1.0, -0.1, f64::NAN] {
            assert!(Dropout::new(rate, 1, 1).is_err(), "{rate}");
        }
    }
}
