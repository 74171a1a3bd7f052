//! Where the levels of a group lie.
//!
//! The levels of a group are evenly spaced, `q*s + z` for the codes q; a rule chooses s and z. With 1
//! bit the paper's rule, minimum and maximum, has six times the error of the means of the two halves
//! at the same bytes. Which rule is best is not told by the error, though: rules that minimise it
//! shrink the group towards its mean, and keys and values suffer differently from that.

use super::lanes::{greatest, in_form_of_process, nearest_code, sums};
use std::fmt;
use std::str::FromStr;

/// A rule for the levels of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Levels {
    /// The paper's: from the least to the greatest element (section 2.2).
    #[default]
    MinMax,
    /// Codes by the mean and the standard deviation of the group, then the line through codes and
    /// elements. With 1 bit: split at the mean, the levels are the means of the two halves.
    Centroid,
    /// The least sum of squares that alternating between codes and levels finds.
    LeastSquares,
    /// As `LeastSquares`, stretched about the mean until the projection of the decoded group on the
    /// original is the original's own: on average nothing shrinks.
    Unbiased,
}

impl Levels {
    /// Every rule.
    pub const ALL: [Levels; 4] =
        [Levels::MinMax, Levels::Centroid, Levels::LeastSquares, Levels::Unbiased];

    /// The names that [`Levels::from_str`] takes, for messages.
    pub const NAMES: &'static str = "minmax, centroid, least-squares, unbiased";
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Levels::MinMax => "minmax",
            Levels::Centroid => "centroid",
            Levels::LeastSquares => "least-squares",
            Levels::Unbiased => "unbiased",
        })
    }
}

impl FromStr for Levels {
    type Err = ();

    fn from_str(text: &str) -> Result<Levels, ()> {
        Levels::ALL.into_iter().find(|levels| levels.to_string() == text).ok_or(())
    }
}

/// Evenly spaced levels: code q stands for `q*scale + zero`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Affine {
    /// Distance between neighbouring levels, s.
    pub scale: f32,
    /// The level of code 0, z.
    pub zero: f32,
}

/// Distance between the levels of the best evenly spaced quantizer of 1 to 5 bits for a normal
/// distribution of unit variance (Max 1960, "Quantizing for minimum distortion", table II).
const NORMAL_STEPS: [f32; 5] = [1.596, 0.9957, 0.5860, 0.3352, 0.1881];

/// The mean squared error of those levels over the square of their distance.
const NORMAL_NOISE: [f32; 5] = [0.1427, 0.1198, 0.1090, 0.1027, 0.0986];

/// Alternations between codes and levels at most; most groups are done after three.
const ROUNDS: usize = 8;

impl Affine {
    /// The levels of `group` for codes of `bits` bits; 0 bits give the mean as the only level. Elements
    /// are finite.
    pub fn fit(group: &[f32], bits: u32, levels: Levels) -> Affine {
        in_form_of_process!(Affine::fit_in_lanes, (group: &[f32], bits: u32, levels: Levels) -> Affine)
    }

    #[inline(always)]
    fn fit_in_lanes(group: &[f32], bits: u32, levels: Levels) -> Affine {
        let mean = mean(group);
        if bits == 0 || group.is_empty() {
            return Affine { scale: 0.0, zero: mean };
        }
        match levels {
            Levels::MinMax => Affine::min_max(group, bits),
            Levels::Centroid => {
                Affine::about_the_mean(group, bits, mean).refined(group, bits, mean).1
            }
            Levels::LeastSquares => Affine::least_squares(group, bits, mean),
            Levels::Unbiased => {
                Affine::least_squares(group, bits, mean).unshrunk(group, bits, mean)
            }
        }
    }

    /// The codes whose levels are nearest to the elements, as [`Affine::encode`] gives them.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn encode_all(self, group: &[f32], bits: u32, codes: &mut [u8]) {
        assert_eq!(group.len(), codes.len(), "one code for each element");
        let levels = self;
        in_form_of_process!(
            Affine::encode_in_lanes,
            (levels: Affine, group: &[f32], bits: u32, codes: &mut [u8])
        );
    }

    #[inline(always)]
    fn encode_in_lanes(self, group: &[f32], bits: u32, codes: &mut [u8]) {
        let nearest = self.nearest(bits);
        for (code, &element) in codes.iter_mut().zip(group) {
            *code = nearest(element) as i32 as u8;
        }
    }

    /// Gives codes as numbers. In a constant group all are 0.
    #[inline(always)]
    fn nearest(self, bits: u32) -> impl Fn(f32) -> f32 {
        let distance = if self.scale == 0.0 { f32::INFINITY } else { self.scale };
        let most = f32::from(max_code(bits));
        move |element| nearest_code((element - self.zero) / distance, most)
    }

    /// The code whose level is nearest to `value`.
    pub fn encode(self, value: f32, bits: u32) -> u8 {
        if self.scale == 0.0 {
            // A constant group.
            return 0;
        }
        // The cast saturates and sends NaN to 0.
        (((value - self.zero) / self.scale).round() as u8).min(max_code(bits))
    }

    /// The level of `code`, q*s + z.
    pub fn decode(self, code: u8) -> f32 {
        f32::from(code) * self.scale + self.zero
    }

    /// The variance of the error of one element, as if the group were normally distributed: nothing is stored
    /// from which it could be known.
    pub fn noise(self, bits: u32) -> f32 {
        match bits {
            0 => 0.0,
            bits => {
                self.scale * self.scale * NORMAL_NOISE[(bits as usize).min(NORMAL_NOISE.len()) - 1]
            }
        }
    }

    #[inline(always)]
    fn min_max(group: &[f32], bits: u32) -> Affine {
        let least = -greatest(group, |element| -element);
        let greatest = greatest(group, |element| element);
        Affine { scale: (greatest - least) / f32::from(max_code(bits)), zero: least }
    }

    /// As if the group were normally distributed.
    #[inline(always)]
    fn about_the_mean(group: &[f32], bits: u32, mean: f32) -> Affine {
        let [squares] = sums(group, |value| [(value - mean) * (value - mean)]);
        let deviation = (squares / group.len() as f32).sqrt();
        // Above 5 bits the step shrinks nearly by half with each bit.
        let known = (bits as usize).min(NORMAL_STEPS.len());
        let step = NORMAL_STEPS[known - 1] / f32::from(1u8 << (bits as usize - known));
        let scale = deviation * step;
        Affine { scale, zero: mean - scale * middle(bits) }
    }

    /// Codes for the levels and levels for the codes in turn, from two starts, until the error is no less.
    #[inline(always)]
    fn least_squares(group: &[f32], bits: u32, mean: f32) -> Affine {
        let starts = [Affine::about_the_mean(group, bits, mean), Affine::min_max(group, bits)];
        let mut best = (f32::INFINITY, starts[0]);
        for start in starts {
            let (_, mut levels) = start.refined(group, bits, mean);
            let (mut error, mut next) = levels.refined(group, bits, mean);
            for _ in 1..ROUNDS {
                let (next_error, after) = next.refined(group, bits, mean);
                if next_error >= error {
                    break;
                }
                (error, levels, next) = (next_error, next, after);
            }
            if error < best.0 {
                best = (error, levels);
            }
        }
        best.1
    }

    /// The squared error of these levels, and the levels that are best for their codes.
    #[inline(always)]
    fn refined(self, group: &[f32], bits: u32, mean: f32) -> (f32, Affine) {
        let nearest = self.nearest(bits);
        let [codes, squares, products, error] = sums(group, |value| {
            let code = nearest(value);
            let error = value - (code * self.scale + self.zero);
            [code, code * code, code * (value - mean), error * error]
        });
        let mean_code = codes / group.len() as f32;
        let spread = squares - codes * mean_code;
        if spread <= 0.0 {
            return (error, Affine { scale: 0.0, zero: mean });
        }
        let scale = products / spread;
        (error, Affine { scale, zero: mean - scale * mean_code })
    }

    /// The levels stretched about the mean, so that the group's projection on itself is kept.
    #[inline(always)]
    fn unshrunk(self, group: &[f32], bits: u32, mean: f32) -> Affine {
        let nearest = self.nearest(bits);
        let [squares, projection] = sums(group, |value| {
            let level = nearest(value) * self.scale + self.zero;
            [(value - mean) * (value - mean), (value - mean) * (level - mean)]
        });
        if projection <= 0.0 {
            return self;
        }
        let stretch = squares / projection;
        Affine { scale: self.scale * stretch, zero: mean + (self.zero - mean) * stretch }
    }
}

/// The largest code of this many bits.
pub const fn max_code(bits: u32) -> u8 {
    ((1u32 << bits) - 1) as u8
}

/// The number half-way between the least and the greatest code.
pub const fn middle(bits: u32) -> f32 {
    max_code(bits) as f32 / 2.0
}

#[inline(always)]
fn mean(group: &[f32]) -> f32 {
    let [sum] = sums(group, |value| [value]);
    if group.is_empty() { 0.0 } else { sum / group.len() as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    impl Affine {
        fn error(self, group: &[f32], bits: u32) -> f32 {
            let error = |&value: &f32| value - self.decode(self.encode(value, bits));
            group.iter().map(|value| error(value).powi(2)).sum()
        }
    }

    fn round_trip(group: &[f32], bits: u32, levels: Levels) -> Vec<f32> {
        let affine = Affine::fit(group, bits, levels);
        group.iter().map(|&value| affine.decode(affine.encode(value, bits))).collect()
    }

    #[test]
    fn one_bit_centroids_are_the_means_of_the_halves() {
        let group = [-1.0, -0.5, 0.0, 5.5];
        assert_eq!(round_trip(&group, 1, Levels::Centroid), [-0.5, -0.5, -0.5, 5.5]);
    }

    #[test]
    fn no_bits_keep_the_mean() {
        for levels in Levels::ALL {
            assert_eq!(round_trip(&[1.0, 2.0, 6.0], 0, levels), [3.0; 3]);
        }
    }

    #[test]
    fn constant_groups_come_back() {
        for (bits, levels) in (1..=8).flat_map(|bits| Levels::ALL.map(|levels| (bits, levels))) {
            assert_eq!(round_trip(&[-7.25; 32], bits, levels), [-7.25; 32], "{bits} {levels}");
        }
    }

    /// Mean squared errors on a normal distribution of unit variance: the notes' table for groups of 32
    /// (minimum and maximum 1.975, two half-means .335 at 1 bit; .155 at 2 bits).
    #[test]
    fn errors_on_normal_groups_are_as_known() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let groups: Vec<Vec<f32>> =
            (0..4000).map(|_| (0..32).map(|_| StandardNormal.sample(&mut rng)).collect()).collect();
        let error = |bits, levels| {
            let one = |group: &Vec<f32>| {
                let decoded = round_trip(group, bits, levels);
                group.iter().zip(decoded).map(|(a, b)| f64::from((a - b).powi(2))).sum::<f64>()
            };
            groups.iter().map(one).sum::<f64>() / 32.0 / groups.len() as f64
        };
        for (bits, levels, expected) in [
            (1, Levels::MinMax, 1.975),
            (1, Levels::Centroid, 0.335),
            (1, Levels::LeastSquares, 0.327),
            (2, Levels::MinMax, 0.155),
            (2, Levels::LeastSquares, 0.092),
        ] {
            let error = error(bits, levels);
            assert!((error / expected - 1.0).abs() < 0.03, "{bits} {levels}: {error}");
        }
    }

    /// What is told of the noise is near what it is.
    #[test]
    fn noise_of_normal_groups() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let group: Vec<f32> = (0..4096).map(|_| StandardNormal.sample(&mut rng)).collect();
        for bits in 1..=4 {
            let affine = Affine::fit(&group, bits, Levels::LeastSquares);
            let error = affine.error(&group, bits) / group.len() as f32;
            assert!((affine.noise(bits) / error - 1.0).abs() < 0.1, "{bits} bits: {error}");
        }
    }

    proptest! {
        /// Least squares is no worse than either of its starts, and the unbiased rule keeps the group's
        /// projection on itself as far as no code changes by the stretch.
        #[test]
        fn rules_do_what_they_promise(
            group in proptest::collection::vec(-100.0f32..100.0, 1..150), bits in 1u32..6,
        ) {
            let error = |levels| Affine::fit(&group, bits, levels).error(&group, bits);
            let best = error(Levels::LeastSquares);
            let slack = 1e-3 * group.len() as f32;
            prop_assert!(best <= error(Levels::MinMax) + slack);
            prop_assert!(best <= error(Levels::Centroid) + slack);
            let one_bit = Affine::fit(&group, 1, Levels::Unbiased);
            let mean = mean(&group);
            let (mut squares, mut projection) = (0.0, 0.0);
            for &value in &group {
                squares += f64::from(value - mean).powi(2);
                let decoded = one_bit.decode(one_bit.encode(value, 1));
                projection += f64::from(value - mean) * f64::from(decoded - mean);
            }
            // A stretched threshold may lie elsewhere when the halves differ in size.
            prop_assert!(projection >= 0.5 * squares && projection <= 2.0 * squares + 1e-3);
        }

        #[test]
        fn names_come_back(which in 0usize..4) {
            let levels = Levels::ALL[which];
            prop_assert_eq!(levels.to_string().parse(), Ok(levels));
        }
    }
}
