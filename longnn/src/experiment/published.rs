//! The accuracies that others published, with what their ± means and how sure the numbers are.
//!
//! A reproduction is judged by what it is held against, so the tables of the literature (sections 1.8
//! and 2 of the notes) are data: `published.toml`, one table a source. Beside them stands LON-GNN by
//! an independent re-implementation, the only reference that tells the official evaluation, whose
//! hidden dropout stays on, from a clean one.

use crate::model::Architecture;
use crate::train::Evaluation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A published accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Mean, in percent.
    pub mean: f64,
    /// What the source prints behind ±, in percent.
    pub plus_minus: f64,
    /// What that is.
    pub meaning: PlusMinus,
    /// The paper.
    pub source: String,
    /// Whether the number was read from the paper's table or a copy of it; otherwise it is from
    /// memory.
    pub confirmed: bool,
}

/// What a source's ± is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlusMinus {
    /// The standard deviation over seeds.
    Std,
    /// Half of a 95 % interval of the mean.
    Ci95,
}

/// LON-GNN's accuracy by an independent re-implementation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reimplementation {
    /// Mean, in percent.
    pub mean: f64,
    /// Standard deviation over seeds, in percent.
    pub std: f64,
    /// Number of seeds.
    pub seeds: usize,
    /// How it was evaluated.
    pub evaluation: Evaluation,
}

/// What was published of a model on a data set: a confirmed number if there is one.
#[must_use]
pub fn published(dataset: &str, model: Architecture) -> Option<Published> {
    let found = |table: &'static Table| {
        let &(mean, plus_minus) = table.accuracy.get(model.name())?.get(dataset)?;
        let Table { plus_minus: meaning, ref source, confirmed, .. } = *table;
        Some(Published { mean, plus_minus, meaning, source: source.clone(), confirmed })
    };
    // The first of equals wins; false sorts before true.
    TABLES.table.iter().filter_map(found).min_by_key(|published| !published.confirmed)
}

/// What the independent re-implementation of LON-GNN has on a data set.
#[must_use]
pub fn reimplementation(dataset: &str, evaluation: Evaluation) -> Option<Reimplementation> {
    let column = match evaluation {
        Evaluation::Clean => &TABLES.reimplementation.clean,
        Evaluation::Official => &TABLES.reimplementation.official,
    };
    let &(mean, std) = column.get(dataset)?;
    Some(Reimplementation { mean, std, seeds: TABLES.reimplementation.seeds, evaluation })
}

/// Mean and ± of each data set.
type Column = BTreeMap<String, (f64, f64)>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    table: Vec<Table>,
    reimplementation: Columns,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    source: String,
    plus_minus: PlusMinus,
    confirmed: bool,
    accuracy: BTreeMap<String, Column>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    seeds: usize,
    official: Column,
    clean: Column,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    toml::from_str(include_str!("published.toml")).expect("a test parses the tables")
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::catalogue;

    const NINE: [&str; 9] = [
        "cora",
        "citeseer",
        "computers",
        "photo",
        "chameleon",
        "squirrel",
        "actor",
        "texas",
        "cornell",
    ];

    #[test]
    fn every_name_is_a_model_on_a_known_graph_and_every_number_an_accuracy() {
        let columns = TABLES.table.iter().flat_map(|table| &table.accuracy);
        for (model, column) in columns {
            assert!(model.parse::<Architecture>().is_ok(), "{model}");
            for (dataset, &(mean, plus_minus)) in column {
                assert!(dataset == "pubmed" || catalogue::find(dataset).is_some(), "{dataset}");
                assert!((30.0..95.5).contains(&mean), "{model} {dataset} {mean}");
                assert!((0.1..5.0).contains(&plus_minus), "{model} {dataset} {plus_minus}");
            }
        }
    }

    #[test]
    fn the_tables_are_covered() {
        let covered = |model| NINE.iter().filter(|name| published(name, model).is_some()).count();
        let expected = [
            (Architecture::Lon, 9),
            (Architecture::JacobiPublished, 9),
            (Architecture::Jacobi, 0),
            (Architecture::ChebNetII, 7),
            (Architecture::BernNet, 9),
            (Architecture::GprGnn, 9),
            (Architecture::Appnp, 9),
            (Architecture::ChebNet, 9),
            (Architecture::Gcn, 9),
            (Architecture::Mlp, 9),
            (Architecture::FavardGnn, 4),
            (Architecture::OptBasisGnn, 4),
        ];
        assert_eq!(expected.map(|(model, _)| covered(model)), expected.map(|(_, n)| n));
        for name in NINE {
            for evaluation in [Evaluation::Clean, Evaluation::Official] {
                assert!(reimplementation(name, evaluation).is_some(), "{name}");
            }
        }
        assert_eq!(published("chameleon_filtered", Architecture::Lon), None);
        assert_eq!(reimplementation("chameleon_filtered", Evaluation::Clean), None);
    }

    #[test]
    fn a_confirmed_number_goes_before_one_from_memory_and_the_first_before_the_second() {
        let mlp = published("chameleon", Architecture::Mlp).unwrap();
        assert_eq!((mlp.mean, mlp.confirmed), (46.59, true));
        let gcn = published("chameleon", Architecture::Gcn).unwrap();
        assert_eq!((gcn.mean, gcn.meaning), (59.61, PlusMinus::Ci95));
        let lon = published("texas", Architecture::Lon).unwrap();
        assert_eq!((lon.mean, lon.meaning, lon.confirmed), (87.54, PlusMinus::Std, false));
        let cornell = reimplementation("cornell", Evaluation::Official).unwrap();
        assert_eq!((cornell.mean, cornell.std, cornell.seeds), (83.19, 5.58, 10));
    }
}
