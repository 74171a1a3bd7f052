//! The options by name, as users write them.

use super::Synthetic;
use crate::trace::recipe::{Recipe, assign, spell};
use std::fmt::{Display, Formatter};

impl Recipe for Synthetic {
    fn name(&self) -> &'static str {
        "synthetic"
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("nodes", self.nodes.to_string()),
            ("gpus-per-node", self.gpus_per_node.to_string()),
            ("days", self.days.to_string()),
            ("node-faults", self.node_faults.to_string()),
            ("sev2", self.sev2.to_string()),
            ("sev3", self.sev3.to_string()),
            ("burstiness", self.burstiness.to_string()),
            ("lemons", self.lemons.to_string()),
            ("lemon-factor", self.lemon_factor.to_string()),
            ("correlated", self.correlated.to_string()),
            ("domain", self.domain.to_string()),
            ("repair-hours", self.repair_hours.to_string()),
            ("repair-sigma", self.repair_sigma.to_string()),
            ("seed", self.seed.to_string()),
        ]
    }

    fn set(&mut self, option: &str, value: &str) -> Option<bool> {
        match option {
            "nodes" => assign(&mut self.nodes, value),
            "gpus-per-node" => assign(&mut self.gpus_per_node, value),
            "days" => assign(&mut self.days, value),
            "node-faults" => assign(&mut self.node_faults, value),
            "sev2" => assign(&mut self.sev2, value),
            "sev3" => assign(&mut self.sev3, value),
            "burstiness" => assign(&mut self.burstiness, value),
            "lemons" => assign(&mut self.lemons, value),
            "lemon-factor" => assign(&mut self.lemon_factor, value),
            "correlated" => assign(&mut self.correlated, value),
            "domain" => assign(&mut self.domain, value),
            "repair-hours" => assign(&mut self.repair_hours, value),
            "repair-sigma" => assign(&mut self.repair_sigma, value),
            "seed" => assign(&mut self.seed, value),
            _ => None,
        }
    }
}

impl Display for Synthetic {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        spell(self, &Self::default(), f)
    }
}
