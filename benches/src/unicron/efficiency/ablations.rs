//! Our rule with each of its parts as in the paper's, on the paper's traces and on a large cluster.
//!
//! What a transition costs decides a plan where the next failure is about as near as transitions are long:
//! not on 128 GPUs, where it is hours away, but among 100,000. So there is a third trace beside the paper's,
//! by the published statistics of real fleets, with the tasks of the real traces again and again.

use super::metrics::Ablation;
use super::runs::{Runs, pair};
use crate::unicron::real_traces;
use anyhow::Context;
use common::progress::Bar;
use common::statistics::Estimate;
use serde_json::{Value, json};
use std::ops::Range;
use unicron::cluster::{Cluster, Hardware};
use unicron::plan::Rule;
use unicron::simulate::policy::{Policy, managed};
use unicron::trace::{Synthetic, Trace};

const LARGE_TASKS: usize = 100;
const LARGE_SEEDS: Range<u64> = 0..10;

impl Runs<'_> {
    /// Every rule on these traces, against ours.
    pub(super) fn ablations(
        &self,
        trace: &str,
        traces: &[(u64, Trace)],
        bar: &Bar,
    ) -> anyhow::Result<Vec<Ablation>> {
        let run = |name: &str| -> anyhow::Result<Vec<(f64, f64)>> {
            let rule = Rule::named(name).context("a name of the list")?;
            let setup = managed("unicron", rule).context("a policy")?;
            self.outcomes(traces, |_| Ok(Policy::Managed(&setup)))
        };
        let ours = run("ours")?;
        let row = |name: &str| {
            let theirs = run(name)?;
            bar.advance(1);
            let ratios: Vec<f64> =
                theirs.iter().zip(&ours).map(|(theirs, ours)| theirs.0 / ours.0).collect();
            let starved: Vec<f64> = theirs.iter().map(|outcome| outcome.1).collect();
            Ok(Ablation {
                trace: trace.to_owned(),
                rule: name.to_owned(),
                ratio: pair(Estimate::of(&ratios)),
                starved_mean: Estimate::of(&starved).mean,
            })
        };
        Rule::NAMES.into_iter().map(row).collect()
    }
}

/// 100,000 GPUs that fail as published: 4.2 node faults in 1000 node-days, in bursts, a twentieth of the
/// nodes ten times as often, processes three to five times as often as nodes.
fn large(seed: u64) -> Synthetic {
    Synthetic { nodes: 12_500, days: 3.0, seed, ..Synthetic::default() }
}

/// The same on the large cluster.
pub(super) fn on_a_large_cluster(bar: &Bar) -> anyhow::Result<Vec<Ablation>> {
    let Synthetic { nodes, gpus_per_node, .. } = large(0);
    let hardware = Hardware::kind(Hardware::DEFAULT_KIND)?;
    let cluster = Cluster::new(nodes, gpus_per_node, hardware)?;
    let tasks = real_traces::tasks(LARGE_TASKS, &cluster)?;
    let traces: Vec<(u64, Trace)> = LARGE_SEEDS
        .map(|seed| Ok((seed, large(seed).generate()?)))
        .collect::<anyhow::Result<_>>()?;
    Runs { cluster: &cluster, tasks: &tasks }.ablations(&large(0).to_string(), &traces, bar)
}

/// For the record.
pub(super) fn configuration() -> Value {
    json!({
        "trace": large(0).to_string(),
        "seeds": [LARGE_SEEDS.start, LARGE_SEEDS.end],
        "tasks": LARGE_TASKS,
    })
}
