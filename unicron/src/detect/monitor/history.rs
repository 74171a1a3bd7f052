//! The latest times of one kind of step: where they lie, and how widely.

use common::statistics::{median, quantile};
use std::collections::VecDeque;

/// The standard deviation of a normal sample over its median absolute deviation.
const DEVIATION_PER_MAD: f64 = 1.4826;

/// The part of a normal sample's values below its 95 % quantile, and how many standard deviations that lies
/// above its median.
const UPPER: (f64, f64) = (0.95, 1.645);

/// The standard error of a median over that of a mean, of a large normal sample: √(π/2).
const ERROR_OF_MEDIAN: f64 = 1.2533;

/// Logarithms of seconds per cost.
#[derive(Debug, Clone)]
pub(super) struct History {
    window: usize,
    values: VecDeque<f64>,
    /// What was usual before it had to be learned anew.
    before: Option<f64>,
    /// Steps in a row that stalled and aren't among the values.
    pub n_stalled: usize,
}

/// How far the recent steps lie from those before them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    /// Difference of the medians of the logarithms.
    pub by: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl History {
    pub fn new(window: usize) -> Self {
        Self { window, values: VecDeque::new(), before: None, n_stalled: 0 }
    }

    pub fn push(&mut self, value: f64) {
        if self.values.len() == self.window {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    pub fn clear(&mut self) {
        self.values.clear();
        self.n_stalled = 0;
    }

    /// Forgets the steps, but not where they lay.
    pub fn relearn(&mut self) {
        self.before = self.usual();
        self.clear();
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The median, or where it lay before it had to be learned anew; `None` before the first step.
    pub fn usual(&self) -> Option<f64> {
        median(&self.copy(0..self.len())).or(self.before)
    }

    /// The standard deviation as the median absolute deviation gives it, or the upper tail where that is
    /// heavier: times have long tails, of which the middle says nothing. 0 before the first step.
    pub fn deviation(&self) -> f64 {
        let values = self.copy(0..self.len());
        let (Some(middle), Some(upper)) = (median(&values), quantile(&values, UPPER.0)) else {
            return 0.0;
        };
        deviation(&values).max((upper - middle) / UPPER.1)
    }

    /// The recent steps against those before; `None` where either are missing.
    pub fn shift(&self, n_recent: usize) -> Option<Shift> {
        let n_before = self.len().checked_sub(n_recent)?;
        let (before, recent) = (self.copy(0..n_before), self.copy(n_before..self.len()));
        let by = median(&recent)? - median(&before)?;
        let n_effective = 1.0 / n_before as f64 + 1.0 / n_recent as f64;
        let standard_error = ERROR_OF_MEDIAN * deviation(&before) * n_effective.sqrt();
        Some(Shift { by, standard_error })
    }

    fn copy(&self, range: std::ops::Range<usize>) -> Vec<f64> {
        self.values.range(range).copied().collect()
    }
}

fn deviation(values: &[f64]) -> f64 {
    let Some(middle) = median(values) else { return 0.0 };
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    DEVIATION_PER_MAD * median(&distances).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_move_neither_place_nor_width() {
        let mut history = History::new(100);
        (0..99).for_each(|i| history.push(f64::from(i % 9)));
        let (usual, deviation) = (history.usual(), history.deviation());
        assert_eq!(usual, Some(4.0));
        assert!((deviation - 2.0 * DEVIATION_PER_MAD).abs() < 1e-12, "{deviation}");
        history.push(1e6);
        assert_eq!((history.usual(), history.deviation()), (usual, deviation));
    }

    #[test]
    fn a_heavy_tail_is_wider_than_its_middle() {
        let mut history = History::new(100);
        (0..100).for_each(|i| history.push(if i % 10 == 0 { 20.0 } else { f64::from(i % 3) }));
        assert_eq!(history.usual(), Some(1.0));
        assert!((history.deviation() - 19.0 / 1.645).abs() < 1e-12, "{}", history.deviation());
    }

    #[test]
    fn the_window_forgets() {
        let mut history = History::new(3);
        [9.0, 1.0, 1.0, 1.0].iter().for_each(|&value| history.push(value));
        assert_eq!((history.len(), history.deviation()), (3, 0.0));
    }
}
