//! How good a score is, and whether it says anything.

use serde::{Deserialize, Serialize};

/// The mean of scores between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The mean.
    pub mean: f64,
    /// The standard error of the mean.
    pub standard_error: f64,
    /// What guessing would give.
    pub chance: f64,
    /// How many scores.
    pub n: usize,
}

impl Score {
    /// Of scores, and what each would be by chance.
    pub fn of(scores: &[f64], chances: &[f64]) -> Score {
        let n = scores.len();
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
        let average = mean(scores);
        let squares: f64 = scores.iter().map(|score| (score - average).powi(2)).sum();
        let variance = squares / n.saturating_sub(1).max(1) as f64;
        // All right or all wrong says less than that nothing could be otherwise: as if one more were not.
        let least = 1.0 / (n as f64 + 1.0).powi(2);
        let standard_error = (variance / n.max(1) as f64).max(least).sqrt();
        Score { mean: average, standard_error, chance: mean(chances), n }
    }

    /// Of answers that are right or wrong, and that nobody guesses.
    pub fn of_right(right: &[bool]) -> Score {
        let scores: Vec<f64> = right.iter().map(|&is_right| f64::from(is_right)).collect();
        Score::of(&scores, &vec![0.0; scores.len()])
    }

    /// Whether it is more than two standard errors from chance: below, a model has no skill that a cache could
    /// cost.
    pub fn has_signal(&self) -> bool {
        (self.mean - self.chance).abs() > 2.0 * self.standard_error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_chance_is_no_signal() {
        let quarter = [1.0, 0.0, 0.0, 0.0].repeat(25);
        assert!(!Score::of(&quarter, &[0.25; 100]).has_signal());
        assert!(Score::of(&quarter, &[0.1; 100]).has_signal());
        let none = Score::of(&[0.0; 100], &[0.0; 100]);
        assert!(!none.has_signal() && none.mean == 0.0, "{none:?}");
        assert!(Score::of(&[1.0; 20], &[0.25; 20]).has_signal());
    }
}
