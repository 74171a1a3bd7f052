//! What one step of a recurrence adds up, a coefficient a term or a coefficient a column.

use super::Signals;
use super::signals::check_len;
use crate::Result;

/// `out = α ⊙ (D^-1 A) x + Σ w ⊙ y`, in the scaled space of [`Operator`](super::Operator).
#[derive(Debug, Clone)]
pub struct Step<'a> {
    pub(super) product: Coefficients<'a>,
    pub(super) signals: &'a Signals,
    pub(super) terms: Vec<(Coefficients<'a>, &'a Signals)>,
}

impl<'a> Step<'a> {
    /// `α ⊙ Â x`.
    #[must_use]
    pub fn product(alpha: impl Into<Coefficients<'a>>, signals: &'a Signals) -> Self {
        Self { product: alpha.into(), signals, terms: Vec::new() }
    }

    /// Adds `w ⊙ y`: the signals themselves, the step before, the source of Clenshaw's rule.
    #[must_use]
    pub fn plus(mut self, weights: impl Into<Coefficients<'a>>, signals: &'a Signals) -> Self {
        self.terms.push((weights.into(), signals));
        self
    }
}

/// The factor of each column.
#[derive(Debug, Clone, Copy)]
pub enum Coefficients<'a> {
    /// The same for all.
    Same(f32),
    /// One a column.
    PerColumn(&'a [f32]),
}

impl Coefficients<'_> {
    /// One a column, zero for the padding.
    pub(super) fn padded(&self, n_columns: usize, stride: usize) -> Result<Vec<f32>> {
        let mut padded = vec![0.0; stride];
        match *self {
            Self::Same(value) => padded[..n_columns].fill(value),
            Self::PerColumn(values) => {
                check_len("coefficients", values.len(), 1, n_columns)?;
                padded[..n_columns].copy_from_slice(values);
            }
        }
        Ok(padded)
    }
}

impl From<f32> for Coefficients<'_> {
    fn from(value: f32) -> Self {
        Self::Same(value)
    }
}

impl<'a> From<&'a [f32]> for Coefficients<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::PerColumn(values)
    }
}
