//! What an experiment is to the suite: a name, a run that gives metrics, and claims judged by them.

use anyhow::Context;
use common::progress::Progress;
use common::report::{Claim, Provenance, Record, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Quick shows that a result is there in a few minutes; full is what docs report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
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

    /// The claims that it is about, none judged yet.
    fn claims(&self) -> Vec<Claim>;

    /// The claims judged by what came out; those that this size of run doesn't speak to are left as they are.
    fn judged(&self, metrics: &Self::Metrics) -> Vec<Claim>;

    /// The claims where it could not run.
    fn open_claims(&self, reason: &str) -> Vec<Claim> {
        self.claims().into_iter().map(|claim| claim.not_reproduced(reason)).collect()
    }
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

    /// The record that an earlier run of the same thing left in a folder, and its claims: of the same size, from the
    /// same commit, on the same machine.
    fn kept(
        &self,
        folder: &Path,
        size: Size,
        provenance: &Provenance,
    ) -> Option<(Record, Vec<Claim>)>;
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
            Ok((metrics, mut configuration)) => {
                if let Value::Object(fields) = &mut configuration {
                    fields.insert(SIZE.to_owned(), json!(size));
                }
                let claims = self.judged(&metrics);
                let metrics = serde_json::to_value(metrics).expect("metrics are plain data");
                let elapsed = (started, clock.elapsed().as_secs_f64());
                let (name, provenance) = (Experiment::name(self), provenance.clone());
                let record = Record::new(name, provenance, configuration, None, elapsed, metrics);
                (Some(record), claims)
            }
            Err(error) => (None, self.open_claims(&format!("{error:#}"))),
        }
    }

    fn kept(
        &self,
        folder: &Path,
        size: Size,
        provenance: &Provenance,
    ) -> Option<(Record, Vec<Claim>)> {
        // Nobody knows whether a source with changes is the same.
        let commit = provenance.commit.as_ref().filter(|_| !provenance.dirty)?;
        let record = Record::read(&file_of(&Experiment::name(self), folder)).ok()?;
        let is_same = record.commit.as_ref() == Some(commit)
            && !record.dirty
            && record.host == provenance.host
            && record.configuration.get(SIZE) == Some(&json!(size));
        let metrics = serde_json::from_value(record.metrics.clone()).ok().filter(|_| is_same)?;
        Some((record, self.judged(&metrics)))
    }
}

/// Where the size is in a record's configuration.
const SIZE: &str = "size";

/// Where an experiment's record is in a folder.
pub fn file_of(experiment: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{experiment}.json"))
}

/// Reads the newest record of an experiment, if there is one. `runs` is the folder of one run, or has one for each run,
/// whose name begins with the date; a run needn't have all experiments.
pub fn read<E: Experiment>(
    experiment: &E,
    runs: &Path,
) -> anyhow::Result<Option<(Record, E::Metrics)>> {
    let name = Experiment::name(experiment);
    let own = Some(file_of(&name, runs));
    let of_runs = std::fs::read_dir(runs)
        .with_context(|| format!("can't read {}", runs.display()))?
        .filter_map(|entry| Some(file_of(&name, &entry.ok()?.path())))
        .filter(|path| path.is_file());
    let newest = own.filter(|path| path.is_file()).or_else(|| of_runs.max());
    let Some(path) = newest else { return Ok(None) };
    let record = Record::read(&path)?;
    let metrics = serde_json::from_value(record.metrics.clone())
        .with_context(|| format!("{}: metrics of another form; run it again", path.display()))?;
    Ok(Some((record, metrics)))
}
