//! Made up failures with the rates, bursts and repairs that were published for real fleets.

mod options;

use super::arrivals::Renewal;
use super::fleet::Fleet;
use super::mix::{Mix, share_of};
use super::recipe::{Recipe, extent, out_of_range};
use super::repairs::{self, Repairs};
use super::{DAY_S, Extent, Failure, MAX_NODES, Trace, to_millisecond};
use crate::detect::{Severity, Status};
use crate::{Error, Result};
use rand::distr::weighted::WeightedIndex;
use rand::seq::index;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::Distribution;

/// More failures than these aren't made up: half of what a trace may have, for they vary.
const MAX_EXPECTED: f64 = 2.5e6;

/// A cluster that fails like those that were measured. Printed and parsed as
/// `synthetic:nodes=128,days=30,seed=1`; options that are as here, the defaults, are left out.
///
/// Node faults are SEV1 and need a repair. Failures of processes, SEV2 and SEV3, come beside them
/// as renewal processes of their own and are cured in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Synthetic {
    /// Nodes. 16, the paper's cluster.
    pub nodes: usize,
    /// GPUs of a node. 8.
    pub gpus_per_node: usize,
    /// How long. 56, the length of the paper's longer trace.
    pub days: f64,
    /// Node faults per 1000 node-days. 4.2, as the InfiniteHBD trace has. Large fleets tell of 2.3
    /// to 6.5 (Meta's RSC-2 and RSC-1), rougher ones of 16 (OPT-175B) to 22 (Ant).
    pub node_faults: f64,
    /// SEV2 failures per node fault. 3: three quarters of the faults at a thousand GPUs were cured by
    /// restarting processes (DLRover).
    pub sev2: f64,
    /// SEV3 failures per node fault. 1.73, the paper's shares of SEV3 and SEV1.
    pub sev3: f64,
    /// Coefficient of variation of the gaps between incidents of one severity, at least 1. 1.8;
    /// InfiniteHBD has 1.76.
    pub burstiness: f64,
    /// The part of the nodes that fail more often. 0.05. Lemon nodes are reported (Meta), this part
    /// and the next factor are not: they are a guess.
    pub lemons: f64,
    /// How much more often than the others. 10.
    pub lemon_factor: f64,
    /// The probability that a node fault takes its failure domain (rack, switch) along. 0: the bursts
    /// above contain what was measured of such incidents.
    pub correlated: f64,
    /// Nodes of a failure domain, counted from node 0. 8.
    pub domain: usize,
    /// Median of the log-normal repair times, in hours. 22, as InfiniteHBD has.
    pub repair_hours: f64,
    /// Sigma of the repair times. 1.9: with the median it gives a mean of 134 h.
    pub repair_sigma: f64,
    /// The same seed gives the same trace.
    pub seed: u64,
}

impl Default for Synthetic {
    fn default() -> Self {
        let sev3 = share_of(Severity::Sev3) / share_of(Severity::Sev1);
        let (repair_hours, repair_sigma) = repairs::USUAL;
        Self {
            nodes: 16,
            gpus_per_node: 8,
            days: 56.0,
            node_faults: 4.2,
            sev2: 3.0,
            sev3: (100.0 * sev3).round() / 100.0,
            burstiness: 1.8,
            lemons: 0.05,
            lemon_factor: 10.0,
            correlated: 0.0,
            domain: 8,
            repair_hours,
            repair_sigma,
            seed: 0,
        }
    }
}

/// Something that is about to happen to some node.
struct Incident {
    at_s: f64,
    severity: Severity,
    takes_domain: bool,
}

impl Synthetic {
    /// Makes the trace, named as this prints.
    ///
    /// # Errors
    /// If an option is outside its range, or together they make too many failures.
    pub fn generate(&self) -> Result<Trace> {
        let extent = self.check()?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let hazards = self.hazards(&mut rng);
        let repairs = Repairs::new(self.repair_hours, self.repair_sigma);
        let [sev1, sev2, sev3] =
            [Severity::Sev1, Severity::Sev2, Severity::Sev3].map(|severity| Mix::of(&[severity]));
        let mut fleet = Fleet::new(self.nodes, self.gpus_per_node);
        let mut failures = Vec::new();
        let mut groups = 0..;
        for Incident { at_s, severity, takes_domain } in self.incidents(&extent, &mut rng) {
            let mix = match severity {
                Severity::Sev1 => &sev1,
                Severity::Sev2 => &sev2,
                Severity::Sev3 => &sev3,
            };
            let kind = mix.draw(&mut rng);
            if severity != Severity::Sev1 {
                let node = fleet.any(at_s, &mut rng);
                failures.push(fleet.fail(at_s, node, kind, None, &mut rng));
                continue;
            }
            let node = fleet.choose(at_s, &mut rng, |rng| hazards.sample(rng));
            let repair_s = Some(repairs.draw(&mut rng));
            if !takes_domain {
                failures.push(fleet.fail(at_s, node, kind, repair_s, &mut rng));
                continue;
            }
            let (domain, group) = (node / self.domain, groups.next());
            let first = domain * self.domain;
            for node in first..self.nodes.min(first + self.domain) {
                if fleet.is_up(node, at_s) {
                    let kind = (Status::LostConnection, severity);
                    let failure = fleet.fail(at_s, node, kind, repair_s, &mut rng);
                    failures.push(Failure { group, note: format!("domain {domain}"), ..failure });
                }
            }
        }
        Trace::new(self.to_string(), extent, failures)
    }

    /// What happens when, in order.
    fn incidents(&self, extent: &Extent, rng: &mut impl Rng) -> Vec<Incident> {
        let faults_per_s = self.node_faults / 1000.0 * self.nodes as f64 / DAY_S;
        // An incident of a whole domain is several node faults; the rate asked for counts all.
        let faults_per_incident = 1.0 + self.correlated * (self.domain as f64 - 1.0);
        let mut incidents = Vec::new();
        for (severity, per_s) in [
            (Severity::Sev1, faults_per_s / faults_per_incident),
            (Severity::Sev2, faults_per_s * self.sev2),
            (Severity::Sev3, faults_per_s * self.sev3),
        ] {
            let renewal = Renewal::new(per_s.recip(), self.burstiness);
            for at_s in renewal.times(extent.duration_s, rng) {
                let takes_domain =
                    severity == Severity::Sev1 && rng.random::<f64>() < self.correlated;
                let at_s = to_millisecond(at_s).min(extent.duration_s);
                incidents.push(Incident { at_s, severity, takes_domain });
            }
        }
        incidents.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        incidents
    }

    /// How likely each node is the one that fails: lemons are drawn among them.
    fn hazards(&self, rng: &mut impl Rng) -> WeightedIndex<f64> {
        let n_lemons = (self.lemons * self.nodes as f64).round() as usize;
        let mut hazards = vec![1.0; self.nodes];
        for lemon in index::sample(rng, self.nodes, n_lemons.min(self.nodes)) {
            hazards[lemon] = self.lemon_factor;
        }
        WeightedIndex::new(hazards).expect("nodes and lemons have positive hazards")
    }

    fn check(&self) -> Result<Extent> {
        for (option, value, range, told) in [
            ("node-faults", self.node_faults, 0.0..=1e6, "from 0 to 1000000"),
            ("sev2", self.sev2, 0.0..=1e6, "from 0 to 1000000"),
            ("sev3", self.sev3, 0.0..=1e6, "from 0 to 1000000"),
            ("burstiness", self.burstiness, 1.0..=20.0, "from 1 to 20"),
            ("lemons", self.lemons, 0.0..=1.0, "from 0 to 1"),
            ("lemon-factor", self.lemon_factor, 1e-6..=1e6, "from 0.000001 to 1000000"),
            ("correlated", self.correlated, 0.0..=1.0, "from 0 to 1"),
            ("repair-hours", self.repair_hours, 1e-6..=1e6, "from 0.000001 to 1000000"),
            ("repair-sigma", self.repair_sigma, 0.0..=10.0, "from 0 to 10"),
        ] {
            if !range.contains(&value) {
                return Err(out_of_range(self, option, value, told));
            }
        }
        if !(1..=MAX_NODES).contains(&self.domain) {
            let range = format!("from 1 to {MAX_NODES}");
            return Err(out_of_range(self, "domain", self.domain, &range));
        }
        let extent = extent(self, self.nodes, self.gpus_per_node, self.days)?;
        let per_fault = 1.0 + self.sev2 + self.sev3;
        let expected = extent.node_days() * self.node_faults / 1000.0 * per_fault;
        if expected > MAX_EXPECTED {
            let problem = format!(
                "that makes about {expected:.0} failures; at most {MAX_EXPECTED} are made up"
            );
            return Err(Error::Setting { setting: self.name().to_owned(), problem });
        }
        Ok(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::HOUR_S;
    use super::*;
    use common::statistics::{Estimate, median};
    use std::collections::HashMap;

    /// Ten years of a thousand nodes have some 15,000 node faults.
    fn large() -> Synthetic {
        Synthetic { nodes: 1000, days: 3650.0, sev2: 0.0, sev3: 0.0, ..Synthetic::default() }
    }

    fn over_seeds(synthetic: &Synthetic, measure: impl Fn(&Trace) -> f64) -> f64 {
        let of_seed = |seed| measure(&Synthetic { seed, ..synthetic.clone() }.generate().unwrap());
        Estimate::of(&(0..8).map(of_seed).collect::<Vec<f64>>()).mean
    }

    #[test]
    fn rates_bursts_and_repairs_are_those_asked_for() {
        let rate = over_seeds(&large(), |trace| {
            1000.0 * trace.failures().len() as f64 / trace.extent().node_days()
        });
        assert!((rate / 4.2 - 1.0).abs() < 0.03, "{rate}");
        let variation = over_seeds(&large(), |trace| {
            let gaps = trace.failures().windows(2).map(|pair| pair[1].at_s - pair[0].at_s);
            let gaps = Estimate::of(&gaps.collect::<Vec<f64>>());
            gaps.standard_deviation / gaps.mean
        });
        assert!((variation / 1.8 - 1.0).abs() < 0.03, "{variation}");
        let repairs = |trace: &Trace| -> Vec<f64> {
            trace.failures().iter().map(|f| f.repair_s.unwrap() / HOUR_S).collect()
        };
        let middle = over_seeds(&large(), |trace| median(&repairs(trace)).unwrap());
        assert!((middle / 22.0 - 1.0).abs() < 0.05, "{middle}");
        let mean = over_seeds(&large(), |trace| Estimate::of(&repairs(trace)).mean);
        assert!((mean / 133.8 - 1.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn lemons_take_their_share() {
        // Repairs of no length: a lemon that is away longer fails less.
        let synthetic = Synthetic { repair_hours: 1e-6, repair_sigma: 0.0, ..large() };
        let share = over_seeds(&synthetic, |trace| {
            let mut counts: HashMap<usize, usize> = HashMap::new();
            trace.failures().iter().for_each(|f| *counts.entry(f.node).or_default() += 1);
            let mut counts: Vec<usize> = counts.into_values().collect();
            counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
            counts[..50].iter().sum::<usize>() as f64 / trace.failures().len() as f64
        });
        // 5 % at 10 times the rate of the others: 0.5 of 1.45.
        assert!((share - 0.5 / 1.45).abs() < 0.02, "{share}");
    }

    #[test]
    fn processes_fail_as_often_as_asked_for() {
        let synthetic = Synthetic { nodes: 1000, days: 1000.0, ..Synthetic::default() };
        for (severity, per_fault) in [(Severity::Sev2, 3.0), (Severity::Sev3, 1.73)] {
            let ratio = over_seeds(&synthetic, |trace| {
                let count = |s| trace.failures().iter().filter(|f| f.severity == s).count() as f64;
                count(severity) / count(Severity::Sev1)
            });
            assert!((ratio / per_fault - 1.0).abs() < 0.05, "{severity}: {ratio}");
        }
        let trace = synthetic.generate().unwrap();
        let is_cured_in_place =
            |f: &Failure| (f.severity != Severity::Sev1) == f.repair_s.is_none();
        assert!(trace.failures().iter().all(is_cured_in_place));
    }

    #[test]
    fn a_correlated_fault_takes_its_domain_and_the_rate_stays() {
        let synthetic = Synthetic { correlated: 0.1, domain: 16, nodes: 1600, ..large() };
        let rate = over_seeds(&synthetic, |trace| {
            1000.0 * trace.failures().len() as f64 / trace.extent().node_days()
        });
        assert!((rate / 4.2 - 1.0).abs() < 0.08, "{rate}");
        let trace = synthetic.generate().unwrap();
        let mut groups: HashMap<u32, Vec<&Failure>> = HashMap::new();
        for failure in trace.failures() {
            if let Some(group) = failure.group {
                groups.entry(group).or_default().push(failure);
            }
        }
        let incidents =
            trace.failures().iter().filter(|f| f.group.is_none()).count() + groups.len();
        let share = groups.len() as f64 / incidents as f64;
        assert!((share - 0.1).abs() < 0.02, "{share}");
        for group in groups.values() {
            let first = group[0];
            let is_alike = |f: &&Failure| {
                (f.at_s, f.repair_s, f.node / 16) == (first.at_s, first.repair_s, first.node / 16)
            };
            assert!(group.iter().all(is_alike) && group.len() <= 16);
        }
        assert!(groups.values().filter(|group| group.len() == 16).count() > groups.len() / 2);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let text = |text: &str| {
            let mut synthetic = Synthetic::default();
            synthetic.configure(text).unwrap();
            synthetic.generate().unwrap().to_string()
        };
        assert_eq!(text(":nodes=64"), text(":nodes=64,seed=0,sev2=3"));
        assert_ne!(text(":nodes=64"), text(":nodes=64,seed=1"));
        assert!(
            text(":seed=7,days=3,nodes=64").contains("# name: synthetic:nodes=64,days=3,seed=7\n")
        );
        assert_eq!(text(":node-faults=0").lines().count(), 6, "no rate, no failures");
    }

    #[test]
    fn options_are_checked_by_name() {
        for (options, expected) in [
            (":nodes=0", "synthetic: nodes: 0 isn't from 1 to 1000000"),
            (":days=nan", "synthetic: duration_s: NaN isn't above 0"),
            (":burstiness=0.5", "synthetic: burstiness: 0.5 isn't from 1 to 20"),
            (":lemons=nan", "synthetic: lemons: NaN isn't from 0 to 1"),
            (":domain=0", "synthetic: domain: 0 isn't from 1"),
            (":repair-hours=0", "synthetic: repair-hours: 0 isn't from 0.000001"),
            (":nodes=1000000,days=36500", "failures; at most 2500000 are made up"),
            (":nodes=x", "synthetic: nodes: \"x\" is no number for it"),
            (":racks=3", "synthetic: no option \"racks\"; there are nodes, gpus-per-node, days"),
            (":nodes", "synthetic: \"nodes\" isn't OPTION=VALUE, as seed=0"),
            ("-nodes", "synthetic: \"-nodes\": options follow a colon, as :seed=0"),
        ] {
            let mut synthetic = Synthetic::default();
            let made = synthetic.configure(options).and_then(|()| synthetic.generate());
            let text = made.unwrap_err().to_string();
            assert!(text.contains(expected), "{options}: {text}");
        }
    }
}
