//! `longnn compare`

use super::options::{TrainingOptions, bar_of};
use super::source::Source;
use crate::data::catalogue::of_the_paper;
use crate::experiment::compare::{Pairing, Row, mean_difference_of_lon};
use crate::experiment::published::{PlusMinus, Published};
use crate::experiment::{Entry, Group, Ledger, RunRecord};
use crate::model::{Architecture, Problem};
use crate::train::Protocol;
use anyhow::bail;
use clap::Args;
use common::assets::Store;
use common::command::{print, print_json, store};
use common::progress::{Progress, Unit};
use common::report::{Align, Table};
use serde_json::json;
use std::path::PathBuf;

/// Train models on graphs and hold them against each other and against what was published
#[derive(Debug, Args)]
#[command(after_help = "\
Every finished seed is kept in the output folder, by graph, model, evaluation and all settings: the
same command goes on where it was interrupted, and more seeds or models are added to those there.

Examples:
  longnn compare
  longnn compare --datasets texas,my-graph/ --models lon,gprgnn --seeds 30 --json
  longnn compare --models lon --compat official")]
pub struct Compare {
    /// Graphs' names, .npz files or folders
    #[arg(
        long,
        value_name = "GRAPHS",
        value_delimiter = ',',
        default_values = of_the_paper().iter().map(|set| set.name)
    )]
    datasets: Vec<String>,
    /// Models
    #[arg(
        long,
        value_name = "MODELS",
        value_delimiter = ',',
        default_values_t = Architecture::ALL
    )]
    models: Vec<Architecture>,
    /// Seeds 0 to N-1
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=10_000)
    )]
    seeds: u64,
    #[command(flatten)]
    options: TrainingOptions,
    /// The folder of finished seeds
    #[arg(long, value_name = "FOLDER", default_value = "runs/longnn/compare")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Compare {
    /// Runs the command.
    pub fn run(mut self) -> anyhow::Result<()> {
        self.datasets = join_options(&self.datasets);
        let sources: Vec<(&str, Source)> = self
            .datasets
            .iter()
            .map(|spec| Ok((spec.as_str(), Source::parse(spec)?)))
            .collect::<anyhow::Result<_>>()?;
        // A settings file that can't be read is told before anything is trained.
        for (_, source) in &sources {
            self.options.settings(source, Architecture::Lon)?;
        }
        let ledger = Ledger::new(&self.output)?;
        let (store, progress) = (store(None), Progress::stderr());
        let n_groups = sources.len() * self.models.len();
        let bar = progress.bar("compare", Some(n_groups as u64), Unit::Items("models"));
        let mut cells = Vec::with_capacity(n_groups);
        for (spec, source) in &sources {
            cells
                .extend(self.data_set(spec, source, &store, &ledger, &progress, || bar.advance(1)));
        }
        bar.finish();
        self.report(&cells)
    }

    /// All models on a graph, each a row, whatever happens.
    fn data_set(
        &self,
        spec: &str,
        source: &Source,
        store: &Store,
        ledger: &Ledger,
        progress: &Progress,
        done: impl Fn(),
    ) -> Vec<Cell> {
        let evaluation = self.options.protocol().evaluation;
        let problem = source.open(store).and_then(|graph| Ok(Problem::new(graph)?));
        let cell = |&model: &Architecture| {
            let entry = match &problem {
                Ok(problem) => self.model(source, problem, model, ledger, progress),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            done();
            match entry {
                Ok(entry) => Cell { row: Row::of(&entry), record: Some(entry.record) },
                Err(error) => {
                    let name = problem.as_ref().map_or(spec, |problem| problem.graph().name());
                    let row = Row::unavailable(name, model, evaluation, format!("{error:#}"));
                    Cell { row, record: None }
                }
            }
        };
        self.models.iter().map(cell).collect()
    }

    fn model(
        &self,
        source: &Source,
        problem: &Problem,
        model: Architecture,
        ledger: &Ledger,
        progress: &Progress,
    ) -> anyhow::Result<Entry> {
        let settings = self.options.settings(source, model)?;
        let protocol: Protocol = self.options.protocol();
        let group = Group { problem, model, settings: &settings, protocol: &protocol };
        let mut bar = bar_of(progress, &format!("{} {model}", problem.graph().name()), &protocol);
        let entry = ledger.complete(&group, self.seeds, &mut bar)?;
        bar.finish();
        Ok(entry)
    }

    /// Prints what came out; a failure if nothing did.
    fn report(&self, cells: &[Cell]) -> anyhow::Result<()> {
        let rows: Vec<Row> = cells.iter().map(|cell| cell.row.clone()).collect();
        let by_graph = cells.chunks(self.models.len().max(1));
        let pairings: Vec<Pairing> = by_graph
            .filter_map(|cells| {
                let records: Vec<&RunRecord> =
                    cells.iter().filter_map(|cell| cell.record.as_ref()).collect();
                Pairing::of(&records)
            })
            .collect();
        let mean_difference = mean_difference_of_lon(&rows);
        match self.json {
            true => print_json(&json!({
                "rows": rows,
                "paired": pairings,
                "lon_difference_mean": mean_difference,
                "output": self.output,
            }))?,
            false => print(&text(&rows, &pairings, mean_difference))?,
        }
        if cells.iter().all(|cell| cell.record.is_none()) {
            bail!("no model could be trained on any of the graphs");
        }
        Ok(())
    }
}

/// A model on a graph: its row, and its record if there is one.
struct Cell {
    row: Row,
    record: Option<RunRecord>,
}

/// A recipe's own options have commas, too: `csbm:n=100,phi=1` is one graph.
fn join_options(parts: &[String]) -> Vec<String> {
    let mut graphs: Vec<String> = Vec::new();
    for part in parts {
        let is_option = part.contains('=') && !part.starts_with("csbm:");
        match graphs.last_mut() {
            Some(last) if last.starts_with("csbm:") && is_option => *last += &format!(",{part}"),
            _ => graphs.push(part.clone()),
        }
    }
    graphs
}

fn text(rows: &[Row], pairings: &[Pairing], mean_difference: Option<f64>) -> String {
    let mut text = table(rows).to_text();
    for row in rows {
        if let Some(problem) = &row.problem {
            text += &format!("\n{} {}: {problem}", row.dataset, row.model);
        }
    }
    if rows.iter().any(|row| row.problem.is_some()) {
        text += "\n";
    }
    if !pairings.is_empty() {
        text += "\nLON-GNN less the baseline that is best on validation, seed by seed\n";
        text += &paired_table(pairings).to_text();
    }
    if let Some(points) = mean_difference {
        text +=
            &format!("\nLON-GNN less its independent re-implementation: {points:+.2} on average\n");
    }
    text
}

fn table(rows: &[Row]) -> Table {
    let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
    let mut table = Table::new(&[
        left("graph"),
        left("model"),
        right("test %"),
        right("± 95 %"),
        right("std"),
        right("validation %"),
        right("seeds"),
        right("ms/epoch"),
        left("published"),
        left("re-implemented"),
        left("verdict"),
    ]);
    for row in rows {
        let own = row.reimplementation.as_ref();
        let own = own.map(|own| format!("{:.2} ± {:.2} std", own.mean, own.std));
        table.row([
            row.dataset.clone(),
            row.model.to_string(),
            number(row.test_accuracy_mean, 2),
            number(row.test_accuracy_ci95, 2),
            number(row.test_accuracy_std, 2),
            number(row.validation_accuracy_mean, 2),
            row.seeds.to_string(),
            number(row.epoch_ms_median, 2),
            row.published.as_ref().map_or("-".to_owned(), published_cell),
            own.unwrap_or_else(|| "-".to_owned()),
            row.verdict.map_or("no result", |verdict| verdict.name()).to_owned(),
        ]);
    }
    table
}

/// A number from memory has a question mark.
fn published_cell(published: &Published) -> String {
    let meaning = match published.meaning {
        PlusMinus::Std => "std",
        PlusMinus::Ci95 => "95 %",
    };
    let doubt = if published.confirmed { "" } else { " ?" };
    format!("{:.2} ± {:.2} {meaning}{doubt}", published.mean, published.plus_minus)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

fn paired_table(pairings: &[Pairing]) -> Table {
    let (left, right) = (|name| (name, Align::Left), |name| (name, Align::Right));
    let mut table = Table::new(&[
        left("graph"),
        left("best baseline"),
        right("difference"),
        right("± 95 %"),
        right("p (t)"),
        right("p (Wilcoxon)"),
        right("seeds"),
    ]);
    for pairing in pairings {
        table.row([
            pairing.dataset.clone(),
            pairing.baseline.title().to_owned(),
            format!("{:+.2}", pairing.difference_mean),
            number(pairing.difference_ci95, 2),
            number(pairing.t_test_p, 4),
            number(pairing.wilcoxon_p, 4),
            pairing.seeds.to_string(),
        ]);
    }
    table
}
