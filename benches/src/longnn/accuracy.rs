//! LON-GNN and the models that it is compared with on a real graph: a column of the paper's table of
//! accuracies.
//!
//! LON-GNN is evaluated twice: as the official code does it, whose numbers the paper reports, and
//! without the dropout that this code forgets to turn off.

use super::{SYSTEM, problem};
use crate::experiment::{Experiment, Size};
use common::command::workspace_root;
use common::progress::{Progress, Unit};
use common::report::Claim;
use longnn::data::catalogue;
use longnn::experiment::compare::{Pairing, Row};
use longnn::experiment::published::{self, Published, Reimplementation};
use longnn::experiment::{Entry, Group, Ledger, RunRecord, Summary, verdict};
use longnn::model::{Architecture, SettingsFile};
use longnn::plot::FilterPlot;
use longnn::train::{Evaluation, Protocol, Silent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

const QUICK_GRAPHS: [&str; 4] = ["cora", "chameleon", "texas", "cornell"];
const QUICK_SEEDS: u64 = 3;
/// Trained on beside the paper's graphs: one of them without its duplicated nodes.
const CLEANED: &str = "chameleon_filtered";
const SEEDS: u64 = 10;
/// Graphs on which accuracy varies so much between seeds that ten don't tell.
const VARIED: [&str; 3] = ["actor", "texas", "cornell"];
const SEEDS_OF_VARIED: u64 = 30;
/// Graphs whose learned filters the pages show.
const SHOWN: [&str; 3] = ["cora", "chameleon", "squirrel"];
/// The graph on which the paper's lead over JacobiConv is largest.
const LEAD: &str = "squirrel";
/// Of the paper's table.
const PAPER_SEEDS: usize = 10;

/// Accuracies on a graph: one experiment each, so that a finished graph has its record however long the
/// others take.
pub struct Accuracy {
    graph: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct AccuracyMetrics {
    /// LON-GNN in the official evaluation, then every model in the clean one.
    pub rows: Vec<Row>,
    /// LON-GNN, cleanly evaluated, against the baseline with the best validation mean.
    pub pairing: Option<Pairing>,
    /// LON-GNN against JacobiConv, the model that it adds its learned basis to.
    pub jacobi: Option<Pairing>,
    /// LON-GNN's filters, mean over seeds, where the pages show them.
    pub filters: Option<FilterPlot>,
    /// Seeds trained by the run; the others were there from runs before it.
    pub seeds_trained: usize,
}

impl Accuracy {
    /// Of every graph: the paper's, and one of them without its duplicated nodes.
    pub fn all() -> impl Iterator<Item = Self> {
        let paper = catalogue::of_the_paper().iter().map(|set| set.name);
        paper.chain([CLEANED]).map(|graph| Self { graph })
    }

    /// Of the graphs that a run takes.
    pub fn of(size: Size) -> Vec<Self> {
        let is_taken = |one: &Self| size == Size::Full || QUICK_GRAPHS.contains(&one.graph);
        Self::all().filter(is_taken).collect()
    }

    fn seeds(&self, size: Size) -> u64 {
        match size {
            Size::Quick => QUICK_SEEDS,
            Size::Full if VARIED.contains(&self.graph) => SEEDS_OF_VARIED,
            Size::Full => SEEDS,
        }
    }
}

impl Experiment for Accuracy {
    type Metrics = AccuracyMetrics;

    fn name(&self) -> String {
        format!("longnn-accuracy-{}", self.graph)
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(AccuracyMetrics, Value)> {
        let models = match size {
            Size::Quick => vec![Architecture::Lon],
            Size::Full => Architecture::ALL.to_vec(),
        };
        let configuration = json!({
            "graph": self.graph,
            "seeds": self.seeds(size),
            "models": models,
            "protocol": Protocol::default(),
        });
        // The quick form trains anew; the full one takes hours and goes on where it was interrupted.
        let metrics = match size {
            Size::Quick => {
                let name = format!("longnn-reproduce-{}-{}", self.graph, std::process::id());
                let folder = std::env::temp_dir().join(name);
                let metrics = self.metrics(size, &models, &folder, progress);
                // Nobody asked for its files; what is left of them is in a folder of temporary ones.
                drop(std::fs::remove_dir_all(&folder));
                metrics
            }
            Size::Full => {
                let folder = workspace_root().unwrap_or_default().join("runs/longnn/reproduce");
                self.metrics(size, &models, &folder, progress)
            }
        };
        Ok((metrics?, configuration))
    }

    fn judged(&self, metrics: &AccuracyMetrics) -> Vec<Claim> {
        let is_official = |row: &&Row| row.evaluation == Evaluation::Official;
        let official = metrics.rows.iter().find(is_official).and_then(judged);
        let lead = self.lead().zip(metrics.jacobi.as_ref()).map(|(claim, lead)| {
            let ci95 = lead.difference_ci95.unwrap_or(f64::INFINITY);
            let here = format!("{:+.1} ± {ci95:.1} points", lead.difference_mean);
            claim.judged(here, lead.difference_mean > ci95)
        });
        official.into_iter().chain(lead).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let paper = published::published(self.graph, Architecture::Lon);
        let of_graph = paper.map(|paper| claim(self.graph, &paper));
        of_graph.into_iter().chain(self.lead()).collect()
    }
}

impl Accuracy {
    /// The paper's model against the one that it improves on, on the graph where it leads most.
    fn lead(&self) -> Option<Claim> {
        let paper = |model| Some(published::published(self.graph, model)?.mean);
        let lead = paper(Architecture::Lon)? - paper(Architecture::JacobiPublished)?;
        let claim = format!("LON-GNN beats JacobiConv on {LEAD}, same seeds, 95 % interval");
        (self.graph == LEAD).then(|| Claim::of_paper(SYSTEM, claim, format!("{lead:+.1} points")))
    }

    fn metrics(
        &self,
        size: Size,
        models: &[Architecture],
        ledger: &Path,
        progress: &Progress,
    ) -> anyhow::Result<AccuracyMetrics> {
        let problem = problem(self.graph, progress)?;
        let ledger = Ledger::new(ledger)?;
        let total = models.len() as u64 + 1;
        let bar = progress.bar(self.graph, Some(total), Unit::Items("models"));
        let train = |model, evaluation| {
            bar.message(format!("{model}"));
            let settings = SettingsFile::builtin(self.graph).of(model);
            let protocol = Protocol { evaluation, ..Protocol::default() };
            let group =
                Group { problem: &problem, model, settings: &settings, protocol: &protocol };
            let entry = ledger.complete(&group, self.seeds(size), &mut Silent)?;
            bar.advance(1);
            anyhow::Ok(entry)
        };
        let official = train(Architecture::Lon, Evaluation::Official)?;
        let clean: Vec<Entry> = models
            .iter()
            .map(|&model| train(model, Evaluation::Clean))
            .collect::<anyhow::Result<_>>()?;
        bar.finish();
        let records: Vec<&RunRecord> = clean.iter().map(|entry| &entry.record).collect();
        let of = |model| records.iter().copied().find(|record| record.model == model);
        let pair = [of(Architecture::Lon), of(Architecture::JacobiPublished)];
        let filters = match of(Architecture::Lon).filter(|_| SHOWN.contains(&self.graph)) {
            Some(record) => {
                Some(record.clone().with_density_of(problem.graph()).filter_plot(None)?)
            }
            None => None,
        };
        let entries = || [&official].into_iter().chain(&clean);
        Ok(AccuracyMetrics {
            rows: entries().map(|entry| kept(Row::of(entry))).collect(),
            pairing: Pairing::of(&records),
            jacobi: Pairing::of(&pair.into_iter().flatten().collect::<Vec<_>>()),
            filters,
            seeds_trained: entries().map(|entry| entry.trained).sum(),
        })
    }
}

/// A row without what holds on this machine and for this run only.
fn kept(row: Row) -> Row {
    Row { run: None, trained: 0, ..row }
}

/// Held against the paper's number, by the rule that holds it against the re-implementation.
fn judged(row: &Row) -> Option<Claim> {
    let paper = row.published.as_ref()?;
    let &Published { mean, plus_minus, .. } = paper;
    let ours = Summary {
        mean: row.test_accuracy_mean?,
        std: row.test_accuracy_std,
        ci95: row.test_accuracy_ci95,
        seeds: row.seeds,
        epoch_ms_median: row.epoch_ms_median?,
        diverged: row.diverged,
    };
    let evaluation = row.evaluation;
    let reference = Reimplementation { mean, std: plus_minus, seeds: PAPER_SEEDS, evaluation };
    let agrees = verdict::from_reimplementation(&ours, &reference)?.verdict();
    let here = format!("{:.2} ± {:.2}", ours.mean, ours.std.unwrap_or(0.0));
    Some(claim(&row.dataset, paper).judged(here, agrees == verdict::Verdict::Agrees))
}

fn claim(graph: &str, paper: &Published) -> Claim {
    let memory = if paper.confirmed { "" } else { " (from memory)" };
    Claim::of_paper(
        SYSTEM,
        format!("LON-GNN on {graph}, official evaluation, test % ± std (table 1)"),
        format!("{:.2} ± {:.2}{memory}", paper.mean, paper.plus_minus),
    )
}
