//! Rows of a comparison, and LON-GNN against the best of the others on the same seeds.
//!
//! Models share each seed's split, so they are compared seed by seed. The best baseline is the one
//! with the best mean on validation nodes: chosen by test, it would be the luckiest.

use super::published::{self, Published, Reimplementation};
use super::verdict::{self, Difference, Verdict};
use super::{Entry, RunRecord, Summary};
use crate::model::Architecture;
use crate::train::{Evaluation, Outcome, Protocol};
use common::statistics::{Estimate, median, paired_t_test, wilcoxon_signed_rank};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A model on a data set. Without a result, all that a result would say is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The data set's name.
    pub dataset: String,
    /// The model.
    pub model: Architecture,
    /// How it was evaluated.
    pub evaluation: Evaluation,
    /// What is measured.
    pub metric: Option<String>,
    /// Mean of the metric on the test nodes over seeds, in percent.
    pub test_accuracy_mean: Option<f64>,
    /// Its standard deviation over seeds.
    pub test_accuracy_std: Option<f64>,
    /// Half of the 95 % interval of the mean.
    pub test_accuracy_ci95: Option<f64>,
    /// Mean of the metric on the validation nodes at the best epochs, in percent.
    pub validation_accuracy_mean: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
    /// Median time of an epoch (a training step and an evaluation) in milliseconds a seed.
    pub epoch_ms_median: Option<f64>,
    /// Mean number of epochs trained.
    pub epochs_mean: Option<f64>,
    /// Seeds whose loss stopped being a number.
    pub diverged: usize,
    /// Median over seeds and classes of the learned filters' over-passing index.
    pub over_passing_median: Option<f64>,
    /// What others published.
    pub published: Option<Published>,
    /// LON-GNN by the independent re-implementation.
    pub reimplementation: Option<Reimplementation>,
    /// How far the result is from what it is held against.
    pub difference: Option<Difference>,
    /// Whether that is near enough; `None` without a result.
    pub verdict: Option<Verdict>,
    /// The file of the run.
    pub run: Option<PathBuf>,
    /// How many of its seeds were trained now; the others were there.
    pub trained: usize,
    /// Why there is no result, and what to do about it.
    pub problem: Option<String>,
}

impl Row {
    /// Of a group's seeds.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let Entry { path, record, trained } = entry;
        let RunRecord { graph, model, protocol, outcomes, .. } = record;
        let summary = record.summary();
        let row = Self::without_result(graph.clone(), *model, protocol.evaluation);
        let (difference, verdict) = row.judge(&summary, protocol);
        let epochs: Vec<f64> = outcomes.iter().map(|outcome| outcome.epochs as f64).collect();
        Self {
            metric: Some(record.metric.clone()),
            test_accuracy_mean: Some(summary.mean),
            test_accuracy_std: summary.std,
            test_accuracy_ci95: summary.ci95,
            validation_accuracy_mean: Some(validation_mean(outcomes)),
            seeds: summary.seeds,
            epoch_ms_median: Some(summary.epoch_ms_median),
            epochs_mean: Some(Estimate::of(&epochs).mean),
            diverged: summary.diverged,
            over_passing_median: over_passing_median(outcomes),
            difference,
            verdict: Some(verdict),
            run: Some(path.clone()),
            trained: *trained,
            ..row
        }
    }

    /// Where there is no result, and why.
    #[must_use]
    pub fn unavailable(
        dataset: impl Into<String>,
        model: Architecture,
        evaluation: Evaluation,
        problem: impl Into<String>,
    ) -> Self {
        let row = Self::without_result(dataset.into(), model, evaluation);
        Self { problem: Some(problem.into()), ..row }
    }

    fn without_result(dataset: String, model: Architecture, evaluation: Evaluation) -> Self {
        let is_lon = model == Architecture::Lon;
        let reimplementation = published::reimplementation(&dataset, evaluation);
        Self {
            published: published::published(&dataset, model),
            reimplementation: reimplementation.filter(|_| is_lon),
            dataset,
            model,
            evaluation,
            metric: None,
            test_accuracy_mean: None,
            test_accuracy_std: None,
            test_accuracy_ci95: None,
            validation_accuracy_mean: None,
            seeds: 0,
            epoch_ms_median: None,
            epochs_mean: None,
            diverged: 0,
            over_passing_median: None,
            difference: None,
            verdict: None,
            run: None,
            trained: 0,
            problem: None,
        }
    }

    /// LON-GNN is held against the re-implementation, the others against what was published.
    fn judge(&self, ours: &Summary, protocol: &Protocol) -> (Option<Difference>, Verdict) {
        if self.reimplementation.is_none() && self.published.is_none() {
            return (None, Verdict::NotPublished);
        }
        if (Protocol { evaluation: Evaluation::Clean, ..*protocol }) != Protocol::default() {
            return (None, Verdict::OtherProtocol);
        }
        let difference = match (&self.reimplementation, &self.published) {
            (Some(reference), _) => verdict::from_reimplementation(ours, reference),
            (None, Some(reference)) => verdict::from_published(ours, reference),
            (None, None) => None,
        };
        let verdict = difference.map_or(Verdict::OneSeed, |difference| difference.verdict());
        (difference, verdict)
    }
}

/// LON-GNN against the best baseline of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pairing {
    /// The data set's name.
    pub dataset: String,
    /// The baseline with the best validation mean.
    pub baseline: Architecture,
    /// LON-GNN's mean less the baseline's, in points.
    pub difference_mean: f64,
    /// Half of the 95 % interval of that mean; `None` of a single seed.
    pub difference_ci95: Option<f64>,
    /// Two-sided p of Student's t test of the differences. Seeds share nodes, for their splits are of
    /// one graph, so it takes the difference for surer than it is.
    pub t_test_p: Option<f64>,
    /// Two-sided exact p of Wilcoxon's signed rank test.
    pub wilcoxon_p: Option<f64>,
    /// Number of seeds that both have.
    pub seeds: usize,
}

impl Pairing {
    /// Of the records of one data set; `None` without LON-GNN, a baseline and a common seed.
    #[must_use]
    pub fn of(records: &[&RunRecord]) -> Option<Self> {
        let lon = records.iter().find(|record| record.model == Architecture::Lon)?;
        let others = records.iter().filter(|record| record.model != Architecture::Lon);
        let best = others.max_by(|left, right| {
            let (left, right) = (validation_mean(&left.outcomes), validation_mean(&right.outcomes));
            left.total_cmp(&right)
        })?;
        let differences = lon.outcomes.iter().filter_map(|ours| {
            let theirs = best.outcomes.iter().find(|theirs| theirs.seed == ours.seed)?;
            Some(100.0 * (ours.test - theirs.test))
        });
        let differences: Vec<f64> = differences.collect();
        let estimate = Estimate::of(&differences);
        (estimate.n > 0).then(|| Self {
            dataset: lon.graph.clone(),
            baseline: best.model,
            difference_mean: estimate.mean,
            difference_ci95: (estimate.n > 1).then(|| estimate.half_width_95()),
            t_test_p: paired_t_test(&differences),
            wilcoxon_p: wilcoxon_signed_rank(&differences),
            seeds: estimate.n,
        })
    }
}

/// The mean signed difference of LON-GNN from the re-implementation over data sets, in points.
#[must_use]
pub fn mean_difference_of_lon(rows: &[Row]) -> Option<f64> {
    let of_lon = rows.iter().filter(|row| row.reimplementation.is_some());
    let points: Vec<f64> = of_lon.filter_map(|row| Some(row.difference?.points)).collect();
    (!points.is_empty()).then(|| Estimate::of(&points).mean)
}

fn validation_mean(outcomes: &[Outcome]) -> f64 {
    let percent: Vec<f64> = outcomes.iter().map(|outcome| 100.0 * outcome.validation).collect();
    Estimate::of(&percent).mean
}

fn over_passing_median(outcomes: &[Outcome]) -> Option<f64> {
    let filters = outcomes.iter().filter_map(|outcome| outcome.filter.as_ref());
    let mut indices: Vec<f64> = filters.flat_map(|filter| &filter.over_passing).copied().collect();
    indices.retain(|index| index.is_finite());
    median(&indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Settings;

    /// A record of these validation and test results.
    fn record(model: Architecture, results: &[(f64, f64)]) -> RunRecord {
        let outcome = |(seed, &(validation, test)): (usize, &(f64, f64))| Outcome {
            seed: seed as u64,
            validation,
            test,
            best_epoch: 1,
            epochs: 4 + seed,
            diverged: false,
            epoch_ms_median: 1.0,
            filter: None,
        };
        RunRecord {
            graph: "texas".into(),
            metric: "accuracy".into(),
            model,
            settings: Settings::default(),
            protocol: Protocol::default(),
            classes: Vec::new(),
            outcomes: results.iter().enumerate().map(outcome).collect(),
            density: Vec::new(),
        }
    }

    fn row(record: RunRecord) -> Row {
        Row::of(&Entry { path: "run.json".into(), record, trained: 0 })
    }

    #[test]
    fn the_best_baseline_is_the_best_on_validation() {
        let lon = record(Architecture::Lon, &[(0.9, 0.9), (0.9, 0.8)]);
        let chosen = record(Architecture::Gcn, &[(0.8, 0.7), (0.8, 0.7)]);
        let lucky = record(Architecture::Mlp, &[(0.7, 1.0), (0.7, 1.0)]);
        let pairing = Pairing::of(&[&lucky, &lon, &chosen]).unwrap();
        assert_eq!((pairing.baseline, pairing.seeds), (Architecture::Gcn, 2));
        assert!((pairing.difference_mean - 15.0).abs() < 1e-9);
        assert!(pairing.t_test_p.unwrap() < 0.3 && pairing.wilcoxon_p == Some(0.5));
        assert_eq!(Pairing::of(&[&lucky, &chosen]), None);
        assert_eq!(Pairing::of(&[&lon]), None);
    }

    #[test]
    fn a_row_is_in_percent_and_judged() {
        let lon = row(record(Architecture::Lon, &[(0.9, 0.88), (0.8, 0.90)]));
        assert_eq!(lon.validation_accuracy_mean.map(f64::round), Some(85.0));
        assert!((lon.test_accuracy_mean.unwrap() - 89.0).abs() < 1e-9);
        assert_eq!((lon.epochs_mean, lon.verdict), (Some(4.5), Some(Verdict::Agrees)));
        assert!((mean_difference_of_lon(&[lon]).unwrap() + 0.02).abs() < 1e-9);

        let gcn = row(record(Architecture::Gcn, &[(0.5, 0.50), (0.5, 0.51)]));
        assert_eq!(gcn.verdict, Some(Verdict::Differs));
        assert!(gcn.difference.unwrap().in_stds.unwrap() < -30.0);
        let one = row(record(Architecture::Gcn, &[(0.5, 0.50)]));
        assert_eq!((one.verdict, one.test_accuracy_std), (Some(Verdict::OneSeed), None));
        let favard = row(record(Architecture::FavardGnn, &[(0.5, 0.50), (0.5, 0.51)]));
        assert_eq!(favard.verdict, Some(Verdict::NotPublished));
        assert_eq!(mean_difference_of_lon(&[gcn, favard]), None);
    }

    #[test]
    fn only_the_same_protocol_is_judged() {
        let lon = record(Architecture::Lon, &[(0.9, 0.88), (0.8, 0.90)]);
        let verdict = |protocol| row(RunRecord { protocol, ..lon.clone() }).verdict.unwrap();
        let protocol = Protocol::default();
        assert_eq!(verdict(Protocol { max_epochs: 5, ..protocol }), Verdict::OtherProtocol);
        let official = Protocol { evaluation: Evaluation::Official, ..protocol };
        assert_eq!(verdict(official), Verdict::Agrees);
    }
}
