//! Unicron as it is simulated.

use super::Managed;
use super::timing::DetectionTimes;
use crate::Result;
use crate::core::Config;
use crate::plan::Rule;
use crate::simulate::outcome::Outcome;
use crate::simulate::scenario::Scenario;
use crate::simulate::timers::run;
use crate::transition::duration::Durations;

/// Unicron as it is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    /// By which rule it plans.
    pub rule: Rule,
    /// Budgets and time-outs.
    pub config: Config,
    /// When it notices what.
    pub detection: DetectionTimes,
    /// How long changes take in truth.
    pub durations: Durations,
    /// Whether it plans for all tasks together. Else every task keeps the whole nodes that it was given at
    /// the start, and recovers on them by itself.
    pub plans_together: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rule: Rule::ours(),
            config: Config::default(),
            detection: DetectionTimes::default(),
            durations: Durations::default(),
            plans_together: true,
        }
    }
}

impl Setup {
    /// Simulates it.
    ///
    /// # Errors
    /// If the cluster's hardware isn't sound.
    pub fn run(&self, scenario: &Scenario<'_>) -> Result<Outcome> {
        let mut managed = Managed::new(scenario, *self)?;
        let events = run(scenario, &mut managed);
        Ok(Outcome::new(scenario, managed.ledger.close(scenario.duration_s()), events))
    }
}
