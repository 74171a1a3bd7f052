//! The random splits that spectral GNNs are compared on: 60/20/20, balanced over classes (Chien et
//! al., "Adaptive Universal Generalized PageRank Graph Neural Network", 2021, whose "dense" split
//! LON-GNN, JacobiConv and BernNet use).
//!
//! Every class gives the same number of nodes to training. One that has fewer gives all it has and
//! never appears in a test: on Cora training has 57 % of the nodes, on Texas 46 %.

use crate::graph::{Labels, Split};
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

const TRAIN_PART: f64 = 0.6;
const VALIDATION_PART: f64 = 0.2;

/// Of every class `round(0.6 N / C)` random nodes are for training; of all others `round(0.2 N)`
/// for validation and the rest for the test. The same seed gives the same split.
///
/// # Errors
/// If nothing is left for validation or test, or a class has no node at all.
pub fn class_balanced(labels: &Labels, seed: u64) -> Result<Split> {
    let n_nodes = labels.n_nodes() as f64;
    // As Python rounds: halves to even.
    let n_train = (TRAIN_PART * n_nodes / labels.n_classes() as f64).round_ties_even() as usize;
    let n_validation = (VALIDATION_PART * n_nodes).round_ties_even() as usize;

    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut train, mut rest) = (Vec::new(), Vec::new());
    for (class, mut nodes) in labels.nodes_by_class().into_iter().enumerate() {
        if nodes.is_empty() {
            let problem = format!("class {} has no node to train on", labels.name_of(class));
            return Err(Error::Split { problem });
        }
        nodes.shuffle(&mut rng);
        let (first, others) = nodes.split_at(n_train.min(nodes.len()));
        train.extend(first);
        rest.extend(others);
    }
    rest.shuffle(&mut rng);
    let test = rest.split_off(n_validation.min(rest.len()));
    Split::new(labels.n_nodes(), train, rest, test)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{catalogue, npz};
    use common::testing::shared_data;
    use proptest::prelude::*;

    fn sizes(split: &Split) -> [usize; 3] {
        [split.train().len(), split.validation().len(), split.test().len()]
    }

    /// The sizes that the official code's splits have.
    #[test]
    fn the_sizes_of_the_papers() {
        for (name, expected) in [
            ("cora", [1557, 542, 609]),
            ("citeseer", [1929, 665, 733]),
            ("chameleon", [1365, 455, 457]),
            ("texas", [85, 37, 61]),
            ("cornell", [99, 37, 47]),
            ("actor", [4501, 1520, 1579]),
            ("squirrel", [3120, 1040, 1041]),
            ("amazon_computers", [6182, 2750, 4820]),
            ("amazon_photo", [4144, 1530, 1976]),
        ] {
            let Some(path) = shared_data(&format!("graphs/{name}.npz")) else { return };
            let graph = npz::read(&path).unwrap();
            assert_eq!(catalogue::find(name).unwrap().name, graph.name());
            let split = class_balanced(graph.labels(), 0).unwrap();
            assert_eq!(sizes(&split), expected, "{name}");
            split.check_classes(graph.labels()).unwrap();
        }
    }

    #[test]
    fn the_seed_decides() {
        let labels = Labels::new((0..100).map(|node| node % 4).collect()).unwrap();
        let split = |seed| class_balanced(&labels, seed).unwrap();
        assert_eq!(split(3), split(3));
        assert_ne!(split(3), split(4));
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let refused = |classes: Vec<u16>, expected: &str| {
            let error = class_balanced(&Labels::new(classes).unwrap(), 0).unwrap_err().to_string();
            assert_eq!(error, format!("split: {expected}"));
        };
        refused(vec![0, 2, 0, 2, 0, 0], "class 1 has no node to train on");
        refused(vec![0, 1], "no node is for validation");
    }

    proptest! {
        #[test]
        fn every_node_has_one_part_and_classes_are_balanced(
            classes in prop::collection::vec(0_u16..3, 30..200), seed in any::<u64>(),
        ) {
            let labels = Labels::new(classes).unwrap();
            let Ok(split) = class_balanced(&labels, seed) else { return Ok(()) };
            prop_assert_eq!(sizes(&split).iter().sum::<usize>(), labels.n_nodes());
            let share = 0.6 * labels.n_nodes() as f64 / labels.n_classes() as f64;
            for (class, nodes) in labels.nodes_by_class().into_iter().enumerate() {
                let of_class = |&&node: &&u32| labels.class_of(node) == class;
                let n_train = split.train().iter().filter(of_class).count();
                prop_assert_eq!(n_train, nodes.len().min(share.round_ties_even() as usize));
            }
        }
    }
}
