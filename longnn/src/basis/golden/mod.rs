//! What `jacobi.py` beside this file computed at 50 digits.

use serde::Deserialize;

/// Polynomials and quadrature for several pairs of exponents.
#[derive(Deserialize)]
pub(crate) struct Golden {
    /// The orders `k` that the rows of values belong to.
    pub orders: Vec<usize>,
    /// The points `x` that the columns of values belong to.
    pub points: Vec<f64>,
    /// One for each pair of exponents.
    pub cases: Vec<Case>,
}

/// One pair of exponents.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub a: f64,
    pub b: f64,
    /// `h_k` by order.
    pub norms: Vec<f64>,
    /// `max |P_k|` by order.
    pub largest: Vec<f64>,
    /// `P_k(x)` by order and point.
    pub values: Vec<Vec<f64>>,
    /// Gauss-Jacobi nodes.
    pub nodes: Vec<f64>,
    /// Gauss-Jacobi weights.
    pub weights: Vec<f64>,
}

pub(crate) fn jacobi() -> Golden {
    serde_json::from_str(include_str!("jacobi.json")).unwrap()
}
