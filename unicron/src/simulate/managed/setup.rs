//! Unicron as it is simulated.

use super::Managed;
use super::timing::DetectionTimes;
use crate::Result;
use crate::cluster::Measured;
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
    /// With what a live run has measured instead of what is published.
    #[must_use]
    pub fn measured(self, measured: &Measured) -> Self {
        let usual = self.detection;
        let iteration_s = measured.iteration_s.unwrap_or(usual.unknown_iteration_s);
        let detection = DetectionTimes {
            node_health_s: measured.node_health_s.unwrap_or(usual.node_health_s),
            process_s: measured.process_s.unwrap_or(usual.process_s),
            exception_s: measured.exception_s.unwrap_or(usual.exception_s),
            iterations: measured.stall_s.map_or(usual.iterations, |s| s / iteration_s),
            unknown_iteration_s: iteration_s,
        };
        // Everything that a cure takes is in what it has cost.
        let durations = measured.restart_s.map(|start_s| Durations {
            edit_s: 0.0,
            rebuild_s: 0.0,
            start_s,
            warm_up_s: 0.0,
        });
        Self { detection, durations: durations.unwrap_or(self.durations), ..self }
    }

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
