//! The paper's plain rule, to compare with and to fall back to.

use super::Judgement;

/// One running mean over all iterations: 1.1 times it is slow, 3 times is a failure (notes, 1.3; the
/// 1.1 as remembered from the paper).
#[derive(Debug, Clone, Default)]
pub struct PaperRule {
    n_steps: usize,
    sum_s: f64,
}

impl PaperRule {
    /// The edge of normal variation.
    pub const DEGRADED_RATIO: f64 = 1.1;
    /// The edge of a failure.
    pub const HANG_RATIO: f64 = 3.0;

    /// Without any iteration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The mean of all iterations, in seconds; `None` before the first.
    #[must_use]
    pub fn mean_s(&self) -> Option<f64> {
        (self.n_steps > 0).then(|| self.sum_s / self.n_steps as f64)
    }

    /// Judges an iteration, then counts it. Times that aren't positive numbers are ignored.
    pub fn record(&mut self, seconds: f64) -> Judgement {
        if !(seconds.is_finite() && seconds > 0.0) {
            return Judgement::Ignored;
        }
        let ratio = self.mean_s().map(|mean_s| seconds / mean_s);
        self.n_steps += 1;
        self.sum_s += seconds;
        match ratio {
            None => Judgement::Learning,
            Some(ratio) if ratio > Self::HANG_RATIO => Judgement::Stalled { ratio },
            Some(ratio) if ratio > Self::DEGRADED_RATIO => Judgement::Degraded { ratio },
            Some(_) => Judgement::Normal,
        }
    }
}
