//! What an experiment is to the suite: a name, a run that gives metrics, and claims judged by them.

use anyhow::Context;
use common::progress::Progress;
use common::report::{Claim, Provenance, Record, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// Quick shows that a result is there in a few minutes; full is what docs report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Few windows, few settings.
    Quick,
    /// Everything that docs/ shows.
    Full,
}

/// An experiment whose result is `Metrics`.
pub trait Experiment {
    /// What came out.
    type Metrics: Serialize + DeserializeOwned;

    /// The record's file name, without `.json`.
    fn name(&self) -> String;

    /// Runs it. The second value is the configuration, defaults included.
    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(Self::Metrics, Value)>;

    /// The paper's claims that the metrics speak to.
    fn claims(&self, metrics: &Self::Metrics) -> Vec<Claim>;

    /// The claims that are open when the experiment can't run.
    fn open_claims(&self, reason: &str) -> Vec<Claim>;
}

/// Any experiment, whatever its metrics.
pub trait AnyExperiment {
    /// The record's file name, without `.json`.
    fn name(&self) -> String;

    /// Runs it; gives its record, if it could run, and its claims.
    fn record(
        &self,
        size: Size,
        provenance: &Provenance,
        progress: &Progress,
    ) -> (Option<Record>, Vec<Claim>);
}

impl<E: Experiment> AnyExperiment for E {
    fn name(&self) -> String {
        Experiment::name(self)
    }

    fn record(
        &self,
        size: Size,
        provenance: &Provenance,
        progress: &Progress,
    ) -> (Option<Record>, Vec<Claim>) {
        let (started, clock) = (Timestamp::now(), Instant::now());
        match self.run(size, progress) {
            Ok((metrics, configuration)) => {
                let claims = self.claims(&metrics);
                let metrics = serde_json::to_value(metrics).expect("metrics are plain data");
                let elapsed = (started, clock.elapsed().as_secs_f64());
                let (name, provenance) = (Experiment::name(self), provenance.clone());
                let record = Record::new(name, provenance, configuration, None, elapsed, metrics);
                (Some(record), claims)
            }
            Err(error) => (None, self.open_claims(&format!("{error:#}"))),
        }
    }
}

/// Reads the newest record of an experiment, if there is one. `runs` has a folder a run, whose name
/// begins with the date; a run needn't have all experiments.
pub fn read<E: Experiment>(
    experiment: &E,
    runs: &Path,
) -> anyhow::Result<Option<(Record, E::Metrics)>> {
    let name = format!("{}.json", Experiment::name(experiment));
    let folders = std::fs::read_dir(runs)
        .with_context(|| format!("can't read {}", runs.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().join(&name)).filter(|path| path.is_file()));
    let Some(path) = folders.max() else { return Ok(None) };
    let record = Record::read(&path)?;
    let metrics = serde_json::from_value(record.metrics.clone())
        .with_context(|| format!("{}: metrics of another form; run it again", path.display()))?;
    Ok(Some((record, metrics)))
}
