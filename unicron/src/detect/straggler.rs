//! Slow ranks: each compared with its peers and with its own best.
//!
//! NVRx's scores (notes on the field, 3.1): 1 is as fast as the reference, below 0.75 is a straggler.
//! Two differences. The reference is the median of the peers by default, since the best of a thousand
//! ranks is a lucky one. And a rank that is slower than it was only counts where its peers are not:
//! when all slow down together, it is the work.
//!
//! Times must be of like work without waiting: of the computation, or a benchmark. A synchronous
//! iteration takes as long on every rank as on the slowest.

use super::{Finding, Status};
use crate::{Error, Result};
use common::statistics::median;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

/// What can be the time of a piece of work, in seconds. Everything else is a broken clock.
const PLAUSIBLE_S: RangeInclusive<f64> = 1e-9..=1e9;

/// With whom a rank is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reference {
    /// The median of all ranks.
    #[default]
    Median,
    /// The fastest of all ranks, as NVRx does.
    Best,
}

/// How stragglers are told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StragglerSettings {
    /// Score under which a rank is a straggler; NVRx's default.
    pub threshold: f64,
    /// Reports of a rank before it is judged, and of which its median is taken.
    pub n_reports: usize,
    /// With whom it is compared.
    pub reference: Reference,
}

impl Default for StragglerSettings {
    fn default() -> Self {
        // Five, as many rounds as ByteRobust lets vote before it evicts (notes on the field, 1.8).
        Self { threshold: 0.75, n_reports: 5, reference: Reference::Median }
    }
}

/// How fast a rank is; 1 is as fast as the reference, 0.5 takes twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Relative to its peers.
    pub relative: f64,
    /// Relative to its own best, with what has slowed down all ranks taken out.
    pub individual: f64,
}

/// Keeps the reports of all ranks of a task.
#[derive(Debug, Clone)]
pub struct Stragglers {
    settings: StragglerSettings,
    ranks: BTreeMap<u32, Reports>,
}

#[derive(Debug, Clone, Default)]
struct Reports {
    recent_s: VecDeque<f64>,
    /// The least median so far: a single lucky report is nobody's best.
    best_s: Option<f64>,
}

impl Reports {
    fn current_s(&self, n_reports: usize) -> Option<f64> {
        if self.recent_s.len() < n_reports {
            return None;
        }
        median(&self.recent_s.iter().copied().collect::<Vec<_>>())
    }
}

impl Stragglers {
    /// Without reports.
    ///
    /// # Errors
    /// [`Error::Setting`] for a threshold outside 0 to 1, or no reports.
    pub fn new(settings: StragglerSettings) -> Result<Self> {
        let bad = |setting: &str, problem: String| {
            Err(Error::Setting { setting: setting.to_owned(), problem })
        };
        if !(settings.threshold > 0.0 && settings.threshold < 1.0) {
            return bad("threshold", format!("{} is not between 0 and 1", settings.threshold));
        }
        if settings.n_reports == 0 {
            return bad("n_reports", "0 reports show nothing; 1 or more do".to_owned());
        }
        Ok(Self { settings, ranks: BTreeMap::new() })
    }

    /// Takes a report: the seconds that `rank` took for a piece of work that is like its peers'.
    /// Times that no clock would measure (negative, not a number) are ignored.
    pub fn report(&mut self, rank: u32, seconds: f64) {
        if !PLAUSIBLE_S.contains(&seconds) {
            return;
        }
        let n_reports = self.settings.n_reports;
        let reports = self.ranks.entry(rank).or_default();
        reports.recent_s.push_back(seconds);
        if reports.recent_s.len() > n_reports {
            reports.recent_s.pop_front();
        }
        if let Some(current_s) = reports.current_s(n_reports) {
            reports.best_s = Some(reports.best_s.map_or(current_s, |best_s| best_s.min(current_s)));
        }
    }

    /// Forgets a rank that has left, or all that another plan has made incomparable.
    pub fn forget(&mut self, rank: u32) {
        self.ranks.remove(&rank);
    }

    /// The scores of all ranks with enough reports. Fewer than two ranks have no peers, and no scores.
    #[must_use]
    pub fn scores(&self) -> BTreeMap<u32, Score> {
        let current = |(&rank, reports): (&u32, &Reports)| {
            let current_s = reports.current_s(self.settings.n_reports)?;
            Some((rank, current_s, reports.best_s? / current_s))
        };
        let ranks: Vec<_> = self.ranks.iter().filter_map(current).collect();
        if ranks.len() < 2 {
            return BTreeMap::new();
        }
        let times: Vec<f64> = ranks.iter().map(|&(_, current_s, _)| current_s).collect();
        let reference_s = match self.settings.reference {
            Reference::Median => median(&times),
            Reference::Best => times.iter().copied().min_by(f64::total_cmp),
        };
        let own: Vec<f64> = ranks.iter().map(|&(_, _, own)| own).collect();
        let (Some(reference_s), Some(usual)) = (reference_s, median(&own)) else {
            return BTreeMap::new();
        };
        let score = |(rank, current_s, own): (u32, f64, f64)| {
            (rank, Score { relative: reference_s / current_s, individual: own / usual })
        };
        ranks.into_iter().map(score).collect()
    }

    /// The stragglers, slowest first, with their scores and what each means.
    #[must_use]
    pub fn stragglers(&self) -> Vec<(u32, Score, Finding)> {
        let worst = |score: &Score| score.relative.min(score.individual);
        let is_slow = |(_, score): &(u32, Score)| worst(score) < self.settings.threshold;
        let mut slow: Vec<_> = self.scores().into_iter().filter(is_slow).collect();
        slow.sort_by(|(_, a), (_, b)| worst(a).total_cmp(&worst(b)));
        slow.into_iter()
            .map(|(rank, score)| (rank, score, Finding::root(Status::Straggler)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Seconds of `n_ranks` in each of five rounds.
    fn rounds(stragglers: &mut Stragglers, n_ranks: u32, seconds: impl Fn(u32) -> f64) {
        for _ in 0..5 {
            (0..n_ranks).for_each(|rank| stragglers.report(rank, seconds(rank)));
        }
    }

    fn slow(stragglers: &Stragglers) -> Vec<u32> {
        stragglers.stragglers().iter().map(|&(rank, ..)| rank).collect()
    }

    fn new() -> Stragglers {
        Stragglers::new(StragglerSettings::default()).unwrap()
    }

    #[test]
    fn a_rank_slower_than_its_peers() {
        let mut stragglers = new();
        rounds(
            &mut stragglers,
            8,
            |rank| if rank == 5 { 1.5 } else { 1.0 + f64::from(rank) / 100.0 },
        );
        assert_eq!(slow(&stragglers), [5]);
        let score = stragglers.scores()[&5];
        assert!(score.relative < 0.75 && score.individual == 1.0, "{score:?}");
    }

    #[test]
    fn a_rank_slower_than_it_was() {
        let mut stragglers = new();
        // Rank 2 is the fastest by a third, and falls back to its peers.
        rounds(&mut stragglers, 8, |rank| if rank == 2 { 0.66 } else { 1.0 });
        assert!(slow(&stragglers).is_empty());
        rounds(&mut stragglers, 8, |_| 1.0);
        assert_eq!(slow(&stragglers), [2]);
    }

    #[test]
    fn more_work_for_all_is_nobodys_fault() {
        let mut stragglers = new();
        rounds(&mut stragglers, 8, |_| 1.0);
        rounds(&mut stragglers, 8, |_| 2.0);
        assert!(slow(&stragglers).is_empty());
    }

    #[test]
    fn few_reports_and_single_outliers_show_nothing() {
        let mut stragglers = new();
        (0..4).for_each(|_| stragglers.report(0, 9.0));
        rounds(&mut stragglers, 8, |_| 1.0);
        assert!(slow(&stragglers).is_empty());
        stragglers.report(3, 100.0);
        assert!(slow(&stragglers).is_empty());
        assert!(new().stragglers().is_empty());
    }

    #[test]
    fn the_best_as_reference_is_stricter() {
        let settings = StragglerSettings { reference: Reference::Best, ..Default::default() };
        let (mut by_best, mut by_median) = (Stragglers::new(settings).unwrap(), new());
        let seconds = |rank: u32| if rank == 0 { 0.7 } else { 1.0 };
        rounds(&mut by_best, 4, seconds);
        rounds(&mut by_median, 4, seconds);
        assert_eq!((slow(&by_best), slow(&by_median)), (vec![1, 2, 3], vec![]));
    }

    #[test]
    fn settings_are_checked() {
        for threshold in [0.0, 1.0, -1.0, f64::NAN] {
            let settings = StragglerSettings { threshold, ..Default::default() };
            assert!(Stragglers::new(settings).is_err(), "{threshold}");
        }
        let none = StragglerSettings { n_reports: 0, ..Default::default() };
        let error = Stragglers::new(none).unwrap_err().to_string();
        assert_eq!(error, "n_reports: 0 reports show nothing; 1 or more do");
    }

    proptest! {
        #[test]
        fn any_times_are_borne(reports in proptest::collection::vec((0..5u32, any::<f64>()), 0..80)) {
            let mut stragglers = new();
            reports.iter().for_each(|&(rank, seconds)| stragglers.report(rank, seconds));
            for score in stragglers.scores().values() {
                prop_assert!(score.relative >= 0.0 && score.individual >= 0.0);
            }
        }
    }
}
