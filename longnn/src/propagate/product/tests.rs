//! Both products against double precision, and against themselves for several numbers of threads.

use super::*;
use crate::graph::{DenseFeatures, SparseFeatures};
use common::testing::assert_nmse;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sums of some hundred terms in single precision.
const NMSE_PRODUCT: f64 = 1e-12;

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// One value in `one_in` is not zero; row 0 and column 0 are empty.
fn matrix(n_rows: usize, n_features: usize, one_in: u32) -> DenseFeatures {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut values = numbers(n_rows * n_features, 4);
    for (place, value) in values.iter_mut().enumerate() {
        let outside = place < n_features || place % n_features == 0;
        if outside || rng.random_range(0..one_in) != 0 {
            *value = 0.0;
        }
    }
    DenseFeatures::new(n_features, values).unwrap()
}

/// What `dropout` leaves of the matrix, made value by value as the type of features counts them.
fn dropped(dense: &DenseFeatures, sparse: bool, dropout: Option<Dropout>) -> Vec<f32> {
    let mut left = dense.values().to_vec();
    let Some(dropout) = dropout else { return left };
    let mut count = 0;
    for (place, value) in left.iter_mut().enumerate() {
        let (row, column) = (place / dense.n_features(), place % dense.n_features());
        let original = [*value];
        let out = std::slice::from_mut(value);
        if !sparse {
            dropout.apply(row as u32, column as u32, &original, out);
        } else if original[0] != 0.0 {
            dropout.apply(0, count, &original, out);
            count += 1;
        }
    }
    left
}

fn both(dense: &DenseFeatures) -> [(bool, FeatureProduct); 2] {
    let sparse: SparseFeatures = dense.to_sparse();
    [
        (true, FeatureProduct::new(Features::Sparse(sparse))),
        (false, FeatureProduct::new(Features::Dense(dense.clone()))),
    ]
}

#[test]
fn products_are_those_of_the_matrix() {
    let dropout = Dropout::new(0.4, 1, 2).unwrap();
    for (n_rows, n_features, one_in) in [(1, 1, 1), (7, 3, 2), (700, 300, 9)] {
        let dense = matrix(n_rows, n_features, one_in);
        for n_outputs in [1, 5, 16, 64, 70] {
            let weights = numbers(n_features * n_outputs, 5);
            let gradient = numbers(n_rows * n_outputs, 6);
            for ((sparse, product), dropout) in
                both(&dense).iter().flat_map(|product| [(product, None), (product, dropout)])
            {
                let x = dropped(&dense, *sparse, dropout);
                let mut forward = vec![0.0_f64; n_rows * n_outputs];
                let mut backward = vec![0.0_f64; n_features * n_outputs];
                for (place, &x) in x.iter().enumerate() {
                    let (row, column) = (place / n_features, place % n_features);
                    for output in 0..n_outputs {
                        let weight = weights[column * n_outputs + output];
                        forward[row * n_outputs + output] += f64::from(x) * f64::from(weight);
                        let slope = gradient[row * n_outputs + output];
                        backward[column * n_outputs + output] += f64::from(x) * f64::from(slope);
                    }
                }
                let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
                let label = format!("{n_rows} x {n_features} x {n_outputs}, sparse {sparse}");
                let mut out = vec![f32::NAN; forward.len()];
                product.multiply(&weights, n_outputs, dropout, &mut out).unwrap();
                assert_nmse(&narrow(&forward), &out, NMSE_PRODUCT, &label);
                let mut out = vec![f32::NAN; backward.len()];
                product.weight_gradient(&gradient, n_outputs, dropout, &mut out).unwrap();
                assert_nmse(&narrow(&backward), &out, NMSE_PRODUCT, &label);
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let dense = matrix(1100, 400, 8);
    let (weights, gradient) = (numbers(400 * 64, 1), numbers(1100 * 64, 2));
    let dropout = Dropout::new(0.5, 3, 4).unwrap();
    for (sparse, product) in both(&dense) {
        let run = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let (mut y, mut dw) = (vec![0.0; 1100 * 64], vec![0.0; 400 * 64]);
            pool.install(|| {
                product.multiply(&weights, 64, dropout, &mut y).unwrap();
                product.weight_gradient(&gradient, 64, dropout, &mut dw).unwrap();
            });
            (y, dw)
        };
        let alone = run(1);
        assert!(alone == run(2) && alone == run(4), "sparse {sparse}");
    }
}

#[test]
fn empty_matrices_have_empty_products() {
    for (_, product) in both(&DenseFeatures::new(3, vec![]).unwrap()) {
        product.multiply(&[1.0; 6], 2, None, &mut []).unwrap();
        let mut gradient = [1.0; 6];
        product.weight_gradient(&[], 2, None, &mut gradient).unwrap();
        assert_eq!(gradient, [0.0; 6]);
        product.multiply(&[], 0, None, &mut []).unwrap();
    }
}

#[test]
fn wrong_shapes_are_named() {
    for (_, product) in both(&matrix(7, 3, 2)) {
        let error = product.multiply(&[0.0; 5], 2, None, &mut [0.0; 14]).unwrap_err().to_string();
        assert_eq!(error, "features times weights: weights: 5 values are not 3 rows of 2");
        assert!(product.multiply(&[0.0; 6], 2, None, &mut [0.0; 13]).is_err());
        assert!(product.weight_gradient(&[0.0; 13], 2, None, &mut [0.0; 6]).is_err());
        assert!(product.weight_gradient(&[0.0; 14], 2, None, &mut [0.0; 5]).is_err());
    }
}
