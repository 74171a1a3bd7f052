//! `longnn datasets`

use super::source::{Source, asset_of};
use crate::data::catalogue::{DATA_SETS, IMAGES_ASSET};
use crate::data::{csbm::Csbm, images};
use crate::graph::Graph;
use clap::Args;
use common::assets::Store;
use common::command::{print, print_json, store};
use common::report::{Align, Table};
use serde::Serialize;
use std::path::PathBuf;

/// Show the known graphs, or those that you name: counts, homophily, splits, where they are
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longnn datasets
  longnn datasets texas my-graph/ csbm:phi=-0.5 --json")]
pub struct Datasets {
    /// Names, .npz files or folders; all known graphs without any
    #[arg(value_name = "GRAPH")]
    graphs: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    #[serde(flatten)]
    facts: Option<Facts>,
    licence: Option<&'static str>,
    path: Option<PathBuf>,
    /// Why there are no facts, and what to do about it.
    problem: Option<String>,
}

/// What a graph is like. A part that it lacks is `None`.
#[derive(Debug, Serialize)]
struct Facts {
    nodes: usize,
    edges: usize,
    self_loops: usize,
    isolated_nodes: usize,
    features: Option<usize>,
    density: Option<f64>,
    classes: Option<usize>,
    edge_homophily: Option<f64>,
    public_split: bool,
    fixed_splits: usize,
    metric: Option<&'static str>,
}

impl Datasets {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let store = store(None);
        let rows = match self.graphs.is_empty() {
            true => all(&store),
            false => self.named(&store)?,
        };
        match self.json {
            true => print_json(&serde_json::json!({ "datasets": rows })),
            false => print(&text(&rows)),
        }
    }

    /// The graphs that the user names: here a graph that can't be read is an error.
    fn named(&self, store: &Store) -> anyhow::Result<Vec<Row>> {
        let row = |spec: &String| {
            let source = Source::parse(spec)?;
            let graph = source.open(store)?;
            let row = Row { facts: Some(Facts::of(&graph)), ..Row::of(&source, store) };
            Ok(Row { name: graph.name().to_owned(), problem: None, ..row })
        };
        self.graphs.iter().map(row).collect()
    }
}

/// Every known graph: one that isn't here has a line that says how to get it.
fn all(store: &Store) -> Vec<Row> {
    let known = DATA_SETS.iter().map(Source::Known).chain([Source::Csbm(Csbm::default())]);
    let row = |source: Source| {
        let row = Row::of(&source, store);
        if row.problem.is_some() {
            return row;
        }
        match source.open(store) {
            Ok(graph) => Row { facts: Some(Facts::of(&graph)), ..row },
            Err(error) => Row { problem: Some(format!("{error:#}")), ..row },
        }
    };
    known.map(row).chain([images_row(store)]).collect()
}

impl Row {
    fn of(source: &Source, store: &Store) -> Self {
        match source {
            Source::Known(set) => Self::registered(set.name, set.asset, store),
            Source::Csbm(csbm) => Self::new(csbm.to_string()),
            Source::Path(path) => {
                Self { path: Some(path.clone()), ..Self::new(path.display().to_string()) }
            }
        }
    }

    fn new(name: String) -> Self {
        Self { name, facts: None, licence: None, path: None, problem: None }
    }

    fn registered(name: &str, asset: &str, store: &Store) -> Self {
        let asset = asset_of(asset);
        let row = Self { licence: Some(asset.licence), ..Self::new(name.to_owned()) };
        match store.locate(asset) {
            Ok(Some(path)) => Self { path: Some(path), ..row },
            Ok(None) => Self { problem: Some(format!("not here: {}", asset.how_to_get())), ..row },
            Err(error) => Self { problem: Some(error.to_string()), ..row },
        }
    }
}

fn images_row(store: &Store) -> Row {
    let row = Row::registered("grid2d_images", IMAGES_ASSET, store);
    match row.path.as_deref().map(images::read) {
        None => row,
        Some(Ok(images)) => Row { facts: Some(Facts::of_images(&images)), ..row },
        Some(Err(error)) => Row { problem: Some(error.to_string()), ..row },
    }
}

impl Facts {
    fn of(graph: &Graph) -> Self {
        let (adjacency, features) = (graph.adjacency(), graph.features().ok());
        Self {
            nodes: graph.n_nodes(),
            edges: adjacency.n_edges(),
            self_loops: adjacency.n_self_loops(),
            isolated_nodes: adjacency.n_isolated(),
            features: features.map(|features| features.n_features()),
            density: features.map(|features| features.density()),
            classes: Some(graph.n_classes()),
            edge_homophily: graph.edge_homophily(),
            public_split: graph.public_split().is_some(),
            fixed_splits: graph.fixed_splits().len(),
            metric: Some(graph.metric().name()),
        }
    }

    fn of_images(images: &images::GridImages) -> Self {
        Self {
            nodes: images.adjacency.n_nodes(),
            edges: images.adjacency.n_edges(),
            self_loops: images.adjacency.n_self_loops(),
            isolated_nodes: images.adjacency.n_isolated(),
            features: Some(images.signals.n_features()),
            density: None,
            classes: None,
            edge_homophily: None,
            public_split: false,
            fixed_splits: 0,
            metric: None,
        }
    }

    fn cells(&self) -> [String; 9] {
        let count = |count: Option<usize>| count.map_or("-".to_owned(), |count| count.to_string());
        let splits = match (self.public_split, self.fixed_splits) {
            (true, _) => "public".to_owned(),
            (false, 0) => "-".to_owned(),
            (false, n_splits) => n_splits.to_string(),
        };
        [
            self.nodes.to_string(),
            self.edges.to_string(),
            count(self.features),
            self.density.map_or("-".to_owned(), |density| format!("{:.2} %", 100.0 * density)),
            count(self.classes),
            self.edge_homophily.map_or("-".to_owned(), |homophily| format!("{homophily:.3}")),
            self.isolated_nodes.to_string(),
            splits,
            self.metric.unwrap_or("-").to_owned(),
        ]
    }
}

/// Two tables, for one would be too wide: what the graphs are like, and where they are from.
fn text(rows: &[Row]) -> String {
    const COLUMNS: [&str; 8] =
        ["nodes", "edges", "features", "density", "classes", "homophily", "isolated", "splits"];
    let mut columns = vec![("graph", Align::Left)];
    columns.extend(COLUMNS.map(|name| (name, Align::Right)));
    columns.push(("metric", Align::Left));
    let mut counts = Table::new(&columns);
    let left = |name| (name, Align::Left);
    let mut places = Table::new(&[left("graph"), left("licence"), left("where")]);
    for row in rows {
        let cells = row.facts.as_ref().map_or(["-"; 9].map(str::to_owned), Facts::cells);
        counts.row([row.name.clone()].into_iter().chain(cells));
        let place = match (&row.problem, &row.path) {
            (Some(problem), _) => problem.clone(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => "made up".to_owned(),
        };
        places.row([row.name.clone(), row.licence.unwrap_or("-").to_owned(), place]);
    }
    format!("{}\n{}", counts.to_text(), places.to_text())
}
