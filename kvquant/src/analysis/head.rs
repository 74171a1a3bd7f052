//! One head's errors, in double precision.

use serde::{Deserialize, Serialize};

/// The keys and values of a head, exact and as they are stored: `[tokens][head_dim]`.
#[derive(Debug, Clone, Copy)]
pub struct TokenView<'a> {
    /// Channels of the head.
    pub head_dim: usize,
    /// The exact keys.
    pub keys: &'a [f32],
    /// The exact values.
    pub values: &'a [f32],
    /// The keys as they are stored.
    pub stored_keys: &'a [f32],
    /// The values as they are stored.
    pub stored_values: &'a [f32],
}

/// Squared errors, each over the mean square of what is exact there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadErrors {
    /// Of the keys as they are stored.
    pub keys: f64,
    /// Of the values as they are stored.
    pub values: f64,
    /// Of the logits `x_q K^T` with stored keys; their mean over the tokens is left out, as softmax does.
    pub logits: f64,
    /// Of the weights after softmax with stored keys.
    pub weights: f64,
    /// Of the output with stored keys and exact values.
    pub output_by_keys: f64,
    /// Of the output with exact keys and stored values.
    pub output_by_values: f64,
    /// The largest difference between the output's error with stored keys and what theorem 1 says, over the
    /// largest element of the output.
    pub theorem: f64,
    /// How the output's errors with stored keys are spread.
    pub spread_by_keys: Spread,
    /// The same with stored values.
    pub spread_by_values: Spread,
}

/// How errors of the output's elements are spread, in units of the output's root mean square.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Errors in each of [`Spread::BINS`] bins; those beyond the ends count in the last ones. Empty if none.
    counts: Vec<u32>,
}

impl Spread {
    /// Bins.
    const BINS: usize = 41;
    /// From the middle of the first bin to that of the last.
    const REACH: f64 = 2.0;

    fn add(&mut self, exact: &[f64], other: &[f64], size: f64) {
        self.counts.resize(Spread::BINS, 0);
        for (exact, other) in exact.iter().zip(other) {
            let error = if size > 0.0 { (other - exact) / size } else { 0.0 };
            let part = (error / Spread::REACH + 1.0) / 2.0;
            let bin = (part * (Spread::BINS - 1) as f64).round();
            // The cast saturates.
            self.counts[(bin as usize).min(Spread::BINS - 1)] += 1;
        }
    }

    /// The middle of each bin, and the part of the errors that lie in it.
    pub fn points(&self) -> Vec<(f64, f64)> {
        let all: u32 = self.counts.iter().sum();
        let middle =
            |bin: usize| Spread::REACH * (2.0 * bin as f64 / (Spread::BINS - 1) as f64 - 1.0);
        let counts = self.counts.iter().enumerate();
        counts
            .map(|(bin, &count)| (middle(bin), f64::from(count) / f64::from(all.max(1))))
            .collect()
    }
}

/// A sum of squared errors and of squares.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    errors: f64,
    squares: f64,
}

impl Ratio {
    fn add(&mut self, exact: &[f64], other: &[f64]) {
        for (exact, other) in exact.iter().zip(other) {
            self.errors += (exact - other).powi(2);
            self.squares += exact.powi(2);
        }
    }

    fn value(self) -> f64 {
        if self.squares == 0.0 { 0.0 } else { self.errors / self.squares }
    }
}

impl HeadErrors {
    /// The errors for `queries`, `[queries][head_dim]`, of the tokens from position `first` on, each of which
    /// sees the tokens up to its own.
    pub fn measure(view: &TokenView<'_>, queries: &[f32], first: usize) -> HeadErrors {
        let ratio = |exact: &[f32], other: &[f32]| {
            let mut ratio = Ratio::default();
            ratio.add(&doubled(exact), &doubled(other));
            ratio.value()
        };
        let (mut logits, mut weights) = (Ratio::default(), Ratio::default());
        let (mut by_keys, mut by_values) = (Ratio::default(), Ratio::default());
        let (mut spread_by_keys, mut spread_by_values) = (Spread::default(), Spread::default());
        let mut theorem: f64 = 0.0;
        for (at, query) in queries.chunks_exact(view.head_dim).enumerate() {
            let n_tokens = first + at + 1;
            let exact = view.logits(query, view.keys, n_tokens);
            let stored = view.logits(query, view.stored_keys, n_tokens);
            logits.add(&centred(&exact), &centred(&stored));
            let greatest = exact.iter().chain(&stored).copied().fold(f64::NEG_INFINITY, f64::max);
            let (exact_weights, sum) = softmax(&exact, greatest);
            let (stored_weights, stored_sum) = softmax(&stored, greatest);
            weights.add(&exact_weights, &stored_weights);
            let output = view.output(&exact_weights, view.values);
            let output_by_keys = view.output(&stored_weights, view.values);
            let output_by_values = view.output(&exact_weights, view.stored_values);
            by_keys.add(&output, &output_by_keys);
            by_values.add(&output, &output_by_values);
            let size = (output.iter().map(|element| element * element).sum::<f64>()
                / view.head_dim as f64)
                .sqrt();
            spread_by_keys.add(&output, &output_by_keys, size);
            spread_by_values.add(&output, &output_by_values, size);
            // A^w (1 - sr exp(-E^q / sqrt(h))) V, with sr the ratio of the denominators. Printed is +E^q.
            let ratio_of_sums = sum / stored_sum;
            let factors: Vec<f64> = exact_weights
                .iter()
                .zip(exact.iter().zip(&stored))
                .map(|(weight, (exact, stored))| {
                    weight * (1.0 - ratio_of_sums * (-(exact - stored)).exp())
                })
                .collect();
            let foretold = view.output(&factors, view.values);
            let largest = output.iter().fold(0.0f64, |largest, element| largest.max(element.abs()));
            for ((output, by_keys), foretold) in output.iter().zip(&output_by_keys).zip(foretold) {
                theorem = theorem.max((output - by_keys - foretold).abs() / largest);
            }
        }
        HeadErrors {
            keys: ratio(view.keys, view.stored_keys),
            values: ratio(view.values, view.stored_values),
            logits: logits.value(),
            weights: weights.value(),
            output_by_keys: by_keys.value(),
            output_by_values: by_values.value(),
            theorem,
            spread_by_keys,
            spread_by_values,
        }
    }
}

impl TokenView<'_> {
    /// The scaled logits of a query with the first tokens' keys.
    fn logits(&self, query: &[f32], keys: &[f32], n_tokens: usize) -> Vec<f64> {
        let scale = 1.0 / (self.head_dim as f64).sqrt();
        let dot = |key: &[f32]| -> f64 {
            query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum()
        };
        keys.chunks_exact(self.head_dim).take(n_tokens).map(|key| scale * dot(key)).collect()
    }

    /// The sum of values by these weights.
    fn output(&self, weights: &[f64], values: &[f32]) -> Vec<f64> {
        let mut output = vec![0.0; self.head_dim];
        for (weight, value) in weights.iter().zip(values.chunks_exact(self.head_dim)) {
            for (sum, &element) in output.iter_mut().zip(value) {
                *sum += weight * f64::from(element);
            }
        }
        output
    }
}

/// The weights, and the sum of exponentials that they were divided by, over that of `greatest`.
fn softmax(logits: &[f64], greatest: f64) -> (Vec<f64>, f64) {
    let exponentials: Vec<f64> = logits.iter().map(|logit| (logit - greatest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    (exponentials.iter().map(|exponential| exponential / sum).collect(), sum)
}

fn centred(numbers: &[f64]) -> Vec<f64> {
    let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    numbers.iter().map(|number| number - mean).collect()
}

fn doubled(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&number| f64::from(number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn numbers(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Theorem 1 as an identity; and of equal errors, those of keys harm the output more, the more so the
    /// larger queries are.
    #[test]
    fn the_theorem_holds_and_keys_matter_more() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (head_dim, n_tokens) = (32, 64);
        let keys = numbers(&mut rng, n_tokens * head_dim);
        let values = numbers(&mut rng, n_tokens * head_dim);
        let off = |exact: &[f32], rng: &mut ChaCha8Rng| -> Vec<f32> {
            exact.iter().map(|number| number + rng.random_range(-0.2..0.2)).collect()
        };
        let (stored_keys, stored_values) = (off(&keys, &mut rng), off(&values, &mut rng));
        let view = TokenView {
            head_dim,
            keys: &keys,
            values: &values,
            stored_keys: &stored_keys,
            stored_values: &stored_values,
        };
        let queries: Vec<f32> =
            numbers(&mut rng, 8 * head_dim).iter().map(|query| 12.0 * query).collect();
        let errors = HeadErrors::measure(&view, &queries, n_tokens - 8);
        assert!(errors.theorem < 1e-12, "{errors:?}");
        assert!((errors.keys / errors.values - 1.0).abs() < 0.2, "{errors:?}");
        assert!(errors.output_by_keys > 2.0 * errors.output_by_values, "{errors:?}");
        assert!(errors.weights > errors.logits, "{errors:?}");
        let exact = TokenView { stored_keys: &keys, stored_values: &values, ..view };
        let none = HeadErrors::measure(&exact, &queries, n_tokens - 8);
        assert_eq!(
            (none.keys, none.logits, none.output_by_values, none.theorem),
            (0.0, 0.0, 0.0, 0.0)
        );
        assert_eq!(none.spread_by_keys.points()[20], (0.0, 1.0));
        let spread = errors.spread_by_keys.points();
        assert!((spread.iter().map(|point| point.1).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
