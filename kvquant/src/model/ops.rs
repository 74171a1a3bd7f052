//! What a layer does between products, on rows of numbers. What comes out takes the place of what the output held.

use rayon::prelude::*;

/// Numbers that are worth a thread of their own.
const SHARE: usize = 1 << 14;
/// Lanes in which sums are kept: their order is the same on every processor.
const LANES: usize = 16;

/// Each row over the root of its mean square (Zhang and Sennrich 2019), times `weight`.
pub(super) fn rms_norm(rows: &[f32], weight: &[f32], epsilon: f32, output: &mut Vec<f32>) {
    let row_len = weight.len();
    output.resize(rows.len(), 0.0);
    let normalise = |(output, row): (&mut [f32], &[f32])| {
        let mut squares = [0.0f32; LANES];
        let (whole, rest) = row.as_chunks::<LANES>();
        for lanes in whole {
            for (square, x) in squares.iter_mut().zip(lanes) {
                *square += x * x;
            }
        }
        let rest: f32 = rest.iter().map(|x| x * x).sum();
        let mean = (squares.iter().sum::<f32>() + rest) / row_len as f32;
        let scale = 1.0 / (mean + epsilon).sqrt();
        for ((output, x), weight) in output.iter_mut().zip(row).zip(weight) {
            *output = x * scale * weight;
        }
    };
    output
        .par_chunks_exact_mut(row_len)
        .zip(rows.par_chunks_exact(row_len))
        .with_min_len(SHARE.div_ceil(row_len))
        .for_each(normalise);
}

/// `silu(gate) * up` (Shazeer 2020), of rows that hold `row_len` gates and as many numbers to be gated.
pub(super) fn gated(rows: &[f32], row_len: usize, output: &mut Vec<f32>) {
    output.resize(rows.len() / 2, 0.0);
    output
        .par_chunks_exact_mut(row_len)
        .zip(rows.par_chunks_exact(2 * row_len))
        .with_min_len(SHARE.div_ceil(row_len))
        .for_each(|(output, row)| {
            let (gate, up) = row.split_at(row_len);
            for ((output, &gate), up) in output.iter_mut().zip(gate).zip(up) {
                *output = gate / (1.0 + (-gate).exp()) * up;
            }
        });
}

/// Adds `rows` to `hidden`.
pub(super) fn add(hidden: &mut [f32], rows: &[f32]) {
    for (hidden, x) in hidden.iter_mut().zip(rows) {
        *hidden += x;
    }
}

/// The parts of which each row is made up, each as rows of its own.
pub(super) fn split_columns<const N: usize>(
    rows: &[f32],
    lengths: [usize; N],
    parts: [&mut Vec<f32>; N],
) {
    let row_len: usize = lengths.iter().sum();
    let mut first = 0;
    for (part, len) in parts.into_iter().zip(lengths) {
        part.clear();
        for row in rows.chunks_exact(row_len) {
            part.extend_from_slice(&row[first..first + len]);
        }
        first += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_normalised_each() {
        let rows: Vec<f32> = (0..40).map(|i| i as f32 - 7.0).collect();
        let weight: Vec<f32> = (0..20).map(|i| 0.1 * i as f32).collect();
        let mut found = Vec::new();
        rms_norm(&rows, &weight, 1e-5, &mut found);
        for (row, found) in rows.chunks(20).zip(found.chunks(20)) {
            let square: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
            let root = (square / 20.0 + 1e-5).sqrt();
            for ((x, weight), found) in row.iter().zip(&weight).zip(found) {
                let expected = f64::from(*x) / root * f64::from(*weight);
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    #[test]
    fn gates_open_and_close() {
        let mut found = vec![7.0; 9];
        gated(&[0.0, 30.0, 5.0, 7.0, -100.0, 1.0, 3.0, 2.0], 2, &mut found);
        assert_eq!(found.len(), 4);
        let expected = [0.0, 210.0, 0.0, 2.0 / (1.0 + (-1f32).exp())];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn columns_come_apart() {
        let rows: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let (mut a, mut b) = (vec![7.0], Vec::new());
        split_columns(&rows, [1, 3], [&mut a, &mut b]);
        assert_eq!(a, [0.0, 4.0, 8.0]);
        assert_eq!(b, [1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 9.0, 10.0, 11.0]);
    }
}
