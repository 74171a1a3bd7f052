//! What can be simulated: Unicron and its variants, a bound, and the rivals.

use super::allocation::Strategy;
use super::clairvoyant;
use super::managed::Setup;
use super::outcome::Outcome;
use super::rival::Rival;
use super::scenario::Scenario;
use super::standalone::run_rival;
use crate::Result;
use crate::plan::Rule;
use crate::plan::rule::Search;

/// A policy that a scenario can happen to.
#[derive(Clone, Copy)]
pub enum Policy<'a> {
    /// The core decides.
    Managed(&'a Setup),
    /// The bound that nobody passes.
    Clairvoyant,
    /// Each job by itself.
    Rival {
        /// By this cost model.
        rival: &'a dyn Rival,
        /// With so many spare nodes.
        spares: usize,
        /// On what it is given at the start.
        strategy: Strategy,
    },
}

impl Policy<'_> {
    /// Simulates it.
    ///
    /// # Errors
    /// If the scenario leaves it nothing to run on.
    pub fn run(&self, scenario: &Scenario<'_>) -> Result<Outcome> {
        match *self {
            Self::Managed(setup) => setup.run(scenario),
            Self::Clairvoyant => Ok(clairvoyant::bound(scenario)),
            Self::Rival { rival, spares, strategy } => run_rival(scenario, rival, spares, strategy),
        }
    }
}

/// Names of what the core is simulated as.
pub const MANAGED: [&str; 3] = ["unicron", "unicron-alone", "greedy"];

/// Unicron by a rule, or a variant of it.
///
/// - `unicron`: one plan for all tasks
/// - `unicron-alone`: every task recovers on its own nodes; nothing is planned over tasks
/// - `greedy`: as `unicron`, but plans are made by marginal gain
#[must_use]
pub fn managed(name: &str, rule: Rule) -> Option<Setup> {
    let setup = Setup { rule, ..Setup::default() };
    match name {
        "unicron" => Some(setup),
        "unicron-alone" => Some(Setup { plans_together: false, ..setup }),
        "greedy" => Some(Setup { rule: Rule { search: Search::Greedy, ..rule }, ..setup }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        for name in MANAGED {
            assert!(managed(name, Rule::ours()).is_some(), "{name}");
        }
        assert!(managed("megatron", Rule::ours()).is_none());
    }
}
