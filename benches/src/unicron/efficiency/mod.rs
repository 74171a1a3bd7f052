//! The paper's efficiency: allocations in the five multi-task cases, and accumulated WAF on its traces
//! against other policies, with what decides it.
//!
//! | what | file |
//! |---|---|
//! | what comes out | [`metrics`] |
//! | throughput and shares where nothing fails | `allocations` |
//! | policies on the traces of several seeds | [`runs`] |
//! | our rule without its parts | `ablations` |
//! | Unicron over Megatron while one assumption changes | `sensitivities` |
//! | the paper's ratios beside ours | `claims` |

mod ablations;
mod allocations;
mod claims;
pub mod metrics;
pub mod runs;
mod sensitivities;

use crate::experiment::{Experiment, Size};
use common::progress::{Progress, Unit};
use common::report::Claim;
use metrics::{EfficiencyMetrics, TraceRows};
use runs::Runs;
use serde_json::{Value, json};
use std::ops::Range;
use unicron::cluster::Cluster;
use unicron::plan::Rule;
use unicron::simulate::cases::Case;
use unicron::simulate::rivals::Detection;
use unicron::trace::{Preset, PresetKind, Trace};

/// Reported on.
const SEEDS: Range<u64> = 0..20;
const QUICK_SEEDS: Range<u64> = 0..2;
/// On which the best of Megatron's variants is chosen, which is then reported on the others.
const SELECTION_SEEDS: Range<u64> = 1000..1010;

/// Accumulated WAF against other policies.
pub struct Efficiency;

impl Experiment for Efficiency {
    type Metrics = EfficiencyMetrics;

    fn name(&self) -> String {
        "unicron-efficiency".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(EfficiencyMetrics, Value)> {
        let seeds = if size == Size::Quick { QUICK_SEEDS } else { SEEDS };
        let cluster = Cluster::paper();
        let tasks = Case::Five.tasks(&cluster)?;
        let runs = Runs { cluster: &cluster, tasks: &tasks };
        let kinds = [("a", PresetKind::A), ("b", PresetKind::B)];
        let steps =
            kinds.len() * (2 + Rule::NAMES.len()) + Rule::NAMES.len() + sensitivities::COUNT;
        let bar = progress.bar("efficiency", Some(steps as u64), Unit::Items("parts"));
        let mut metrics = EfficiencyMetrics {
            curves: allocations::curves(&cluster)?,
            allocations: allocations::allocations(&cluster)?,
            histories: Vec::new(),
            traces: Vec::new(),
            ablations: Vec::new(),
            sensitivities: Vec::new(),
        };
        for (name, kind) in kinds {
            let (reported, other) = (traces(kind, seeds.clone())?, traces(kind, SELECTION_SEEDS)?);
            for (detection, told) in
                [(Detection::Torchrun, "torchrun"), (Detection::Paper, "paper")]
            {
                let policies = runs.policies(&reported, &other, detection)?;
                if detection == Detection::Torchrun {
                    let spares = policies.spares_of("megatron");
                    metrics.histories.push(runs.history(name, &reported[..1], spares)?);
                }
                let (trace, detection) = (name.to_owned(), told.to_owned());
                metrics.traces.push(TraceRows { trace, detection, rows: policies.rows });
                bar.advance(1);
            }
            metrics.ablations.extend(runs.ablations(name, &reported, &bar)?);
        }
        if size == Size::Full {
            metrics.ablations.extend(ablations::on_a_large_cluster(&bar)?);
            metrics.sensitivities = runs.sensitivities(seeds.clone(), &bar)?;
        }
        bar.finish();
        let configuration = json!({
            "seeds": [seeds.start, seeds.end],
            "selection_seeds": [SELECTION_SEEDS.start, SELECTION_SEEDS.end],
            "tasks": "case5",
            "cluster": "16 x 8 a800-80gb",
            "rule": "ours",
            "large_cluster": ablations::configuration(),
        });
        Ok((metrics, configuration))
    }

    fn judged(&self, metrics: &EfficiencyMetrics) -> Vec<Claim> {
        claims::judged(metrics)
    }

    fn claims(&self) -> Vec<Claim> {
        claims::claims()
    }
}

fn traces(kind: PresetKind, seeds: Range<u64>) -> anyhow::Result<Vec<(u64, Trace)>> {
    seeds.map(|seed| Ok((seed, Preset { kind, seed }.generate()?))).collect()
}
