//! The constants of Oobleck, Varuna and Bamboo that Oobleck's authors measured for their simulator
//! (SOSP'23 artifact, branch `sosp23-artifact`, `tools/simulator`; field notes 1.2).
//!
//! The only table of these three that a machine can read. It comes from the authors of one of them.

use super::costs::state_bytes;
use crate::simulate::rival::Job;

/// Nodes of one GPU for which the samples/s were measured.
pub(super) const NODES: [usize; 4] = [30, 25, 20, 16];

/// What was measured of a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Its name in the artifact.
    pub model: &'static str,
    /// Its parameters as its name says, in 10⁹; `None` where it doesn't.
    pub billions: Option<f64>,
    /// Samples of an iteration.
    pub batch: usize,
    /// Seconds to reconfigure (Oobleck), to restart with a checkpoint (Varuna), to rebalance (Bamboo).
    pub oobleck_s: f64,
    /// See `oobleck_s`.
    pub varuna_s: f64,
    /// See `oobleck_s`.
    pub bamboo_s: f64,
    /// Seconds for which a checkpoint of Varuna stops training.
    pub varuna_checkpoint_s: f64,
    /// Samples/s on [`NODES`].
    pub oobleck: [f64; 4],
    /// Samples/s on [`NODES`].
    pub varuna: [f64; 4],
    /// Samples/s on [`NODES`]; `None` where it ran out of memory.
    pub bamboo: Option<[f64; 4]>,
}

/// Smallest first.
pub(super) const ROWS: [Row; 5] = [
    Row {
        model: "BERT-large",
        billions: None,
        batch: 8192,
        oobleck_s: 2.0,
        varuna_s: 76.0,
        bamboo_s: 76.0,
        varuna_checkpoint_s: 15.8,
        oobleck: [368.0, 307.0, 262.0, 215.0],
        varuna: [343.0, 298.0, 244.0, 203.0],
        bamboo: Some([119.0, 99.4, 74.5, 49.7]),
    },
    Row {
        model: "GPT-2",
        billions: None,
        batch: 1024,
        oobleck_s: 2.0,
        varuna_s: 83.0,
        bamboo_s: 80.0,
        varuna_checkpoint_s: 11.5,
        oobleck: [110.0, 91.0, 76.7, 62.7],
        varuna: [125.8, 102.1, 88.3, 70.5],
        bamboo: Some([27.0, 22.5, 16.9, 11.3]),
    },
    Row {
        model: "GPT-3-medium",
        billions: Some(0.35),
        batch: 819,
        oobleck_s: 3.0,
        varuna_s: 78.7,
        bamboo_s: 100.0,
        varuna_checkpoint_s: 11.2,
        oobleck: [38.5, 31.7, 25.7, 20.9],
        varuna: [42.0, 33.4, 28.2, 22.9],
        bamboo: None,
    },
    Row {
        model: "GPT-3-2.7b",
        billions: Some(2.7),
        batch: 512,
        oobleck_s: 6.0,
        varuna_s: 515.0,
        bamboo_s: 230.0,
        varuna_checkpoint_s: 50.0,
        oobleck: [9.21, 7.63, 6.80, 5.63],
        varuna: [9.77, 9.10, 7.47, 6.42],
        bamboo: None,
    },
    Row {
        model: "GPT-3-6.7b",
        billions: Some(6.7),
        batch: 1024,
        oobleck_s: 10.0,
        varuna_s: 701.0,
        bamboo_s: 450.0,
        varuna_checkpoint_s: 120.0,
        oobleck: [5.51, 4.81, 4.15, 3.53],
        varuna: [5.24, 5.10, 4.50, 3.95],
        bamboo: None,
    },
];

/// Until a node that is asked for can take part, in all three simulators.
pub(super) const NODE_CREATION_S: f64 = 45.0;

/// Seconds of a column for a job's model: between two rows by parameters, outside of them as the nearest
/// row. A model of unknown size counts as the largest.
pub(super) fn seconds(job: &Job, column: impl Fn(&Row) -> f64) -> f64 {
    let rows = ROWS.iter().filter_map(|row| Some((row.billions?, column(row))));
    let rows: Vec<(f64, f64)> = rows.collect();
    let size = job.model.as_ref().map_or(f64::INFINITY, |model| model.parameters() / 1e9);
    let Some(above) = rows.iter().position(|row| row.0 >= size) else {
        return rows.last().map_or(0.0, |row| row.1);
    };
    if above == 0 {
        return rows[0].1;
    }
    let ((small, few), (large, many)) = (rows[above - 1], rows[above]);
    few + (many - few) * (size - small) / (large - small)
}

/// Bytes of state that a job's model has beyond that of the largest row: nobody has measured how long
/// they take, so they move at the speed of the job's own links.
pub(super) fn bytes_beyond(job: &Job) -> f64 {
    let largest = ROWS.iter().filter_map(|row| row.billions).fold(0.0, f64::max) * 1e9;
    match (&job.model, state_bytes(job)) {
        (Some(model), Some(bytes)) => bytes * (1.0 - largest / model.parameters()).max(0.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::job;
    use super::*;

    #[test]
    fn rows_are_met_and_the_rest_lies_between() {
        let of = |model, column: fn(&Row) -> f64| seconds(&job(model), column);
        let near = |value: f64, expected: f64| {
            // The preset has 6.66e9 parameters, a hundredth of the way to 2.7B.
            assert!((value / expected - 1.0).abs() < 6e-3, "{value}");
        };
        near(of("gpt3-7b", |row| row.oobleck_s), 10.0);
        near(of("gpt3-7b", |row| row.varuna_s), 701.0);
        near(of("gpt3-7b", |row| row.bamboo_s), 450.0);
        // 1.316e9 parameters: 41 % of the way from 350M to 2.7B.
        let billions = job("gpt3-1.3b").model.unwrap().parameters() / 1e9;
        let share = (billions - 0.35) / (2.7 - 0.35);
        near(of("gpt3-1.3b", |row| row.varuna_s), 78.7 + share * (515.0 - 78.7));
        near(of("gpt3-175b", |row| row.varuna_s), 701.0);
        let unknown = Job { model: None, ..job("gpt3-1.3b") };
        assert_eq!(seconds(&unknown, |row| row.varuna_s), 701.0);
        assert_eq!(bytes_beyond(&unknown), 0.0);
    }

    #[test]
    fn larger_models_take_longer_in_every_column() {
        for pair in ROWS[2..].windows(2) {
            assert!(pair[0].oobleck_s < pair[1].oobleck_s, "{}", pair[1].model);
            assert!(pair[0].varuna_s < pair[1].varuna_s, "{}", pair[1].model);
            assert!(pair[0].bamboo_s < pair[1].bamboo_s, "{}", pair[1].model);
        }
        assert!(bytes_beyond(&job("gpt3-1.3b")) == 0.0 && bytes_beyond(&job("gpt3-7b")) < 1e9);
        let beyond = bytes_beyond(&job("gpt3-175b"));
        assert!((beyond / 14.0 / (174.6e9 - 6.7e9) - 1.0).abs() < 0.01, "{beyond}");
    }
}
