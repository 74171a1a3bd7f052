//! Contenders on several seeds of one trace: the same failures for all of a seed, seeds side by side on all
//! threads, the same result for any number of them.

use super::contender::Contender;
use super::outcome::Outcome;
use super::scenario::{Scenario, SimulatedTask};
use crate::Result;
use crate::bins::Bins;
use crate::cluster::Cluster;
use crate::trace::Trace;
use common::statistics::Estimate;
use rayon::prelude::*;

/// Traces and tasks, and the seeds of what else varies.
#[derive(Debug, Clone, Copy)]
pub struct Sweep<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Its tasks.
    pub tasks: &'a [SimulatedTask],
    /// (Seed, trace), at least one; all of the same length.
    pub traces: &'a [(u64, Trace)],
    /// Whether WAF is recorded over time on the first seed.
    pub has_series: bool,
}

/// What a contender has achieved on every seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// By seed.
    pub outcomes: Vec<Outcome>,
    /// Weighted FLOPs of the same policy if nothing fails.
    pub fault_free_waf: f64,
}

impl Sweep<'_> {
    /// Runs all contenders on all seeds; by contender. Tells of each run that is done.
    ///
    /// # Errors
    /// If trace and cluster don't belong together, or a contender has nothing to run on.
    pub fn run(&self, contenders: &[Contender], done: impl Fn() + Sync) -> Result<Vec<Column>> {
        let scenario = |index: usize| -> Result<Scenario<'_>> {
            let (seed, trace) = &self.traces[index];
            let scenario = Scenario::new(self.cluster, self.tasks, trace, *seed)?;
            let has_series = self.has_series && index == 0;
            Ok(if has_series { scenario.with_series() } else { scenario })
        };
        let seeds = (0..self.traces.len()).into_par_iter().map(|index| {
            let scenario = scenario(index)?;
            let outcome = |contender: &Contender| {
                let outcome = contender.policy().run(&scenario);
                done();
                outcome
            };
            contenders.par_iter().map(outcome).collect::<Result<Vec<Outcome>>>()
        });
        let seeds: Vec<Vec<Outcome>> = seeds.collect::<Result<_>>()?;
        let free = scenario(0)?.without_failures();
        let fault_free = contenders
            .par_iter()
            .map(|contender| contender.policy().run(&free).map(|outcome| outcome.accumulated_waf));
        let fault_free: Vec<f64> = fault_free.collect::<Result<_>>()?;
        let mut columns: Vec<Column> = fault_free
            .into_iter()
            .map(|fault_free_waf| Column { outcomes: Vec::new(), fault_free_waf })
            .collect();
        for seed in seeds {
            for (column, outcome) in columns.iter_mut().zip(seed) {
                column.outcomes.push(outcome);
            }
        }
        Ok(columns)
    }
}

impl Column {
    /// Accumulated WAF over seeds.
    #[must_use]
    pub fn accumulated_waf(&self) -> Estimate {
        self.over(|outcome| outcome.accumulated_waf)
    }

    /// Accumulated WAF against that without failures; 0 of who can't run at all.
    #[must_use]
    pub fn efficiency(&self) -> Estimate {
        let free = self.fault_free_waf;
        self.over(|outcome| if free > 0.0 { outcome.accumulated_waf / free } else { 0.0 })
    }

    /// The mean of any figure.
    pub fn over(&self, figure: impl Fn(&Outcome) -> f64) -> Estimate {
        Estimate::of(&self.outcomes.iter().map(figure).collect::<Vec<_>>())
    }

    /// Mean GPU-seconds.
    #[must_use]
    pub fn bins(&self) -> Bins {
        let sum: Bins = self.outcomes.iter().map(|outcome| outcome.bins).sum();
        let mean = |gpu_s: f64| gpu_s / self.outcomes.len() as f64;
        Bins {
            useful: mean(sum.useful),
            detecting: mean(sum.detecting),
            in_transition: mean(sum.in_transition),
            redone: mean(sum.redone),
            idle: mean(sum.idle),
        }
    }

    /// By how much another has achieved more, seed by seed; `None` if this one has achieved nothing.
    #[must_use]
    pub fn ratio_of(&self, other: &Self) -> Option<Estimate> {
        let ratios = other.outcomes.iter().zip(&self.outcomes).map(|(other, own)| {
            (own.accumulated_waf > 0.0).then(|| other.accumulated_waf / own.accumulated_waf)
        });
        Some(Estimate::of(&ratios.collect::<Option<Vec<f64>>>()?))
    }

    /// Events of all seeds.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.events).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::Case;
    use super::super::contender::Choices;
    use super::*;
    use crate::trace::{Preset, PresetKind};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn seeds_are_averaged_and_threads_change_nothing() {
        let cluster = Cluster::paper();
        let tasks = Case::Five.tasks(&cluster).unwrap();
        let trace = |seed| (seed, Preset { kind: PresetKind::A, seed }.generate().unwrap());
        let traces: Vec<(u64, Trace)> = (3..6).map(trace).collect();
        let sweep = Sweep { cluster: &cluster, tasks: &tasks, traces: &traces, has_series: false };
        let scenario = Scenario::new(&cluster, &tasks, &traces[0].1, 3).unwrap();
        let asked = names(&["unicron", "megatron", "oobleck", "torchft", "clairvoyant"]);
        let contenders =
            Contender::of(&asked, &Choices::default(), &scenario, &traces[0].1).unwrap();
        let rows: Vec<_> = contenders
            .iter()
            .map(|row| (row.policy.as_str(), row.throughput(), row.spares))
            .collect();
        assert_eq!(
            rows,
            [
                ("unicron", "megatron", 0),
                ("megatron", "megatron", 0),
                ("megatron", "megatron", 1),
                ("megatron", "megatron", 2),
                ("megatron", "megatron", 3),
                ("oobleck", "published", 0),
                ("oobleck", "megatron", 0),
                ("torchft", "megatron", 0),
                ("clairvoyant", "megatron", 0),
            ]
        );
        let columns = sweep.run(&contenders, || {}).unwrap();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| sweep.run(&contenders, || {})).unwrap(), columns);
        let [unicron, megatron, .., bound] = &columns[..] else { panic!() };
        assert_eq!(unicron.accumulated_waf().n, 3);
        let ratio = megatron.ratio_of(unicron).unwrap();
        assert!(ratio.mean > 1.0, "{ratio:?}");
        assert!(unicron.efficiency().mean > megatron.efficiency().mean);
        for column in &columns {
            assert!(column.ratio_of(bound).unwrap().mean >= 1.0);
            assert!(column.efficiency().mean <= 1.0);
        }
    }

    #[test]
    fn an_unknown_policy_is_told_with_those_that_there_are() {
        let cluster = Cluster::paper();
        let tasks = Case::One.tasks(&cluster).unwrap();
        let trace = Preset { kind: PresetKind::A, seed: 0 }.generate().unwrap();
        let scenario = Scenario::new(&cluster, &tasks, &trace, 0).unwrap();
        let asked = names(&["megatrn"]);
        let error = Contender::of(&asked, &Choices::default(), &scenario, &trace).err().unwrap();
        let told = error.to_string();
        assert!(told.starts_with("policy: `megatrn` is none of unicron, "), "{told}");
        assert!(told.contains("clairvoyant, megatron, oobleck"), "{told}");
    }
}
