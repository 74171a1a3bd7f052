//! Unicron over Megatron-LM on trace-b while one assumption changes: what decides the ratio.

use super::metrics::Sensitivity;
use super::runs::{Runs, pair};
use anyhow::Context;
use common::progress::Bar;
use common::statistics::Estimate;
use std::ops::Range;
use unicron::plan::Rule;
use unicron::simulate::allocation::Strategy;
use unicron::simulate::policy::{Policy, managed};
use unicron::simulate::rivals::{Megatron, Options};
use unicron::trace::{Extent, Failure, Preset, PresetKind, Trace};

/// How many there are.
pub(super) const COUNT: usize = 7;
pub(super) const REPAIR_WITHOUT_SPARES: &str = "mean repair time without spare nodes, h";

/// Repair times of trace-b, as multiples of the preset's.
const REPAIR_FACTORS: [f64; 6] = [0.5, 1.0, 2.5, 5.0, 10.0, 20.0];
/// How many times as often something fails, everything else the same.
const RATE_FACTORS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];
const DETECTION_MINUTES: [f64; 3] = [1.0, 10.0, 30.0];
const CHECKPOINT_MINUTES: [f64; 5] = [10.0, 30.0, 60.0, 180.0, 360.0];
/// SEV1 of all failures; trace-b has 24.5 %.
const SEV1_PERCENT: [f64; 5] = [5.0, 10.0, 25.0, 50.0, 100.0];
/// SEV2 of the failures that aren't SEV1.
const SEV2_PERCENT: [f64; 4] = [10.0, 25.0, 50.0, 100.0];
/// In the paper as many of all failures are SEV1, SEV2 and SEV3 (figure 1).
const PAPER_SHARES: [f64; 3] = [0.281, 0.157, 0.486];
/// Of Megatron's variants while an assumption changes.
const SPARES: Range<usize> = 0..8;

type Traces = Vec<(u64, Trace)>;
/// (Value, (ratio, half of the 95 % interval)).
type Points = Vec<(f64, (f64, f64))>;

impl Runs<'_> {
    pub(super) fn sensitivities(
        &self,
        seeds: Range<u64>,
        bar: &Bar,
    ) -> anyhow::Result<Vec<Sensitivity>> {
        let traces = super::traces(PresetKind::B, seeds)?;
        let (repair, without_spares) = self.by_repair(&traces)?;
        let sev1_percent = 100.0 * PAPER_SHARES[0] / PAPER_SHARES.iter().sum::<f64>();
        let sev2_percent = 100.0 * PAPER_SHARES[1] / (PAPER_SHARES[1] + PAPER_SHARES[2]);
        let all: [(&str, Points); COUNT] = [
            ("mean repair time, h", repair),
            (REPAIR_WITHOUT_SPARES, without_spares),
            ("failures, times as many", self.by_rate(&traces)?),
            ("Megatron notices a hang after, min", self.by_detection(&traces)?),
            ("Megatron's checkpoint interval, min", self.by_checkpoints(&traces)?),
            (
                "SEV1, % of all failures",
                self.by_mix(&traces, SEV1_PERCENT.map(|sev1| (sev1, sev1, sev2_percent)))?,
            ),
            (
                "SEV2, % of the failures that aren't SEV1",
                self.by_mix(&traces, SEV2_PERCENT.map(|sev2| (sev2, sev1_percent, sev2)))?,
            ),
        ];
        let sensitivity = |(assumption, points): (&str, Points)| {
            bar.advance(1);
            let points = points.into_iter().map(|(at, (ratio, ci95))| (at, ratio, ci95)).collect();
            Sensitivity { trace: "b".to_owned(), assumption: assumption.to_owned(), points }
        };
        Ok(all.map(sensitivity).into())
    }

    /// With spare nodes, and without.
    fn by_repair(&self, traces: &Traces) -> anyhow::Result<(Points, Points)> {
        let (mut points, mut without_spares) = (Vec::new(), Vec::new());
        for factor in REPAIR_FACTORS {
            let changed = changed(traces, |failure| Failure {
                repair_s: failure.repair_s.map(|repair_s| repair_s * factor),
                ..failure
            })?;
            let hours = mean_repair_h(&changed);
            points.push((hours, self.ratio(&changed, Options::default(), SPARES)?));
            without_spares.push((hours, self.ratio(&changed, Options::default(), 0..1)?));
        }
        Ok((points, without_spares))
    }

    fn by_rate(&self, traces: &Traces) -> anyhow::Result<Points> {
        let point = |factor| {
            let compressed = compressed(traces, factor)?;
            Ok((factor, self.ratio(&compressed, Options::default(), SPARES)?))
        };
        RATE_FACTORS.into_iter().map(point).collect()
    }

    fn by_detection(&self, traces: &Traces) -> anyhow::Result<Points> {
        let point = |minutes| {
            let options = Options { hang_s: Some(60.0 * minutes), ..Options::default() };
            Ok((minutes, self.ratio(traces, options, SPARES)?))
        };
        DETECTION_MINUTES.into_iter().map(point).collect()
    }

    fn by_checkpoints(&self, traces: &Traces) -> anyhow::Result<Points> {
        let point = |minutes| {
            let checkpoint_interval_s = Some(60.0 * minutes);
            let options = Options { checkpoint_interval_s, ..Options::default() };
            Ok((minutes, self.ratio(traces, options, SPARES)?))
        };
        CHECKPOINT_MINUTES.into_iter().map(point).collect()
    }

    /// As many failures of another mix: (value, percent of SEV1, percent of SEV2 in the others).
    fn by_mix<const N: usize>(
        &self,
        traces: &Traces,
        mixes: [(f64, f64, f64); N],
    ) -> anyhow::Result<Points> {
        let point = |(at, sev1, sev2): (f64, f64, f64)| {
            let (sev1, sev2) = (sev1 / 100.0, (1.0 - sev1 / 100.0) * sev2 / 100.0);
            let mixed = |(seed, _): &(u64, Trace)| {
                let preset = Preset { kind: PresetKind::B, seed: *seed };
                Ok((*seed, preset.generate_mix(sev1, sev2)?))
            };
            let mixed = traces.iter().map(mixed).collect::<anyhow::Result<Traces>>()?;
            Ok((at, self.ratio(&mixed, Options::default(), SPARES)?))
        };
        mixes.into_iter().map(point).collect()
    }

    /// Unicron over Megatron with as many of these spare nodes as suit it best.
    fn ratio(
        &self,
        traces: &Traces,
        options: Options,
        spares: Range<usize>,
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
}

fn changed(traces: &Traces, change: impl Fn(Failure) -> Failure) -> anyhow::Result<Traces> {
    let one = |(seed, trace): &(u64, Trace)| {
        let failures = trace.failures().iter().cloned().map(&change).collect();
        Ok((*seed, Trace::new(trace.name(), trace.extent(), failures)?))
    };
    traces.iter().map(one).collect()
}

/// The same failures in a shorter time, as the paper's trace-b came from trace-a.
fn compressed(traces: &Traces, factor: f64) -> anyhow::Result<Traces> {
    let one = |(seed, trace): &(u64, Trace)| {
        let extent = trace.extent();
        let extent = Extent { duration_s: extent.duration_s / factor, ..extent };
        let sooner = |failure: &Failure| Failure { at_s: failure.at_s / factor, ..failure.clone() };
        let failures = trace.failures().iter().map(sooner).collect();
        Ok((*seed, Trace::new(trace.name(), extent, failures)?))
    };
    traces.iter().map(one).collect()
}

fn mean_repair_h(traces: &Traces) -> f64 {
    let failures = traces.iter().flat_map(|(_, trace)| trace.failures());
    let repairs: Vec<f64> = failures.filter_map(|failure| failure.repair_s).collect();
    Estimate::of(&repairs).mean / 3600.0
}
