//! Polynomial bases of spectral filters on `[−1, 1]`, in `f64`, and their coordinates in the one
//! basis that signals are propagated in.
//!
//! A filter is `g(Â) = Σ_k θ_k p_k(Â)`. Propagating in the basis `p` itself would make its exponents
//! part of every sparse product and of its backward pass. Signals are propagated in the fixed
//! Chebyshev basis instead, and a basis is only the small matrix `B` of its Chebyshev coefficients:
//! `g = Σ_j W_j T_j` with `W = Bᵀ θ`. Eleven by eleven numbers hold all that is learnable.
//!
//! - [`Field`], [`Scalar`], [`Dual`]: numbers with derivatives by the exponents
//! - [`Recurrence`]: a basis by its three-term recurrence
//! - [`jacobi()`], [`orthonormal_jacobi`]: the paper's basis and the one it improves on
//! - [`Basis`], [`ChangeOfBasis`]: every basis as its matrix `B`
//! - [`ExponentMap`]: how free parameters become exponents above −1

mod change_of_basis;
mod double_double;
mod exponent_map;
#[cfg(test)]
pub(crate) mod golden;
mod jacobi;
mod matrix;
mod recurrence;
mod scalar;

pub use change_of_basis::{Basis, ChangeOfBasis, interpolation_nodes};
pub use exponent_map::ExponentMap;
pub use jacobi::{
    Exponents, Measure, Sign, jacobi, jacobi_values, orthonormal_jacobi, squared_norms,
};
pub use matrix::Matrix;
pub use recurrence::{Recurrence, Step};
pub use scalar::{Dual, Field, Scalar};
