//! A training as a file: what was trained, how, what came out, and the learned filters over the
//! graph's spectrum.

use super::Summary;
use crate::basis::Matrix;
use crate::filter::{Propagator, density_curve};
use crate::graph::Graph;
use crate::model::{Architecture, Problem, Settings};
use crate::plot::FilterPlot;
use crate::train::{LearnedFilter, Outcome, Protocol};
use crate::{Error, Result};
use common::files;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::Path;

/// A training with its settings and results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The graph's name.
    pub graph: String,
    /// What is measured, 0 to 1 in outcomes.
    pub metric: String,
    /// The model.
    pub model: Architecture,
    /// Its settings.
    pub settings: Settings,
    /// When it stopped and how it was evaluated.
    pub protocol: Protocol,
    /// The classes' names, in the order of the filters' channels.
    pub classes: Vec<String>,
    /// One a seed.
    pub outcomes: Vec<Outcome>,
    /// The graph's spectral density, `(λ, ρ)`, so that filters can be drawn without the graph; empty
    /// where nobody measured it.
    #[serde(default)]
    pub density: Vec<(f64, f64)>,
}

impl RunRecord {
    /// Points of the density.
    const N_DENSITY_POINTS: usize = 121;

    /// Of a training's outcomes.
    ///
    /// # Errors
    /// If there are none.
    pub fn new(
        problem: &Problem,
        model: Architecture,
        settings: Settings,
        protocol: Protocol,
        outcomes: Vec<Outcome>,
    ) -> Result<Self> {
        if outcomes.is_empty() {
            let problem = "at least one is needed".to_owned();
            return Err(Error::Setting { setting: "seeds".into(), problem });
        }
        let labels = problem.graph().labels();
        Ok(Self {
            graph: problem.graph().name().to_owned(),
            metric: problem.graph().metric().name().to_owned(),
            model,
            settings,
            protocol,
            classes: (0..labels.n_classes()).map(|class| labels.name_of(class)).collect(),
            outcomes,
            density: Vec::new(),
        })
    }

    /// Adds the spectral density of the graph, from a few dozen sparse products.
    #[must_use]
    pub fn with_density_of(self, graph: &Graph) -> Self {
        let propagator = Propagator::new(graph.adjacency());
        Self { density: density_curve(&propagator, Self::N_DENSITY_POINTS), ..self }
    }

    /// Mean and spread over the seeds.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(&self.outcomes)
    }

    /// The learned filters over the graph's density: those of a seed, or their mean over all seeds.
    ///
    /// # Errors
    /// If there is no such seed, the model learns no filter over the classes, or the numbers that a
    /// file brought can't be drawn.
    pub fn filter_plot(&self, seed: Option<u64>) -> Result<FilterPlot> {
        let fault = |setting: &str, problem: String| {
            Err(Error::Setting { setting: setting.into(), problem })
        };
        let chosen: Vec<&Outcome> =
            self.outcomes.iter().filter(|o| seed.is_none_or(|seed| o.seed == seed)).collect();
        if let (Some(seed), []) = (seed, &chosen[..]) {
            let seeds: Vec<_> = self.outcomes.iter().map(|o| o.seed.to_string()).collect();
            return fault("seed", format!("{seed} is none of the run's: {}", seeds.join(", ")));
        }
        let filters: Vec<&LearnedFilter> =
            chosen.iter().filter_map(|o| o.filter.as_ref()).collect();
        if filters.is_empty() {
            let model = self.model.title();
            return fault("model", format!("{model} has no filter of each class to draw"));
        }
        let Some(mean) = mean(&filters) else {
            return fault("filters", "they differ in shape from seed to seed".into());
        };
        let which = match seed {
            Some(seed) => format!("seed {seed}"),
            None => format!("mean over {} seeds", filters.len()),
        };
        let title = format!("{}, {}, {which}", self.graph, self.model.title());
        let plot = FilterPlot::new(title, &mean, &self.classes, self.density.clone());
        plot.check()?;
        Ok(plot)
    }

    /// Writes the record, at once.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("records are plain data");
        files::replace(path, |file| file.write_all(text.as_bytes())).map_err(Error::io(path))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If it can't be read or isn't one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        serde_json::from_str(&text).map_err(|error| Error::File {
            path: path.into(),
            part: "run".into(),
            problem: error.to_string(),
        })
    }
}

/// The mean filter of each class, `(K+1) × C`; `None` if the filters have different shapes.
fn mean(filters: &[&LearnedFilter]) -> Option<Matrix> {
    let n_channels = filters[0].chebyshev.len();
    let n_coefficients = filters[0].chebyshev.first()?.len();
    let alike = |filter: &&LearnedFilter| {
        filter.chebyshev.len() == n_channels
            && filter.chebyshev.iter().all(|channel| channel.len() == n_coefficients)
    };
    filters.iter().all(alike).then(|| {
        Matrix::from_fn(n_coefficients, n_channels, |j, channel| {
            let sum: f64 = filters.iter().map(|filter| filter.chebyshev[channel][j]).sum();
            sum / filters.len() as f64
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::csbm::Csbm;
    use crate::train::{Job, Silent, train};

    fn record(model: Architecture) -> RunRecord {
        let csbm: Csbm = "csbm:n=60,f=4".parse().unwrap();
        let problem = Problem::new(csbm.generate().unwrap()).unwrap();
        let (settings, protocol) =
            (Settings::default(), Protocol { max_epochs: 3, ..Protocol::default() });
        let jobs = Job::seeds(&problem, &settings, &protocol, 0..2).unwrap();
        let outcomes = train(&problem, model, jobs, &protocol, None, &mut Silent).unwrap();
        RunRecord::new(&problem, model, settings, protocol, outcomes)
            .unwrap()
            .with_density_of(problem.graph())
    }

    #[test]
    fn what_was_learned_is_drawn_from_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let record = record(Architecture::Lon);
        record.write(&path).unwrap();
        let read = RunRecord::read(&path).unwrap();
        let plots = [Some(0), Some(1), None].map(|seed| read.filter_plot(seed).unwrap());
        assert!(plots[0].title.ends_with("LON-GNN, seed 0"), "{}", plots[0].title);
        assert!(plots[2].title.ends_with("LON-GNN, mean over 2 seeds"), "{}", plots[2].title);
        assert_eq!(plots[0].density.len(), RunRecord::N_DENSITY_POINTS);
        let labels: Vec<_> = plots[0].channels.iter().map(|c| c.label.clone()).collect();
        assert_eq!(labels, record.classes);
        let coefficient = |plot: &FilterPlot| plot.channels[1].coefficients[2];
        let middle = f64::midpoint(coefficient(&plots[0]), coefficient(&plots[1]));
        assert!((coefficient(&plots[2]) - middle).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_drawn_is_named() {
        let mut record = record(Architecture::Lon);
        let error = |record: &RunRecord, seed| record.filter_plot(seed).unwrap_err().to_string();
        assert_eq!(error(&record, Some(7)), "seed: 7 is none of the run's: 0, 1");
        record.density[4].0 = 3.0;
        assert!(error(&record, None).contains("no point of a density"));
        record.outcomes[1].filter.as_mut().unwrap().chebyshev.pop();
        assert!(error(&record, None).starts_with("filters: they differ"));
        record.outcomes.iter_mut().for_each(|outcome| outcome.filter = None);
        assert!(error(&record, None).starts_with("model: LON-GNN has no filter"));
    }
}
