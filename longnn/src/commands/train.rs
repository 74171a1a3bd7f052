//! `longnn train`

use super::options::{TrainingOptions, bar_of};
use super::source::Source;
use crate::experiment::{RunRecord, Summary};
use crate::model::{Architecture, Problem};
use crate::train::{Checkpoints, Job, train};
use anyhow::Context;
use clap::Args;
use common::command::{print, print_json, store};
use common::progress::Progress;
use common::report::{Align, Table};
use serde_json::json;
use std::path::PathBuf;

/// Train a model on a graph, several seeds side by side, and keep the run to look at
#[derive(Debug, Args)]
#[command(after_help = "\
The run's folder gets run.json, which longnn plot shows, and a checkpoint a seed: the same command
goes on where it was interrupted.

Examples:
  longnn train cora --model lon --seeds 10
  longnn train my-graph/ --model gprgnn --settings mine.toml --output runs/mine")]
pub struct Train {
    /// A graph's name, .npz file or folder
    #[arg(value_name = "GRAPH")]
    graph: String,
    /// The model
    #[arg(long, default_value_t = Architecture::Lon)]
    model: Architecture,
    /// Seeds 0 to N-1
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    #[command(flatten)]
    options: TrainingOptions,
    /// The run's folder [default: runs/longnn/GRAPH-MODEL]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Forget what the folder has
    #[arg(long)]
    restart: bool,
    /// Epochs from one checkpoint to the next
    #[arg(long, value_name = "EPOCHS", default_value_t = 100)]
    checkpoint_every: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Train {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let source = Source::parse(&self.graph)?;
        let problem = Problem::new(source.open(&store(None))?)?;
        let name = problem.graph().name().to_owned();
        let settings = self.options.settings(&source, self.model)?;
        let protocol = self.options.protocol();
        let jobs = Job::seeds(&problem, &settings, &protocol, 0..self.seeds)?;
        let folder = self
            .output
            .unwrap_or_else(|| PathBuf::from("runs/longnn").join(format!("{name}-{}", self.model)));
        let checkpoints = Checkpoints::new(&folder, self.checkpoint_every, &problem, self.model)?;
        if self.restart {
            checkpoints.forget()?;
        }
        let progress = Progress::stderr();
        let mut bar = bar_of(&progress, &format!("{name} {}", self.model), &protocol);
        let outcomes = train(&problem, self.model, jobs, &protocol, Some(&checkpoints), &mut bar)?;
        bar.finish();
        let record = RunRecord::new(&problem, self.model, settings, protocol, outcomes)?
            .with_density_of(problem.graph());
        let path = folder.join("run.json");
        record.write(&path).with_context(|| format!("{}", path.display()))?;
        match self.json {
            true => {
                print_json(&json!({ "run": path, "summary": record.summary(), "record": record }))
            }
            false => print(&text(&record, &path.display().to_string())),
        }
    }
}

fn text(record: &RunRecord, path: &str) -> String {
    let right = |name| (name, Align::Right);
    let mut table = Table::new(&[
        right("seed"),
        right("test %"),
        right("validation %"),
        right("best epoch"),
        right("epochs"),
        right("ms/epoch"),
    ]);
    for outcome in &record.outcomes {
        table.row([
            outcome.seed.to_string(),
            format!("{:.2}", 100.0 * outcome.test),
            format!("{:.2}", 100.0 * outcome.validation),
            outcome.best_epoch.to_string(),
            outcome.epochs.to_string() + if outcome.diverged { " (diverged)" } else { "" },
            format!("{:.2}", outcome.epoch_ms_median),
        ]);
    }
    let Summary { mean, std, ci95, .. } = record.summary();
    let spread = match (std, ci95) {
        (Some(std), Some(ci95)) => format!(", std {std:.2}, 95 % interval of the mean ± {ci95:.2}"),
        _ => String::new(),
    };
    format!(
        "{}\n{} on {}: test {} {mean:.2} %{spread}\nlook at it: longnn plot {path}\n",
        table.to_text(),
        record.model.title(),
        record.graph,
        record.metric,
    )
}
