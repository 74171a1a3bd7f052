//! A plan with places: where the optimum by counts can't be placed, the best that is found, and its loss.

use super::placement::{Demand, Placement, Unplaced, place};
use super::rule::{Horizon, Rule};
use super::solve::{Plan, Situation};
use super::value::Size;

/// Nodes as a placement sees them.
#[derive(Debug, Clone, Copy)]
pub struct Nodes<'a> {
    /// Who is where.
    pub placement: &'a Placement,
    /// Healthy workers by node; 0 of a node that is away.
    pub healthy: &'a [usize],
    /// Failures a second by node.
    pub hazards: &'a [f64],
}

/// A plan and its places.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// What each task gets.
    pub plan: Plan,
    /// Where.
    pub placement: Placement,
    /// By how much the optimum by counts is better; 0 where that can be placed. It can be negative where a
    /// floor has no place: the optimum kept it.
    pub loss: f64,
}

impl Situation<'_> {
    /// The optimal plan by counts if it can be placed; else the best that is found by giving the task
    /// without a place less.
    #[must_use]
    pub fn plan_on(&self, nodes: Nodes<'_>, rule: &Rule) -> Placed {
        self.place(self.plan(rule), nodes, rule)
    }

    /// Places a plan that was made for this situation by this rule.
    #[must_use]
    pub fn place(&self, optimum: Plan, nodes: Nodes<'_>, rule: &Rule) -> Placed {
        let (terms, mut floors) = (self.terms(rule), self.floors(rule));
        let Nodes { placement, healthy, hazards } = nodes;
        let alike = vec![0.0; hazards.len()];
        let hazards = if rule.horizon == Horizon::ByNodes { hazards } else { &alike };
        let mut sizes: Option<Vec<Vec<Size>>> = None;
        let mut plan = optimum.clone();
        loop {
            let demands: Vec<Demand> = (0..self.tasks.len())
                .map(|task| self.demand(task, &plan.tasks[task].size))
                .collect();
            let Unplaced { task, placed } = match place(placement, healthy, hazards, &demands) {
                Ok(placement) => {
                    let loss = optimum.objective - plan.objective;
                    return Placed { plan, placement, loss };
                }
                Err(unplaced) => unplaced,
            };
            let sizes = sizes.get_or_insert_with(|| self.sizes(&terms, &floors));
            let group = demands[task].group;
            sizes[task]
                .retain(|size| size.workers <= placed || self.demand(task, size).group < group);
            plan = match self.solve(&terms, sizes, &floors) {
                Some(plan) if !sizes[task].is_empty() => plan,
                _ => {
                    // Its floor has no place.
                    floors.drop(task);
                    sizes[task].insert(0, terms.none(&self.tasks[task]));
                    self.solve(&terms, sizes, &floors).expect("only smaller sizes were added")
                }
            };
        }
    }

    /// Workers of a size, and how many of them have to be together.
    fn demand(&self, task: usize, size: &Size) -> Demand {
        let tensor = size.step.and_then(|step| step.shape).map_or(1, |shape| shape.tensor);
        Demand { workers: size.workers, group: self.tasks[task].group(self.cluster, tensor) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Fleet};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]

        /// On whole nodes nothing is lost; on broken ones the plan is no better than the best placement, and
        /// what it says it loses covers the difference.
        #[test]
        fn it_is_the_best_placement(fleet in testing::fleets()) {
            for rule in [Rule::paper(), Rule::ours()] {
                let Fleet { healthy, hazards, placement, .. } = &fleet;
                let nodes = Nodes { placement, healthy, hazards };
                let placed = fleet.situation().plan_on(nodes, &rule);
                // A floor without a place is dropped, which the oracle doesn't do.
                let drops = |plan: &Plan| plan.tasks.iter().filter(|task| task.floor_is_dropped).count();
                let has_dropped = drops(&placed.plan) > drops(&fleet.situation().plan(&rule));
                let oracle = match fleet.best_placement(&rule) {
                    Some(oracle) if !has_dropped => oracle,
                    _ => continue,
                };
                let scale = oracle.abs().max(1.0);
                prop_assert!(placed.loss >= 0.0);
                prop_assert!(placed.plan.objective <= oracle + 1e-9 * scale);
                prop_assert!(placed.plan.objective + placed.loss >= oracle - 1e-9 * scale);
                let is_whole = healthy.iter().all(|&healthy| healthy == 0 || healthy == 8);
                if is_whole {
                    prop_assert!(placed.loss <= 1e-9 * scale, "{} of {oracle}", placed.loss);
                    prop_assert!((placed.plan.objective - oracle).abs() <= 1e-9 * scale);
                }
            }
        }
    }
}
