//! The Hadamard rotation of a head.
//!
//! An orthonormal mix of all channels: outliers of single channels are spread over the head, and what
//! is left looks normally distributed, which few evenly spaced levels fit best. It is its own inverse.

/// Rotates `row`, whose length is a power of two, in place: the fast Walsh-Hadamard transform over
/// the square root of its length.
///
/// # Panics
/// If the length is no power of two.
pub fn rotate(row: &mut [f32]) {
    assert!(row.len().is_power_of_two(), "a head of {} channels can't be rotated", row.len());
    let mut half = 1;
    while half < row.len() {
        for block in row.chunks_exact_mut(2 * half) {
            let (left, right) = block.split_at_mut(half);
            for (x, y) in left.iter_mut().zip(right) {
                (*x, *y) = (*x + *y, *x - *y);
            }
        }
        half *= 2;
    }
    let norm = 1.0 / (row.len() as f32).sqrt();
    for element in row {
        *element *= norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_one_channel_all_get_a_part() {
        let mut row = [0.0, 2.0, 0.0, 0.0];
        rotate(&mut row);
        assert_eq!(row, [1.0, -1.0, 1.0, -1.0]);
    }

    proptest! {
        #[test]
        fn twice_is_nothing_and_lengths_stay(
            row in (0u32..8).prop_flat_map(|bits| {
                proptest::collection::vec(-10.0f32..10.0, 1usize << bits)
            }),
        ) {
            let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            let mut rotated = row.clone();
            rotate(&mut rotated);
            prop_assert!((norm(&rotated) - norm(&row)).abs() <= 1e-4 * norm(&row) + 1e-6);
            rotate(&mut rotated);
            for (back, element) in rotated.iter().zip(&row) {
                prop_assert!((back - element).abs() < 1e-4);
            }
        }
    }
}
