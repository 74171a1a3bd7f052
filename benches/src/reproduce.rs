//! `cargo reproduce`

use crate::experiment::{Experiment, Size, run};
use crate::{kvquant, longnn};
use anyhow::Context;
use clap::{Args, ValueEnum};
use common::command::{print, provenance, workspace_root};
use common::device;
use common::progress::Progress;
use common::report::{Claim, Provenance, Record, Timestamp, claims_table};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Reproduce {
    /// Only this system
    #[arg(long)]
    system: Option<System>,
    /// All tables and figures of docs/, not the quick form
    #[arg(long)]
    full: bool,
    /// Also write claims and records into one JSON file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Folder for one record an experiment [default: runs/DATE-HOST in the workspace]
    #[arg(long, value_name = "DIR")]
    records: Option<PathBuf>,
}

/// The finished systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum System {
    /// AsymKV: a KV cache of 1 and 2 bits.
    Kvquant,
    /// LON-GNN: spectral graph neural networks over learnable bases.
    Longnn,
}

impl Reproduce {
    /// Runs the experiments, writes their records and prints the table "paper / here".
    pub fn run(self) -> anyhow::Result<()> {
        let mut suite = Suite {
            size: if self.full { Size::Full } else { Size::Quick },
            folder: self.records.clone().unwrap_or_else(default_folder),
            provenance: suite_provenance(),
            progress: Progress::stderr(),
            claims: Vec::new(),
            records: Vec::new(),
        };
        let wanted = |system| self.system.is_none_or(|only| only == system);
        if wanted(System::Kvquant) {
            suite.run::<kvquant::Memory>()?;
            suite.run::<kvquant::Anchors>()?;
            suite.run::<kvquant::Asymmetry>()?;
        }
        if wanted(System::Longnn) {
            suite.run::<longnn::Bases>()?;
            suite.run::<longnn::Filters>()?;
            suite.run::<longnn::Speed>()?;
            suite.run::<longnn::Accuracy>()?;
        }
        if let Some(path) = &self.json {
            let report = json!({ "claims": suite.claims, "records": suite.records });
            let text = serde_json::to_string_pretty(&report)? + "\n";
            std::fs::write(path, text)
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        print(&claims_table(&suite.claims).to_text())?;
        suite.progress.suspend(|| say(&format!("records in {}", suite.folder.display())));
        Ok(())
    }
}

struct Suite {
    size: Size,
    folder: PathBuf,
    provenance: Provenance,
    progress: Progress,
    claims: Vec<Claim>,
    records: Vec<Record>,
}

impl Suite {
    /// Runs one experiment; its record is on disk before the next one starts.
    fn run<E: Experiment>(&mut self) -> anyhow::Result<()> {
        let (record, claims) = run::<E>(self.size, &self.provenance, &self.progress);
        if let Some(record) = record {
            record.write(&self.folder.join(format!("{}.json", E::NAME)))?;
            self.records.push(record);
        }
        self.claims.extend(claims);
        Ok(())
    }
}

/// Taken before the first record is written: a record of the run itself is no change of the source.
fn suite_provenance() -> Provenance {
    let mut provenance =
        provenance(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")));
    // Run through the alias, so that is what can be typed again.
    if let Some(arguments) = provenance.command.strip_prefix(env!("CARGO_PKG_NAME")) {
        provenance.command = format!("cargo reproduce{arguments}");
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
