//! Losses and gradient norms that are no numbers.

use crate::detect::{Finding, Status};

/// Watches the loss and the norm of its gradient. The paper has no class for either (notes, section 0,
/// item 8): training goes on, and every step after is lost.
#[derive(Debug, Clone, Default)]
pub struct FiniteMonitor {
    n_tolerated: usize,
    n_gradients: usize,
}

impl FiniteMonitor {
    /// Tolerates so many gradients in a row that overflow: 0 for bfloat16. Training in float16 lowers
    /// its loss scale by overflowing, and skips those steps.
    #[must_use]
    pub fn new(n_tolerated: usize) -> Self {
        Self { n_tolerated, n_gradients: 0 }
    }

    /// Takes a step's loss, and the norm of its gradient where it is known. A loss that is no number
    /// is never tolerated.
    pub fn record(&mut self, loss: f64, gradient_norm: Option<f64>) -> Option<Finding> {
        let overflows = gradient_norm.is_some_and(|norm| !norm.is_finite());
        self.n_gradients = if overflows { self.n_gradients + 1 } else { 0 };
        let is_lost = !loss.is_finite() || self.n_gradients > self.n_tolerated;
        is_lost.then(|| Finding::root(Status::NonFiniteLoss))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_never_tolerated() {
        for loss in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(FiniteMonitor::new(9).record(loss, Some(1.0)).is_some());
        }
        assert_eq!(FiniteMonitor::new(0).record(2.5, None), None);
    }

    #[test]
    fn gradients_are_while_the_loss_scale_falls() {
        let mut monitor = FiniteMonitor::new(2);
        let mut record = |norm| monitor.record(2.5, Some(norm)).is_some();
        let found = [f64::INFINITY, f64::NAN, 1.0, f64::NAN, f64::NAN, f64::NAN].map(&mut record);
        assert_eq!(found, [false, false, false, false, false, true]);
    }
}
