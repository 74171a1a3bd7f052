//! The paper's efficiency: allocations in the five multi-task cases, and accumulated WAF on its traces
//! against other policies, with what decides it.

use super::SYSTEM;
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::progress::{Bar, Progress, Unit};
use common::report::{Claim, Verdict};
use common::statistics::Estimate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;
use unicron::cluster::Cluster;
use unicron::model::LanguageModel;
use unicron::plan::{Rule, Task};
use unicron::simulate::allocation::{Allocation, Strategy};
use unicron::simulate::cases::Case;
use unicron::simulate::policy::{Policy, managed};
use unicron::simulate::rivals::{Detection, Megatron, Options};
use unicron::simulate::sweep::Column;
use unicron::simulate::{Choices, Contender, Scenario, SimulatedTask, Sweep};
use unicron::throughput::{Constants, Throughput};
use unicron::trace::{Extent, Failure, Preset, PresetKind, Trace};

/// Reported on.
const SEEDS: std::ops::Range<u64> = 0..20;
const QUICK_SEEDS: std::ops::Range<u64> = 0..2;
/// On which the best of Megatron's variants is chosen, which is then reported on the others.
const SELECTION_SEEDS: std::ops::Range<u64> = 1000..1010;
/// (Policy, its ratios on trace-a and trace-b in the paper; the notes, 6.2).
const PUBLISHED: [(&str, [f64; 2]); 4] = [
    ("megatron", [1.2, 1.9]),
    ("oobleck", [3.7, 3.8]),
    ("varuna", [4.8, 5.8]),
    ("bamboo", [4.6, 4.8]),
];
/// Policies whose WAF is drawn over time; those with spare nodes have one.
const DRAWN: [&str; 5] = ["unicron", "megatron", "torchft", "oobleck", "varuna"];
const GPUS: [usize; 10] = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128];
/// How near a ratio has to be to the paper's.
const NEAR: f64 = 0.1;
/// Repair times of trace-b, as multiples of the preset's.
const REPAIR_FACTORS: [f64; 6] = [0.5, 1.0, 2.5, 5.0, 10.0, 20.0];
/// How many times as often something fails, everything else the same.
const RATE_FACTORS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
const DETECTION_MINUTES: [f64; 3] = [1.0, 10.0, 30.0];
/// Of Megatron's variants while an assumption changes.
const SPARES: std::ops::Range<usize> = 0..8;
const CHECKPOINT_MINUTES: [f64; 5] = [10.0, 30.0, 60.0, 180.0, 360.0];

/// Accumulated WAF against other policies.
pub struct Efficiency;

#[derive(Debug, Serialize, Deserialize)]
pub struct EfficiencyMetrics {
    /// What each model achieves on so many GPUs, by model.
    pub curves: Vec<Curve>,
    pub allocations: Vec<AllocationRow>,
    /// WAF over time on the first seed, by trace.
    pub histories: Vec<History>,
    pub traces: Vec<TraceRows>,
    pub ablations: Vec<Ablation>,
    pub sensitivities: Vec<Sensitivity>,
}

/// T of a model of the paper on its cluster.
#[derive(Debug, Serialize, Deserialize)]
pub struct Curve {
    pub model: String,
    /// (GPUs, PFLOP/s); 0 where the model doesn't fit.
    pub points: Vec<(usize, f64)>,
}

/// WAF over time of some policies.
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    pub trace: String,
    pub duration_s: f64,
    /// (Policy, (seconds, WAF from then on)).
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// A multi-task case shared out by a strategy, nothing failing.
#[derive(Debug, Serialize, Deserialize)]
pub struct AllocationRow {
    pub case: String,
    pub strategy: String,
    /// Weighted PFLOP/s.
    pub waf: f64,
    /// Tasks without workers, or with too few to run.
    pub starved: usize,
}

/// All policies on a trace.
#[derive(Debug, Serialize, Deserialize)]
pub struct TraceRows {
    pub trace: String,
    /// How rivals notice failures: torchrun's defaults, or as the paper tells.
    pub detection: String,
    pub rows: Vec<PolicyRow>,
}

/// A policy on a trace: means over seeds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyRow {
    pub policy: String,
    pub throughput: String,
    pub spares: usize,
    /// The best of its variants, chosen on other seeds.
    pub is_best_variant: bool,
    /// Accumulated WAF, in weighted EFLOP.
    pub waf: f64,
    /// By how much Unicron has achieved more, seed by seed, and half of the 95 % interval.
    pub ratio: Option<(f64, f64)>,
    /// Against the same policy without failures.
    pub efficiency: f64,
    /// Against the clairvoyant bound.
    pub of_bound: f64,
    /// Shares of the GPU time: useful, detecting, in transition, redone, idle.
    pub bins: [f64; 5],
    pub starved_mean: f64,
}

/// Unicron by another rule, against ours.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ablation {
    pub trace: String,
    pub rule: String,
    /// Accumulated WAF over that of ours, and half of the 95 % interval.
    pub ratio: (f64, f64),
    pub starved_mean: f64,
}

/// Unicron over Megatron's best variant while one assumption changes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sensitivity {
    pub trace: String,
    pub assumption: String,
    /// (Value, ratio, half of the 95 % interval).
    pub points: Vec<(f64, f64, f64)>,
}

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
        let steps = kinds.len() * (2 + Rule::NAMES.len()) + SENSITIVITIES;
        let bar = progress.bar("efficiency", Some(steps as u64), Unit::Items("parts"));
        let mut metrics = EfficiencyMetrics {
            curves: curves(&cluster)?,
            allocations: allocations(&cluster)?,
            histories: Vec::new(),
            traces: Vec::new(),
            ablations: Vec::new(),
            sensitivities: Vec::new(),
        };
        for (name, kind) in kinds {
            let (reported, other) = (traces(kind, seeds.clone())?, traces(kind, SELECTION_SEEDS)?);
            for detection in [Detection::Torchrun, Detection::Paper] {
                let rows = runs.policies(&reported, &other, detection)?.rows;
                let detection = match detection {
                    Detection::Torchrun => "torchrun",
                    Detection::Paper => "paper",
                };
                let (trace, detection) = (name.to_owned(), detection.to_owned());
                metrics.traces.push(TraceRows { trace, detection, rows });
                bar.advance(1);
            }
            metrics.histories.push(runs.history(name, &reported[..1])?);
            metrics.ablations.extend(runs.ablations(name, &reported, &bar)?);
        }
        if size == Size::Full {
            metrics.sensitivities =
                runs.sensitivities(&traces(PresetKind::B, seeds.clone())?, &bar)?;
        }
        bar.finish();
        let configuration = json!({
            "seeds": [seeds.start, seeds.end],
            "selection_seeds": [SELECTION_SEEDS.start, SELECTION_SEEDS.end],
            "tasks": "case5",
            "cluster": "16 x 8 a800-80gb",
            "rule": "ours",
        });
        Ok((metrics, configuration))
    }

    fn claims(&self, metrics: &EfficiencyMetrics) -> Vec<Claim> {
        let claim = |(policy, trace, paper): (&str, &str, f64)| {
            let row = metrics.row(trace, policy)?;
            let (ratio, ci95) = row.ratio?;
            let is_near = (ratio / paper - 1.0).abs() <= NEAR;
            let spares = match row.spares {
                0 => String::new(),
                1 => ", 1 spare node".to_owned(),
                spares => format!(", {spares} spare nodes"),
            };
            let repair = match (policy, trace) {
                ("megatron", "b") => metrics.repair_time_of(paper),
                _ => None,
            };
            let repair = repair.map_or(String::new(), |hours| {
                format!("; {paper:.1} without spares and at a mean repair of {hours:.0} h")
            });
            Some(Claim {
                here: format!("{ratio:.2} ± {ci95:.2}{spares}{repair}"),
                verdict: if is_near { Verdict::Holds } else { Verdict::Differs },
                ..unjudged(policy, trace, paper)
            })
        };
        published().filter_map(claim).collect()
    }

    fn open_claims(&self, reason: &str) -> Vec<Claim> {
        let open = |(policy, trace, paper): (&str, &str, f64)| Claim {
            verdict: Verdict::NotReproduced(reason.to_owned()),
            ..unjudged(policy, trace, paper)
        };
        published().map(open).collect()
    }
}

impl EfficiencyMetrics {
    /// A rival at its published throughput, in its best variant, noticing as torchrun does.
    fn row(&self, trace: &str, policy: &str) -> Option<&PolicyRow> {
        let of_trace = |rows: &&TraceRows| rows.trace == trace && rows.detection == "torchrun";
        let rows = &self.traces.iter().find(of_trace)?.rows;
        rows.iter().find(|row| row.policy == policy && row.is_best_variant)
    }
}

impl EfficiencyMetrics {
    /// The mean repair time in hours at which the ratio to Megatron without spare nodes passes this one,
    /// between two that were simulated.
    fn repair_time_of(&self, ratio: f64) -> Option<f64> {
        let is_it = |sensitivity: &&Sensitivity| sensitivity.assumption == REPAIR_WITHOUT_SPARES;
        let points = &self.sensitivities.iter().find(is_it)?.points;
        points.windows(2).find_map(|ends| {
            let [(short, low, _), (long, high, _)] = *ends else { return None };
            let part = (ratio - low) / (high - low);
            (0.0..=1.0).contains(&part).then(|| short * (long / short).powf(part))
        })
    }
}

/// (Policy, trace, ratio of the paper).
fn published() -> impl Iterator<Item = (&'static str, &'static str, f64)> {
    PUBLISHED.into_iter().flat_map(|(policy, ratios)| {
        ["a", "b"].into_iter().zip(ratios).map(move |(trace, ratio)| (policy, trace, ratio))
    })
}

fn unjudged(policy: &str, trace: &str, paper: f64) -> Claim {
    Claim {
        system: SYSTEM.to_owned(),
        claim: format!("accumulated WAF over {policy}'s, trace-{trace}, within 10 %"),
        paper: format!("{paper:.1} x (from memory)"),
        here: String::new(),
        verdict: Verdict::Differs,
    }
}

fn curves(cluster: &Cluster) -> anyhow::Result<Vec<Curve>> {
    let curve = |name: &str| {
        let throughput = Throughput::megatron(
            &LanguageModel::preset(name)?,
            cluster.hardware(),
            cluster.gpus_per_node(),
            cluster.gpus(),
            &Constants::default(),
        );
        let point = |&gpus: &usize| (gpus, throughput.at(gpus) / 1e15);
        Ok(Curve { model: name.to_owned(), points: GPUS.iter().map(point).collect() })
    };
    LanguageModel::preset_names().map(curve).collect()
}

fn allocations(cluster: &Cluster) -> anyhow::Result<Vec<AllocationRow>> {
    let mut rows = Vec::new();
    for case in Case::ALL {
        let tasks: Vec<Task> = case.tasks(cluster)?.into_iter().map(|task| task.task).collect();
        let mut add = |strategy: String, allocation: &Allocation| {
            rows.push(AllocationRow {
                case: case.to_string(),
                strategy,
                waf: allocation.total_waf() / 1e15,
                starved: allocation.waf.iter().filter(|waf| **waf == 0.0).count(),
            });
        };
        for strategy in Strategy::ALL {
            add(strategy.to_string(), &Allocation::of(strategy, &tasks, cluster, &Rule::ours()));
        }
        let paper = Allocation::of(Strategy::Plan, &tasks, cluster, &Rule::paper());
        add("plan, the paper's rule".to_owned(), &paper);
    }
    Ok(rows)
}

fn traces(kind: PresetKind, seeds: std::ops::Range<u64>) -> anyhow::Result<Vec<(u64, Trace)>> {
    seeds.map(|seed| Ok((seed, Preset { kind, seed }.generate()?))).collect()
}

/// What all runs have in common.
pub(super) struct Runs<'a> {
    pub cluster: &'a Cluster,
    pub tasks: &'a [SimulatedTask],
}

/// All policies on one trace.
pub(super) struct PolicyRows {
    pub rows: Vec<PolicyRow>,
    /// For the seeds that are reported.
    pub seconds: f64,
}

impl Runs<'_> {
    fn sweep<'s>(&'s self, traces: &'s [(u64, Trace)]) -> Sweep<'s> {
        Sweep { cluster: self.cluster, tasks: self.tasks, traces, has_series: false }
    }

    /// Every policy on the reported seeds; the best of its variants is chosen on the others.
    pub(super) fn policies(
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

    /// WAF over time on the first of these traces.
    fn history(&self, trace: &str, traces: &[(u64, Trace)]) -> anyhow::Result<History> {
        let (seed, first) = traces.first().context("there are seeds")?;
        let scenario = Scenario::new(self.cluster, self.tasks, first, *seed)?;
        let choices = Choices { spares: Some(1), ..Choices::default() };
        let names = DRAWN.map(str::to_owned);
        let contenders = Contender::of(&names, &choices, &scenario, first)?;
        let columns = Sweep { has_series: true, ..self.sweep(traces) }.run(&contenders, || {})?;
        let line = |(contender, column): (&Contender, &Column)| {
            let label = format!("{}, {}", contender.policy, contender.throughput());
            (label, column.outcomes[0].series.clone())
        };
        Ok(History {
            trace: trace.to_owned(),
            duration_s: first.extent().duration_s,
            lines: contenders.iter().zip(&columns).map(line).collect(),
        })
    }

    fn ablations(
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
        Rule::NAMES
            .into_iter()
            .map(|name| {
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
            })
            .collect()
    }

    /// (Accumulated WAF, tasks starved on average) by seed.
    fn outcomes<'p>(
        &self,
        traces: &[(u64, Trace)],
        policy: impl Fn(&Trace) -> anyhow::Result<Policy<'p>>,
    ) -> anyhow::Result<Vec<(f64, f64)>> {
        let outcome = |(seed, trace): &(u64, Trace)| {
            let scenario = Scenario::new(self.cluster, self.tasks, trace, *seed)?;
            let outcome = policy(trace)?.run(&scenario)?;
            Ok((outcome.accumulated_waf, outcome.starved_mean))
        };
        traces.iter().map(outcome).collect()
    }

    /// Unicron over Megatron with the number of spare nodes that suits it best.
    fn ratio(&self, traces: &[(u64, Trace)], options: Options) -> anyhow::Result<(f64, f64)> {
        self.ratio_with(traces, options, SPARES)
    }

    fn ratio_with(
        &self,
        traces: &[(u64, Trace)],
        options: Options,
        spares: std::ops::Range<usize>,
    ) -> anyhow::Result<(f64, f64)> {
        let setup = managed("unicron", Rule::ours()).context("a policy")?;
        let ours = self.outcomes(traces, |_| Ok(Policy::Managed(&setup)))?;
        // Whoever tunes the checkpoint interval knows how often the cluster fails.
        let (_, first) = traces.first().context("there are seeds")?;
        let failures_per_node_day = first.failures().len() as f64 / first.extent().node_days();
        let megatron = Megatron::new(Options { failures_per_node_day, ..options });
        let with = |spares| {
            let policy = Policy::Rival { rival: &megatron, spares, strategy: Strategy::Plan };
            self.outcomes(traces, |_| Ok(policy))
        };
        let total = |outcomes: &[(f64, f64)]| outcomes.iter().map(|outcome| outcome.0).sum::<f64>();
        let variants: Vec<Vec<(f64, f64)>> = spares.map(with).collect::<anyhow::Result<_>>()?;
        let best = variants.iter().max_by(|left, right| total(left).total_cmp(&total(right)));
        let best = best.context("there are variants")?;
        let ratios: Vec<f64> = ours.iter().zip(best).map(|(ours, best)| ours.0 / best.0).collect();
        Ok(pair(Estimate::of(&ratios)))
    }

    fn sensitivities(
        &self,
        traces: &[(u64, Trace)],
        bar: &Bar,
    ) -> anyhow::Result<Vec<Sensitivity>> {
        let mut all = Vec::with_capacity(SENSITIVITIES);
        let mut add = |assumption: &str, points: Vec<(f64, (f64, f64))>| {
            let points = points.into_iter().map(|(at, (ratio, ci95))| (at, ratio, ci95)).collect();
            let (trace, assumption) = ("b".to_owned(), assumption.to_owned());
            all.push(Sensitivity { trace, assumption, points });
            bar.advance(1);
        };
        let (mut points, mut without_spares) = (Vec::new(), Vec::new());
        for factor in REPAIR_FACTORS {
            let changed = changed(traces, |failure| Failure {
                repair_s: failure.repair_s.map(|repair_s| repair_s * factor),
                ..failure
            })?;
            let hours = mean_repair_h(&changed);
            points.push((hours, self.ratio(&changed, Options::default())?));
            without_spares.push((hours, self.ratio_with(&changed, Options::default(), 0..1)?));
        }
        add(REPAIR, points);
        add(REPAIR_WITHOUT_SPARES, without_spares);
        let mut points = Vec::new();
        for factor in RATE_FACTORS {
            points.push((factor, self.ratio(&compressed(traces, factor)?, Options::default())?));
        }
        add("failures, times as many", points);
        let mut points = Vec::new();
        for minutes in DETECTION_MINUTES {
            let options = Options { hang_s: Some(60.0 * minutes), ..Options::default() };
            points.push((minutes, self.ratio(traces, options)?));
        }
        add("Megatron notices a hang after, min", points);
        let mut points = Vec::new();
        for minutes in CHECKPOINT_MINUTES {
            let interval_s = Some(60.0 * minutes);
            let options = Options { checkpoint_interval_s: interval_s, ..Options::default() };
            points.push((minutes, self.ratio(traces, options)?));
        }
        add("Megatron's checkpoint interval, min", points);
        Ok(all)
    }
}

/// Of [`Runs::sensitivities`].
const SENSITIVITIES: usize = 5;
const REPAIR: &str = "mean repair time, h";
const REPAIR_WITHOUT_SPARES: &str = "mean repair time without spare nodes, h";

fn pair(estimate: Estimate) -> (f64, f64) {
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

fn changed(
    traces: &[(u64, Trace)],
    change: impl Fn(Failure) -> Failure,
) -> anyhow::Result<Vec<(u64, Trace)>> {
    let one = |(seed, trace): &(u64, Trace)| {
        let failures = trace.failures().iter().cloned().map(&change).collect();
        Ok((*seed, Trace::new(trace.name(), trace.extent(), failures)?))
    };
    traces.iter().map(one).collect()
}

/// The same failures in a shorter time, as the paper's trace-b came from trace-a.
fn compressed(traces: &[(u64, Trace)], factor: f64) -> anyhow::Result<Vec<(u64, Trace)>> {
    let one = |(seed, trace): &(u64, Trace)| {
        let extent = trace.extent();
        let extent = Extent { duration_s: extent.duration_s / factor, ..extent };
        let sooner = |failure: &Failure| Failure { at_s: failure.at_s / factor, ..failure.clone() };
        let failures = trace.failures().iter().map(sooner).collect();
        Ok((*seed, Trace::new(trace.name(), extent, failures)?))
    };
    traces.iter().map(one).collect()
}

fn mean_repair_h(traces: &[(u64, Trace)]) -> f64 {
    let failures = traces.iter().flat_map(|(_, trace)| trace.failures());
    let repairs: Vec<f64> = failures.filter_map(|failure| failure.repair_s).collect();
    Estimate::of(&repairs).mean / 3600.0
}
