//! How far a plan moves a model's predictions.
//!
//! A perplexity may hide as many predictions that became better as became worse; the divergence from the
//! predictions of half precision does not. Both caches go through the model together, so a plan and its
//! baseline are scored on the very same windows.

use super::perplexity::{Evaluation, Protocol, WindowScore};
use super::probability::LogProbabilities;
use crate::Result;
use crate::model::{Chunk, LanguageModel, Llama};
use crate::policy::Plan;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// Sums over the predictions of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowComparison {
    /// Predictions.
    pub n_tokens: usize,
    /// Negative log-likelihoods in half precision, in nats.
    pub exact_nll: f64,
    /// The same under the plan.
    pub plan_nll: f64,
    /// Kullback-Leibler divergences of the plan's predictions from those of half precision, in nats.
    pub divergence: f64,
    /// Predictions whose most probable token is the same.
    pub same_top: usize,
}

impl Add for WindowComparison {
    type Output = WindowComparison;

    fn add(self, other: WindowComparison) -> WindowComparison {
        WindowComparison {
            n_tokens: self.n_tokens + other.n_tokens,
            exact_nll: self.exact_nll + other.exact_nll,
            plan_nll: self.plan_nll + other.plan_nll,
            divergence: self.divergence + other.divergence,
            same_top: self.same_top + other.same_top,
        }
    }
}

/// A plan held against half precision over the windows of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Each window, in order.
    pub windows: Vec<WindowComparison>,
    /// Bits for an element of the plan's cache at the end of a window, everything counted.
    pub bits_per_element: f64,
}

impl Comparison {
    /// All windows together.
    pub fn total(&self) -> WindowComparison {
        self.windows.iter().copied().fold(WindowComparison::default(), Add::add)
    }

    /// The scores in half precision and under the plan, for [`super::paired::loss`].
    pub fn evaluations(&self) -> [Evaluation; 2] {
        let evaluation = |nll: fn(&WindowComparison) -> f64| Evaluation {
            windows: self
                .windows
                .iter()
                .map(|window| WindowScore { nll: nll(window), n_tokens: window.n_tokens })
                .collect(),
            cache_bytes: Default::default(),
            bits_per_element: self.bits_per_element,
        };
        [evaluation(|window| window.exact_nll), evaluation(|window| window.plan_nll)]
    }
}

/// Holds a plan against half precision on one window, one of [`Protocol::windows`].
///
/// # Errors
/// If the plan does not fit the model, the window is longer than its context, or the model fails.
pub fn compare_window(
    model: &Llama,
    window: &[u32],
    plan: &Plan,
    protocol: Protocol,
) -> Result<WindowComparison> {
    model.check_tokens(window)?;
    model.check_context(window.len())?;
    let mut exact = model.new_cache(&Plan::f16())?;
    let mut cache = model.new_cache(plan)?;
    let mut total = WindowComparison::default();
    for (first, tokens, scored) in protocol.chunks(window) {
        let targets = &window[first + scored.start + 1..first + scored.end + 1];
        let logits = model.forward(&mut [
            Chunk { cache: &mut exact, tokens, logits: scored.clone() },
            Chunk { cache: &mut cache, tokens, logits: scored },
        ])?;
        total = total + compare(&logits[0], &logits[1], targets);
    }
    Ok(total)
}

/// Logits `[predictions][vocabulary]` of both, and what came.
fn compare(exact: &[f32], plan: &[f32], targets: &[u32]) -> WindowComparison {
    if targets.is_empty() {
        return WindowComparison::default();
    }
    let vocab_size = exact.len() / targets.len();
    let rows = exact.par_chunks_exact(vocab_size).zip(plan.par_chunks_exact(vocab_size));
    let one = |((exact, plan), &target): ((&[f32], &[f32]), &u32)| {
        let (exact, plan) = (LogProbabilities::of(exact), LogProbabilities::of(plan));
        WindowComparison {
            n_tokens: 1,
            exact_nll: -exact.at(target as usize),
            plan_nll: -plan.at(target as usize),
            divergence: exact.divergence(&plan),
            same_top: usize::from(exact.top() == plan.top()),
        }
    };
    rows.zip(targets).map(one).reduce(WindowComparison::default, Add::add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_rows() {
        // Probabilities .75 and .25, then .5 and .5; under the plan all .5, then .25 and .75.
        let third = 3f32.ln();
        let exact = [third, 0.0, 1.0, 1.0];
        let plan = [7.0, 7.0, 0.0, third];
        let found = compare(&exact, &plan, &[0, 1]);
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}");
        near(found.exact_nll, -(0.75f64.ln() + 0.5f64.ln()));
        near(found.plan_nll, -(0.5f64.ln() + 0.75f64.ln()));
        let first = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        let second = 0.5 * 2f64.ln() + 0.5 * (0.5f64 / 0.75).ln();
        near(found.divergence, first + second);
        assert_eq!((found.n_tokens, found.same_top), (2, 1));
    }
}
