//! The downhill simplex of Nelder and Mead (1965), with their coefficients.
//!
//! The loss has small steps where a constant changes which micro-batch is fastest; a method
//! without derivatives passes over them.

const MAX_STEPS: usize = 4000;
/// The simplex has converged when its losses differ by less.
const TOLERANCE: f64 = 1e-12;

/// Where a loss is least, from a simplex at `start` that spreads along each axis.
pub(super) fn minimize<const N: usize>(
    loss: impl Fn(&[f64; N]) -> f64,
    start: [f64; N],
    spread: [f64; N],
) -> [f64; N] {
    let mut simplex: Vec<(f64, [f64; N])> = vec![(loss(&start), start)];
    for axis in 0..N {
        let mut point = start;
        point[axis] += spread[axis];
        simplex.push((loss(&point), point));
    }
    for _ in 0..MAX_STEPS {
        simplex.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (best, second_worst, worst) = (simplex[0].0, simplex[N - 1].0, simplex[N]);
        if worst.0 - best < TOLERANCE {
            break;
        }
        let center = center(&simplex[..N]);
        let along = |factor: f64| {
            let point: [f64; N] =
                std::array::from_fn(|axis| center[axis] + factor * (worst.1[axis] - center[axis]));
            (loss(&point), point)
        };
        let reflected = along(-1.0);
        let replacement = if reflected.0 < best {
            let expanded = along(-2.0);
            if expanded.0 < reflected.0 { expanded } else { reflected }
        } else if reflected.0 < second_worst {
            reflected
        } else {
            along(if reflected.0 < worst.0 { -0.5 } else { 0.5 })
        };
        if replacement.0 < worst.0 {
            simplex[N] = replacement;
        } else {
            shrink(&mut simplex, &loss);
        }
    }
    simplex.sort_by(|a, b| a.0.total_cmp(&b.0));
    simplex[0].1
}

fn center<const N: usize>(points: &[(f64, [f64; N])]) -> [f64; N] {
    std::array::from_fn(|axis| {
        points.iter().map(|(_, point)| point[axis]).sum::<f64>() / points.len() as f64
    })
}

/// Draws all points halfway to the best, which is first.
fn shrink<const N: usize>(simplex: &mut [(f64, [f64; N])], loss: &impl Fn(&[f64; N]) -> f64) {
    let best = simplex[0].1;
    for (value, point) in &mut simplex[1..] {
        for (coordinate, target) in point.iter_mut().zip(best) {
            *coordinate = f64::midpoint(*coordinate, target);
        }
        *value = loss(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rosenbrocks_valley_is_walked_to_its_end() {
        let loss = |&[x, y]: &[f64; 2]| (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2);
        let [x, y] = minimize(loss, [-1.2, 1.0], [0.1, 0.1]);
        assert!((x - 1.0).abs() < 1e-4 && (y - 1.0).abs() < 1e-4, "{x}, {y}");
    }

    #[test]
    fn walls_hold() {
        let loss = |&[x, y]: &[f64; 2]| match x < 0.5 {
            true => f64::INFINITY,
            false => x * x + y * y,
        };
        let [x, y] = minimize(loss, [2.0, 2.0], [0.5, 0.5]);
        assert!((x - 0.5).abs() < 1e-3 && y.abs() < 1e-2, "{x}, {y}");
    }
}
