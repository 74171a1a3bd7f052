//! Contextual stochastic block models (Deshpande et al. 2018), the graphs that need no file.
//!
//! Two communities of equal size; edges and features each tell something about them, and `phi` says
//! which tells more: 1 is all structure and homophilic, -1 all structure and heterophilic, 0 all
//! features. The total information is `1 + epsilon`, above the threshold of what can be learned
//! whatever `phi` is. In Chien et al.'s parametrisation (GPRGNN 2021, appendix), for `v = ±1`:
//!
//! ```text
//! lambda = sqrt(1 + epsilon) sin(phi pi / 2)        mu = sqrt(n/f (1 + epsilon)) cos(phi pi / 2)
//! P(edge) = (d ± lambda sqrt(d)) / n                x_i = sqrt(mu / n) v_i u + z_i / sqrt(f)
//! ```
//!
//! with `u ~ N(0, I/f)` and `z_i ~ N(0, I)`; the sign is + within a community.

use crate::graph::{Adjacency, DenseFeatures, Features, Graph, Labels};
use crate::{Error, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::{FRAC_PI_2, TAU};
use std::fmt::{Display, Formatter};
use std::iter::repeat;
use std::ops::Range;
use std::str::FromStr;

/// More nodes than these aren't made: their features alone would take gigabytes.
const MAX_NODES: usize = 1_000_000;
/// The most values that the feature matrix may have: 1 GiB.
const MAX_VALUES: usize = 1 << 28;

/// Which graph is made. Printed and parsed as `csbm:n=1000,f=200,d=5,phi=0.5,epsilon=3.25,seed=0`;
/// options that are as here, the defaults, are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Csbm {
    /// Nodes `n`.
    pub n_nodes: usize,
    /// Features `f` of a node.
    pub n_features: usize,
    /// Mean number of neighbours `d`.
    pub mean_degree: f64,
    /// Structure against features, from -1 to 1.
    pub phi: f64,
    /// How far above the threshold of what can be learned.
    pub epsilon: f64,
    /// The same seed gives the same graph.
    pub seed: u64,
}

impl Default for Csbm {
    fn default() -> Self {
        Self { n_nodes: 1000, n_features: 200, mean_degree: 5.0, phi: 0.5, epsilon: 3.25, seed: 0 }
    }
}

impl Csbm {
    /// Makes the graph, named as [`Csbm`] prints.
    ///
    /// # Errors
    /// If an option is outside its range, or together they give no probabilities.
    pub fn generate(&self) -> Result<Graph> {
        let [within, across] = self.edge_probabilities()?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let half = self.n_nodes / 2;
        let mut edges = Vec::new();
        for node in 0..self.n_nodes {
            // The first community is the first half: of the nodes after this one, those of its own
            // come first, and those of the other behind them.
            let border = if node < half { half } else { self.n_nodes };
            for (range, probability) in [(node + 1..border, within), (border..self.n_nodes, across)]
            {
                successes(range, probability, &mut rng, |neighbour| {
                    edges.push((node as u32, neighbour as u32));
                });
            }
        }
        let classes = (0..self.n_nodes).map(|node| u16::from(node >= half)).collect();
        let features = Features::Dense(self.features(half, &mut rng)?);
        let adjacency = Adjacency::from_edges(self.n_nodes, &edges)?;
        Graph::new(self.to_string(), adjacency, Labels::new(classes)?)?.with_features(features)
    }

    /// The probability of an edge within a community and across.
    fn edge_probabilities(&self) -> Result<[f64; 2]> {
        self.check()?;
        let lambda = (1.0 + self.epsilon).sqrt() * (self.phi * FRAC_PI_2).sin();
        let shift = lambda * self.mean_degree.sqrt();
        let n_nodes = self.n_nodes as f64;
        let probabilities =
            [self.mean_degree + shift, self.mean_degree - shift].map(|c| c / n_nodes);
        if probabilities.iter().all(|probability| (0.0..=1.0).contains(probability)) {
            return Ok(probabilities);
        }
        let [within, across] = probabilities;
        let problem = format!(
            "d = {}, phi = {} and epsilon = {} give edges the probabilities {within} and {across}",
            self.mean_degree, self.phi, self.epsilon
        );
        Err(Error::Setting { setting: "csbm".into(), problem })
    }

    fn check(&self) -> Result<()> {
        let n_values = self.n_nodes.checked_mul(self.n_features);
        let (setting, problem) = if !(10..=MAX_NODES).contains(&self.n_nodes) {
            ("n", format!("{} nodes; from 10 to {MAX_NODES} are made", self.n_nodes))
        } else if self.n_features == 0 || n_values.is_none_or(|n_values| n_values > MAX_VALUES) {
            let most = MAX_VALUES / self.n_nodes;
            ("f", format!("{} features; from 1 to {most} are made", self.n_features))
        } else if !(-1.0..=1.0).contains(&self.phi) {
            ("phi", format!("{} isn't from -1 to 1", self.phi))
        } else if !(self.mean_degree > 0.0 && self.mean_degree <= 1000.0) {
            ("d", format!("{} isn't above 0 and at most 1000", self.mean_degree))
        } else if !(self.epsilon > -1.0 && self.epsilon.is_finite()) {
            ("epsilon", format!("{} isn't above -1", self.epsilon))
        } else {
            return Ok(());
        };
        Err(Error::Setting { setting: format!("csbm: {setting}"), problem })
    }

    fn features(&self, half: usize, rng: &mut ChaCha8Rng) -> Result<DenseFeatures> {
        let ratio = self.n_nodes as f64 / self.n_features as f64;
        // At phi = ±1 the cosine is zero but for rounding, which must not become a negative root.
        let cosine = (self.phi * FRAC_PI_2).cos().max(0.0);
        let mu = (ratio * (1.0 + self.epsilon)).sqrt() * cosine;
        let strength = (mu / self.n_nodes as f64).sqrt();
        let spread = 1.0 / (self.n_features as f64).sqrt();
        let direction: Vec<f64> = (0..self.n_features).map(|_| spread * normal(rng)).collect();
        let mut values = Vec::with_capacity(self.n_nodes * self.n_features);
        for node in 0..self.n_nodes {
            let sign = if node < half { strength } else { -strength };
            values.extend(direction.iter().map(|u| (sign * u + spread * normal(rng)) as f32));
        }
        DenseFeatures::new(self.n_features, values)
    }
}

/// Calls `found` with every number of a range that comes up, each with the same probability. The
/// gaps are drawn instead of every number: the work is that of the edges, not of the pairs.
fn successes(
    range: Range<usize>,
    probability: f64,
    rng: &mut ChaCha8Rng,
    mut found: impl FnMut(usize),
) {
    if probability >= 1.0 {
        range.for_each(found);
        return;
    }
    if probability <= 0.0 {
        return;
    }
    let scale = (-probability).ln_1p().recip();
    let Range { start: mut next, end } = range;
    while next < end {
        let uniform: f64 = 1.0 - rng.random::<f64>();
        next = next.saturating_add((uniform.ln() * scale) as usize);
        if next < end {
            found(next);
        }
        next = next.saturating_add(1);
    }
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

impl Display for Csbm {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let default = Self::default();
        let options = [
            ("n", self.n_nodes.to_string(), self.n_nodes == default.n_nodes),
            ("f", self.n_features.to_string(), self.n_features == default.n_features),
            ("d", self.mean_degree.to_string(), self.mean_degree == default.mean_degree),
            ("phi", self.phi.to_string(), self.phi == default.phi),
            ("epsilon", self.epsilon.to_string(), self.epsilon == default.epsilon),
            ("seed", self.seed.to_string(), self.seed == default.seed),
        ];
        formatter.write_str("csbm")?;
        let told = options.into_iter().filter(|(_, _, is_default)| !is_default);
        for ((name, value, _), separator) in told.zip([':'].into_iter().chain(repeat(','))) {
            write!(formatter, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Csbm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: String| Error::Setting { setting: "csbm".into(), problem };
        let options = text.strip_prefix("csbm").ok_or_else(|| wrong(format!("is {text}")))?;
        let mut csbm = Self::default();
        if options.is_empty() {
            return Ok(csbm);
        }
        let options = options
            .strip_prefix(':')
            .ok_or_else(|| wrong(format!("{text}: options follow a colon, as csbm:phi=0.5")))?;
        for option in options.split(',') {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| wrong(format!("{option:?} isn't NAME=VALUE")))?;
            let parsed = match name {
                "n" => value.parse().map(|value| csbm.n_nodes = value).is_ok(),
                "f" => value.parse().map(|value| csbm.n_features = value).is_ok(),
                "d" => value.parse().map(|value| csbm.mean_degree = value).is_ok(),
                "phi" => value.parse().map(|value| csbm.phi = value).is_ok(),
                "epsilon" => value.parse().map(|value| csbm.epsilon = value).is_ok(),
                "seed" => value.parse().map(|value| csbm.seed = value).is_ok(),
                _ => return Err(wrong(format!("no option {name}; n, f, d, phi, epsilon, seed"))),
            };
            if !parsed {
                return Err(wrong(format!("{name}: {value:?} is no number for it")));
            }
        }
        csbm.check().map(|()| csbm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn structure_is_what_was_asked_for() {
        for phi in [-0.9, -0.5, 0.0, 0.5, 1.0] {
            let csbm = Csbm { n_nodes: 4000, n_features: 2, phi, ..Csbm::default() };
            let graph = csbm.generate().unwrap();
            let mean_degree = graph.adjacency().n_entries() as f64 / 4000.0;
            assert!((mean_degree - 5.0).abs() < 0.25, "{phi}: {mean_degree}");
            // Of a node's d neighbours, (d + lambda sqrt(d)) / 2 are of its community.
            let lambda = 4.25_f64.sqrt() * (phi * FRAC_PI_2).sin();
            let expected = 0.5 + lambda / (2.0 * 5.0_f64.sqrt());
            let homophily = graph.edge_homophily().unwrap();
            assert!((homophily - expected).abs() < 0.02, "{phi}: {homophily} {expected}");
        }
    }

    #[test]
    fn features_tell_the_communities_apart_unless_structure_does_all() {
        let separation = |phi| {
            let csbm = Csbm { n_nodes: 2000, n_features: 50, phi, ..Csbm::default() };
            let features = csbm.generate().unwrap().features().unwrap().to_dense();
            let mean = |nodes: std::ops::Range<usize>, column: usize| {
                nodes.map(|node| f64::from(features.row(node)[column])).sum::<f64>() / 1000.0
            };
            let squares = (0..50).map(|column| {
                let difference = mean(0..1000, column) - mean(1000..2000, column);
                difference * difference
            });
            squares.sum::<f64>()
        };
        // |2 sqrt(mu/n) u|^2 with |u|^2 = 1, against 2/1000 from the noise.
        let expected = 4.0 * (40.0 * 4.25_f64).sqrt() / 2000.0;
        assert!((separation(0.0) / expected - 1.0).abs() < 0.5, "{}", separation(0.0));
        assert!(separation(1.0) < 0.004, "{}", separation(1.0));
    }

    #[test]
    fn the_seed_decides() {
        let graph = |text: &str| text.parse::<Csbm>().unwrap().generate().unwrap();
        assert_eq!(graph("csbm"), graph("csbm:seed=0"));
        assert_ne!(graph("csbm:n=50"), graph("csbm:n=50,seed=1"));
        assert_eq!(graph("csbm:seed=0,phi=0.5").name(), "csbm");
        assert_eq!(graph("csbm:f=20,n=50").name(), "csbm:n=50,f=20");
    }

    #[test]
    fn options_are_checked_by_name() {
        for (text, expected) in [
            ("csbm:n=3", "csbm: n: 3 nodes; from 10 to 1000000 are made"),
            ("csbm:n=1000000,f=1000", "csbm: f: 1000 features; from 1 to 268 are made"),
            ("csbm:phi=1.5", "csbm: phi: 1.5 isn't from -1 to 1"),
            ("csbm:phi=NaN", "csbm: phi: NaN isn't from -1 to 1"),
            ("csbm:d=-1", "csbm: d: -1 isn't above 0 and at most 1000"),
            ("csbm:epsilon=x", "csbm: epsilon: \"x\" is no number for it"),
            ("csbm:nodes=3", "csbm: no option nodes; n, f, d, phi, epsilon, seed"),
            ("csbm:n", "csbm: \"n\" isn't NAME=VALUE"),
            ("csbm-x", "csbm: csbm-x: options follow a colon, as csbm:phi=0.5"),
        ] {
            assert_eq!(text.parse::<Csbm>().unwrap_err().to_string(), expected);
        }
        let error = "csbm:d=1,phi=1".parse::<Csbm>().unwrap().generate().unwrap_err().to_string();
        assert!(error.contains("give edges the probabilities"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses(
            n_nodes in 10_usize..1000, phi in -1.0_f64..1.0, seed in any::<u64>(),
        ) {
            let csbm = Csbm { n_nodes, phi, seed, ..Csbm::default() };
            prop_assert_eq!(csbm.to_string().parse::<Csbm>().unwrap(), csbm);
        }

        #[test]
        fn successes_are_in_range_and_as_many_as_expected(
            seed in any::<u64>(), probability in 0.0_f64..=1.0, start in 0_usize..50,
        ) {
            let mut found = Vec::new();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            successes(start..start + 400, probability, &mut rng, |number| found.push(number));
            prop_assert!(found.is_sorted_by(|a, b| a < b));
            prop_assert!(found.iter().all(|number| (start..start + 400).contains(number)));
            let expected = 400.0 * probability;
            // Six standard deviations and one.
            let bound = 6.0 * (expected * (1.0 - probability)).sqrt() + 1.0;
            prop_assert!((found.len() as f64 - expected).abs() <= bound, "{}", found.len());
        }
    }
}
