//! Every basis as the matrix of its Chebyshev coefficients.
//!
//! The matrix is made by the basis' own recurrence, on coefficient vectors instead of values. Its
//! error against 50-digit values, as a part of `max |P_k|` and the worst over exponents from −0.999
//! to 10, is 6e-15 at `k = 10`, 2e-14 at 20 and 4e-14 at 30: see `growth_of_the_error` below.

use super::jacobi::{Exponents, Measure, Sign, jacobi, orthonormal_jacobi};
use super::recurrence::{Recurrence, Step, times_x};
use super::{Dual, Matrix};
use crate::{Error, Result};

/// A family of polynomials `p_0 … p_K` in `x`, an eigenvalue of the normalised adjacency `Â`; the
/// Laplacian's is `λ = 1 − x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// `x^k`: GPRGNN, APPNP.
    Monomial,
    /// `T_k(x)`: ChebNet, ChebBase.
    Chebyshev,
    /// Cardinal functions of Chebyshev interpolation: a coefficient is the filter's value at a
    /// node. ChebNetII, whose nodes are those of `L − I`.
    ChebyshevInterpolation,
    /// `C(K,k) 2^{−K} (2−λ)^{K−k} λ^k`: BernNet, whose coefficients are roughly the filter's values
    /// at `λ = 2k/K`.
    Bernstein,
    /// `P_k`, Jacobi's with `a = b = 0`.
    Legendre,
    /// `C_k^{(α)}`, ultraspherical.
    Gegenbauer {
        /// `α`, above −1/2 and not 0.
        alpha: f64,
    },
    /// `P_k^{(a,b)}`, un-normalised: JacobiConv.
    Jacobi(Sign),
    /// `P̂_k^{(a,b)}`: LON-GNN.
    OrthonormalJacobi(Measure),
}

/// The matrix `B` of a basis, `(K+1) × (K+1)`: row `k` has the Chebyshev coefficients of `p_k`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeOfBasis {
    /// `B`.
    pub matrix: Matrix,
    /// `∂B/∂a` and `∂B/∂b`, where the basis has exponents.
    pub slopes: Option<[Matrix; 2]>,
}

impl Basis {
    /// The highest degree offered: binomials stay exact in `f64` up to here.
    pub const LARGEST_DEGREE: usize = 50;

    /// Whether the basis depends on exponents.
    #[must_use]
    pub fn has_exponents(self) -> bool {
        matches!(self, Self::Jacobi(_) | Self::OrthonormalJacobi(_))
    }

    /// The matrix `B` for degree `K`. Only Jacobi bases look at the exponents.
    ///
    /// # Errors
    /// If the degree is above [`Self::LARGEST_DEGREE`], or an exponent or Gegenbauer's `α` is
    /// outside its range.
    pub fn change(self, degree: usize, exponents: Exponents) -> Result<ChangeOfBasis> {
        if degree > Self::LARGEST_DEGREE {
            return Err(Error::Setting {
                setting: "degree".into(),
                problem: format!("{degree} is above {}", Self::LARGEST_DEGREE),
            });
        }
        if let Some(recurrence) = self.with_exponents(degree, exponents)? {
            return Ok(ChangeOfBasis::with_slopes(&recurrence.chebyshev_rows()));
        }
        let matrix = match self {
            Self::ChebyshevInterpolation => interpolation(degree),
            Self::Bernstein => bernstein(degree),
            _ => square(&self.recurrence(degree)?.chebyshev_rows(), |&value| value),
        };
        Ok(ChangeOfBasis { matrix, slopes: None })
    }

    fn with_exponents(
        self,
        degree: usize,
        exponents: Exponents,
    ) -> Result<Option<Recurrence<Dual>>> {
        match self {
            Self::Jacobi(sign) => {
                exponents.check_polynomials()?;
                Ok(Some(jacobi(degree, exponents.dual(), sign)))
            }
            Self::OrthonormalJacobi(measure) => {
                exponents.check_weight()?;
                Ok(Some(orthonormal_jacobi(degree, exponents.dual(), measure)))
            }
            _ => Ok(None),
        }
    }

    /// The recurrence of a basis that has one and no exponents.
    fn recurrence(self, degree: usize) -> Result<Recurrence<f64>> {
        let step = |k: usize| {
            let k = k as f64;
            match self {
                Self::Monomial => (1.0, 0.0),
                Self::Legendre => ((2.0 * k - 1.0) / k, (k - 1.0) / k),
                Self::Gegenbauer { alpha } => {
                    (2.0 * (k + alpha - 1.0) / k, (k + 2.0 * alpha - 2.0) / k)
                }
                _ => (if k == 1.0 { 1.0 } else { 2.0 }, 1.0),
            }
        };
        if let Self::Gegenbauer { alpha } = self
            && !(alpha.is_finite() && alpha > -0.5 && alpha != 0.0)
        {
            return Err(Error::Setting {
                setting: "Gegenbauer alpha".into(),
                problem: format!("{alpha} is not above -0.5 and different from 0"),
            });
        }
        let steps = (1..=degree).map(step);
        let steps = steps.map(|(slope, previous)| Step { slope, shift: 0.0, previous });
        Ok(Recurrence { start: 1.0, steps: steps.collect() })
    }
}

impl ChangeOfBasis {
    fn with_slopes(rows: &[Vec<Dual>]) -> Self {
        Self {
            matrix: square(rows, |dual| dual.value),
            slopes: Some([square(rows, |dual| dual.by_a), square(rows, |dual| dual.by_b)]),
        }
    }
}

/// ChebNetII's nodes `x̃_k = cos((K−k+½)π/(K+1))` in the spectrum of `L − I`, ascending: the first is
/// the lowest frequency.
#[must_use]
pub fn interpolation_nodes(degree: usize) -> Vec<f64> {
    let n_nodes = degree as f64 + 1.0;
    let angle = |k: usize| (degree as f64 - k as f64 + 0.5) * std::f64::consts::PI / n_nodes;
    (0..=degree).map(|k| angle(k).cos()).collect()
}

/// `2/(K+1) Σ_j T_j(x̃_k) T_j(L−I)`, its first term halved. The sign of odd terms turns `L − I` into
/// `Â = −(L − I)`.
fn interpolation(degree: usize) -> Matrix {
    let n_nodes = degree + 1;
    Matrix::from_fn(n_nodes, n_nodes, |k, j| {
        if j == 0 {
            return 1.0 / n_nodes as f64;
        }
        // The angle's multiple reduced in integers keeps its digits.
        let quarter_turns = (j * (2 * (degree - k) + 1)) % (4 * n_nodes);
        let angle = quarter_turns as f64 * std::f64::consts::PI / (2 * n_nodes) as f64;
        let sign = if j % 2 == 0 { 1.0 } else { -1.0 };
        sign * 2.0 / n_nodes as f64 * angle.cos()
    })
}

/// `C(K,k) ((1+x)/2)^{K−k} ((1−x)/2)^k` by de Casteljau's recurrence on the degree, whose factors and
/// terms all lie in `[0, 1]`, so that rounding errors don't grow.
fn bernstein(degree: usize) -> Matrix {
    let mut rows = vec![vec![1.0]];
    for n in 1..=degree {
        let mut next = vec![vec![0.0; n + 1]; n + 1];
        for (k, row) in rows.iter().enumerate() {
            for (j, shifted) in times_x(row).into_iter().enumerate() {
                let value = row.get(j).copied().unwrap_or(0.0);
                next[k][j] += 0.5 * (value + shifted);
                next[k + 1][j] += 0.5 * (value - shifted);
            }
        }
        rows = next;
    }
    square(&rows, |&value| value)
}

/// The square matrix of the given rows, zero beyond their ends.
fn square<S>(rows: &[Vec<S>], of: impl Fn(&S) -> f64) -> Matrix {
    Matrix::from_fn(rows.len(), rows.len(), |k, j| rows[k].get(j).map_or(0.0, &of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basis::golden;
    use proptest::prelude::*;

    const ALL: [Basis; 10] = [
        Basis::Monomial,
        Basis::Chebyshev,
        Basis::ChebyshevInterpolation,
        Basis::Bernstein,
        Basis::Legendre,
        Basis::Gegenbauer { alpha: 1.5 },
        Basis::Jacobi(Sign::Corrected),
        Basis::Jacobi(Sign::Published),
        Basis::OrthonormalJacobi(Measure::Jacobi),
        Basis::OrthonormalJacobi(Measure::Probability),
    ];

    /// `p_0(x) … p_K(x)` through the matrix.
    fn values(change: &ChangeOfBasis, x: f64) -> Vec<f64> {
        let chebyshev: Vec<f64> =
            (0..change.matrix.n_rows()).map(|j| (j as f64 * x.acos()).cos()).collect();
        change.matrix.times(&chebyshev)
    }

    /// `p_k(x)` by its definition.
    fn definition(basis: Basis, degree: usize, exponents: Exponents, k: usize, x: f64) -> f64 {
        let binomial = |n: usize, k: usize| {
            (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
        };
        match basis {
            Basis::Monomial => x.powi(k as i32),
            Basis::Chebyshev => (k as f64 * x.acos()).cos(),
            Basis::ChebyshevInterpolation => {
                let nodes = interpolation_nodes(degree);
                let others = (0..=degree).filter(|&j| j != k);
                others.map(|j| (-x - nodes[j]) / (nodes[k] - nodes[j])).product()
            }
            Basis::Bernstein => {
                let (low, high) = ((1.0 + x) / 2.0, (1.0 - x) / 2.0);
                binomial(degree, k) * low.powi((degree - k) as i32) * high.powi(k as i32)
            }
            Basis::Legendre => jacobi(degree, Exponents::default(), Sign::Corrected).values(x)[k],
            Basis::Gegenbauer { alpha } => {
                // Proportional to Jacobi's with both exponents alpha - 1/2, and known at 1.
                let exponents = Exponents::new(alpha - 0.5, alpha - 0.5).unwrap();
                let recurrence = jacobi(degree, exponents, Sign::Corrected);
                let at_one: f64 =
                    (0..k).map(|i| (2.0 * alpha + i as f64) / (i as f64 + 1.0)).product();
                recurrence.values(x)[k] / recurrence.values(1.0)[k] * at_one
            }
            Basis::Jacobi(sign) => jacobi(degree, exponents, sign).values(x)[k],
            Basis::OrthonormalJacobi(measure) => {
                orthonormal_jacobi(degree, exponents, measure).values(x)[k]
            }
        }
    }

    #[test]
    fn every_basis_is_what_it_says() {
        let exponents = Exponents::new(0.75, -0.5).unwrap();
        for basis in ALL {
            for degree in [0, 1, 2, 5, 10] {
                let change = basis.change(degree, exponents).unwrap();
                assert_eq!(change.slopes.is_some(), basis.has_exponents());
                for x in [-1.0, -0.8, -0.1, 0.0, 0.5, 0.99, 1.0] {
                    for (k, value) in values(&change, x).into_iter().enumerate() {
                        let exact = definition(basis, degree, exponents, k, x);
                        let error = (value - exact).abs();
                        assert!(
                            error <= 1e-13 * exact.abs().max(10.0),
                            "{basis:?} of degree {degree}: {k} at {x} is off by {error:e}"
                        );
                    }
                }
            }
        }
    }

    /// What the change of basis may be off by order, relative to `max |P_k|`, and so how its error
    /// grows; the worst over all exponents of the golden data.
    #[test]
    fn growth_of_the_error() {
        const BOUNDS: [(usize, f64); 5] =
            [(10, 1e-14), (15, 2e-14), (20, 4e-14), (25, 6e-14), (30, 8e-14)];
        let golden = golden::jacobi();
        let mut worst = [0.0_f64; 31];
        for case in &golden.cases {
            let exponents = Exponents::new(case.a, case.b).unwrap();
            let change = Basis::Jacobi(Sign::Corrected).change(30, exponents).unwrap();
            for (point, &x) in golden.points.iter().enumerate() {
                let values = values(&change, x);
                for (row, &k) in golden.orders.iter().enumerate() {
                    let error = (values[k] - case.values[row][point]).abs();
                    worst[k] = worst[k].max(error / case.largest[row]);
                }
            }
        }
        let growth = worst.map(|error| format!("{error:.0e}")).join(" ");
        for (k, error) in worst.into_iter().enumerate() {
            let bound = BOUNDS.into_iter().find(|&(last, _)| k <= last).unwrap().1;
            assert!(error <= bound, "order {k} is above {bound:e}; by order: {growth}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let change = |basis: Basis, degree| {
            basis.change(degree, Exponents::default()).unwrap_err().to_string()
        };
        assert!(change(Basis::Monomial, 51).starts_with("degree: 51"));
        assert!(change(Basis::Gegenbauer { alpha: 0.0 }, 3).starts_with("Gegenbauer alpha: 0"));
        let edge = Exponents::new(-1.0, 0.0).unwrap();
        assert!(Basis::OrthonormalJacobi(Measure::Jacobi).change(3, edge).is_err());
        assert!(Basis::Jacobi(Sign::Published).change(3, edge).is_ok());
        let corner = Exponents::new(-1.0, -1.0).unwrap();
        assert!(Basis::Jacobi(Sign::Published).change(3, corner).is_err());
    }

    proptest! {
        /// Interpolating functions and Bernstein polynomials both sum to one.
        #[test]
        fn partitions_of_one(degree in 0..30_usize, x in -1.0..1.0) {
            for basis in [Basis::ChebyshevInterpolation, Basis::Bernstein] {
                let change = basis.change(degree, Exponents::default()).unwrap();
                let sum: f64 = values(&change, x).into_iter().sum();
                prop_assert!((sum - 1.0).abs() < 1e-13, "{basis:?} {sum}");
            }
        }

        #[test]
        fn slopes_are_central_differences(a in -0.9..8.0, b in -0.9..8.0) {
            const STEP: f64 = 1e-5;
            for basis in ALL.into_iter().filter(|basis| basis.has_exponents()) {
                let change = |a, b| basis.change(10, Exponents::new(a, b).unwrap()).unwrap();
                let slopes = change(a, b).slopes.unwrap();
                let pairs = [
                    (change(a + STEP, b), change(a - STEP, b)),
                    (change(a, b + STEP), change(a, b - STEP)),
                ];
                for (slope, (up, down)) in slopes.iter().zip(&pairs) {
                    for k in 0..=10 {
                        let size = up.matrix.row(k).iter().fold(1.0_f64, |m, v| m.max(v.abs()));
                        for j in 0..=k {
                            let rise = up.matrix[(k, j)] - down.matrix[(k, j)];
                            let error = (slope[(k, j)] - rise / (2.0 * STEP)).abs();
                            prop_assert!(error < 1e-6 * size, "{basis:?} {k} {j}: {error:e}");
                        }
                    }
                }
            }
        }
    }
}
