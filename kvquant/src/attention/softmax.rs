//! Softmax in single precision. At thousands of tokens its exponentials are as many as the multiplications of a
//! layer's products, so they are computed in a form that compiles to vector instructions.

/// Softmax in place; elements of negative infinity become 0. The result is the same on every processor.
pub(super) fn softmax(row: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has these instructions.
            return unsafe { with_avx512(row) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { with_avx2(row) };
        }
    }
    in_lanes(row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(row: &mut [f32]) {
    in_lanes(row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(row: &mut [f32]) {
    in_lanes(row);
}

/// Inlined into each form, which is compiled to its instructions.
#[inline(always)]
fn in_lanes(row: &mut [f32]) {
    let mut greatest = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for (&element, greatest) in block.iter().zip(&mut greatest) {
            *greatest = if element > *greatest { element } else { *greatest };
        }
    }
    let greatest = greatest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let mut totals = [0.0; LANES];
    let (blocks, rest) = row.as_chunks_mut::<LANES>();
    for block in blocks {
        exponentials(block, greatest, &mut totals);
    }
    exponentials(rest, greatest, &mut totals);
    let total: f32 = totals.iter().sum();
    let scale = 1.0 / total;
    for element in row {
        *element *= scale;
    }
}

/// Sums are kept in so many parts, so that they don't wait for each other. Which part an element belongs to depends
/// on its position alone: what a row doesn't see behind it changes no bit of the sum.
const LANES: usize = 16;

#[inline(always)]
fn exponentials(elements: &mut [f32], greatest: f32, totals: &mut [f32; LANES]) {
    for (element, total) in elements.iter_mut().zip(totals) {
        *element = exp(*element - greatest);
        *total += *element;
    }
}

/// Below, the result is less than the smallest normal number, and 0 here.
const LEAST: f32 = -87.0;

/// Added to a number of this magnitude at most, it leaves the nearest integer in the lowest bits: 1.5 x 2^23.
const ROUND: f32 = 12_582_912.0;

/// `e^x` for x up to 0, within 2e-7 of it.
///
/// With n the integer nearest to x/ln 2 it is 2^n e^r, |r| ≤ ln 2 / 2, and the second factor is the Taylor
/// polynomial of degree 7.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// ln 2 in two parts; the products of the first with n are exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    const COEFFICIENTS: [f32; 6] =
        [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
    let clamped = x.max(LEAST);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN_2[0] - n * LN_2[1];
    let series = COEFFICIENTS.iter().fold(0.0, |sum, coefficient| sum * r + coefficient);
    let mantissa = 1.0 + r + r * r * series;
    // The lowest bits of `rounded` are n: as an exponent they are 2^n.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x < LEAST { 0.0 } else { mantissa * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_double_precision() {
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 2e-7, "e^{x}: off by {error:e}");
        }
        assert_eq!([0.0, f32::NEG_INFINITY, -88.0, f32::MIN].map(exp), [1.0, 0.0, 0.0, 0.0]);
    }

    /// A row that ends is the same as one that goes on with what isn't seen.
    #[test]
    fn what_is_not_seen_changes_no_bit() {
        let row: Vec<f32> = (0..37).map(|at| ((at * 7) % 13) as f32 * 0.3).collect();
        let mut alone = row.clone();
        softmax(&mut alone);
        for more in 1..40 {
            let mut longer = row.clone();
            longer.resize(row.len() + more, f32::NEG_INFINITY);
            softmax(&mut longer);
            assert_eq!(longer[..row.len()], alone, "{more} more");
        }
        let mut plain = row.clone();
        in_lanes(&mut plain);
        assert_eq!(plain, alone, "other instructions, other numbers");
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            let mut narrow = row.clone();
            // SAFETY: the processor has these instructions.
            unsafe { with_avx2(&mut narrow) };
            assert_eq!(narrow, alone, "other instructions, other numbers");
        }
    }

    #[test]
    fn rows_of_any_length_sum_to_one() {
        for len in [1, 15, 16, 17, 100] {
            let mut row: Vec<f32> = (0..len).map(|at| ((at * 7) % 13) as f32 - 20.0).collect();
            row.push(f32::NEG_INFINITY);
            let exact: Vec<f64> = row.iter().map(|&logit| f64::from(logit).exp()).collect();
            let total: f64 = exact.iter().sum();
            softmax(&mut row);
            for (&found, expected) in row.iter().zip(&exact) {
                assert!((f64::from(found) - expected / total).abs() < 1e-6, "{found} {expected}");
            }
            assert_eq!(row[len], 0.0, "what is not seen has no weight");
        }
    }
}
