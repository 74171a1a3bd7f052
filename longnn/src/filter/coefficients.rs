//! How a filter's coefficients `θ_kc` in its basis come from parameters.
//!
//! JacobiConv's polynomial coefficient decomposition (PCD), which LON-GNN keeps, splits them into a
//! factor by order that all channels share and one by order and channel: `θ_kc = γ_k m_kc` with
//! `γ_k = Π_{i<k} α tanh η_i`. The other models have one of the two only.

use crate::basis::Matrix;
use crate::{Error, Result};

/// Where the coefficients come from. Shared parameters are `K + 1` numbers, a channel's own are
/// `(K+1) × C`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Coefficients {
    /// `θ_kc = γ_k`: GPRGNN.
    Shared,
    /// `θ_kc = max(γ_k, 0)`: BernNet, ChebNetII.
    SharedRectified,
    /// `θ_kc = m_kc`.
    PerChannel,
    /// `θ_kc = γ_k m_kc`: JacobiConv, LON-GNN.
    Decomposed(Decomposition),
}

/// How the shared factors `γ_k` come from `η`, `γ_0 = 1`. The last `η` is unused, as published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decomposition {
    /// `γ_k = Π_{i<k} α tanh η_i`.
    Product {
        /// `α`, positive.
        alpha: f64,
    },
    /// `γ_k = η_{k−1}`, the published code's `coef_upd='none'`; `α` only sets where `η` starts.
    Direct {
        /// `α`, positive.
        alpha: f64,
    },
}

impl Coefficients {
    /// Whether there are parameters that all channels share.
    #[must_use]
    pub fn has_shared(self) -> bool {
        !matches!(self, Self::PerChannel)
    }

    /// Whether there are parameters of each channel.
    #[must_use]
    pub fn has_per_channel(self) -> bool {
        matches!(self, Self::PerChannel | Self::Decomposed(_))
    }

    /// Where shared parameters start: at 1, or at `min(1/α, 1)` for `η`.
    #[must_use]
    pub fn initial_shared(self) -> f64 {
        match self {
            Self::Decomposed(decomposition) => (1.0 / decomposition.alpha()).min(1.0),
            _ => 1.0,
        }
    }

    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Decomposed(decomposition)
                if !(decomposition.alpha() > 0.0 && decomposition.alpha().is_finite()) =>
            {
                let problem = format!("{} is not a positive number", decomposition.alpha());
                Err(Error::Setting { setting: "alpha".into(), problem })
            }
            _ => Ok(()),
        }
    }

    /// `θ`, `(K+1) × C`. What the variant doesn't have may be empty.
    pub(super) fn matrix(self, degree: usize, shared: &[f64], own: &Matrix) -> Matrix {
        let n_channels = own.n_columns();
        match self {
            Self::PerChannel => own.clone(),
            Self::Shared => Matrix::from_fn(degree + 1, n_channels, |k, _| shared[k]),
            Self::SharedRectified => {
                Matrix::from_fn(degree + 1, n_channels, |k, _| shared[k].max(0.0))
            }
            Self::Decomposed(decomposition) => {
                let factors = decomposition.factors(shared);
                Matrix::from_fn(degree + 1, n_channels, |k, c| factors[k] * own[(k, c)])
            }
        }
    }

    /// The gradients of the shared and of the channels' parameters, from that of `θ`.
    pub(super) fn backward(
        self,
        shared: &[f64],
        own: &Matrix,
        gradient: &Matrix,
    ) -> (Vec<f64>, Matrix) {
        let sums = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            let channels = 0..gradient.n_columns();
            (0..gradient.n_rows()).map(|k| channels.clone().map(|c| of(k, c)).sum()).collect()
        };
        let none = Matrix::zeros(0, gradient.n_columns());
        match self {
            Self::PerChannel => (Vec::new(), gradient.clone()),
            Self::Shared => (sums(&|k, c| gradient[(k, c)]), none),
            Self::SharedRectified => {
                let passes = |k: usize| f64::from(u8::from(shared[k] > 0.0));
                (sums(&|k, c| passes(k) * gradient[(k, c)]), none)
            }
            Self::Decomposed(decomposition) => {
                let by_factor = sums(&|k, c| own[(k, c)] * gradient[(k, c)]);
                let factors = decomposition.factors(shared);
                let by_own = Matrix::from_fn(gradient.n_rows(), gradient.n_columns(), |k, c| {
                    factors[k] * gradient[(k, c)]
                });
                (decomposition.backward(shared, &factors, &by_factor), by_own)
            }
        }
    }
}

impl Decomposition {
    fn alpha(self) -> f64 {
        match self {
            Self::Product { alpha } | Self::Direct { alpha } => alpha,
        }
    }

    /// `γ_0 … γ_K`.
    fn factors(self, eta: &[f64]) -> Vec<f64> {
        let mut factors = vec![1.0];
        for (k, &eta) in eta.iter().enumerate().take(eta.len() - 1) {
            factors.push(match self {
                Self::Product { alpha } => factors[k] * alpha * eta.tanh(),
                Self::Direct { .. } => eta,
            });
        }
        factors
    }

    /// The gradient of `η` from that of `γ`. A product's is the product before the factor times
    /// what comes after it, without a division: an `η` of zero has a gradient as well.
    fn backward(self, eta: &[f64], factors: &[f64], by_factor: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; eta.len()];
        match self {
            Self::Direct { .. } => gradient[..eta.len() - 1].copy_from_slice(&by_factor[1..]),
            Self::Product { alpha } => {
                let mut after = 0.0;
                for i in (0..eta.len() - 1).rev() {
                    // after = Σ_{k>i} γ'_k Π_{i<j<k} α tanh η_j
                    after = by_factor[i + 1] + alpha * eta[i + 1].tanh() * after;
                    let slope = alpha * (1.0 - eta[i].tanh().powi(2));
                    gradient[i] = factors[i] * slope * after;
                }
            }
        }
        gradient
    }
}

/// The coefficients of personalised PageRank with teleport probability `α`, truncated after `K`
/// steps: `α(1−α)^k`, the last `(1−α)^K`. APPNP's filter, and where GPRGNN starts.
#[must_use]
pub fn personalized_pagerank(alpha: f64, degree: usize) -> Vec<f64> {
    let keep = |k: usize| (1.0 - alpha).powi(k as i32);
    (0..=degree).map(|k| if k == degree { keep(k) } else { alpha * keep(k) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_rank_sums_to_one() {
        let coefficients = personalized_pagerank(0.1, 10);
        assert!((coefficients.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert_eq!(coefficients[0], 0.1);
    }

    #[test]
    fn factors_of_the_paper() {
        let product = Decomposition::Product { alpha: 0.5 }.factors(&[1.0, -2.0, 9.0]);
        let expected = [1.0, 0.5 * 1_f64.tanh(), -0.25 * 1_f64.tanh() * 2_f64.tanh()];
        assert_eq!(product, expected);
        // The image experiment's: all equal to min(1/α, 1) but the first.
        let direct = Coefficients::Decomposed(Decomposition::Direct { alpha: 2.5 });
        assert_eq!(direct.initial_shared(), 0.4);
        assert_eq!(Decomposition::Direct { alpha: 2.5 }.factors(&[0.4; 3]), [1.0, 0.4, 0.4]);
    }

    #[test]
    fn a_zero_factor_still_has_a_gradient() {
        let product = Decomposition::Product { alpha: 2.0 };
        let eta = [0.0, 1.0, 5.0];
        let gradient = product.backward(&eta, &product.factors(&eta), &[7.0, 1.0, 1.0]);
        assert!((gradient[0] - 2.0 * (1.0 + 2.0 * 1_f64.tanh())).abs() < 1e-15, "{gradient:?}");
        assert_eq!(gradient[2], 0.0);
    }
}
