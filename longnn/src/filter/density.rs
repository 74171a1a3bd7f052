//! Where a graph's frequencies lie, by the kernel polynomial method: without eigenvalues, from a few
//! dozen sparse products.
//!
//! The moments `μ_j = tr T_j(Â) / N` are estimated by random signs, `E[zᵀ T_j z] = tr T_j`
//! (Hutchinson). Their cut-off series would ring; Jackson's kernel turns every eigenvalue into a
//! smooth, positive bump of width about `π / n_moments` (Weiße et al., "The kernel polynomial
//! method", 2006).

use std::f64::consts::PI;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::propagator::{LANES, Panel, Propagator};
use super::response::{clenshaw, frequencies};

/// The Chebyshev moments `μ_0 … μ_{n−1}` of the spectrum of `Â`, from `n_panels` times [`LANES`]
/// random vectors. The same seed gives the same bits for any number of threads.
#[must_use]
pub fn spectral_moments(
    propagator: &Propagator<'_>,
    n_moments: usize,
    n_panels: usize,
    seed: u64,
) -> Vec<f64> {
    let panels: Vec<Vec<f64>> = (0..n_panels.max(1) as u64)
        .into_par_iter()
        .map(|panel| panel_moments(propagator, n_moments, &random_signs(propagator, seed, panel)))
        .collect();
    let n_values = (panels.len() * LANES * propagator.n_nodes().max(1)) as f64;
    (0..n_moments)
        .map(|j| panels.iter().map(|moments| moments[j]).sum::<f64>() / n_values)
        .collect()
}

/// The density `ρ(λ)` at the given frequencies, `∫_0^2 ρ = 1`, from Chebyshev moments.
#[must_use]
pub fn spectral_density(moments: &[f64], frequencies: &[f64]) -> Vec<f64> {
    let damped: Vec<f64> = jackson(moments.len())
        .into_iter()
        .zip(moments)
        .enumerate()
        .map(|(j, (damping, moment))| damping * moment * if j == 0 { 1.0 } else { 2.0 })
        .collect();
    let density = |&frequency: &f64| {
        let x: f64 = 1.0 - frequency;
        // The weight is infinite at the two ends; half a bump's width inside it is not.
        let half_width = PI / (2.0 * (moments.len() as f64 + 1.0));
        let x = x.clamp(-half_width.cos(), half_width.cos());
        clenshaw(&damped, x).max(0.0) / (PI * (1.0 - x * x).sqrt())
    };
    frequencies.iter().map(density).collect()
}

/// The density at `n_points` frequencies from 0 to 2, as [`crate::plot::FilterPlot`] shows it: bumps
/// of 1/40 of the range, from 16 random vectors.
#[must_use]
pub fn density_curve(propagator: &Propagator<'_>, n_points: usize) -> Vec<(f64, f64)> {
    let frequencies = frequencies(n_points.max(2));
    let moments = spectral_moments(propagator, 128, 2, 0);
    let density = spectral_density(&moments, &frequencies);
    frequencies.into_iter().zip(density).collect()
}

/// Sums over lanes of `zᵀ T_j(Â) z`. Products of two terms give moments of twice their order:
/// `T_{2j} = 2 T_j² − T_0` and `T_{2j+1} = 2 T_{j+1} T_j − T_1`.
fn panel_moments(propagator: &Propagator<'_>, n_moments: usize, signs: &Panel) -> Vec<f64> {
    let mut moments = vec![0.0; n_moments];
    let basis_degree = n_moments / 2;
    let mut set = |j: usize, moment: f64| {
        if let Some(slot) = moments.get_mut(j) {
            *slot = moment;
        }
    };
    let basis = propagator.chebyshev_basis(signs, basis_degree);
    let zeroth = inner_product(&basis[0], &basis[0]);
    let first = basis.get(1).map_or(0.0, |term| inner_product(&basis[0], term));
    set(0, zeroth);
    set(1, first);
    for (j, term) in basis.iter().enumerate().skip(1) {
        set(2 * j, 2.0 * inner_product(term, term) - zeroth);
        if let Some(next) = basis.get(j + 1) {
            set(2 * j + 1, 2.0 * inner_product(next, term) - first);
        }
    }
    moments
}

fn inner_product(a: &Panel, b: &Panel) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
}

fn random_signs(propagator: &Propagator<'_>, seed: u64, panel: u64) -> Panel {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(panel);
    let mut sign = || if random.random::<bool>() { 1.0 } else { -1.0 };
    (0..propagator.n_nodes()).map(|_| std::array::from_fn(|_| sign())).collect()
}

/// Jackson's damping factors for `n` moments.
fn jackson(n: usize) -> Vec<f64> {
    let angle = PI / (n as f64 + 1.0);
    let factor = |j: usize| {
        let (j, n) = (j as f64, n as f64);
        ((n - j + 1.0) * (j * angle).cos() + (j * angle).sin() / angle.tan()) / (n + 1.0)
    };
    (0..n).map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Adjacency;

    /// A ring of `n` nodes has the eigenvalues `cos(2πi/n)`: the arcsine law, whose moments are 0.
    fn ring(n: u32) -> Adjacency {
        let edges: Vec<_> = (0..n).map(|i| (i, (i + 1) % n)).collect();
        Adjacency::from_edges(n as usize, &edges).unwrap()
    }

    #[test]
    fn moments_of_a_ring() {
        let ring = ring(2000);
        let moments = spectral_moments(&Propagator::new(&ring), 21, 4, 1);
        assert_eq!(moments[0], 1.0);
        for (j, moment) in moments.iter().enumerate().skip(1) {
            assert!(moment.abs() < 0.03, "{j}: {moment}");
        }
    }

    /// Every moment against the trace itself, by all unit vectors.
    #[test]
    fn products_of_two_terms_give_the_moments() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 3)];
        let graph = Adjacency::from_edges(8, &edges).unwrap();
        let propagator = Propagator::new(&graph);
        let identity: Panel =
            (0..8).map(|i| std::array::from_fn(|lane| f64::from(u8::from(i == lane)))).collect();
        for n_moments in [1, 2, 3, 8, 9] {
            let moments = panel_moments(&propagator, n_moments, &identity);
            assert_eq!(moments.len(), n_moments);
            let terms = propagator.chebyshev_basis(&identity, n_moments - 1);
            for (moment, term) in moments.iter().zip(terms) {
                let trace: f64 = (0..8).map(|i| term[i][i]).sum();
                assert!((moment - trace).abs() < 1e-13, "{moment} {trace}");
            }
        }
    }

    #[test]
    fn a_density_is_positive_and_sums_to_one() {
        // Complete bipartite: one frequency 0, one 2, all others 1.
        let edges: Vec<_> = (0..20).flat_map(|i| (20..40).map(move |j| (i, j))).collect();
        let graph = Adjacency::from_edges(40, &edges).unwrap();
        let moments = spectral_moments(&Propagator::new(&graph), 64, 16, 7);
        let n = 4000;
        let frequencies: Vec<f64> =
            (0..n).map(|i| (f64::from(i) + 0.5) * 2.0 / f64::from(n)).collect();
        let density = spectral_density(&moments, &frequencies);
        assert!(density.iter().all(|&value| value >= 0.0));
        let total = density.iter().sum::<f64>() * 2.0 / f64::from(n);
        assert!((total - 1.0).abs() < 0.02, "{total}");
        let middle = frequencies.iter().zip(&density).filter(|(f, _)| (*f - 1.0).abs() < 0.2);
        let share = middle.map(|(_, density)| density).sum::<f64>() * 2.0 / f64::from(n);
        assert!((share - 38.0 / 40.0).abs() < 0.03, "{share}");
    }

    #[test]
    fn a_curve_follows_the_arcsine_law() {
        let ring = ring(4000);
        for (frequency, density) in density_curve(&Propagator::new(&ring), 41) {
            let x: f64 = 1.0 - frequency;
            if x.abs() < 0.9 {
                let exact = 1.0 / (PI * (1.0 - x * x).sqrt());
                assert!((density / exact - 1.0).abs() < 0.2, "{frequency}: {density} {exact}");
            }
        }
    }

    #[test]
    fn threads_do_not_change_the_moments() {
        let ring = ring(100);
        let moments = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| spectral_moments(&Propagator::new(&ring), 10, 5, 3))
        };
        assert_eq!(moments(1), moments(4));
    }
}
