//! Policies on the traces of several seeds.

use super::metrics::{History, PolicyRow};
use anyhow::Context;
use common::statistics::Estimate;
use rayon::prelude::*;
use std::time::Instant;
use unicron::cluster::Cluster;
use unicron::simulate::plot::thinned;
use unicron::simulate::policy::Policy;
use unicron::simulate::rivals::Detection;
use unicron::simulate::sweep::Column;
use unicron::simulate::{Choices, Contender, Scenario, SimulatedTask, Sweep};
use unicron::trace::Trace;

/// Policies whose WAF is drawn over time.
const DRAWN: [&str; 5] = ["unicron", "megatron", "torchft", "oobleck", "varuna"];

/// What all runs have in common.
pub struct Runs<'a> {
    pub cluster: &'a Cluster,
    pub tasks: &'a [SimulatedTask],
}

/// All policies on one trace.
pub struct PolicyRows {
    pub rows: Vec<PolicyRow>,
    /// For the seeds that are reported.
    pub seconds: f64,
}

impl PolicyRows {
    /// Spare nodes of a policy's best variant.
    pub fn spares_of(&self, policy: &str) -> usize {
        let is_it = |row: &&PolicyRow| row.policy == policy && row.is_best_variant;
        self.rows.iter().find(is_it).map_or(0, |row| row.spares)
    }
}

impl Runs<'_> {
    fn sweep<'s>(&'s self, traces: &'s [(u64, Trace)]) -> Sweep<'s> {
        Sweep { cluster: self.cluster, tasks: self.tasks, traces, has_series: false }
    }

    /// Every policy on the reported seeds; the best of its variants is chosen on the others.
    pub fn policies(
        &self,
        reported: &[(u64, Trace)],
        other: &[(u64, Trace)],
        detection: Detection,
    ) -> anyhow::Result<PolicyRows> {
        let (seed, first) = reported.first().context("there are seeds")?;
        let scenario = Scenario::new(self.cluster, self.tasks, first, *seed)?;
        let choices = Choices { detection, ..Choices::default() };
        let names: Vec<String> = Contender::names().into_iter().map(str::to_owned).collect();
        let contenders = Contender::of(&names, &choices, &scenario, first)?;
        let best = best_variants(&contenders, &self.sweep(other).run(&contenders, || {})?);
        let clock = Instant::now();
        let columns = self.sweep(reported).run(&contenders, || {})?;
        let seconds = clock.elapsed().as_secs_f64();
        let of = |name: &str| {
            let index = contenders.iter().position(|contender| contender.policy == name);
            index.map(|index| &columns[index]).context("every policy has a row")
        };
        let (unicron, bound) = (of("unicron")?, of("clairvoyant")?);
        let row = |(index, (contender, column)): (usize, (&Contender, &Column))| {
            let bins = column.bins();
            let total = bins.total();
            PolicyRow {
                policy: contender.policy.clone(),
                throughput: contender.throughput().to_owned(),
                spares: contender.spares,
                is_best_variant: best.contains(&index),
                waf: column.accumulated_waf().mean / 1e18,
                ratio: column.ratio_of(unicron).map(pair),
                efficiency: column.efficiency().mean,
                of_bound: column.accumulated_waf().mean / bound.accumulated_waf().mean,
                bins: bins.named().map(|(_, seconds)| seconds / total),
                starved_mean: column.over(|outcome| outcome.starved_mean).mean,
            }
        };
        let rows = contenders.iter().zip(&columns).enumerate().map(row).collect();
        Ok(PolicyRows { rows, seconds })
    }

    /// WAF over time on the first of these traces, so many nodes kept as spares by Megatron-LM.
    pub fn history(
        &self,
        trace: &str,
        traces: &[(u64, Trace)],
        spares: usize,
    ) -> anyhow::Result<History> {
        let (seed, first) = traces.first().context("there are seeds")?;
        let scenario = Scenario::new(self.cluster, self.tasks, first, *seed)?;
        let mut contenders = Vec::new();
        for name in DRAWN {
            let spares = if name == "megatron" { spares } else { 0 };
            let choices = Choices { spares: Some(spares), ..Choices::default() };
            contenders.extend(Contender::of(&[name.to_owned()], &choices, &scenario, first)?);
        }
        let columns = Sweep { has_series: true, ..self.sweep(traces) }.run(&contenders, || {})?;
        let duration_s = first.extent().duration_s;
        let line = |(contender, column): (&Contender, &Column)| {
            let label = format!("{}, {}", contender.policy, contender.throughput());
            (label, thinned(&column.outcomes[0].series, duration_s))
        };
        Ok(History {
            trace: trace.to_owned(),
            duration_s,
            lines: contenders.iter().zip(&columns).map(line).collect(),
        })
    }

    /// (Accumulated WAF, tasks starved on average) by seed.
    pub(super) fn outcomes<'p>(
        &self,
        traces: &[(u64, Trace)],
        policy: impl Fn(&Trace) -> anyhow::Result<Policy<'p>> + Sync,
    ) -> anyhow::Result<Vec<(f64, f64)>> {
        let outcome = |(seed, trace): &(u64, Trace)| {
            let scenario = Scenario::new(self.cluster, self.tasks, trace, *seed)?;
            let outcome = policy(trace)?.run(&scenario)?;
            Ok((outcome.accumulated_waf, outcome.starved_mean))
        };
        traces.par_iter().map(outcome).collect()
    }
}

/// A mean, and half of the 95 % interval.
pub(super) fn pair(estimate: Estimate) -> (f64, f64) {
    (estimate.mean, if estimate.n > 1 { estimate.half_width_95() } else { 0.0 })
}

/// Of each policy at its published throughput the row that is best on the selection seeds.
fn best_variants(contenders: &[Contender], columns: &[Column]) -> Vec<usize> {
    let first = |policy: &str| contenders.iter().find(|contender| contender.policy == policy);
    let waf = |index: &usize| columns[*index].accumulated_waf().mean;
    let best = |name: &str| {
        let throughput = first(name)?.throughput();
        let variants = contenders.iter().enumerate().filter(|(_, contender)| {
            contender.policy == name && contender.throughput() == throughput
        });
        variants.map(|(index, _)| index).max_by(|left, right| waf(left).total_cmp(&waf(right)))
    };
    Contender::names().into_iter().filter_map(best).collect()
}
