//! The 419 unexpected interruptions of the Llama 3 405B run, at any scale.

use super::fleet::Fleet;
use super::recipe::{Recipe, Setting, extent, out_of_range, spell};
use super::repairs::{self, Repairs};
use super::{Failure, MAX_FAILURES, Trace, to_millisecond};
use crate::Result;
use crate::detect::{Severity, Status};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::{Display, Formatter};

/// Nodes of the run: 16,384 H100 GPUs.
const RUN_NODES: usize = 2048;
/// Its length.
const RUN_DAYS: f64 = 54.0;

/// What interrupted the run, how often, and what it is to us: "The Llama 3 Herd of Models" (2024),
/// table of root causes. The percentages printed there don't all fit its counts; these are the
/// counts, and they sum to 419. SEV1 where something is to be repaired or a host is taken away.
const INTERRUPTIONS: [(&str, usize, Status, Severity); 18] = {
    use Severity::{Sev1, Sev2, Sev3};
    [
        ("Faulty GPU", 148, Status::GpuHardwareError, Sev1),
        ("GPU HBM3 Memory", 72, Status::EccError, Sev1),
        ("Software Bug", 54, Status::OtherSoftwareError, Sev2),
        ("Network Switch/Cable", 35, Status::LinkFlapping, Sev1),
        ("Host Maintenance", 32, Status::LostConnection, Sev1),
        ("GPU SRAM Memory", 19, Status::EccError, Sev1),
        ("GPU System Processor", 17, Status::GpuHardwareError, Sev1),
        ("NIC", 7, Status::OtherNetworkError, Sev1),
        ("NCCL Watchdog Timeouts", 7, Status::NcclTimeout, Sev3),
        ("Silent Data Corruption", 6, Status::SilentCorruption, Sev1),
        ("GPU Thermal Interface + Sensor", 6, Status::GpuHardwareError, Sev1),
        ("SSD", 3, Status::StorageError, Sev1),
        ("Power Supply", 3, Status::HostHardwareError, Sev1),
        ("Server Chassis", 2, Status::HostHardwareError, Sev1),
        ("IO Expansion Board", 2, Status::HostHardwareError, Sev1),
        ("Dependency", 2, Status::OtherSoftwareError, Sev2),
        ("CPU", 2, Status::HostHardwareError, Sev1),
        ("System Memory", 2, Status::HostHardwareError, Sev1),
    ]
};

/// A run that is interrupted as Llama 3's was. Printed and parsed as `llama3:nodes=128,days=30`;
/// options that are as here, the defaults, are left out.
///
/// Counts are scaled by node-days; a count that comes out broken is rounded up or down by chance. At
/// full scale they are the published ones. Times and repairs weren't published: times are uniform,
/// repairs those of [`Synthetic`](super::Synthetic).
#[derive(Debug, Clone, PartialEq)]
pub struct Llama3 {
    /// Nodes. 2048, the run's.
    pub nodes: usize,
    /// GPUs of a node. 8, the run's.
    pub gpus_per_node: usize,
    /// How long. 54, the run's length.
    pub days: f64,
    /// The same seed gives the same trace.
    pub seed: u64,
}

impl Default for Llama3 {
    fn default() -> Self {
        Self { nodes: RUN_NODES, gpus_per_node: 8, days: RUN_DAYS, seed: 0 }
    }
}

impl Llama3 {
    /// Makes the trace, named as this prints.
    ///
    /// # Errors
    /// If an option is outside its range, or together they make too many failures.
    pub fn generate(&self) -> Result<Trace> {
        let extent = extent(self, self.nodes, self.gpus_per_node, self.days)?;
        let scale = extent.node_days() / (RUN_NODES as f64 * RUN_DAYS);
        let total: usize = INTERRUPTIONS.iter().map(|row| row.1).sum();
        if scale * total as f64 > (MAX_FAILURES - 1) as f64 {
            let value = format!("{} on {} nodes", self.days, self.nodes);
            let range = format!("few enough for {MAX_FAILURES} failures");
            return Err(out_of_range(self, "days", value, &range));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut arrivals = Vec::new();
        for (component, count, status, severity) in scaled(scale, &mut rng) {
            for _ in 0..count {
                let at_s = to_millisecond(rng.random_range(0.0..extent.duration_s));
                arrivals.push((at_s.min(extent.duration_s), component, (status, severity)));
            }
        }
        arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (median_hours, sigma) = repairs::USUAL;
        let repairs = Repairs::new(median_hours, sigma);
        let mut fleet = Fleet::new(self.nodes, self.gpus_per_node);
        let mut failures = Vec::with_capacity(arrivals.len());
        for (at_s, component, kind) in arrivals {
            let node = fleet.any(at_s, &mut rng);
            let repair_s = (kind.1 == Severity::Sev1).then(|| repairs.draw(&mut rng));
            let failure = fleet.fail(at_s, node, kind, repair_s, &mut rng);
            failures.push(Failure { note: component.to_owned(), ..failure });
        }
        Trace::new(self.to_string(), extent, failures)
    }
}

/// The interruptions with scaled counts, by systematic sampling: each count is rounded up or down with
/// the right expectation, and so is their sum. The order of the components is drawn, too, for
/// neighbours in it share their luck.
fn scaled(
    scale: f64,
    rng: &mut ChaCha8Rng,
) -> [(&'static str, usize, Status, Severity); INTERRUPTIONS.len()] {
    let mut rows = INTERRUPTIONS;
    rows.shuffle(rng);
    let offset = rng.random::<f64>();
    let (mut published, mut counted) = (0, 0);
    rows.map(|(component, count, status, severity)| {
        published += count;
        let until = (published as f64 * scale + offset).floor() as usize;
        let count = until - counted;
        counted = until;
        (component, count, status, severity)
    })
}

impl Recipe for Llama3 {
    fn name(&self) -> &'static str {
        "llama3"
    }

    fn options(&mut self) -> Vec<(&'static str, &mut dyn Setting)> {
        vec![
            ("nodes", &mut self.nodes),
            ("gpus-per-node", &mut self.gpus_per_node),
            ("days", &mut self.days),
            ("seed", &mut self.seed),
        ]
    }
}

impl Display for Llama3 {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        spell(self, &Self::default(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::shared_data;
    use std::collections::HashMap;

    fn counts(trace: &Trace) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        trace.failures().iter().for_each(|f| *counts.entry(f.note.as_str()).or_default() += 1);
        counts
    }

    #[test]
    fn the_published_table_is_the_one_here() {
        let Some(path) = shared_data("traces/published/llama3_405b_interruptions.csv") else {
            return;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let published: HashMap<&str, usize> = text
            .lines()
            .skip(1)
            .map(|line| {
                let fields: Vec<&str> = line.split(',').collect();
                (fields[0], fields[2].parse().unwrap())
            })
            .collect();
        let here: HashMap<&str, usize> = INTERRUPTIONS.iter().map(|row| (row.0, row.1)).collect();
        assert_eq!(here, published);
    }

    #[test]
    fn at_full_scale_every_seed_has_the_published_counts() {
        for seed in 0..5 {
            let trace = Llama3 { seed, ..Llama3::default() }.generate().unwrap();
            assert_eq!(trace.failures().len(), 419);
            let counts = counts(&trace);
            for (component, count, ..) in INTERRUPTIONS {
                assert_eq!(counts[component], count, "{component}");
            }
            let repaired = trace.failures().iter().filter(|f| f.repair_s.is_some()).count();
            assert_eq!(repaired, 419 - 54 - 7 - 2);
        }
    }

    #[test]
    fn a_smaller_run_has_its_share_on_average() {
        // 64 nodes for 54 days: 419 / 32 = 13.09 interruptions, 4.625 of them faulty GPUs.
        let trace = |seed| Llama3 { nodes: 64, seed, ..Llama3::default() }.generate().unwrap();
        let (mut all, mut faulty) = (0, 0);
        for seed in 0..400 {
            let trace = trace(seed);
            assert!((13..=14).contains(&trace.failures().len()));
            all += trace.failures().len();
            let of_gpus = counts(&trace)["Faulty GPU"];
            assert!((4..=5).contains(&of_gpus));
            faulty += of_gpus;
        }
        assert!((f64::from(all as u32) / 400.0 - 419.0 / 32.0).abs() < 0.05, "{all}");
        assert!((f64::from(faulty as u32) / 400.0 - 148.0 / 32.0).abs() < 0.08, "{faulty}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let text = |seed| Llama3 { seed, ..Llama3::default() }.generate().unwrap().to_string();
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
        let absurd = Llama3 { nodes: 1_000_000, days: 36_000.0, ..Llama3::default() };
        let error = absurd.generate().unwrap_err().to_string();
        assert!(error.contains("llama3: days: 36000 on 1000000 nodes isn't few enough"), "{error}");
    }
}
