//! Choosing the next token from the logits: greedily, or by chance at a temperature, cut to the
//! likeliest tokens.
//!
//! The order is temperature, then top-k, then top-p of what is left, as in transformers. With equal
//! logits the lower id comes first, so that a seed gives the same tokens on every machine.

use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result};

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerConfig {
    /// What logits are divided by. 0 takes the likeliest token always.
    pub temperature: f32,
    /// Only the `top_k` likeliest tokens count.
    pub top_k: Option<usize>,
    /// Only the fewest likeliest tokens that have at least this share of the probability count.
    pub top_p: Option<f32>,
    /// Start of the random numbers: the same seed and logits give the same tokens.
    pub seed: u64,
}

impl Default for SamplerConfig {
    /// Greedy.
    fn default() -> Self {
        SamplerConfig { temperature: 0.0, top_k: None, top_p: None, seed: 0 }
    }
}

/// Chooses tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplerConfig,
    rng: ChaCha8Rng,
}

/// A token that may be chosen, and its weight: the weights don't add up to 1.
type Candidate = (u32, f64);

impl Sampler {
    /// A sampler, if the configuration makes sense.
    ///
    /// # Errors
    /// [`Error::Sampling`] naming the setting that doesn't.
    pub fn new(config: SamplerConfig) -> Result<Sampler> {
        let SamplerConfig { temperature, top_k, top_p, seed } = config;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(invalid(format!("temperature is {temperature}: it must be 0 or more")));
        }
        if top_k == Some(0) {
            return Err(invalid(
                "top_k is 0: at least one token must be left to choose".to_owned(),
            ));
        }
        if let Some(top_p) = top_p
            && !(top_p > 0.0 && top_p <= 1.0)
        {
            return Err(invalid(format!("top_p is {top_p}: it must be over 0 and at most 1")));
        }
        Ok(Sampler { config, rng: ChaCha8Rng::seed_from_u64(seed) })
    }

    /// Chooses a token; `logits[id]` is the logit of token `id`, minus infinity if it must not be
    /// chosen.
    ///
    /// # Errors
    /// [`Error::Sampling`] when a logit is NaN or infinite, or none is left to choose: the model's
    /// arithmetic has failed, and any token would hide it.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        check(logits)?;
        if self.config.temperature == 0.0 {
            return Ok(argmax(logits));
        }
        let candidates = self.candidates(logits);
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.random::<f64>() * total;
        for &(id, weight) in &candidates {
            if left < weight {
                return Ok(id);
            }
            left -= weight;
        }
        // Rounding has used up what was left: the likeliest token of those that count.
        Ok(argmax(logits))
    }

    /// The tokens that may be chosen. Those that top-k or top-p leaves are in falling order.
    fn candidates(&self, logits: &[f32]) -> Vec<Candidate> {
        let SamplerConfig { temperature, top_k, top_p, .. } = self.config;
        let mut ranked: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        if let Some(k) = top_k.filter(|&k| k < ranked.len()) {
            ranked.select_nth_unstable_by(k - 1, by_rank);
            ranked.truncate(k);
        }
        if top_k.is_some() || top_p.is_some() {
            ranked.sort_unstable_by(by_rank);
        }
        let max = ranked.iter().map(|&(_, logit)| logit).fold(f32::NEG_INFINITY, f32::max);
        let weight =
            |logit: f32| ((f64::from(logit) - f64::from(max)) / f64::from(temperature)).exp();
        let mut candidates: Vec<Candidate> =
            ranked.into_iter().map(|(id, logit)| (id, weight(logit))).collect();
        if let Some(top_p) = top_p {
            let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
            let mut sum = 0.0;
            let enough = candidates.iter().position(|(_, weight)| {
                sum += weight;
                sum >= f64::from(top_p) * total
            });
            candidates.truncate(enough.map_or(candidates.len(), |last| last + 1));
        }
        candidates
    }
}

fn by_rank(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn check(logits: &[f32]) -> Result<()> {
    let n = logits.len();
    if let Some(id) = logits.iter().position(|&logit| logit.is_nan() || logit == f32::INFINITY) {
        return Err(invalid(format!("the logit of token {id} of {n} is {}", logits[id])));
    }
    if logits.iter().all(|&logit| logit == f32::NEG_INFINITY) {
        return Err(invalid(format!("none of {n} tokens may be chosen")));
    }
    Ok(())
}

/// The id of the highest logit, the lowest of equals. There is at least one.
fn argmax(logits: &[f32]) -> u32 {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (id, &logit) in (0..).zip(logits) {
        if logit > highest {
            (best, highest) = (id, logit);
        }
    }
    best
}

fn invalid(problem: String) -> Error {
    Error::Sampling(problem)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INF: f32 = f32::INFINITY;

    fn sampler(temperature: f32, top_k: Option<usize>, top_p: Option<f32>, seed: u64) -> Sampler {
        Sampler::new(SamplerConfig { temperature, top_k, top_p, seed }).unwrap()
    }

    fn ids(sampler: &Sampler, logits: &[f32]) -> Vec<u32> {
        sampler.candidates(logits).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn greedy_takes_the_highest_and_the_first_of_equals() {
        let mut greedy = Sampler::new(SamplerConfig::default()).unwrap();
        assert_eq!(greedy.sample(&[0.5, 2.0, -1.0, 2.0]).unwrap(), 1);
        assert_eq!(greedy.sample(&[-0.0, 0.0]).unwrap(), 0);
        assert_eq!(greedy.sample(&[-INF, -3.0]).unwrap(), 1);
    }

    #[test]
    fn top_k_and_top_p_keep_exactly_their_tokens() {
        // Probabilities 0.1, 0.4, 0.3, 0.2.
        let logits = [0.1f32, 0.4, 0.3, 0.2].map(f32::ln);
        assert_eq!(ids(&sampler(1.0, None, None, 0), &logits), [0, 1, 2, 3]);
        assert_eq!(ids(&sampler(1.0, Some(2), None, 0), &logits), [1, 2]);
        assert_eq!(ids(&sampler(1.0, Some(9), None, 0), &logits), [1, 2, 3, 0]);
        assert_eq!(ids(&sampler(1.0, None, Some(0.39), 0), &logits), [1]);
        assert_eq!(ids(&sampler(1.0, None, Some(0.41), 0), &logits), [1, 2]);
        assert_eq!(ids(&sampler(1.0, None, Some(0.95), 0), &logits), [1, 2, 3, 0]);
        assert_eq!(ids(&sampler(1.0, None, Some(1.0), 0), &logits).len(), 4);
        // Of two tokens with 4/7 and 3/7, the first alone has over a half.
        assert_eq!(ids(&sampler(1.0, Some(2), Some(0.5), 0), &logits), [1]);
        // Equal logits: the lower ids.
        assert_eq!(ids(&sampler(1.0, Some(2), None, 0), &[1.0; 5]), [0, 1]);
    }

    /// 100,000 draws: each share is within five standard deviations of its probability (one test in
    /// a million fails by chance, and the seed is fixed).
    #[test]
    fn draws_follow_the_distribution() {
        let (n, temperature) = (100_000, 0.7);
        let logits = [1.0f32, 0.0, -INF, 2.5, -1.0];
        let weights = logits.map(|logit| (f64::from(logit) / f64::from(temperature)).exp());
        let total: f64 = weights.iter().sum();
        let mut sampler = sampler(temperature, None, None, 7);
        let mut counts = [0u32; 5];
        for _ in 0..n {
            counts[sampler.sample(&logits).unwrap() as usize] += 1;
        }
        for (count, weight) in counts.into_iter().zip(weights) {
            let p = weight / total;
            let bound = 5.0 * (p * (1.0 - p) / f64::from(n)).sqrt();
            let share = f64::from(count) / f64::from(n);
            assert!((share - p).abs() <= bound, "{share} against {p} +- {bound}");
        }
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn a_seed_repeats_its_draws() {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.37).sin()).collect();
        let draw = |seed| {
            let mut sampler = sampler(1.0, None, None, seed);
            (0..40).map(|_| sampler.sample(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn bad_settings_and_logits_are_errors() {
        for (temperature, top_k, top_p, wanted) in [
            (-1.0, None, None, "temperature"),
            (f32::NAN, None, None, "temperature"),
            (INF, None, None, "temperature"),
            (1.0, Some(0), None, "top_k"),
            (1.0, None, Some(0.0), "top_p"),
            (1.0, None, Some(1.1), "top_p"),
            (1.0, None, Some(f32::NAN), "top_p"),
        ] {
            let config = SamplerConfig { temperature, top_k, top_p, seed: 0 };
            let message = Sampler::new(config).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
        for temperature in [0.0, 1.0] {
            for logits in [&[][..], &[0.0, f32::NAN], &[INF, 0.0], &[-INF, -INF]] {
                assert!(sampler(temperature, None, None, 0).sample(logits).is_err(), "{logits:?}");
            }
        }
    }

    proptest! {
        /// Whatever the logits and settings, the token is one that was not ruled out.
        #[test]
        fn the_choice_is_always_allowed(
            logits in prop::collection::vec(
                prop_oneof![-1e30f32..1e30, -20f32..20.0, Just(-INF), Just(0.0)], 1..40),
            temperature in prop_oneof![Just(0.0f32), Just(1e-30), 0.01f32..10.0],
            top_k in prop::option::of(1usize..50),
            top_p in prop::option::of(0.01f32..=1.0),
            seed in any::<u64>(),
        ) {
            let mut sampler = sampler(temperature, top_k, top_p, seed);
            match sampler.sample(&logits) {
                Ok(id) => prop_assert!(logits[id as usize] > -INF),
                Err(_) => prop_assert!(logits.iter().all(|&logit| logit == -INF)),
            }
        }
    }
}
