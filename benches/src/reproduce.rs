//! `cargo reproduce`

use crate::experiment::{AnyExperiment, Size, file_of};
use crate::{kvquant, longnn, report, unicron};
use anyhow::Context;
use clap::{Args, ValueEnum};
use common::command::{BadInput, print, provenance, workspace_root};
use common::device;
use common::progress::{Progress, Unit};
use common::report::{Provenance, Record, Timestamp, claims_text};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Reproduce {
    /// Only this system
    #[arg(long)]
    system: Option<System>,
    /// Only these experiments, by the names of their records
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// All tables and figures of docs/, not the quick form
    #[arg(long)]
    full: bool,
    /// Also write claims and records into one JSON file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder for one record an experiment [default: runs/DATE-HOST in the workspace]. A run that is
    /// started again goes on: records of the same commit, size and machine are kept
    #[arg(long, value_name = "DIR")]
    records: Option<PathBuf>,
    /// Run everything anew, whatever records there are
    #[arg(long)]
    again: bool,
    /// The report, one self-contained page [default: report.html beside the records]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The finished systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum System {
    /// AsymKV: a KV cache of 1 and 2 bits.
    Kvquant,
    /// LON-GNN: spectral graph neural networks over learnable bases.
    Longnn,
    /// Unicron: self-healing training for a whole cluster.
    Unicron,
}

impl Reproduce {
    /// Runs the experiments, writes their records and prints the table "paper / here".
    pub fn run(self) -> anyhow::Result<()> {
        let size = if self.full { Size::Full } else { Size::Quick };
        let experiments = self.experiments(size)?;
        let folder = self.records.clone().unwrap_or_else(default_folder);
        let (provenance, progress) = (suite_provenance(), Progress::stderr());
        let (mut claims, mut records) = (Vec::new(), Vec::new());
        let bar = progress.bar("reproduce", Some(experiments.len() as u64), Unit::Items("results"));
        for experiment in experiments {
            let name = experiment.name();
            bar.message(name.clone());
            let kept = experiment.kept(&folder, size, &provenance).filter(|_| !self.again);
            let (outcome, of_experiment) = match kept {
                Some((record, claims)) => (Outcome::Kept(record), claims),
                None => {
                    let (record, claims) = experiment.record(size, &provenance, &progress);
                    (record.map_or(Outcome::Failed, Outcome::Ran), claims)
                }
            };
            // On disk before the next one starts.
            if let Outcome::Ran(record) = &outcome {
                record.write(&file_of(&name, &folder))?;
            }
            progress.suspend(|| say(&outcome.line(&name)));
            records.extend(outcome.into_record());
            claims.extend(of_experiment);
            bar.advance(1);
        }
        bar.finish();
        if let Some(path) = &self.json {
            let report = json!({ "claims": claims, "records": records });
            let text = serde_json::to_string_pretty(&report)? + "\n";
            std::fs::write(path, text)
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        print(&claims_text(&claims))?;
        let path = self.report.clone().unwrap_or_else(|| folder.join("report.html"));
        // A record that an older commit left in this folder may have another form.
        let page = report::page(&folder, &claims, &provenance)
            .with_context(|| format!("no report of {}", folder.display()))?;
        common::files::replace(&path, |file| file.write_all(page.to_html().as_bytes()))
            .with_context(|| format!("can't write {}", path.display()))?;
        say(&format!("records in {}\nreport in {}", folder.display(), path.display()));
        Ok(())
    }

    /// Those that were asked for.
    fn experiments(&self, size: Size) -> anyhow::Result<Vec<Box<dyn AnyExperiment>>> {
        let systems = [System::Kvquant, System::Longnn, System::Unicron];
        let wanted = systems.into_iter().filter(|&one| self.system.is_none_or(|only| only == one));
        let mut experiments: Vec<_> = wanted.flat_map(|system| system.experiments(size)).collect();
        let names: Vec<String> = experiments.iter().map(|experiment| experiment.name()).collect();
        if let Some(unknown) = self.only.iter().find(|name| !names.contains(name)) {
            let problem = format!("no experiment {unknown} here; there are {}", names.join(", "));
            return Err(BadInput(problem).into());
        }
        if !self.only.is_empty() {
            experiments.retain(|experiment| self.only.contains(&experiment.name()));
        }
        Ok(experiments)
    }
}

/// What became of an experiment.
enum Outcome {
    Ran(Record),
    /// By an earlier run.
    Kept(Record),
    Failed,
}

impl Outcome {
    /// In a line, for a log.
    fn line(&self, name: &str) -> String {
        match self {
            Outcome::Ran(record) => format!("{name}: {:.0} s", record.seconds),
            Outcome::Kept(record) => format!("{name}: kept from {}", record.started),
            Outcome::Failed => format!("{name}: not run"),
        }
    }

    fn into_record(self) -> Option<Record> {
        match self {
            Outcome::Ran(record) | Outcome::Kept(record) => Some(record),
            Outcome::Failed => None,
        }
    }
}

impl System {
    fn experiments(self, size: Size) -> Vec<Box<dyn AnyExperiment>> {
        match self {
            Self::Kvquant => {
                let mut all: Vec<Box<dyn AnyExperiment>> = vec![
                    Box::new(kvquant::Memory),
                    Box::new(kvquant::Anchors),
                    Box::new(kvquant::Errors),
                    Box::new(kvquant::Ablations),
                    Box::new(kvquant::Needles),
                    Box::new(kvquant::Tasks),
                    Box::new(kvquant::Attention),
                    Box::new(kvquant::Decode),
                    Box::new(kvquant::Fused),
                    Box::new(kvquant::Resident),
                    Box::new(kvquant::GpuAttention),
                    Box::new(kvquant::GpuModel),
                ];
                let asymmetries = kvquant::Asymmetry::of(size).into_iter();
                all.extend(asymmetries.map(|one| Box::new(one) as Box<dyn AnyExperiment>));
                let plans = kvquant::Plans::of(size).into_iter();
                all.extend(plans.map(|one| Box::new(one) as Box<dyn AnyExperiment>));
                all
            }
            Self::Longnn => {
                let mut all: Vec<Box<dyn AnyExperiment>> = vec![
                    Box::new(longnn::Bases),
                    Box::new(longnn::Filters),
                    Box::new(longnn::Speed),
                ];
                let accuracies = longnn::Accuracy::of(size).into_iter();
                all.extend(accuracies.map(|one| Box::new(one) as Box<dyn AnyExperiment>));
                all
            }
            Self::Unicron => vec![
                Box::new(unicron::Calibration),
                Box::new(unicron::Planning),
                Box::new(unicron::Efficiency),
                Box::new(unicron::RealTraces),
                Box::new(unicron::Detection),
                Box::new(unicron::Hangs),
                Box::new(unicron::Overhead),
                Box::new(unicron::PyTorchRecovery),
                Box::new(unicron::PyTorchOverhead),
                Box::new(unicron::Reduction),
                Box::new(unicron::Scale),
                Box::new(unicron::Dashboard),
            ],
        }
    }
}

/// Taken before the first record is written: a record of the run itself is no change of the source.
fn suite_provenance() -> Provenance {
    let mut provenance =
        provenance(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
    // Run through the alias, so that is what can be typed again.
    if let Some((_, arguments)) = provenance.command.split_once(' ') {
        provenance.command = format!("cargo reproduce {arguments}");
    } else {
        provenance.command = "cargo reproduce".to_owned();
    }
    provenance
}

/// `runs/<date>-<processor>` in the workspace: records that are to stay are committed under
/// `benches/runs`.
fn default_folder() -> PathBuf {
    let cpu = device::discover().cpu;
    let words = cpu.model.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    let host = words.take(3).collect::<Vec<_>>().join("-").to_lowercase();
    let now = Timestamp::now().to_string();
    let name = format!("{}-{host}-{}c", &now[..10], cpu.logical_cores);
    workspace_root().as_deref().unwrap_or(Path::new(".")).join("runs").join(name)
}

#[allow(clippy::print_stderr)] // Words for people: this is a command.
fn say(text: &str) {
    eprintln!("{text}");
}
