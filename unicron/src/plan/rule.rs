//! By which rule a plan is valued: the paper's as it stands, and ours, each part of which can be switched
//! off.

use crate::transition::duration::Durations;

/// The parts of the objective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// How long a transition takes.
    pub transition: TransitionTime,
    /// What a transition costs.
    pub charge: Charge,
    /// How long a plan is expected to hold.
    pub horizon: Horizon,
    /// Whether a task keeps at least the workers that it is guaranteed, or the smallest size that it
    /// can run on. Without floors a nearly linear throughput starves most tasks.
    pub has_floors: bool,
    /// How much more than its cost a transition has to bring before a task that hasn't failed is moved,
    /// as a part of that cost; 0 moves for any gain.
    pub hysteresis: f64,
    /// How the plan of most value is looked for.
    pub search: Search,
}

/// How the plan of most value is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Exactly ([`super::knapsack`]).
    Exact,
    /// By marginal gain ([`super::greedy`]): what a simple scheduler would do, to be compared with.
    Greedy,
}

/// How long a transition takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TransitionTime {
    /// The paper's: so many seconds, whatever changes.
    Constant(f64),
    /// By task and change.
    ByChange(Durations),
}

/// What a transition costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// The paper's: the WAF of before for as long as the transition takes.
    FormerWaf,
    /// What isn't computed: nothing while the others go on, all while the task stands still, until the
    /// plan is expected to end.
    Standstill,
}

/// How long a plan is expected to hold, `D_running`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Horizon {
    /// The paper's, as remembered: the mean time between a worker's failures in seconds, divided by the
    /// number of workers. All are equally healthy.
    ByWorkers {
        /// Mean time between failures of one worker.
        mean_time_between_failures_s: f64,
    },
    /// By the hazards of the nodes that there are: a plan until one of them fails, what a task has paid for
    /// until one of its own does. Who moves goes where least is expected to fail.
    ByNodes,
    /// The same for any number of workers, for tests of the other parts.
    Fixed(f64),
}

/// A failure of a node in 1000 node-days is between 2.3 and 6.5 in large fleets (field notes 5.1); 4.2 in
/// the public trace. Eight workers a node.
const FAILURES_PER_NODE_S: f64 = 4.2 / 1000.0 / 86_400.0;
const WORKERS_OF_A_NODE: f64 = 8.0;

/// The paper's transition time isn't known. Its order is what a restart with the state at hand takes.
const PAPER_TRANSITION_S: f64 = 60.0;

impl Rule {
    /// The paper's rule as it stands (section 5).
    #[must_use]
    pub fn paper() -> Self {
        Self {
            transition: TransitionTime::Constant(PAPER_TRANSITION_S),
            charge: Charge::FormerWaf,
            horizon: Horizon::ByWorkers {
                mean_time_between_failures_s: WORKERS_OF_A_NODE / FAILURES_PER_NODE_S,
            },
            has_floors: false,
            hysteresis: 0.0,
            search: Search::Exact,
        }
    }

    /// Ours: every transition by what it does, nodes by their history, floors, and no moves for next to
    /// nothing.
    #[must_use]
    pub fn ours() -> Self {
        Self {
            transition: TransitionTime::ByChange(Durations::default()),
            charge: Charge::Standstill,
            horizon: Horizon::ByNodes,
            has_floors: true,
            hysteresis: 0.5,
            search: Search::Exact,
        }
    }
}

impl Rule {
    /// Rules by name: ours, the paper's, and ours with one part as in the paper's.
    pub const NAMES: [&str; 7] = [
        "ours",
        "paper",
        "without-transition-times",
        "without-standstill",
        "without-hazards",
        "without-floors",
        "without-hysteresis",
    ];

    /// The rule of a name of [`Rule::NAMES`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (ours, paper) = (Self::ours(), Self::paper());
        Some(match name {
            "ours" => ours,
            "paper" => paper,
            "without-transition-times" => Self { transition: paper.transition, ..ours },
            "without-standstill" => Self { charge: paper.charge, ..ours },
            "without-hazards" => Self { horizon: paper.horizon, ..ours },
            "without-floors" => Self { has_floors: false, ..ours },
            "without-hysteresis" => Self { hysteresis: 0.0, ..ours },
            _ => return None,
        })
    }
}

/// Failures a second of a node of which nothing is known.
#[must_use]
pub fn usual_hazard() -> f64 {
    FAILURES_PER_NODE_S
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_every_ablation_is_another_rule() {
        for (index, name) in Rule::NAMES.iter().enumerate() {
            let this = Rule::named(name).unwrap();
            for other in &Rule::NAMES[..index] {
                assert_ne!(this, Rule::named(other).unwrap(), "{name} is {other}");
            }
        }
        assert!(Rule::named("theirs").is_none());
    }
}
