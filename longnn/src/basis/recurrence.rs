//! Three-term recurrences, the form that almost every polynomial basis has (Favard's theorem).
//!
//! One recurrence is read in two ways: on numbers it evaluates the basis, on vectors of Chebyshev
//! coefficients it gives the change of basis, because `x T_j = (T_{j+1} + T_{j−1}) / 2` makes the
//! multiplication by `x` a shift.

use super::scalar::Field;

/// One step, `p_{k+1} = (slope · x + shift) p_k − previous · p_{k−1}`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step<S> {
    /// The factor of `x p_k`.
    pub slope: S,
    /// The factor of `p_k`.
    pub shift: S,
    /// The factor of `p_{k−1}`, which is subtracted; without effect in the first step.
    pub previous: S,
}

/// A basis `p_0 … p_K` by its recurrence.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrence<S> {
    /// The constant `p_0`.
    pub start: S,
    /// The `K` steps from `p_0` to `p_K`.
    pub steps: Vec<Step<S>>,
}

impl<S: Field> Recurrence<S> {
    /// The highest order `K`.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.steps.len()
    }

    /// `p_0(x) … p_K(x)`.
    #[must_use]
    pub fn values(&self, x: f64) -> Vec<S> {
        let x = S::constant(x);
        let mut values = vec![self.start];
        let mut previous = S::constant(0.0);
        for step in &self.steps {
            let current = values[values.len() - 1];
            values.push((step.slope * x + step.shift) * current - step.previous * previous);
            previous = current;
        }
        values
    }

    /// The Chebyshev coefficients of `p_0 … p_K`; row `k` has `k + 1` of them.
    #[must_use]
    pub fn chebyshev_rows(&self) -> Vec<Vec<S>> {
        let mut rows = vec![vec![self.start]];
        for (k, step) in self.steps.iter().enumerate() {
            let current = &rows[k];
            let mut next = times_x(current);
            for coefficient in &mut next {
                *coefficient = step.slope * *coefficient;
            }
            for (sum, &coefficient) in next.iter_mut().zip(current) {
                *sum = *sum + step.shift * coefficient;
            }
            if let Some(previous) = k.checked_sub(1).map(|before| &rows[before]) {
                for (sum, &coefficient) in next.iter_mut().zip(previous) {
                    *sum = *sum - step.previous * coefficient;
                }
            }
            rows.push(next);
        }
        rows
    }
}

/// The Chebyshev coefficients of `x` times the polynomial that has the given ones.
pub(super) fn times_x<S: Field>(coefficients: &[S]) -> Vec<S> {
    let half = S::constant(0.5);
    let mut product = vec![S::constant(0.0); coefficients.len() + 1];
    for (j, &coefficient) in coefficients.iter().enumerate() {
        if j == 0 {
            product[1] = product[1] + coefficient;
        } else {
            product[j + 1] = product[j + 1] + half * coefficient;
            product[j - 1] = product[j - 1] + half * coefficient;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chebyshev_polynomials_have_unit_rows() {
        let step = |slope| Step { slope, shift: 0.0, previous: 1.0 };
        let chebyshev = Recurrence { start: 1.0, steps: vec![step(1.0), step(2.0), step(2.0)] };
        let rows = chebyshev.chebyshev_rows();
        assert_eq!(rows[3], [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(chebyshev.values(0.5), [1.0, 0.5, -0.5, -1.0]);
        assert_eq!(chebyshev.degree(), 3);
    }
}
