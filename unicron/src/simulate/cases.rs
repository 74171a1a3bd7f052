//! The paper's five multi-task cases (section 7.4; as remembered, the notes, 6.4): six tasks on one
//! cluster.

use super::scenario::SimulatedTask;
use crate::cluster::{Cluster, TaskSpec};
use crate::plan::Task;
use crate::plan::task::throughputs;
use crate::throughput::Constants;
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// One of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Case {
    /// One size, equal weights.
    One,
    /// Three sizes, equal weights.
    Two,
    /// One size, weights from 0.5 to 2.
    Three,
    /// Three sizes, weights that rise with them.
    Four,
    /// Three sizes, weights that fall with them. The end-to-end runs are on this one.
    Five,
}

const SAME: [&str; 6] = ["gpt3-7b"; 6];
const MIXED: [&str; 6] = ["gpt3-1.3b", "gpt3-1.3b", "gpt3-1.3b", "gpt3-7b", "gpt3-7b", "gpt3-13b"];
const EQUAL: [f64; 6] = [1.0; 6];
const RISING: [f64; 6] = [0.5, 0.8, 1.1, 1.4, 1.7, 2.0];
const FALLING: [f64; 6] = [2.0, 1.7, 1.4, 1.1, 0.8, 0.5];

impl Case {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::One, Self::Two, Self::Three, Self::Four, Self::Five];

    /// Models and weights.
    #[must_use]
    pub fn models(self) -> [(&'static str, f64); 6] {
        let (models, weights) = match self {
            Self::One => (SAME, EQUAL),
            Self::Two => (MIXED, EQUAL),
            Self::Three => (SAME, RISING),
            Self::Four => (MIXED, RISING),
            Self::Five => (MIXED, FALLING),
        };
        std::array::from_fn(|index| (models[index], weights[index]))
    }

    /// The tasks, on a cluster of any size.
    ///
    /// # Errors
    /// None: all models are presets.
    pub fn tasks(self, cluster: &Cluster) -> Result<Vec<SimulatedTask>> {
        let specs: Vec<TaskSpec> = self
            .models()
            .into_iter()
            .enumerate()
            .map(|(index, (model, weight))| TaskSpec::preset(index + 1, model, weight))
            .collect::<Result<_>>()?;
        tasks_of(&specs, cluster)
    }
}

/// The tasks of a cluster file. What the same model achieves is computed once.
///
/// # Errors
/// If a task can't run on the whole cluster.
pub fn tasks_of(specs: &[TaskSpec], cluster: &Cluster) -> Result<Vec<SimulatedTask>> {
    let constants = Constants::default();
    let mut tasks = Vec::with_capacity(specs.len());
    for (spec, throughput) in specs.iter().zip(throughputs(specs, cluster, &constants)) {
        let work_flops = spec.work_flops;
        let spec = TaskSpec { current: 0, ..spec.clone() };
        let task = Task::of(&spec, throughput, cluster, &constants);
        if task.smallest().is_none_or(|smallest| smallest > cluster.gpus()) {
            let problem = format!(
                "it doesn't run on all {} GPUs of the cluster; give more nodes, or a smaller model",
                cluster.gpus()
            );
            return Err(Error::Infeasible { task: task.name, problem });
        }
        tasks.push(SimulatedTask { task, work_flops });
    }
    Ok(tasks)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case{}", *self as usize + 1)
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|case| case.to_string() == name).ok_or_else(|| {
            let problem = format!("{name:?} is none of case1 to case5");
            Error::Setting { setting: "tasks".to_owned(), problem }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_cases_are_those_of_the_notes() {
        for case in Case::ALL {
            assert_eq!(case.to_string().parse::<Case>().unwrap(), case);
        }
        assert!("case6".parse::<Case>().is_err());
        let steps = |case: Case| case.models().map(|(_, weight)| weight);
        assert_eq!(steps(Case::Three).windows(2).map(|w| w[1] - w[0]).sum::<f64>(), 1.5);
        let counts = |case: Case, model| case.models().iter().filter(|m| m.0 == model).count();
        assert_eq!(counts(Case::Five, "gpt3-1.3b"), 3);
        assert_eq!(counts(Case::Five, "gpt3-7b"), 2);
        assert_eq!(counts(Case::One, "gpt3-7b"), 6);
        let tasks = Case::Five.tasks(&Cluster::paper()).unwrap();
        assert!(Arc::ptr_eq(&tasks[0].task.throughput, &tasks[1].task.throughput));
    }
}
