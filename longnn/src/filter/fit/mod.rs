//! The image experiment in closed form: how well any filter of degree `K` can do.
//!
//! An image `x` on the grid of its pixels is filtered by a known `h`, and a model has to find a
//! polynomial `g` with `g(Â) x ≈ h(Â) x` (He et al., "BernNet", 2021, section 5.1; LON-GNN's filter
//! fitting). The error is linear in the polynomial's coefficients, so the best one is a least-squares
//! problem with eleven unknowns: no model with one filter of degree ten gets below this floor,
//! whatever its basis.

mod least_squares;
mod reduced;
mod target;

pub use least_squares::{FilterFit, LeastSquares};
pub use reduced::ReducedProblem;
pub use target::TargetFilter;

use rayon::prelude::*;

use super::propagator::{LANES, Panel, Propagator};
use super::series::ChebyshevSeries;
use crate::graph::Adjacency;
use crate::{Error, Result};

/// The best filter of degree `K` for every target and every signal: `result[target][signal]`.
///
/// `signals` are `N × C`, row after row; nodes where `mask` is false don't count in the error.
///
/// # Errors
/// If signals or mask don't fit the graph, or the mask leaves too few nodes for the degree.
pub fn fit_filters(
    adjacency: &Adjacency,
    signals: &[f32],
    n_signals: usize,
    mask: &[bool],
    targets: &[TargetFilter],
    degree: usize,
) -> Result<Vec<Vec<FilterFit>>> {
    let problems = fit_problems(adjacency, signals, n_signals, mask, targets, degree)?;
    let solved = |problems: &Vec<ReducedProblem>| {
        problems.iter().map(ReducedProblem::solution).collect::<Vec<_>>()
    };
    Ok(problems.iter().map(solved).collect())
}

/// The error of a filter as a function of its Chebyshev coefficients, for every target and every
/// signal: what [`fit_filters`] solves, for those who descend on it.
///
/// # Errors
/// As [`fit_filters`].
pub fn fit_problems(
    adjacency: &Adjacency,
    signals: &[f32],
    n_signals: usize,
    mask: &[bool],
    targets: &[TargetFilter],
    degree: usize,
) -> Result<Vec<Vec<ReducedProblem>>> {
    let propagator = Propagator::new(adjacency);
    let panels = propagator.panels(signals, n_signals)?;
    check_mask(adjacency.n_nodes(), mask, degree)?;
    let series: Vec<_> = targets.iter().map(|target| target.series()).collect();
    let problems: Vec<Vec<Vec<ReducedProblem>>> = panels
        .par_iter()
        .enumerate()
        .map(|(index, panel)| {
            let n_lanes = LANES.min(n_signals - index * LANES);
            panel_problems(&propagator, panel, n_lanes, mask, &series, degree)
        })
        .collect();
    let of_target = |target: usize| {
        problems.iter().flatten().map(|by_target| by_target[target].clone()).collect()
    };
    Ok((0..targets.len()).map(of_target).collect())
}

/// The problems of the first `n_lanes` signals of a panel, with each target.
fn panel_problems(
    propagator: &Propagator<'_>,
    panel: &Panel,
    n_lanes: usize,
    mask: &[bool],
    series: &[ChebyshevSeries],
    degree: usize,
) -> Vec<Vec<ReducedProblem>> {
    let targets = propagator.filtered(panel, series);
    let basis = propagator.chebyshev_basis(panel, degree);
    (0..n_lanes)
        .map(|lane| {
            let masked = |panel: &Panel| -> Vec<f64> {
                let rows = panel.iter().zip(mask).filter(|(_, counts)| **counts);
                rows.map(|(row, _)| row[lane]).collect()
            };
            let columns = LeastSquares::new(basis.iter().map(masked).collect());
            targets.iter().map(|target| columns.reduced(&masked(target))).collect()
        })
        .collect()
}

fn check_mask(n_nodes: usize, mask: &[bool], degree: usize) -> Result<()> {
    let n_counting = mask.iter().filter(|&&counts| counts).count();
    let problem = if mask.len() != n_nodes {
        format!("a mask of {} for {n_nodes} nodes", mask.len())
    } else if n_counting <= degree {
        format!("{n_counting} nodes count, too few for degree {degree}")
    } else {
        return Ok(());
    };
    Err(Error::Shape { operation: "filter fit", problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::images;
    use common::testing::shared_data;

    fn grid(side: u32) -> Adjacency {
        let node = |row: u32, column: u32| row * side + column;
        let right =
            (0..side).flat_map(|row| (1..side).map(move |c| (node(row, c - 1), node(row, c))));
        let down =
            (1..side).flat_map(|row| (0..side).map(move |c| (node(row - 1, c), node(row, c))));
        Adjacency::from_edges((side * side) as usize, &right.chain(down).collect::<Vec<_>>())
            .unwrap()
    }

    /// The mean floors over 50 images of the reference, an independent program.
    #[test]
    fn floors_of_the_images() {
        const FLOORS: [f64; 5] = [2.4958e-4, 2.4958e-4, 0.015_615_2, 0.015_615_2, 0.286_487];
        let Some(path) = shared_data("graphs/grid2d_images.npz") else { return };
        let images = images::read(&path).unwrap();
        let (signals, mask) = (images.signals.values(), &images.mask);
        let fits =
            fit_filters(&images.adjacency, signals, 50, mask, &TargetFilter::ALL, 10).unwrap();
        for ((fits, target), floor) in fits.iter().zip(TargetFilter::ALL).zip(FLOORS) {
            assert_eq!(fits.len(), 50);
            let mean = fits.iter().map(|fit| fit.squared_error).sum::<f64>() / 50.0;
            // Half a unit in the last digit that the reference gives.
            assert!((mean / floor - 1.0).abs() < 2.5e-5, "{target:?}: {mean:.7e} {floor:e}");
            assert!(fits.iter().all(|fit| fit.r_squared > 0.9), "{target:?}");
        }
    }

    #[test]
    fn a_polynomial_target_is_found_exactly() {
        let grid = grid(12);
        let signal: Vec<f32> = (0..144).map(|i| (i as f32 * 1.7).sin()).collect();
        let propagator = Propagator::new(&grid);
        let panel = &propagator.panels(&signal, 1).unwrap()[0];
        let series = ChebyshevSeries::of(|frequency| frequency.powi(3) - 0.5, 20);
        let targets = std::slice::from_ref(&series);
        let problems = panel_problems(&propagator, panel, 1, &[true; 144], targets, 5);
        let fit = problems[0][0].solution();
        assert!(fit.squared_error < 1e-26 && fit.r_squared > 1.0 - 1e-14, "{fit:?}");
        for (found, given) in fit.coefficients.iter().zip(series.coefficients()) {
            assert!((found - given).abs() < 1e-11, "{found} {given}");
        }
    }

    #[test]
    fn high_is_one_minus_low_and_threads_do_not_matter() {
        let grid = grid(10);
        let signals: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).cos()).collect();
        let fit = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let targets = [TargetFilter::Low, TargetFilter::High];
            pool.install(|| fit_filters(&grid, &signals, 10, &[true; 100], &targets, 4)).unwrap()
        };
        let (one, four) = (fit(1), fit(4));
        assert_eq!(one, four);
        for (low, high) in one[0].iter().zip(&one[1]) {
            assert!((low.squared_error / high.squared_error - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let grid = grid(3);
        let fit = |mask: &[bool]| {
            let targets = [TargetFilter::Low];
            fit_filters(&grid, &[1.0; 9], 1, mask, &targets, 10).unwrap_err().to_string()
        };
        assert_eq!(fit(&[true; 9]), "filter fit: 9 nodes count, too few for degree 10");
        assert_eq!(fit(&[true; 8]), "filter fit: a mask of 8 for 9 nodes");
    }
}
