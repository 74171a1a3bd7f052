//! Logits as logarithms of probabilities.

/// A row of logits, and what turns them into logarithms of probabilities.
#[derive(Debug)]
pub struct LogProbabilities<'a> {
    logits: &'a [f32],
    greatest: f32,
    /// The logarithm of the sum of exponentials over that of the greatest.
    ln_total: f64,
}

impl<'a> LogProbabilities<'a> {
    /// Of a row of logits.
    pub fn of(logits: &'a [f32]) -> LogProbabilities<'a> {
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = logits.iter().map(|&logit| f64::from((logit - greatest).exp())).sum();
        LogProbabilities { logits, greatest, ln_total: total.ln() }
    }

    /// Of a token, in nats.
    pub fn at(&self, token: usize) -> f64 {
        f64::from(self.logits[token] - self.greatest) - self.ln_total
    }

    /// The most probable token, the first of equals.
    pub fn top(&self) -> Option<usize> {
        self.logits.iter().position(|&logit| logit == self.greatest)
    }

    /// Kullback-Leibler, of `other` from this, in nats.
    pub fn divergence(&self, other: &LogProbabilities<'_>) -> f64 {
        let logarithms = (0..self.logits.len()).map(|token| (self.at(token), other.at(token)));
        logarithms.map(|(p, q)| p.exp() * (p - q)).sum()
    }
}
