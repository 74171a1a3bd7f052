//! `longnn search`

use super::options::{TrainingOptions, bar_of};
use super::source::Source;
use crate::experiment::search::{Found, Plan, search};
use crate::experiment::settings_table;
use crate::model::{Architecture, Problem, SettingsFile};
use anyhow::{Context, bail};
use clap::Args;
use common::assets::Store;
use common::command::{BadInput, print, print_json, store};
use common::progress::{Progress, Unit};
use common::report::{Align, Table};
use serde::Serialize;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Search for models' settings on graphs, by validation nodes alone
#[derive(Debug, Args)]
#[command(after_help = "\
Random trials from one space, the same for all models: each is trained for 200 epochs on
--seeds seeds, and the best quarter and the current settings in full on 5. What is found
replaces the model's table in the settings file; the rest of the file stays as it is.

Examples:
  longnn search texas --models gcn,mlp --trials 16 --output texas.toml
  longnn search cora citeseer --models gprgnn,bernnet --output settings/ --missing
  longnn compare --datasets cora,citeseer --settings settings/")]
pub struct Search {
    /// Graphs' names, .npz files or folders
    #[arg(value_name = "GRAPH", required = true)]
    graphs: Vec<String>,
    /// Models
    #[arg(
        long,
        visible_alias = "model",
        value_name = "MODELS",
        value_delimiter = ',',
        required = true
    )]
    models: Vec<Architecture>,
    /// Settings to try, the current ones among them
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=10_000)
    )]
    trials: u16,
    /// Seeds 0 to N-1 for each trial
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(1..=100)
    )]
    seeds: u64,
    /// The seed of the draws
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    draws: u64,
    #[command(flatten)]
    options: TrainingOptions,
    /// A settings file, or a folder with one for each graph, GRAPH.toml
    #[arg(long, value_name = "PATH", default_value = "runs/longnn/settings")]
    output: PathBuf,
    /// Skip models that the settings file has a table of
    #[arg(long)]
    missing: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A model on a graph: what was found, or why nothing was.
#[derive(Debug, Serialize)]
struct Row {
    dataset: String,
    model: Architecture,
    file: Option<PathBuf>,
    #[serde(flatten)]
    found: Option<Found>,
    problem: Option<String>,
}

impl Search {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let is_file = self.output.extension().is_some_and(|extension| extension == "toml");
        if is_file && self.graphs.len() > 1 {
            let problem = "--output: several graphs need a folder, one settings file has one";
            return Err(BadInput(problem.to_owned()).into());
        }
        let parse = |spec: &String| Ok((spec.clone(), Source::parse(spec)?));
        let sources: Vec<(String, Source)> =
            self.graphs.iter().map(parse).collect::<anyhow::Result<_>>()?;
        let (store, progress) = (store(None), Progress::stderr());
        let total = (sources.len() * self.models.len()) as u64;
        let bar = progress.bar("search", Some(total), Unit::Items("models"));
        let mut rows = Vec::new();
        for (spec, source) in &sources {
            rows.extend(self.graph(spec, source, is_file, &store, &progress, || bar.advance(1)));
        }
        bar.finish();
        match self.json {
            true => print_json(&json!({ "rows": rows }))?,
            false => print(&text(&rows))?,
        }
        if !rows.is_empty() && rows.iter().all(|row| row.problem.is_some()) {
            bail!("nothing could be searched for on any of the graphs");
        }
        Ok(())
    }

    /// All models on a graph; one that fails doesn't keep the others from being searched for.
    fn graph(
        &self,
        spec: &str,
        source: &Source,
        is_file: bool,
        store: &Store,
        progress: &Progress,
        done: impl Fn(),
    ) -> Vec<Row> {
        let problem = source.open(store).and_then(|graph| Ok(Problem::new(graph)?));
        let name = problem.as_ref().map_or(spec, |problem| problem.graph().name()).to_owned();
        let file = match is_file {
            true => self.output.clone(),
            false => self.output.join(format!("{}.toml", name.replace(['/', '\\'], "_"))),
        };
        let row = |&model: &Architecture| {
            let row = Row { dataset: name.clone(), model, file: None, found: None, problem: None };
            let found = match &problem {
                Ok(problem) => self.model(source, problem, model, &file, progress),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            done();
            match found {
                Ok(None) => None,
                Ok(found) => Some(Row { file: Some(file.clone()), found, ..row }),
                Err(error) => Some(Row { problem: Some(format!("{error:#}")), ..row }),
            }
        };
        self.models.iter().filter_map(row).collect()
    }

    /// Searches for a model's settings and writes them at once; `None` if the file has them already.
    fn model(
        &self,
        source: &Source,
        problem: &Problem,
        model: Architecture,
        file: &Path,
        progress: &Progress,
    ) -> anyhow::Result<Option<Found>> {
        if self.missing && file.exists() && SettingsFile::read(file)?.has(model) {
            return Ok(None);
        }
        let current = self.options.settings(source, model)?;
        let plan = Plan { trials: self.trials.into(), seeds: self.seeds, draws: self.draws };
        let protocol = self.options.protocol();
        let mut bar = bar_of(progress, &format!("{} {model}", problem.graph().name()), &protocol);
        let found = search(problem, model, &current, plan, &protocol, &mut bar)?;
        bar.finish();
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        }
        settings_table::update(file, model, &found.settings, &found.to_string())?;
        Ok(Some(found))
    }
}

fn text(rows: &[Row]) -> String {
    let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
    let mut table = Table::new(&[
        left("graph"),
        left("model"),
        right("validation %"),
        right("before"),
        right("trial"),
        left("settings"),
    ]);
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    for row in rows {
        let found = row.found.as_ref();
        let place = row.file.as_ref().map(|file| file.display().to_string());
        table.row([
            row.dataset.clone(),
            row.model.to_string(),
            percent(found.map(|found| found.validation)),
            percent(found.map(|found| found.current_validation)),
            found.map_or("-".to_owned(), |found| found.trial.to_string()),
            row.problem.clone().or(place).unwrap_or_default(),
        ]);
    }
    table.to_text()
}
