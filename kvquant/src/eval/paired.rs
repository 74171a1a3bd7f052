//! What a plan costs against another on the same windows.
//!
//! Windows of a text differ far more from each other than plans do on one window, so the difference
//! is taken window by window and its uncertainty is that of the differences.

use super::perplexity::Evaluation;
use common::statistics::Estimate;
use serde::Serialize;

/// Perplexity of a plan relative to a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Loss {
    /// Perplexity over the baseline's, minus 1.
    pub relative: f64,
    /// Lower end of the paired 95 % confidence interval.
    pub low: f64,
    /// Upper end; the interval is infinite for a single window.
    pub high: f64,
}

/// The loss of `plan` against `baseline`, both over the same windows: exp of the mean difference of
/// the windows' mean negative log-likelihoods, minus 1; the interval is Student's t.
pub fn loss(baseline: &Evaluation, plan: &Evaluation) -> Loss {
    let differences: Vec<f64> = baseline
        .windows
        .iter()
        .zip(&plan.windows)
        .map(|(base, plan)| plan.nll / plan.n_tokens as f64 - base.nll / base.n_tokens as f64)
        .collect();
    let difference = Estimate::of(&differences);
    let (low, high) = difference.interval_95();
    Loss { relative: difference.mean.exp_m1(), low: low.exp_m1(), high: high.exp_m1() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheBytes;
    use crate::eval::perplexity::WindowScore;

    fn evaluation(nlls: &[f64]) -> Evaluation {
        Evaluation {
            windows: nlls.iter().map(|&nll| WindowScore { nll, n_tokens: 10 }).collect(),
            cache_bytes: CacheBytes::default(),
            bits_per_element: 16.0,
        }
    }

    #[test]
    fn windows_that_differ_alike_leave_no_doubt() {
        let loss = loss(&evaluation(&[20.0, 40.0, 31.0]), &evaluation(&[21.0, 41.0, 32.0]));
        for end in [loss.relative, loss.low, loss.high] {
            assert!((end - 0.1f64.exp_m1()).abs() < 1e-12, "{loss:?}");
        }
    }

    #[test]
    fn one_window_says_nothing_of_its_uncertainty() {
        let loss = loss(&evaluation(&[20.0]), &evaluation(&[21.0]));
        assert_eq!((loss.low, loss.high), (-1.0, f64::INFINITY));
    }
}
