//! How well scores match classes: accuracy, or the area under the ROC curve for the graphs whose
//! authors use it because one class is rare (Platonov et al. 2023: Minesweeper, Tolokers).

use super::Labels;
use crate::{Error, Result};

/// What is measured on validation and test nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// The part of the nodes whose greatest score is their class's.
    #[default]
    Accuracy,
    /// The probability that a node of class 1 scores above one of class 0.
    RocAuc,
}

impl Metric {
    /// Its name in tables and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::RocAuc => "ROC-AUC",
        }
    }

    /// The measure, from 0 to 1, on some nodes. `scores` is `N x C`, row after row: logits, or
    /// anything that grows with them.
    ///
    /// # Errors
    /// If the scores aren't `N x C`, there are no nodes, or, for the ROC curve, there aren't two
    /// classes that both occur.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn measure(self, scores: &[f32], labels: &Labels, nodes: &[u32]) -> Result<f64> {
        match self {
            Metric::Accuracy => accuracy(scores, labels, nodes),
            Metric::RocAuc => {
                check_shape("ROC-AUC", scores, labels, nodes)?;
                if labels.n_classes() != 2 {
                    let problem = format!("wants 2 classes, not {}", labels.n_classes());
                    return Err(Error::Shape { operation: "ROC-AUC", problem });
                }
                // What the softmax gives class 1 grows with the difference of the two scores.
                let score = |&node: &u32| scores[2 * node as usize + 1] - scores[2 * node as usize];
                let scores: Vec<f32> = nodes.iter().map(score).collect();
                let positive: Vec<bool> =
                    nodes.iter().map(|&node| labels.class_of(node) == 1).collect();
                roc_auc(&scores, &positive)
            }
        }
    }
}

/// The part of `nodes` whose class has the greatest of the node's scores, the first of equals. A
/// score that is no number is never the greatest.
///
/// # Errors
/// If the scores aren't `N x C`, or there are no nodes.
///
/// # Panics
/// If there is no such node.
pub fn accuracy(scores: &[f32], labels: &Labels, nodes: &[u32]) -> Result<f64> {
    check_shape("accuracy", scores, labels, nodes)?;
    let n_classes = labels.n_classes();
    let is_right = |&&node: &&u32| {
        let row = &scores[node as usize * n_classes..][..n_classes];
        first_greatest(row) == Some(labels.class_of(node))
    };
    Ok(nodes.iter().filter(is_right).count() as f64 / nodes.len() as f64)
}

/// The area under the ROC curve: the probability that a positive scores above a negative, equal
/// scores counting half. By mid-ranks, as Mann and Whitney's U.
///
/// # Errors
/// If there isn't one flag a score, a score is no number, or either kind is missing.
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> Result<f64> {
    let wrong = |problem: String| Err(Error::Shape { operation: "ROC-AUC", problem });
    let n_positive = positive.iter().filter(|&&positive| positive).count();
    let n_negative = positive.len() - n_positive;
    if scores.len() != positive.len() {
        return wrong(format!("{} scores for {} nodes", scores.len(), positive.len()));
    }
    if n_positive == 0 || n_negative == 0 {
        return wrong(format!("{n_positive} positives and {n_negative} negatives; it wants both"));
    }
    if let Some(place) = scores.iter().position(|score| score.is_nan()) {
        return wrong(format!("score {place} is not a number"));
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut rank_sum, mut n_before) = (0.0, 0);
    for equals in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let mid_rank = n_before as f64 + (equals.len() + 1) as f64 / 2.0;
        rank_sum += mid_rank * equals.iter().filter(|&&idx| positive[idx]).count() as f64;
        n_before += equals.len();
    }
    let (n_positive, n_negative) = (n_positive as f64, n_negative as f64);
    Ok((rank_sum - n_positive * (n_positive + 1.0) / 2.0) / (n_positive * n_negative))
}

fn check_shape(
    operation: &'static str,
    scores: &[f32],
    labels: &Labels,
    nodes: &[u32],
) -> Result<()> {
    let (n_nodes, n_classes) = (labels.n_nodes(), labels.n_classes());
    let problem = if scores.len() != n_nodes * n_classes {
        format!("{} scores instead of {n_nodes} x {n_classes}", scores.len())
    } else if nodes.is_empty() {
        "no nodes to measure on".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Shape { operation, problem })
}

fn first_greatest(row: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (class, &score) in row.iter().enumerate() {
        if !score.is_nan() && best.is_none_or(|best| score > row[best]) {
            best = Some(class);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_equal_scores_wins() {
        let labels = Labels::new(vec![0, 1, 1, 0]).unwrap();
        let scores = [1.0, 1.0, 0.0, 2.0, 3.0, 3.0, f32::NAN, f32::NAN];
        assert_eq!(accuracy(&scores, &labels, &[0, 1, 2]).unwrap(), 2.0 / 3.0);
        assert_eq!(accuracy(&scores, &labels, &[3]).unwrap(), 0.0, "no number is no answer");
    }

    #[test]
    fn shapes_are_checked() {
        let labels = Labels::new(vec![0, 1, 2]).unwrap();
        let error = accuracy(&[0.0; 8], &labels, &[0]).unwrap_err().to_string();
        assert_eq!(error, "accuracy: 8 scores instead of 3 x 3");
        assert!(accuracy(&[0.0; 9], &labels, &[]).is_err());
        let error = Metric::RocAuc.measure(&[0.0; 9], &labels, &[0]).unwrap_err().to_string();
        assert_eq!(error, "ROC-AUC: wants 2 classes, not 3");
    }

    #[test]
    fn one_kind_alone_has_no_curve() {
        let error = roc_auc(&[0.1, 0.2], &[true, true]).unwrap_err().to_string();
        assert!(error.contains("2 positives and 0 negatives"), "{error}");
        assert!(roc_auc(&[f32::NAN, 0.2], &[true, false]).is_err());
        assert!(roc_auc(&[0.2], &[true, false]).is_err());
    }

    #[test]
    fn equal_scores_count_half() {
        assert_eq!(roc_auc(&[0.5, 0.5], &[true, false]).unwrap(), 0.5);
        assert_eq!(roc_auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]).unwrap(), 0.75);
        let labels = Labels::new(vec![0, 1]).unwrap();
        assert_eq!(Metric::RocAuc.measure(&[0.0, 1.0, 0.0, 2.0], &labels, &[0, 1]).unwrap(), 1.0);
    }

    proptest! {
        #[test]
        fn the_area_is_the_part_of_pairs_in_order(
            pairs in prop::collection::vec((-3_i8..3, any::<bool>()), 2..40),
        ) {
            let scores: Vec<f32> = pairs.iter().map(|&(score, _)| f32::from(score)).collect();
            let positive: Vec<bool> = pairs.iter().map(|&(_, positive)| positive).collect();
            let (mut n_pairs, mut in_order) = (0.0, 0.0);
            for (a, _) in scores.iter().zip(&positive).filter(|&(_, &positive)| positive) {
                for (b, _) in scores.iter().zip(&positive).filter(|&(_, &positive)| !positive) {
                    n_pairs += 1.0;
                    in_order += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                }
            }
            prop_assume!(n_pairs > 0.0);
            let area = roc_auc(&scores, &positive).unwrap();
            prop_assert!((area - in_order / n_pairs).abs() < 1e-12);
        }
    }
}
