//! The options by name, as users write them.

use super::Synthetic;
use crate::trace::recipe::{Recipe, Setting, spell};
use std::fmt::{Display, Formatter};

impl Recipe for Synthetic {
    fn name(&self) -> &'static str {
        "synthetic"
    }

    fn options(&mut self) -> Vec<(&'static str, &mut dyn Setting)> {
        vec![
            ("nodes", &mut self.nodes),
            ("gpus-per-node", &mut self.gpus_per_node),
            ("days", &mut self.days),
            ("node-faults", &mut self.node_faults),
            ("sev2", &mut self.sev2),
            ("sev3", &mut self.sev3),
            ("burstiness", &mut self.burstiness),
            ("lemons", &mut self.lemons),
            ("lemon-factor", &mut self.lemon_factor),
            ("correlated", &mut self.correlated),
            ("domain", &mut self.domain),
            ("repair-hours", &mut self.repair_hours),
            ("repair-sigma", &mut self.repair_sigma),
            ("seed", &mut self.seed),
        ]
    }
}

impl Display for Synthetic {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        spell(self, &Self::default(), f)
    }
}
