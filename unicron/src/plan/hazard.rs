//! How likely each node is to fail, by its own history and by what happened beside it.
//!
//! Failures are not evenly spread: in the public trace of 400 servers one has 14 of 584 faults, and gaps
//! between failures vary nearly twice as much as independent ones would. So a node's hazard is estimated
//! from its own failures, starting from the fleet's (the mean of a gamma distribution with Poisson counts,
//! the usual empirical Bayes), and is raised for a while after a failure in one of its domains.

use super::rule::usual_hazard;
use crate::cluster::Cluster;

/// What is known of a fleet before anything is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Failures a second of a node.
    pub hazard: f64,
    /// How many failures' worth of evidence that is: with few, a node's own history counts soon.
    pub failures: f64,
    /// By how much a failure in a domain raises the hazard of its other nodes at first.
    pub neighbour_factor: f64,
    /// How long that takes to fall to a third, in seconds.
    pub neighbour_memory_s: f64,
}

impl Default for Prior {
    fn default() -> Self {
        Self {
            hazard: usual_hazard(),
            failures: 0.5,
            neighbour_factor: 3.0,
            neighbour_memory_s: 6.0 * 3600.0,
        }
    }
}

/// The history of every node.
#[derive(Debug, Clone, PartialEq)]
pub struct Hazards {
    prior: Prior,
    /// By node, since when it is watched.
    began_s: Vec<f64>,
    failures: Vec<f64>,
    /// By node, when a neighbour last failed.
    neighbour_failed_s: Vec<f64>,
}

impl Hazards {
    /// Of nodes that are watched from `now_s` on.
    #[must_use]
    pub fn new(nodes: usize, prior: Prior, now_s: f64) -> Self {
        let never = vec![f64::NEG_INFINITY; nodes];
        Self {
            prior,
            began_s: vec![now_s; nodes],
            failures: vec![0.0; nodes],
            neighbour_failed_s: never,
        }
    }

    /// More nodes, which are watched from `now_s` on.
    pub fn grow(&mut self, nodes: usize, now_s: f64) {
        self.began_s.resize(nodes, now_s);
        self.failures.resize(nodes, 0.0);
        self.neighbour_failed_s.resize(nodes, f64::NEG_INFINITY);
    }

    /// A node has failed.
    pub fn record(&mut self, node: usize, now_s: f64, cluster: &Cluster) {
        self.failures[node] += 1.0;
        for domain in cluster.domains_of(node) {
            for &neighbour in domain.nodes.iter().filter(|&&other| other != node) {
                self.neighbour_failed_s[neighbour] = now_s;
            }
        }
    }

    /// Failures a second that are expected of a node now.
    #[must_use]
    pub fn of(&self, node: usize, now_s: f64) -> f64 {
        let watched_s = (now_s - self.began_s[node]).max(0.0);
        let Prior { hazard, failures, neighbour_factor, neighbour_memory_s } = self.prior;
        let own = (failures + self.failures[node]) / (failures / hazard + watched_s);
        let since_s = now_s - self.neighbour_failed_s[node];
        own * (1.0 + (neighbour_factor - 1.0) * (-since_s / neighbour_memory_s).exp())
    }

    /// Of several nodes together.
    pub fn total(&self, nodes: impl IntoIterator<Item = usize>, now_s: f64) -> f64 {
        nodes.into_iter().map(|node| self.of(node, now_s)).sum()
    }
}

/// Neighbouring buckets differ by this factor.
const BUCKET: f64 = 1.25;

/// The bucket of a hazard: plans that were made for one hazard serve all of its bucket.
#[must_use]
pub fn bucket(hazard: f64) -> i32 {
    (hazard.max(f64::MIN_POSITIVE).ln() / BUCKET.ln()).round() as i32
}

/// The hazard that stands for a bucket.
#[must_use]
pub fn of_bucket(bucket: i32) -> f64 {
    BUCKET.powi(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: f64 = 86_400.0;

    #[test]
    fn a_lemon_is_known_by_its_failures() {
        let cluster = Cluster::paper();
        let mut hazards = Hazards::new(16, Prior::default(), 0.0);
        assert!((hazards.of(3, 0.0) / usual_hazard() - 1.0).abs() < 1e-12);
        for day in [10.0, 20.0, 30.0] {
            hazards.record(3, day * DAY_S, &cluster);
        }
        let ratio = hazards.of(3, 40.0 * DAY_S) / hazards.of(4, 40.0 * DAY_S);
        assert!((6.9..7.1).contains(&ratio), "{ratio}");
        assert!(hazards.of(4, 40.0 * DAY_S) < usual_hazard());
    }

    #[test]
    fn a_failure_beside_a_node_is_forgotten() {
        let cluster = Cluster::paper().with_domain("rack", vec![0, 1]).unwrap();
        let mut hazards = Hazards::new(16, Prior::default(), 0.0);
        hazards.record(0, 0.0, &cluster);
        let ratio = |hours: f64| hazards.of(1, hours * 3600.0) / hazards.of(2, hours * 3600.0);
        assert!((ratio(0.0) - 3.0).abs() < 1e-12);
        assert!((ratio(6.0) - 1.0 - 2.0 / std::f64::consts::E).abs() < 1e-12);
        assert!(ratio(100.0) < 1.01);
    }

    #[test]
    fn a_bucket_stands_for_what_is_near() {
        for hazard in [1e-9, 3.7e-6, 0.2] {
            let ratio = of_bucket(bucket(hazard)) / hazard;
            assert!((1.0 / 1.12..1.12).contains(&ratio), "{ratio}");
        }
    }
}
