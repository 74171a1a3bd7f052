//! `cargo reproduce check`: a run held against an earlier one.
//!
//! Counts, bytes, errors, accuracies and ratios are compared, each as [`rules`] say; times are not, as they are those
//! of a machine and an hour. What got better passes, what got worse by more than is allowed fails, by its name.

mod compare;
mod rules;

use anyhow::{Context, bail};
use clap::Args;
use common::command::{BadInput, print, workspace_root};
use common::report::{Align, Record, Table};
use compare::{Comparison, Difference};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Compare the records of a run with a baseline; fail where something got worse
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo reproduce check --against benches/baselines/quick
  cargo reproduce check --against runs/2026-11-27-amd-epyc-2c --records runs/after")]
pub struct Check {
    /// The folder of records to compare with
    #[arg(long, value_name = "DIR")]
    against: PathBuf,
    /// The folder of records to be compared [default: the newest below runs/ in the workspace]
    #[arg(long, value_name = "DIR")]
    records: Option<PathBuf>,
}

impl Check {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let baseline = read_all(&self.against)?;
        if baseline.is_empty() {
            let problem = format!("{} has no records", self.against.display());
            return Err(BadInput(problem).into());
        }
        let folder = match self.records {
            Some(folder) => folder,
            None => newest_run()?,
        };
        let run = read_all(&folder)?;
        let mut comparison = Comparison::default();
        for (name, before) in &baseline {
            match run.get(name) {
                Some(now) => comparison.add(name, before, now),
                None => comparison.left_out.push(format!("{name}: not in this run")),
            }
        }
        print(&comparison.summary(&self.against, &folder))?;
        let worse = comparison.differences.iter().filter(|difference| difference.is_worse).count();
        if comparison.n_compared == 0 {
            bail!("nothing could be compared");
        }
        if worse > 0 {
            bail!("{worse} of {} values got worse than is allowed", comparison.n_compared);
        }
        Ok(())
    }
}

impl Comparison {
    /// What was compared, and what differs.
    fn summary(&self, against: &Path, folder: &Path) -> String {
        let mut text = String::new();
        if !self.differences.is_empty() {
            text += &table(&self.differences).to_text();
            text += "\n";
        }
        for reason in &self.left_out {
            text += &format!("left out: {reason}\n");
        }
        let (n, experiments) = (self.n_compared, self.n_experiments);
        let (folder, against) = (folder.display(), against.display());
        text + &format!(
            "{n} values of {experiments} experiments in {folder} compared with {against}\n"
        )
    }
}

fn table(differences: &[Difference]) -> Table {
    let mut table = Table::new(&[
        ("experiment", Align::Left),
        ("value", Align::Left),
        ("before", Align::Right),
        ("now", Align::Right),
        ("allowed", Align::Left),
        ("verdict", Align::Left),
    ]);
    for Difference { experiment, path, before, now, allowed, is_worse } in differences {
        let verdict = if *is_worse { "worse" } else { "better" };
        table.row([experiment, path, before, now, allowed, verdict]);
    }
    table
}

/// Records by their experiments' names; whatever else lies in the folder is none of our business.
fn read_all(folder: &Path) -> anyhow::Result<BTreeMap<String, Record>> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| BadInput(format!("can't read {}: {error}", folder.display())))?;
    let mut records = BTreeMap::new();
    for entry in entries {
        let path = entry.with_context(|| format!("can't read {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let record = Record::read(&path).map_err(|error| BadInput(error.to_string()))?;
            records.insert(record.experiment.clone(), record);
        }
    }
    Ok(records)
}

/// By the dates that the names of folders begin with.
fn newest_run() -> anyhow::Result<PathBuf> {
    let runs = workspace_root().context("run this inside the workspace")?.join("runs");
    let is_run = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_digit())
    };
    let folders = std::fs::read_dir(&runs).into_iter().flatten();
    let newest = folders.filter_map(|entry| Some(entry.ok()?.path())).filter(is_run).max();
    newest.ok_or_else(|| {
        BadInput(format!(
            "{} has no run; run cargo reproduce, or name one with --records",
            runs.display()
        ))
        .into()
    })
}
