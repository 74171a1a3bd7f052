//! The graphs that people ask for by name, and what a file can't say about them.

use crate::graph::Metric;

/// A graph that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSet {
    /// Its name in commands, tables and records.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// The id of its file among the registered assets.
    pub asset: &'static str,
    /// What its authors measure.
    pub metric: Metric,
}

const fn graph(
    name: &'static str,
    aliases: &'static [&'static str],
    asset: &'static str,
) -> DataSet {
    DataSet { name, aliases, asset, metric: Metric::Accuracy }
}

const fn with_rare_class(name: &'static str, asset: &'static str) -> DataSet {
    DataSet { name, aliases: &[], asset, metric: Metric::RocAuc }
}

/// All named graphs: the paper's in the order of its table, then the others.
pub static DATA_SETS: [DataSet; 14] = [
    graph("cora", &[], "cora"),
    graph("citeseer", &[], "citeseer"),
    graph("computers", &["amazon_computers"], "amazon-computers"),
    graph("photo", &["amazon_photo"], "amazon-photo"),
    graph("chameleon", &[], "chameleon"),
    graph("squirrel", &[], "squirrel"),
    graph("actor", &["film"], "actor"),
    graph("texas", &[], "texas"),
    graph("cornell", &[], "cornell"),
    graph("chameleon_filtered", &[], "chameleon-filtered"),
    with_rare_class("minesweeper", "minesweeper"),
    with_rare_class("tolokers", "tolokers"),
    graph("physics", &["coauthor_physics"], "coauthor-physics"),
    graph("pubmed_nofeat", &[], "pubmed-nofeat"),
];

/// The paper's graphs, in the order of its table; its tenth is PubMed, whose features are not here.
#[must_use]
pub fn of_the_paper() -> &'static [DataSet] {
    &DATA_SETS[..9]
}

/// The id of the images that filters are fitted to.
pub const IMAGES_ASSET: &str = "grid2d-images";

/// The graph of this name, whatever its case and whether its words are joined by `-` or `_`.
#[must_use]
pub fn find(name: &str) -> Option<&'static DataSet> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let is_meant = |set: &&DataSet| set.name == name || set.aliases.contains(&name.as_str());
    DATA_SETS.iter().find(is_meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::assets::{self, Kind};
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_every_file_is_registered() {
        let mut seen = HashSet::new();
        for set in &DATA_SETS {
            let asset = assets::find(set.asset).unwrap();
            assert_eq!(asset.kind, Kind::Graph);
            for name in set.aliases.iter().chain([&set.name]) {
                assert!(seen.insert(*name), "{name} twice");
                assert_eq!(find(name), Some(set));
            }
            // A graph read by its file's name is known by it, too.
            let stem = asset.path.strip_prefix("graphs/").unwrap().strip_suffix(".npz").unwrap();
            assert_eq!(find(stem), Some(set));
        }
        assert!(assets::find(IMAGES_ASSET).is_some());
    }

    #[test]
    fn spelling_is_forgiven() {
        assert_eq!(find("Chameleon-Filtered").unwrap().name, "chameleon_filtered");
        assert_eq!(find("Amazon_Computers").unwrap().name, "computers");
        assert_eq!(find("ogbn-arxiv"), None);
    }
}
